// Bytes -> messages, one connection and one direction: finds heads, and passes content on in the pieces in which it
// came. Sans-I/O. Runs per chunk: no copy of content, no search per byte, nothing allocated but what is handed out.
// RequestParser and ResponseParser say what a head means.
//
//   idle --next/expect--> head --> content --> idle          refused, or closed by the peer --> over
//                          |  (fixed, chunked, untilClose)
//                          `-----> tunnel
//
// One message at a time: what comes after a message waits (bounded) until the owner is ready for it.

import { Buffer } from 'node:buffer';
import { ChunkedDecoder } from './chunked.ts';
import type { Fields } from './fields.ts';
import { type Framing, uncleanText } from './head.ts';
import type { Http1Limits } from './limits.ts';
import type { Refusal, RefusalCode } from './refusal.ts';

/** Receives a message's events: `head`, any number of `data`, then `end`; or `error` at any time, after which nothing follows. */
export interface MessageHandler<Head> {
  head(head: Head): void;
  /** A piece of content, or of a tunnel: part of the received chunk, to keep or pass on, not to change. */
  data(piece: Buffer): void;
  /** @param trailers of a chunked message, if there were any */
  end(trailers: Fields | undefined): void;
  /** Answer with the status if a request was refused and nothing was answered yet; then close the connection. */
  error(refusal: Refusal): void;
}

export type ParserState = 'idle' | 'head' | 'fixed' | 'chunked' | 'untilClose' | 'tunnel' | 'over';

const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
const CR = 0x0d;
const LF = 0x0a;
const FIRST_PARTIAL_BYTES = 1 << 10;
/** Chunks that may wait, beside the bound on their bytes: a chunk of one byte costs an object. */
const MAX_HELD_CHUNKS = 1 << 10;

export abstract class MessageParser<Head> {
  protected readonly limits: Http1Limits;
  protected readonly handler: MessageHandler<Head>;
  protected current: ParserState;
  /** Chunks that wait: `held[0]` from `at` on. */
  private readonly held: Buffer[] = [];
  private at = 0;
  private waitingBytes = 0;
  private paused = false;
  private running = false;
  private peerEnded = false;
  /** Beginning of a head that is not whole yet. */
  private partial: Buffer | undefined;
  private partialBytes = 0;
  /** Of fixed content. */
  private remaining = 0;
  private readonly chunks: ChunkedDecoder;
  /** The message is complete and its handler was not yet told. */
  private endDue = false;
  private trailers: Fields | undefined;

  constructor(state: 'idle' | 'head', handler: MessageHandler<Head>, limits: Http1Limits) {
    this.current = state;
    this.handler = handler;
    this.limits = limits;
    this.chunks = new ChunkedDecoder(limits);
  }

  get state(): ParserState {
    return this.current;
  }

  /** Bytes that came and were not yet passed on. */
  get heldBytes(): number {
    return this.waitingBytes;
  }

  /**
   * Bytes arrived. Never throws, whatever they are; what a handler throws comes through.
   * @returns false: read no more from the transport for now (paused, between messages, or over)
   */
  receive(chunk: Buffer): boolean {
    if (this.current === 'over') return false;
    if (chunk.length > 0) {
      this.held.push(chunk);
      this.waitingBytes += chunk.length;
      this.run();
      // One chunk is always taken, whatever its size: it is there already.
      const excess = this.waitingBytes - chunk.length > this.limits.maxHeldBytes || this.held.length > MAX_HELD_CHUNKS;
      if (excess && !this.running) this.refuse('overrun');
    }
    return !this.isBlocked();
  }

  /** The peer's end (FIN). Content that must have an end of its own is then truncated. */
  receiveEnd(): void {
    this.peerEnded = true;
    this.run();
  }

  /** No events until `resume`; what comes meanwhile waits. Also from within an event. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.run();
  }

  /** Lets go of everything; no event follows. */
  close(): void {
    this.current = 'over';
    this.held.length = 0;
    this.waitingBytes = 0;
    this.partial = undefined;
    this.endDue = false;
  }

  /** One empty line may come before a head. */
  protected abstract readonly forgivesEmptyLine: boolean;
  /** Reads a head. Calls the handler and returns how its content is framed, or `undefined` for an interim head. */
  protected abstract takeHead(text: string): Framing | RefusalCode | undefined;
  protected abstract toRefusal(code: RefusalCode): Refusal;
  /** The message is complete; called before the handler hears of it. */
  protected abstract completed(): void;
  /** Bytes came while idle. A code refuses them; undefined lets them wait. */
  protected abstract whileIdle(): RefusalCode | undefined;
  /** The peer ended where a head should be. @param clean nothing of one came */
  protected abstract endInHead(clean: boolean): void;
  /** What to say of a head that begins like this and is too long. */
  protected abstract tooLong(beginning: string): RefusalCode;

  protected refuse(code: RefusalCode): void {
    if (this.current === 'over') return;
    this.close();
    this.handler.error(this.toRefusal(code));
  }

  /** Begins to read heads, or raw bytes. */
  protected enter(state: 'head' | 'tunnel'): void {
    this.current = state;
    this.run();
  }

  private isBlocked(): boolean {
    return this.paused || this.current === 'idle' || this.current === 'over';
  }

  /** The peer has sent its end, whether or not all before it was passed on. */
  protected get ended(): boolean {
    return this.peerEnded;
  }

  /** Goes on as far as bytes and the receiver allow. Events may call anything here: an inner call only sets state. */
  private run(): void {
    if (this.running) return;
    this.running = true;
    try {
      while ((this.endDue || this.held.length > 0) && !this.paused && this.current !== 'over') {
        if (this.endDue) {
          this.finish();
          continue;
        }
        if (this.current === 'idle') {
          const code = this.whileIdle();
          if (code !== undefined) this.refuse(code);
          break;
        }
        this.step(this.held[0]!);
      }
      if (this.peerEnded && this.held.length === 0 && !this.paused) this.atEnd();
    } finally {
      this.running = false;
    }
  }

  /** Takes some of the first chunk: at least a byte of it, or the state changes. */
  private step(chunk: Buffer): void {
    switch (this.current) {
      case 'head':
        this.readHead(chunk);
        break;
      case 'fixed':
        this.readFixed(chunk);
        break;
      case 'chunked':
        this.readChunked(chunk);
        break;
      default:
        this.handler.data(this.takePiece(chunk, chunk.length - this.at));
    }
  }

  private atEnd(): void {
    switch (this.current) {
      case 'untilClose':
      case 'tunnel':
        this.finish();
        this.close();
        break;
      case 'head':
        this.endInHead(this.hasNoHead());
        break;
      case 'fixed':
      case 'chunked':
        this.refuse('truncated');
        break;
      case 'idle':
      case 'over':
        break;
    }
  }

  /** Nothing of a head but the empty line that some clients send after a message. */
  private hasNoHead(): boolean {
    const { partial, partialBytes } = this;
    return (
      partial === undefined || (partialBytes <= 2 && partial[0] === CR && (partialBytes === 1 || partial[1] === LF))
    );
  }

  /** Moves on by `length` bytes of the first chunk. */
  private advance(chunk: Buffer, length: number): void {
    this.waitingBytes -= length;
    this.at += length;
    if (this.at < chunk.length) return;
    this.held.shift();
    this.at = 0;
  }

  private takePiece(chunk: Buffer, length: number): Buffer {
    const piece = length === chunk.length ? chunk : chunk.subarray(this.at, this.at + length);
    this.advance(chunk, length);
    return piece;
  }

  // heads

  private readHead(chunk: Buffer): void {
    if (this.partial !== undefined) {
      this.readPartialHead(chunk, this.partial);
      return;
    }
    let start = this.at;
    // RFC 9112 §2.2: one empty line before a request is forgiven.
    if (this.forgivesEmptyLine && chunk[start] === CR && chunk[start + 1] === LF) start += 2;
    const end = chunk.indexOf(HEAD_END, start);
    if (end < 0 || end + 4 - start > this.limits.maxHeadBytes) {
      this.readPartialHead(chunk, Buffer.allocUnsafeSlow(FIRST_PARTIAL_BYTES));
      return;
    }
    const text = chunk.toString('latin1', start, end);
    this.advance(chunk, end + 4 - this.at);
    this.begin(text);
  }

  /** The rare way: the head is cut, or too long. Bytes are gathered up to the bound, and each is looked at once. */
  private readPartialHead(chunk: Buffer, gathered: Buffer): void {
    const before = this.partialBytes;
    const bound = this.limits.maxHeadBytes + 2; // an empty line before it does not count
    const length = Math.min(chunk.length - this.at, bound - before);
    const partial = grown(gathered, before, before + length, bound);
    chunk.copy(partial, before, this.at, this.at + length);
    this.partial = partial;
    this.partialBytes = before + length;
    const start = this.forgivesEmptyLine && this.partialBytes > 1 && partial[0] === CR && partial[1] === LF ? 2 : 0;
    const end = partial.subarray(0, this.partialBytes).indexOf(HEAD_END, Math.max(start, before - 3));
    if (end >= 0 && end + 4 - start <= this.limits.maxHeadBytes) {
      this.advance(chunk, end + 4 - before);
      this.partial = undefined;
      this.partialBytes = 0;
      this.begin(partial.toString('latin1', start, end));
      return;
    }
    const fault = this.partialFault(partial, before, start);
    if (fault !== undefined) {
      this.refuse(fault);
      return;
    }
    this.advance(chunk, length);
  }

  /** A head that cannot become good is refused at once, and not when its sender gives up. */
  private partialFault(partial: Buffer, before: number, start: number): RefusalCode | undefined {
    const tooLong = this.partialBytes - start >= this.limits.maxHeadBytes;
    const end = tooLong ? start + this.limits.maxHeadBytes : this.partialBytes;
    // A carriage return at the edge is judged with what follows it.
    const from = Math.max(start, before > 0 && partial[before - 1] === CR ? before - 1 : before);
    const to = partial[end - 1] === CR ? end - 1 : end;
    const unclean = from < to ? uncleanText(partial.toString('latin1', from, to)) : undefined;
    return unclean ?? (tooLong ? this.tooLong(partial.toString('latin1', start, end)) : undefined);
  }

  private begin(text: string): void {
    const framing = this.takeHead(text);
    if (typeof framing === 'string') {
      this.refuse(framing);
      return;
    }
    if (framing === undefined || this.current === 'over') return;
    switch (framing.kind) {
      case 'none':
        this.endDue = true;
        break;
      case 'fixed':
        this.current = 'fixed';
        this.remaining = framing.length;
        this.endDue = framing.length === 0;
        break;
      case 'chunked':
        this.current = 'chunked';
        this.chunks.reset();
        break;
      default:
        this.current = framing.kind;
    }
  }

  // content

  private finish(): void {
    const { trailers } = this;
    this.endDue = false;
    this.trailers = undefined;
    this.current = 'idle';
    this.completed();
    this.handler.end(trailers);
  }

  private readFixed(chunk: Buffer): void {
    const length = Math.min(this.remaining, chunk.length - this.at);
    this.remaining -= length;
    this.endDue = this.remaining === 0;
    this.handler.data(this.takePiece(chunk, length));
  }

  private readChunked(chunk: Buffer): void {
    const { chunks } = this;
    if (chunks.inData) {
      const length = Math.min(chunks.dataLeft, chunk.length - this.at);
      chunks.tookData(length);
      this.handler.data(this.takePiece(chunk, length));
      return;
    }
    const taken = chunks.readLine(chunk, this.at);
    if (typeof taken === 'string') {
      this.refuse(taken);
      return;
    }
    this.advance(chunk, taken);
    if (!chunks.ended) return;
    this.endDue = true;
    this.trailers = chunks.trailers;
  }
}

function grown(buffer: Buffer, used: number, bytes: number, bound: number): Buffer {
  if (bytes <= buffer.length) return buffer;
  const larger = Buffer.allocUnsafeSlow(Math.min(bound, Math.max(bytes, 2 * buffer.length)));
  buffer.copy(larger, 0, 0, used);
  return larger;
}
