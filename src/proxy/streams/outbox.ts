// What one turn writes to a stream leaves as one write: a head with its body, a chunk with its size line. Small pieces are
// copied together, which is cheaper than a vector of them; large ones are corked.

import type { ByteStream } from './byte-stream.ts';

/** Up to this a turn's output is copied into one buffer. */
const JOIN_UP_TO_BYTES = 16 << 10;
/** More than this is not left to the turn's end. */
const FLUSH_FROM_BYTES = 64 << 10;

const TURN = Promise.resolve();

export class Outbox {
  private readonly stream: ByteStream;
  private readonly flushLater: () => void;
  private parts: (string | Uint8Array)[] = [];
  private bytes = 0;
  private scheduled = false;
  /** The stream said that it is full. */
  full = false;

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.flushLater = () => {
      this.scheduled = false;
      this.flush();
    };
  }

  /** latin1 */
  text(text: string): void {
    if (text === '') return;
    const { parts } = this;
    const last = parts.length - 1;
    const before = parts[last];
    if (typeof before === 'string') parts[last] = before + text;
    else parts.push(text);
    this.added(text.length);
  }

  /** @returns false: full, stop until `drained` */
  piece(piece: Uint8Array): boolean {
    this.parts.push(piece);
    this.added(piece.length);
    return !this.full;
  }

  private added(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes >= FLUSH_FROM_BYTES) this.flush();
    else if (!this.scheduled) {
      this.scheduled = true;
      TURN.then(this.flushLater);
    }
  }

  flush(): void {
    const { parts, bytes, stream } = this;
    if (parts.length === 0) return;
    this.parts = [];
    this.bytes = 0;
    const first = parts[0];
    if (parts.length === 1 && first !== undefined)
      this.full = !(typeof first === 'string' ? stream.writeText(first) : stream.write(first));
    else if (bytes <= JOIN_UP_TO_BYTES) this.full = !stream.write(joined(parts, bytes));
    else {
      stream.cork();
      let full = false;
      for (const part of parts)
        full = !(typeof part === 'string' ? stream.writeText(part) : stream.write(part)) || full;
      this.full = !stream.uncork() || full;
    }
  }

  drained(): void {
    this.full = false;
  }
}

function joined(parts: readonly (string | Uint8Array)[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const part of parts)
    if (typeof part === 'string') at += whole.write(part, at, 'latin1');
    else {
      whole.set(part, at);
      at += part.length;
    }
  return whole;
}
