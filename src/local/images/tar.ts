// Reads tar streams (POSIX ustar and pax, GNU long names), entry by entry, without holding more than a piece in memory.
// Strict about what it reads: a header whose checksum is wrong ends everything.

const BLOCK = 512;
const MAX_HEADER_DATA = 1 << 20;

export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';

export interface TarEntry {
  readonly path: string;
  readonly kind: TarKind;
  /** Permission bits. */
  readonly mode: number;
  readonly size: number;
  /** Where its contents begin in the stream. */
  readonly start: number;
  /** Target of a link. */
  readonly link: string;
  /** The contents; what is not read is skipped. */
  readonly data: AsyncIterable<Buffer>;
}

/** The archive is broken or of a kind that is not read. */
export class TarError extends Error {}

/** Bytes on demand from a stream of chunks. */
class Bytes {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);
  /** Bytes given out so far. */
  position = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** At most `max` bytes; empty at the end. */
  async some(max: number): Promise<Buffer> {
    while (this.#held.length === 0) {
      const next = await this.#source.next();
      if (next.done) return Buffer.alloc(0);
      this.#held = next.value;
    }
    const piece = this.#held.subarray(0, max);
    this.#held = this.#held.subarray(piece.length);
    this.position += piece.length;
    return piece;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** Exactly `count` bytes, or undefined when the stream ends before the first. */
  async exactly(count: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    for (let left = count; left > 0; ) {
      const piece = await this.some(left);
      if (piece.length === 0) {
        if (left === count) return undefined;
        throw new TarError('it ends in the middle of an entry');
      }
      parts.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(parts);
  }
}

const text = (block: Buffer, at: number, length: number): string => {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString('utf8');
};

/** Octal text, or the base-256 form of large numbers. */
function number(block: Buffer, at: number, length: number): number {
  if (((block[at] ?? 0) & 0x80) !== 0) {
    let value = (block[at] ?? 0) & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + (block[at + i] ?? 0);
    return value;
  }
  const digits = text(block, at, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw new TarError(`\`${digits}\` in a header is no number`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i] ?? 0;
  if (sum !== number(block, 148, 8)) throw new TarError('a header has a wrong checksum');
}

/** `<length> key=value\n` records. */
export function parsePax(data: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(data.subarray(at, space).toString('latin1'));
    if (!Number.isInteger(length) || length <= space - at || at + length > data.length)
      throw new TarError('an extended header is malformed');
    const record = data.subarray(space + 1, at + length - 1).toString('utf8');
    const equals = record.indexOf('=');
    if (equals > 0) records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

const KINDS: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'directory',
};

/** Entries in the order of the archive. Each must be done with before the next is asked for. @throws TarError */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const bytes = new Bytes(source);
  try {
    yield* entriesOf(bytes);
  } finally {
    await bytes.close();
  }
}

async function* entriesOf(bytes: Bytes): AsyncGenerator<TarEntry> {
  let pax = new Map<string, string>();
  let longName: string | undefined;
  let longLink: string | undefined;
  for (;;) {
    const block = await bytes.exactly(BLOCK);
    if (block === undefined || block.every((byte) => byte === 0)) return;
    checkSum(block);
    const type = String.fromCharCode(block[156] ?? 0);
    const size = pax.has('size') ? Number(pax.get('size')) : number(block, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw new TarError('an entry has no valid size');
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      if (size > MAX_HEADER_DATA) throw new TarError('an extended header is too large');
      const data = (await bytes.exactly(size)) ?? Buffer.alloc(0);
      await bytes.exactly(padding);
      if (type === 'x') pax = parsePax(data);
      else if (type === 'L') longName = text(data, 0, data.length);
      else if (type === 'K') longLink = text(data, 0, data.length);
      continue;
    }
    const prefix = text(block, 257, 5) === 'ustar' ? text(block, 345, 155) : '';
    const name = text(block, 0, 100);
    let left = KINDS[type] === 'file' || KINDS[type] === undefined ? size : 0;
    const skip = left + (left > 0 ? padding : 0);
    const data = (async function* () {
      while (left > 0) {
        const piece = await bytes.some(left);
        if (piece.length === 0) throw new TarError('it ends in the middle of a file');
        left -= piece.length;
        yield piece;
      }
    })();
    yield {
      path: pax.get('path') ?? longName ?? (prefix === '' ? name : `${prefix}/${name}`),
      kind: KINDS[type] ?? 'other',
      mode: number(block, 100, 8) & 0o7777,
      size: left,
      start: bytes.position,
      link: pax.get('linkpath') ?? longLink ?? text(block, 157, 100),
      data,
    };
    for await (const _ of data); // what the caller did not read
    if (skip > 0) await bytes.exactly(padding);
    pax = new Map();
    longName = undefined;
    longLink = undefined;
  }
}
