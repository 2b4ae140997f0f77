// The content of a request on its way: what came before there was anywhere to send it, and, as long as it is small, all of
// it, so that it can be sent again. Pieces are kept by reference.

import type { Fields } from '../../wire/http1/index.ts';
import type { ClientStream } from '../streams/http-stream.ts';

/** What may wait before the client is paused; a bound on what is kept for another try, too. */
const KEPT_BYTES = 64 << 10;

export class RequestBody {
  private pieces: Buffer[] = [];
  /** Of `pieces`. */
  bytes = 0;
  ended = false;
  trailers: Fields | undefined = undefined;
  /** Everything that came is still here. */
  whole = true;

  add(piece: Buffer): void {
    if (!this.whole) return;
    this.pieces.push(piece);
    this.bytes += piece.length;
  }

  /** More waits than should. */
  get full(): boolean {
    return this.bytes >= KEPT_BYTES;
  }

  /** What was sent is let go of, once it is too much to keep. */
  shrink(): void {
    if (!this.whole || this.bytes <= KEPT_BYTES) return;
    this.forget();
  }

  forget(): void {
    this.whole = false;
    this.pieces = [];
    this.bytes = 0;
  }

  /** Sends what is here. @returns false: the stream is full */
  sendTo(stream: ClientStream): boolean {
    let flows = true;
    for (const piece of this.pieces) flows = stream.write(piece);
    if (this.ended) stream.end(this.trailers);
    return flows;
  }

  /** @param maxBytes  more is left out */
  beginning(maxBytes: number): Buffer {
    return Buffer.concat(this.pieces).subarray(0, maxBytes);
  }
}
