// The server's side of one SPDY/3.1 connection, as kubectl opens it inside a WebSocket: it opens streams, we answer them.
// Flow-control windows are not kept, for the peer keeps none; back-pressure is the transport's, for all streams together.

import { Duplex } from 'node:stream';
import {
  dataFrame,
  goawayFrame,
  HeaderReader,
  HeaderWriter,
  pingFrame,
  rstFrame,
  SpdyDecoder,
  SpdyError,
  synReplyFrame,
} from './spdy-frames.ts';

const MAX_STREAMS = 1024;
const MAX_DATA_BYTES = 32 * 1024;
const REFUSED_STREAM = 3;
const CANCEL = 5;

/** One stream; readable until the peer's FIN, writable until `end()`. */
export interface SpdyStream extends Duplex {
  readonly headers: ReadonlyMap<string, string>;
}

/** Where the bytes go and come from. */
export interface SpdyTransport {
  /** Calls back when the bytes have left. */
  send(bytes: Buffer, sent: (error?: Error | null) => void): void;
  pause(): void;
  resume(): void;
  close(error?: Error): void;
}

export class SpdyServer {
  readonly #transport: SpdyTransport;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #decoder = new SpdyDecoder();
  readonly #reader = new HeaderReader();
  readonly #writer = new HeaderWriter();
  readonly #streams = new Map<number, Stream>();
  /** Frames are handled one after the other: inflating headers takes a turn of the event loop. */
  #work: Promise<void> = Promise.resolve();
  #lastStream = 0;
  #closed = false;

  constructor(transport: SpdyTransport, onStream: (stream: SpdyStream) => void) {
    let paused = 0; // streams that are full: the transport rests until none is
    this.#transport = {
      send: (bytes, sent) => transport.send(bytes, sent),
      close: (error) => transport.close(error),
      pause: () => {
        paused++;
        if (paused === 1) transport.pause();
      },
      resume: () => {
        paused--;
        if (paused === 0) transport.resume();
      },
    };
    this.#onStream = onStream;
  }

  /** Bytes from the peer, cut anyhow. */
  receive(bytes: Buffer): void {
    this.#work = this.#work.then(() => this.#handle(bytes)).catch((error) => this.close(error));
  }

  /** Ends every stream; safe to call twice. */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    if (error === undefined) this.#transport.send(goawayFrame(this.#lastStream), () => {});
    for (const stream of this.#streams.values()) stream.destroy(error);
    this.#streams.clear();
    this.#reader.close();
    this.#writer.close();
    this.#transport.close(error);
  }

  async #handle(bytes: Buffer): Promise<void> {
    for (const frame of this.#decoder.decode(bytes)) {
      if (this.#closed) return;
      switch (frame.kind) {
        case 'synStream':
          await this.#open(frame.stream, frame.fin, frame.block);
          break;
        case 'data':
          this.#streams.get(frame.stream)?.arrived(frame.data, frame.fin);
          break;
        case 'rst':
          this.#streams.get(frame.stream)?.destroy();
          break;
        case 'ping':
          this.#transport.send(pingFrame(frame.id), () => {});
          break;
        case 'goaway':
          this.close();
          return;
        case 'other': // SETTINGS, HEADERS, WINDOW_UPDATE: nothing here depends on them
          break;
        default:
          throw new SpdyError(`an unknown frame ${JSON.stringify(frame satisfies never)}`);
      }
    }
  }

  async #open(id: number, fin: boolean, block: Buffer): Promise<void> {
    const headers = await this.#reader.read(block); // also of a stream that is refused: the zlib state goes on
    if (id <= this.#lastStream || id % 2 === 0) throw new SpdyError(`stream ${id} after ${this.#lastStream}`);
    this.#lastStream = id;
    if (this.#streams.size >= MAX_STREAMS) {
      this.#transport.send(rstFrame(id, REFUSED_STREAM), () => {});
      return;
    }
    const stream = new Stream(id, headers, this.#transport, () => this.#streams.delete(id));
    this.#streams.set(id, stream);
    const reply = synReplyFrame(id, await this.#writer.write(new Map()));
    this.#transport.send(reply, () => {});
    this.#onStream(stream);
    if (fin) stream.arrived(Buffer.alloc(0), true);
  }
}

class Stream extends Duplex implements SpdyStream {
  readonly headers: ReadonlyMap<string, string>;
  readonly #id: number;
  readonly #transport: SpdyTransport;
  readonly #gone: () => void;
  #paused = false;
  #finished = false;

  constructor(id: number, headers: ReadonlyMap<string, string>, transport: SpdyTransport, gone: () => void) {
    super({ allowHalfOpen: true });
    this.headers = headers;
    this.#id = id;
    this.#transport = transport;
    this.#gone = gone;
  }

  arrived(data: Buffer, fin: boolean): void {
    if (this.readableEnded || this.destroyed) return;
    if (data.length > 0 && !this.push(data) && !this.#paused) {
      this.#paused = true;
      this.#transport.pause();
    }
    if (fin) this.push(null);
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#transport.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    for (let at = 0; at < chunk.length; at += MAX_DATA_BYTES) {
      const last = at + MAX_DATA_BYTES >= chunk.length;
      this.#transport.send(dataFrame(this.#id, chunk.subarray(at, at + MAX_DATA_BYTES), false), last ? done : () => {});
    }
    if (chunk.length === 0) done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finished = true;
    this.#transport.send(dataFrame(this.#id, Buffer.alloc(0), true), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this._read();
    if (!this.#finished) this.#transport.send(rstFrame(this.#id, CANCEL), () => {});
    this.#gone();
    done(error);
  }
}
