// The receiving half of one message: content with its length held to what was said, back-pressure by the stream's window,
// trailers before the end. The same for requests and responses. Runs per chunk.

import type { HboneError } from '../../wire/hbone/index.ts';
import { PieceQueue } from '../../wire/hbone/pieces.ts';
import type { Tunnel } from '../../wire/hbone/tunnel.ts';
import type { Fields } from '../../wire/http1/index.ts';

export interface IncomingOwner {
  received(piece: Buffer): void;
  /** The message is complete. */
  ended(trailers: Fields | undefined): void;
  writable(): void;
  lost(error: HboneError): void;
  /** The content is not as long as it said. Ends the stream; `lost` follows. */
  malformed(why: string): void;
}

export class Incoming {
  private readonly owner: IncomingOwner;
  /** INVARIANT (stream): set before anything can arrive. */
  stream!: Tunnel;
  /** Content still to come; -1: it shows at the end. */
  left = -1;
  private paused = false;
  private releasing = false;
  /** What came while it was paused: at most one window. */
  private held: PieceQueue | undefined = undefined;
  private endDue = false;
  private fields: Fields | undefined = undefined;

  constructor(owner: IncomingOwner) {
    this.owner = owner;
  }

  // ---- the stream's events ----

  data(chunk: Buffer): void {
    if (this.left >= 0) {
      this.left -= chunk.length;
      if (this.left < 0) {
        this.owner.malformed('more content than content-length says');
        return;
      }
    }
    // While held pieces are passed on, giving back window may bring more: they come after.
    if (this.paused || this.releasing || this.held !== undefined) {
      this.held ??= new PieceQueue();
      this.held.push(chunk);
      return;
    }
    const { length } = chunk;
    this.owner.received(chunk);
    this.stream.consumed(length);
  }

  trailers(fields: Fields): void {
    this.fields = fields;
  }

  end(): void {
    if (this.left > 0) this.owner.malformed('less content than content-length says');
    else if (this.held !== undefined || this.releasing) this.endDue = true;
    else this.owner.ended(this.fields);
  }

  reset(error: HboneError): void {
    this.held = undefined;
    this.endDue = false;
    this.owner.lost(error);
  }

  writable(): void {
    this.owner.writable();
  }

  // ---- the owner's wishes ----

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    // The owner may pause and resume within what follows: the outermost call goes on.
    if (this.releasing) return;
    this.releasing = true;
    this.release();
    this.releasing = false;
    if (!this.endDue || this.paused) return;
    this.endDue = false;
    this.owner.ended(this.fields);
  }

  private release(): void {
    while (this.held !== undefined && !this.paused) {
      const { held } = this;
      this.held = undefined;
      const pieces = held.take();
      for (let i = 0; i < pieces.length; i++) {
        const piece = pieces[i] as Buffer;
        if (this.paused) {
          this.hold(pieces, i);
          return;
        }
        const { length } = piece;
        this.owner.received(piece);
        this.stream.consumed(length);
      }
    }
  }

  /** Puts back what was not taken, before what has come meanwhile. */
  private hold(pieces: readonly Buffer[], from: number): void {
    const later = this.held?.take() ?? [];
    const held = new PieceQueue();
    for (let i = from; i < pieces.length; i++) held.push(pieces[i] as Buffer);
    for (const piece of later) held.push(piece);
    this.held = held;
  }

  /** Nobody wants the rest. */
  drop(): void {
    const bytes = this.held?.bytes ?? 0;
    this.held = undefined;
    this.endDue = false;
    this.paused = false;
    if (bytes > 0) this.stream.consumed(bytes);
  }
}
