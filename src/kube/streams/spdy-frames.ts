// SPDY/3.1 frames, as far as `kubectl port-forward` speaks them (draft-mbelshe-httpbis-spdy-00, sections 2.2 and 2.6):
// encoding and decoding, no I/O. Header blocks are one zlib stream a direction, with the draft's dictionary.

import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';

export type SpdyFrame =
  | { readonly kind: 'data'; readonly stream: number; readonly fin: boolean; readonly data: Buffer }
  | { readonly kind: 'synStream'; readonly stream: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly kind: 'rst'; readonly stream: number; readonly status: number }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'goaway' }
  | { readonly kind: 'other'; readonly type: number };

const VERSION = 3;
const HEADER_BYTES = 8;
const FLAG_FIN = 1;
const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const PING = 6;
const GOAWAY = 7;
/** A frame that is larger ends the connection; kubectl's data frames are at most 32 KiB. */
export const MAX_FRAME_BYTES = 1 << 20;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 64;

/** A peer that breaks the protocol. */
export class SpdyError extends Error {}

/** Cuts bytes into frames, however they were cut before. */
export class SpdyDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws SpdyError */
  *decode(bytes: Buffer): Generator<SpdyFrame> {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= HEADER_BYTES) {
      const length = this.#rest.readUIntBE(5, 3);
      if (length > MAX_FRAME_BYTES) throw new SpdyError(`a frame of ${length} bytes`);
      if (this.#rest.length < HEADER_BYTES + length) return;
      const frame = this.#rest.subarray(0, HEADER_BYTES + length);
      this.#rest = this.#rest.subarray(HEADER_BYTES + length);
      yield decodeFrame(frame);
    }
  }
}

function decodeFrame(frame: Buffer): SpdyFrame {
  const first = frame.readUInt32BE(0);
  const fin = (frame[4]! & FLAG_FIN) !== 0;
  const payload = frame.subarray(HEADER_BYTES);
  if (first >>> 31 === 0) return { kind: 'data', stream: first, fin, data: payload };
  const version = (first >>> 16) & 0x7fff;
  if (version !== VERSION) throw new SpdyError(`SPDY version ${version}`);
  const type = first & 0xffff;
  const id = () => {
    if (payload.length < 4) throw new SpdyError(`a control frame of type ${type} with ${payload.length} bytes`);
    return payload.readUInt32BE(0) & 0x7fffffff;
  };
  switch (type) {
    case SYN_STREAM:
      if (payload.length < 10) throw new SpdyError('a SYN_STREAM that is cut short');
      return { kind: 'synStream', stream: id(), fin, block: payload.subarray(10) };
    case RST_STREAM:
      return { kind: 'rst', stream: id(), status: payload.length >= 8 ? payload.readUInt32BE(4) : 0 };
    case PING:
      return { kind: 'ping', id: id() };
    case GOAWAY:
      return { kind: 'goaway' };
    default:
      return { kind: 'other', type };
  }
}

export function dataFrame(stream: number, data: Buffer, fin: boolean): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  frame.writeUInt32BE(stream, 0);
  frame[4] = fin ? FLAG_FIN : 0;
  frame.writeUIntBE(data.length, 5, 3);
  data.copy(frame, HEADER_BYTES);
  return frame;
}

function controlFrame(type: number, flags: number, ...parts: Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8000 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header[4] = flags;
  header.writeUIntBE(
    parts.reduce((sum, part) => sum + part.length, 0),
    5,
    3,
  );
  return Buffer.concat([header, ...parts]);
}

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0, 0);
  return bytes;
};

export const synReplyFrame = (stream: number, block: Buffer): Buffer => controlFrame(SYN_REPLY, 0, word(stream), block);
export const rstFrame = (stream: number, status: number): Buffer =>
  controlFrame(RST_STREAM, 0, word(stream), word(status));
export const pingFrame = (id: number): Buffer => controlFrame(PING, 0, word(id));
export const goawayFrame = (lastStream: number): Buffer => controlFrame(GOAWAY, 0, word(lastStream), word(0));
/** Used by tests, which are the client. */
export const synStreamFrame = (stream: number, block: Buffer, fin: boolean): Buffer =>
  controlFrame(SYN_STREAM, fin ? FLAG_FIN : 0, word(stream), word(0), Buffer.alloc(2), block);

/** Header blocks out of the wire; calls must not overlap, for the zlib stream has one state. */
export class HeaderReader {
  readonly #inflate: Inflate = createInflate({ dictionary });

  async read(block: Buffer): Promise<Map<string, string>> {
    return parseHeaders(await throughZlib(this.#inflate, block, MAX_HEADER_BYTES));
  }

  close(): void {
    this.#inflate.destroy();
  }
}

export class HeaderWriter {
  readonly #deflate: Deflate = createDeflate({ dictionary });

  write(headers: ReadonlyMap<string, string>): Promise<Buffer> {
    const parts = [word(headers.size)];
    for (const [name, value] of headers)
      for (const text of [name, value]) parts.push(word(Buffer.byteLength(text)), Buffer.from(text));
    return throughZlib(this.#deflate, Buffer.concat(parts), MAX_FRAME_BYTES);
  }

  close(): void {
    this.#deflate.destroy();
  }
}

/** One message through a zlib stream that stays open. */
function throughZlib(stream: Inflate | Deflate, input: Buffer, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    let size = 0;
    const finish = (settle: () => void) => {
      stream.off('data', onData);
      stream.off('error', onError);
      stream.off('close', onClose);
      settle();
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) finish(() => reject(new SpdyError(`headers of more than ${maxBytes} bytes`)));
      else out.push(chunk);
    };
    const onError = (error: Error) =>
      finish(() => reject(new SpdyError(`headers that do not inflate: ${error.message}`)));
    const onClose = () => finish(() => reject(new SpdyError('the connection was closed')));
    stream.on('data', onData);
    stream.on('error', onError);
    stream.on('close', onClose);
    stream.write(input, () => stream.flush(constants.Z_SYNC_FLUSH, () => finish(() => resolve(Buffer.concat(out)))));
  });
}

function parseHeaders(block: Buffer): Map<string, string> {
  let at = 0;
  const number = () => {
    if (at + 4 > block.length) throw new SpdyError('headers that are cut short');
    const value = block.readUInt32BE(at);
    at += 4;
    return value;
  };
  const text = () => {
    const length = number();
    if (at + length > block.length) throw new SpdyError('headers that are cut short');
    at += length;
    return block.toString('utf8', at - length, at);
  };
  const count = number();
  if (count > MAX_HEADERS) throw new SpdyError(`${count} headers`);
  const headers = new Map<string, string>();
  for (let i = 0; i < count; i++) headers.set(text().toLowerCase(), text());
  return headers;
}

const WORDS =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow ' +
  'authorization cache-control connection content-base content-encoding content-language content-length ' +
  'content-location content-md5 content-range content-type date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma ' +
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status';
const MORE_WORDS = ['200 OK', ...'version HTTP/1.1 url public set-cookie keep-alive origin'.split(' ')];
const TEXT =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized' +
  '403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable' +
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT' +
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,' +
  'publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

/** The dictionary of the draft, section 2.6.10.1: words with their lengths, then text that is often in headers. */
export const dictionary: Buffer = Buffer.concat([
  ...[...WORDS.split(' '), ...MORE_WORDS].flatMap((entry) => [word(entry.length), Buffer.from(entry)]),
  Buffer.from(TEXT),
]);
