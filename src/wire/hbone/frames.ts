// HTTP/2 frames (RFC 9113 §4, §6): cutting the incoming bytes into frames, and building the small outgoing ones.
// Runs per chunk of TLS data. DATA payload is handed on in the pieces in which it arrives and never copied; any other
// frame is handed on whole, its payload a view of the chunk unless the frame was cut. What a peer makes us hold is at most
// one non-DATA frame, whose length was checked against `FrameHandler.frameBound` before the first byte was kept.

import { Buffer } from 'node:buffer';
import { ERROR_CODES, type ErrorCode, type Fault, fault } from './errors.ts';

export const FRAME_HEADER_BYTES = 9;
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const DATA = 0x0;
export const HEADERS = 0x1;
export const PRIORITY = 0x2;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PUSH_PROMISE = 0x5;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

export const END_STREAM = 0x1; // DATA, HEADERS
export const ACK = 0x1; // SETTINGS, PING
export const END_HEADERS = 0x4; // HEADERS, CONTINUATION
export const PADDED = 0x8; // DATA, HEADERS
export const PRIORITY_FLAG = 0x20; // HEADERS

export const ENABLE_PUSH = 0x2;
export const MAX_CONCURRENT_STREAMS = 0x3;
export const INITIAL_WINDOW_SIZE = 0x4;
export const MAX_FRAME_SIZE = 0x5;
export const MAX_HEADER_LIST_SIZE = 0x6;
export const ENABLE_CONNECT_PROTOCOL = 0x8;

export const DEFAULT_WINDOW_BYTES = 65_535;
export const DEFAULT_FRAME_BYTES = 16_384;
export const MAX_WINDOW_BYTES = 0x7fff_ffff;
export const MAX_STREAM_ID = 0x7fff_ffff;

/** Receives what the reader finds. A method that ends the connection must make `stopped` true. */
export interface FrameHandler {
  /** True once nothing more is wanted; the reader then drops the rest. */
  readonly stopped: boolean;
  /** Most payload bytes that this frame may have, or why it may not come at all. */
  frameBound(type: number, flags: number, streamId: number): number | Fault;
  /** A DATA frame begins; `length` is its whole payload with padding, all of which counts against windows. */
  dataBegins(streamId: number, length: number, endStream: boolean): void;
  /** A piece of the current DATA frame's data. */
  dataPiece(piece: Buffer): void;
  /** The current DATA frame is over; `padding` of its bytes, counting the length octet, were no data. */
  dataEnds(padding: number): void;
  /** Any other frame of a known type, whole. */
  frame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** A frame of a type that nobody knows: ignored (RFC 9113 §4.1), but counted. */
  unknownFrame(): void;
  /** The bytes break the rules of framing; fatal for the connection. */
  framingError(found: Fault): void;
}

type Phase = 'preface' | 'header' | 'payload' | 'padLength' | 'data' | 'skip';

export class FrameReader {
  private readonly handler: FrameHandler;
  private readonly head: Buffer = Buffer.alloc(FRAME_HEADER_BYTES);
  private phase: Phase;
  /** Bytes of the preface or of `head` that have arrived. */
  private have = 0;
  /** Bytes still to come of the payload, of the data, or of what is skipped. */
  private left = 0;
  private padding = 0;
  private paddingTotal = 0;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private inData = false;
  /** A payload that arrives in several chunks. */
  private partial: Buffer | undefined;

  constructor(handler: FrameHandler, expectPreface: boolean) {
    this.handler = handler;
    this.phase = expectPreface ? 'preface' : 'header';
  }

  /** Reads `chunk` to its end, or until the handler stops. */
  read(chunk: Buffer): void {
    const handler = this.handler;
    const end = chunk.length;
    let at = 0;
    while (at < end && !handler.stopped) {
      switch (this.phase) {
        case 'header':
          if (this.have === 0 && end - at >= FRAME_HEADER_BYTES) {
            this.begin(chunk, at);
            at += FRAME_HEADER_BYTES;
          } else {
            const take = Math.min(FRAME_HEADER_BYTES - this.have, end - at);
            chunk.copy(this.head, this.have, at, at + take);
            this.have += take;
            at += take;
            if (this.have < FRAME_HEADER_BYTES) return;
            this.have = 0;
            this.begin(this.head, 0);
          }
          break;
        case 'data': {
          const take = Math.min(this.left, end - at);
          this.left -= take;
          handler.dataPiece(take === end ? chunk : chunk.subarray(at, at + take));
          at += take;
          if (this.left === 0 && !handler.stopped) this.afterData();
          break;
        }
        case 'payload':
          at = this.payload(chunk, at);
          break;
        case 'padLength':
          this.padLength(chunk[at++] as number);
          break;
        case 'skip': {
          const take = Math.min(this.left, end - at);
          this.left -= take;
          at += take;
          if (this.left === 0) this.afterSkip();
          break;
        }
        case 'preface':
          at = this.preface(chunk, at);
          break;
      }
    }
  }

  private begin(bytes: Buffer, at: number): void {
    const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const streamId = bytes.readUInt32BE(at + 5) & MAX_STREAM_ID;
    const bound = this.handler.frameBound(type, flags, streamId);
    if (typeof bound !== 'number') {
      this.handler.framingError(bound);
      return;
    }
    if (length > bound) {
      const why = `frame of type ${type} has ${length} bytes, at most ${bound} are allowed`;
      this.handler.framingError(fault('FRAME_SIZE_ERROR', why));
      return;
    }
    if (type === DATA) this.beginData(streamId, length, flags);
    else if (type > CONTINUATION) {
      this.handler.unknownFrame();
      this.left = length;
      this.inData = false;
      if (length > 0) this.phase = 'skip';
    } else {
      this.type = type;
      this.flags = flags;
      this.streamId = streamId;
      this.left = length;
      if (length > 0) this.phase = 'payload';
      else this.handler.frame(type, flags, streamId, EMPTY);
    }
  }

  private beginData(streamId: number, length: number, flags: number): void {
    this.padding = 0;
    this.paddingTotal = 0;
    this.left = length;
    if ((flags & PADDED) !== 0 && length === 0) {
      this.handler.framingError(fault('FRAME_SIZE_ERROR', 'padded DATA frame without a pad length'));
      return;
    }
    this.handler.dataBegins(streamId, length, (flags & END_STREAM) !== 0);
    if (this.handler.stopped) return;
    if ((flags & PADDED) !== 0) this.phase = 'padLength';
    else if (length > 0) this.phase = 'data';
    else this.handler.dataEnds(0);
  }

  private padLength(padding: number): void {
    this.left -= 1;
    if (padding > this.left) {
      this.handler.framingError(fault('PROTOCOL_ERROR', `padding of ${padding} bytes in ${this.left}`)); // RFC 9113 §6.1
      return;
    }
    this.padding = padding;
    this.paddingTotal = padding + 1;
    this.left -= padding;
    if (this.left > 0) this.phase = 'data';
    else this.afterData();
  }

  private afterData(): void {
    if (this.padding > 0) {
      this.left = this.padding;
      this.inData = true;
      this.phase = 'skip';
      return;
    }
    this.phase = 'header';
    this.handler.dataEnds(this.paddingTotal);
  }

  private afterSkip(): void {
    this.phase = 'header';
    if (this.inData) {
      this.inData = false;
      this.handler.dataEnds(this.paddingTotal);
    }
  }

  private payload(chunk: Buffer, at: number): number {
    const take = Math.min(this.left, chunk.length - at);
    if (this.partial === undefined) {
      if (take === this.left) {
        this.phase = 'header';
        this.left = 0;
        this.handler.frame(this.type, this.flags, this.streamId, chunk.subarray(at, at + take));
        return at + take;
      }
      this.partial = Buffer.allocUnsafeSlow(this.left); // not from the shared pool: a trickling peer would pin all of it
    }
    const whole = this.partial;
    chunk.copy(whole, whole.length - this.left, at, at + take);
    this.left -= take;
    if (this.left === 0) {
      this.partial = undefined;
      this.phase = 'header';
      this.handler.frame(this.type, this.flags, this.streamId, whole);
    }
    return at + take;
  }

  /** The client's preface is compared byte by byte, so that plain HTTP/1 is refused at its first line. */
  private preface(chunk: Buffer, at: number): number {
    const take = Math.min(PREFACE.length - this.have, chunk.length - at);
    if (PREFACE.compare(chunk, at, at + take, this.have, this.have + take) !== 0) {
      this.handler.framingError(fault('PROTOCOL_ERROR', 'the connection does not begin with the HTTP/2 preface'));
      return chunk.length;
    }
    this.have += take;
    if (this.have === PREFACE.length) {
      this.have = 0;
      this.phase = 'header';
    }
    return at + take;
  }
}

const EMPTY = Buffer.alloc(0);

/** Writes a 9-byte frame header at `at`. Hot: one per outgoing frame. */
export function putFrameHeader(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
  target[at + 3] = type;
  target[at + 4] = flags;
  target[at + 5] = streamId >>> 24;
  target[at + 6] = streamId >>> 16;
  target[at + 7] = streamId >>> 8;
  target[at + 8] = streamId;
}

function build(type: number, flags: number, streamId: number, length: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length);
  putFrameHeader(frame, 0, length, type, flags, streamId);
  return frame;
}

export function settingsFrame(entries: readonly (readonly [id: number, value: number])[]): Buffer {
  const frame = build(SETTINGS, 0, 0, 6 * entries.length);
  entries.forEach(([id, value], i) => {
    frame.writeUInt16BE(id, FRAME_HEADER_BYTES + 6 * i);
    frame.writeUInt32BE(value, FRAME_HEADER_BYTES + 6 * i + 2);
  });
  return frame;
}

export const settingsAckFrame = (): Buffer => build(SETTINGS, ACK, 0, 0);

/** @param opaque 8 bytes */
export function pingFrame(opaque: Uint8Array, ack: boolean): Buffer {
  const frame = build(PING, ack ? ACK : 0, 0, 8);
  frame.set(opaque, FRAME_HEADER_BYTES);
  return frame;
}

/** @param debug ASCII, kept short by the caller */
export function goawayFrame(lastStreamId: number, code: ErrorCode, debug: string): Buffer {
  const frame = build(GOAWAY, 0, 0, 8 + debug.length);
  frame.writeUInt32BE(lastStreamId, FRAME_HEADER_BYTES);
  frame.writeUInt32BE(ERROR_CODES[code], FRAME_HEADER_BYTES + 4);
  frame.write(debug, FRAME_HEADER_BYTES + 8, 'latin1');
  return frame;
}

export function resetFrame(streamId: number, code: ErrorCode): Buffer {
  const frame = build(RST_STREAM, 0, streamId, 4);
  frame.writeUInt32BE(ERROR_CODES[code], FRAME_HEADER_BYTES);
  return frame;
}

export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  const frame = build(WINDOW_UPDATE, 0, streamId, 4);
  frame.writeUInt32BE(increment, FRAME_HEADER_BYTES);
  return frame;
}

/** HEADERS, and CONTINUATION frames when the block is larger than the peer's frames may be. */
export function headersFrames(streamId: number, block: Uint8Array, endStream: boolean, maxFrameBytes: number): Buffer {
  const count = Math.max(1, Math.ceil(block.length / maxFrameBytes));
  const out = Buffer.allocUnsafe(block.length + count * FRAME_HEADER_BYTES);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const part = block.subarray(i * maxFrameBytes, (i + 1) * maxFrameBytes);
    const flags = (i === 0 && endStream ? END_STREAM : 0) | (i === count - 1 ? END_HEADERS : 0);
    putFrameHeader(out, at, part.length, i === 0 ? HEADERS : CONTINUATION, flags, streamId);
    out.set(part, at + FRAME_HEADER_BYTES);
    at += FRAME_HEADER_BYTES + part.length;
  }
  return out;
}
