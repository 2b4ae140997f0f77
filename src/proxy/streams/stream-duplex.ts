// A byte stream as Node's duplex, for TLS inside a tunnel: a rare path, which may cost what Node streams cost.

import { Duplex } from 'node:stream';
import type { ByteStream, StreamError } from './byte-stream.ts';

export class StreamDuplex extends Duplex {
  readonly #stream: ByteStream;
  #drained: (() => void) | undefined = undefined;

  constructor(stream: ByteStream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    // `end` and `closed` mean something else to a duplex.
    stream.attach({
      data: (chunk) => {
        if (!this.push(chunk)) stream.pause();
      },
      end: () => void this.push(null),
      drained: () => this.#tookIt(),
      closed: (error) => this.#lost(error),
    });
  }

  #tookIt(): void {
    const done = this.#drained;
    this.#drained = undefined;
    done?.();
  }

  #lost(error: StreamError | undefined): void {
    this.destroy(error === undefined ? undefined : new Error(error.text));
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#stream.write(chunk)) done();
    else this.#drained = done;
  }

  override _final(done: () => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.reset();
    this.#tookIt();
    done(error);
  }
}
