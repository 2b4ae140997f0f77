// A byte stream under an HTTP/2 session: bytes in, drain, end. Runs per turn.

import type { SessionEnvironment, Transport } from '../../wire/hbone/index.ts';
import type { ByteStream } from '../streams/byte-stream.ts';

/** Time and turns of the real event loop; bytes that passed are counted by the stream below. */
export const TURNS: SessionEnvironment = {
  now: () => performance.now(),
  defer: (callback) => void setImmediate(callback),
  setTimer: (callback, delayMs) => setTimeout(callback, delayMs).unref(),
  clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

export class StreamTransport implements Transport {
  private readonly stream: ByteStream;
  private full = false;

  constructor(stream: ByteStream) {
    this.stream = stream;
  }

  write(chunk: Uint8Array, done?: () => void): boolean {
    const { stream } = this;
    this.full = !(done === undefined ? stream.write(chunk) : stream.writeLent(chunk, done));
    return !this.full;
  }
  end(): void {
    this.stream.end();
  }
  destroy(): void {
    this.stream.reset();
  }
  /** The stream says only whether it is full. */
  get writableLength(): number {
    return this.full ? Number.MAX_SAFE_INTEGER : 0;
  }

  drained(): void {
    this.full = false;
  }
}
