// Reads a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3) as far as a proxy needs it: the server name and the protocols on
// offer. Bounded, total, nothing is copied but two lists of names.

export interface ClientHello {
  readonly kind: 'hello';
  /** In lower case; undefined: the client names none. */
  readonly serverName: string | undefined;
  readonly protocols: readonly string[];
}

/** `partial`: more bytes may make it one. */
export type ReadHello = ClientHello | { readonly kind: 'partial' } | { readonly kind: 'none' };

const PARTIAL: ReadHello = { kind: 'partial' };
const NONE: ReadHello = { kind: 'none' };
const HANDSHAKE = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const ALPN = 16;
const MAX_RECORD_BYTES = 16 << 10;
const NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?$/;

export function readClientHello(bytes: Buffer): ReadHello {
  const message = handshakeMessage(bytes);
  if (!Buffer.isBuffer(message)) return message;
  try {
    return readBody(new Cursor(message));
  } catch (error) {
    if (error instanceof RangeError) return NONE;
    throw error;
  }
}

/** The first handshake message, which may lie in several records. */
function handshakeMessage(bytes: Buffer): Buffer | ReadHello {
  const pieces: Buffer[] = [];
  let gathered = 0;
  for (let at = 0; ; ) {
    if (bytes.length < at + 1) return PARTIAL;
    if (bytes[at] !== HANDSHAKE) return NONE;
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return NONE;
    if (bytes.length < at + 5) return PARTIAL;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD_BYTES) return NONE;
    const piece = bytes.subarray(at + 5, at + 5 + length);
    pieces.push(piece);
    gathered += piece.length;
    const message = pieces.length === 1 ? piece : Buffer.concat(pieces);
    if (message.length > 0 && message[0] !== CLIENT_HELLO) return NONE;
    if (message.length >= 4) {
      const total = 4 + message.readUIntBE(1, 3);
      if (total > MAX_RECORD_BYTES) return NONE;
      if (gathered >= total) return message.subarray(4, total);
    }
    if (piece.length < length) return PARTIAL;
    at += 5 + length;
  }
}

/** Throws RangeError beyond its end. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }
  number(size: 1 | 2): number {
    const value = this.#bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return value;
  }
  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new RangeError('beyond the end');
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
  vector(size: 1 | 2): Cursor {
    return new Cursor(this.take(this.number(size)));
  }
  text(): string {
    return this.#bytes.toString('latin1', this.#at);
  }
}

function readBody(body: Cursor): ReadHello {
  body.take(2 + 32); // version, random
  body.vector(1); // session
  body.vector(2); // suites
  body.vector(1); // compression
  let serverName: string | undefined;
  const protocols: string[] = [];
  if (body.done) return { kind: 'hello', serverName, protocols };
  const extensions = body.vector(2);
  while (!extensions.done) {
    const type = extensions.number(2);
    const extension = extensions.vector(2);
    if (type === SERVER_NAME) serverName = readServerName(extension.vector(2));
    else if (type === ALPN) for (const list = extension.vector(2); !list.done; ) protocols.push(list.vector(1).text());
  }
  return { kind: 'hello', serverName, protocols };
}

function readServerName(list: Cursor): string | undefined {
  while (!list.done) {
    const type = list.number(1);
    const name = list.vector(2).text();
    if (type !== HOST_NAME) continue;
    if (!NAME.test(name)) throw new RangeError('no host name');
    return name.toLowerCase().replace(/\.$/, '');
  }
  return undefined;
}
