// HPACK (RFC 7541): a complete decoder (static and dynamic table, Huffman, size updates) and a plain encoder (static
// table and literals without indexing: a tunnel's head is sent once, so a dynamic table would cost more than it saves).
// Runs per tunnel. Bounded: tables by TABLE_BYTES, a list by the caller's limit, integers by 2^28.

import { Buffer } from 'node:buffer';
import { decodeHuffman, huffmanBound } from './huffman.ts';
import { STATIC_TABLE } from './static-table.ts';

/** Our SETTINGS_HEADER_TABLE_SIZE: the protocol's default. */
export const TABLE_BYTES = 4096;

/** Size that every field adds to lists and tables beyond its text (RFC 7541 §4.1). */
const FIELD_OVERHEAD = 32;

export type Field = readonly [name: string, value: string];

/**
 * fields    the list
 * oversize  well formed, but larger than the limit; the tables are up to date all the same
 * broken    a decoding error: fatal for the connection (COMPRESSION_ERROR)
 */
export type DecodedBlock =
  | { readonly kind: 'fields'; readonly fields: Field[] }
  | { readonly kind: 'oversize' }
  | { readonly kind: 'broken'; readonly why: string };

/** Stands where an evicted entry stood. */
const NOTHING: Field = ['', ''];

class Broken extends Error {}

/** Strings up to this many bytes decode without allocating. Nothing is kept in it between calls. */
const scratch = Buffer.alloc(4096);

export class HpackDecoder {
  /** Newest last; the table's entries are those from `oldest` on. */
  private entries: Field[] = [];
  private oldest = 0;
  private tableBytes = 0;
  private tableLimit = TABLE_BYTES;
  private block: Buffer = scratch;
  private at = 0;

  /** Decodes one whole header block. `maxListBytes` counts as RFC 9113 §6.5.2 does. */
  decode(block: Buffer, maxListBytes: number): DecodedBlock {
    this.block = block;
    this.at = 0;
    try {
      return this.fields(maxListBytes);
    } catch (error) {
      if (error instanceof Broken) return { kind: 'broken', why: error.message };
      throw error;
    } finally {
      this.block = scratch;
    }
  }

  private fields(maxListBytes: number): DecodedBlock {
    const fields: Field[] = [];
    let listBytes = 0;
    while (this.at < this.block.length) {
      const first = this.block[this.at] as number;
      let field: Field;
      if (first >= 0x80) field = this.entry(this.integer(0x7f));
      else if (first >= 0x40) {
        field = this.literal(0x3f);
        this.insert(field);
      } else if (first >= 0x20) {
        // RFC 7541 §4.2: only at the beginning of a block
        if (listBytes > 0) throw new Broken('table size update after a field');
        this.resize(this.integer(0x1f));
        continue;
      } else field = this.literal(0x0f);
      listBytes += field[0].length + field[1].length + FIELD_OVERHEAD;
      if (listBytes <= maxListBytes) fields.push(field);
    }
    return listBytes <= maxListBytes ? { kind: 'fields', fields } : { kind: 'oversize' };
  }

  private entry(index: number): Field {
    if (index > 0 && index < STATIC_TABLE.length) return STATIC_TABLE[index] as Field;
    const at = this.entries.length - (index - STATIC_TABLE.length + 1);
    const entry = index === 0 || at < this.oldest ? undefined : this.entries[at];
    if (entry === undefined) throw new Broken(`no table entry ${index}`);
    return entry;
  }

  private literal(mask: number): Field {
    const index = this.integer(mask);
    const name = index === 0 ? this.string() : this.entry(index)[0];
    return [name, this.string()];
  }

  /** RFC 7541 §5.1. More than four continuation bytes say nothing that a header block could mean. */
  private integer(mask: number): number {
    let value = (this.block[this.at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.block[this.at++];
      if (byte === undefined) throw new Broken('integer cut off');
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Broken('integer too large');
  }

  private string(): string {
    const first = this.block[this.at];
    if (first === undefined) throw new Broken('string missing');
    const length = this.integer(0x7f);
    const start = this.at;
    const end = start + length;
    if (end > this.block.length) throw new Broken('string cut off');
    this.at = end;
    if (first < 0x80) return this.block.toString('latin1', start, end);
    const bound = huffmanBound(length);
    const output = bound <= scratch.length ? scratch : Buffer.allocUnsafe(bound);
    const bytes = decodeHuffman(this.block, start, end, output);
    if (bytes < 0) throw new Broken('string is not Huffman code');
    return output.toString('latin1', 0, bytes);
  }

  private insert(field: Field): void {
    const size = field[0].length + field[1].length + FIELD_OVERHEAD;
    this.evict(this.tableLimit - size);
    if (size > this.tableLimit) return; // RFC 7541 §4.4: empties the table, and is no error
    this.entries.push(field);
    this.tableBytes += size;
  }

  private resize(limit: number): void {
    if (limit > TABLE_BYTES) throw new Broken(`table size ${limit} above ${TABLE_BYTES}`);
    this.tableLimit = limit;
    this.evict(limit);
  }

  private evict(target: number): void {
    while (this.tableBytes > target && this.oldest < this.entries.length) {
      const [name, value] = this.entries[this.oldest] as Field;
      this.entries[this.oldest++] = NOTHING;
      this.tableBytes -= name.length + value.length + FIELD_OVERHEAD;
    }
    if (this.oldest >= 64) {
      this.entries = this.entries.slice(this.oldest);
      this.oldest = 0;
    }
  }
}

/** Index of names in the static table, and of whole fields in it. */
const NAME_INDEX = new Map<string, number>();
const FIELD_INDEX = new Map<string, number>();
STATIC_TABLE.forEach(([name, value], index) => {
  if (index === 0) return;
  if (!NAME_INDEX.has(name)) NAME_INDEX.set(name, index);
  if (value !== '') FIELD_INDEX.set(`${name}\0${value}`, index);
});

/** Anything that is no field text: control bytes, and characters beyond latin1 (RFC 9113 §8.2.1). */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Encodes a header list, stateless.
 * @throws Error when a value holds characters that no header field may carry
 */
export function encodeHeaders(fields: readonly Field[]): Buffer {
  let bound = 0;
  for (const [name, value] of fields) bound += name.length + value.length + 12;
  const out = Buffer.allocUnsafe(bound);
  let at = 0;
  for (const [name, value] of fields) {
    const whole = FIELD_INDEX.get(`${name}\0${value}`);
    if (whole !== undefined) {
      at = putInteger(out, at, 0x80, 0x7f, whole);
      continue;
    }
    const index = NAME_INDEX.get(name) ?? 0;
    at = putInteger(out, at, 0x00, 0x0f, index);
    if (index === 0) at = putString(out, at, name);
    at = putString(out, at, value);
  }
  return out.subarray(0, at);
}

function putString(out: Buffer, at: number, text: string): number {
  if (UNSENDABLE.test(text)) throw new Error('header field holds a character that no field may carry');
  const start = putInteger(out, at, 0x00, 0x7f, text.length);
  return start + out.write(text, start, 'latin1');
}

function putInteger(out: Buffer, at: number, pattern: number, mask: number, value: number): number {
  if (value < mask) {
    out[at] = pattern | value;
    return at + 1;
  }
  out[at++] = pattern | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}
