// Protobuf's wire format (proto3 binary), read field by field into objects that the caller builds. The hot half of
// protobuf for node proxies: the library's reflective decoder takes 8 MB of each process and, on a first push of 10,000
// workloads, 2.4 times as long and 34 MB more than this. Who reads messages with it is held equal to the library by test.
//
// Leans to refusing: a field of another wire type than its schema's, a group, or a part that runs past its container ends
// the message. Bounded by the bytes given; depth is the caller's, since only what a schema names is descended into.

import { Buffer, isUtf8 } from 'node:buffer';
import type { UnknownEnum } from '@bufbuild/protobuf';

export class ProtoError extends Error {}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

export class ProtoReader {
  /** Number of the field that `next` found. */
  field = 0;
  readonly #bytes: Buffer;
  #wireType = 0;
  #at = 0;
  #end: number;

  /** @param bytes  not changed while read; `bytes()` gives views of it. `from` and `to` name a part, by `span` */
  constructor(bytes: Uint8Array, from = 0, to = bytes.byteLength) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = from;
    this.#end = to;
  }

  /** Goes to the next field of the message; false at its end. After true, exactly one value is read or skipped. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#tag();
    this.field = tag >>> 3;
    this.#wireType = tag & 7;
    if (this.field === 0) throw new ProtoError('field number 0');
    return true;
  }

  string(): string {
    const length = this.#length();
    const from = this.#at;
    this.#at += length;
    const text = this.#bytes.toString('utf8', from, this.#at);
    // What does not decode becomes U+FFFD, which may also stand there by right.
    if (text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(from, this.#at)))
      throw new ProtoError('text is not UTF-8');
    return text;
  }

  /** A view, which keeps the whole message alive for as long as it lives. */
  bytes(): Uint8Array {
    const length = this.#length();
    const from = this.#at;
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  /** Where a value lies, for a reader of its own later: two numbers are appended. */
  span(into: number[]): void {
    const length = this.#length();
    into.push(this.#at, this.#at + length);
    this.#at += length;
  }

  uint32(): number {
    this.#expect(VARINT);
    return this.#varint();
  }

  /** Any number: whether it names anything is for the caller to say. */
  enumeration(): UnknownEnum {
    this.#expect(VARINT);
    return (this.#varint() | 0) as unknown as UnknownEnum;
  }

  bool(): boolean {
    this.#expect(VARINT);
    let any = 0;
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte();
      any |= byte & 0x7f;
      if (byte < 0x80) return any !== 0;
    }
    throw new ProtoError('number of more than 10 bytes');
  }

  /** A repeated number, packed or one by one (a parser must take both). */
  enumerationList(into: unknown[]): void {
    this.#numbers(into, true);
  }
  uint32List(into: number[]): void {
    this.#numbers(into, false);
  }

  /** Reads an embedded message: `read` calls `next` until it is false. */
  message<T>(read: (reader: ProtoReader) => T): T {
    const length = this.#length();
    const outer = this.#end;
    this.#end = this.#at + length;
    const value = read(this);
    if (this.#at !== this.#end) throw new ProtoError('a value runs past its message');
    this.#end = outer;
    return value;
  }

  skip(): void {
    switch (this.#wireType) {
      case VARINT:
        this.#varint();
        return;
      case FIXED64:
        this.#advance(8);
        return;
      case LENGTH_DELIMITED:
        this.#advance(this.#length());
        return;
      case FIXED32:
        this.#advance(4);
        return;
      default:
        throw new ProtoError(`wire type ${this.#wireType} of field ${this.field}`);
    }
  }

  #numbers(into: unknown[], signed: boolean): void {
    if (this.#wireType !== LENGTH_DELIMITED) {
      into.push(signed ? this.enumeration() : this.uint32());
      return;
    }
    const length = this.#length();
    const end = this.#at + length;
    while (this.#at < end) {
      const value = this.#varint();
      into.push(signed ? value | 0 : value);
    }
    if (this.#at !== end) throw new ProtoError('a packed list runs past its end');
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType) throw new ProtoError(`wire type ${this.#wireType} of field ${this.field}`);
  }

  #advance(count: number): void {
    this.#at += count;
    if (this.#at > this.#end) throw new ProtoError('message ends early');
  }

  #length(): number {
    this.#expect(LENGTH_DELIMITED);
    const length = this.#varint();
    if (length > this.#end - this.#at) throw new ProtoError('message ends early');
    return length;
  }

  #byte(): number {
    const byte = this.#at < this.#end ? this.#bytes[this.#at++] : undefined;
    if (byte === undefined) throw new ProtoError('message ends early');
    return byte;
  }

  /** A field number has 29 bits: more is no tag. */
  #tag(): number {
    let value = this.#byte();
    if (value < 0x80) return value;
    value &= 0x7f;
    for (let shift = 7; shift < 35; shift += 7) {
      const byte = this.#byte();
      if (shift === 28 && byte > 0x0f) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new ProtoError('tag of more than 32 bits');
  }

  /** The low 32 bits, unsigned; a negative number of 32 bits comes in 10 bytes. */
  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new ProtoError('number of more than 10 bytes');
  }
}

/** A singular message given twice would have to be merged; no serializer writes that. */
export function once<T>(present: T | undefined, field: string): undefined {
  if (present !== undefined) throw new ProtoError(`${field} is given twice`);
}
