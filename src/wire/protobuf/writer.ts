// Protobuf's wire format, written. Fields with their default value are left out, as proto3 does; the caller gives them in
// the order of their numbers. For the few small messages that node proxies send.

import { Buffer } from 'node:buffer';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;

/** What google.protobuf.Struct can hold. */
export type StructValue = null | boolean | number | string | readonly StructValue[] | StructFields;
export interface StructFields {
  readonly [key: string]: StructValue;
}

export class ProtoWriter {
  #pieces: Uint8Array[] = [];

  finish(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }

  string(field: number, value: string): this {
    return value === '' ? this : this.#delimited(field, Buffer.from(value, 'utf8'));
  }

  /** Also when it is empty: for members of a oneof, of lists and of maps. */
  stringAlways(field: number, value: string): this {
    return this.#delimited(field, Buffer.from(value, 'utf8'));
  }

  /** uint32, enumerations, and int64 that are not negative. */
  number(field: number, value: number): this {
    return value === 0 ? this : this.#tag(field, VARINT).#varint(value);
  }

  /** Also when the message is empty: presence is information. */
  message(field: number, write: (inner: ProtoWriter) => unknown): this {
    const inner = new ProtoWriter();
    write(inner);
    return this.#delimited(field, inner.finish());
  }

  stringMap(field: number, entries: Iterable<readonly [string, string]>): this {
    for (const [key, value] of entries) this.message(field, (entry) => entry.string(1, key).string(2, value));
    return this;
  }

  /** google.protobuf.Struct as a field. */
  struct(field: number, fields: StructFields): this {
    return this.message(field, (struct) => {
      for (const [key, value] of Object.entries(fields))
        struct.message(1, (entry) => entry.string(1, key).message(2, (inner) => inner.#structValue(value)));
    });
  }

  #structValue(value: StructValue): void {
    if (value === null) this.#tag(1, VARINT).#varint(0);
    else if (typeof value === 'boolean') this.#tag(4, VARINT).#varint(value ? 1 : 0);
    else if (typeof value === 'string') this.stringAlways(3, value);
    else if (typeof value === 'number') {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      this.#tag(2, FIXED64).#pieces.push(bytes);
    } else if (isList(value))
      this.message(6, (list) => {
        for (const item of value) list.message(1, (inner) => inner.#structValue(item));
      });
    else this.struct(5, value);
  }

  #tag(field: number, wireType: number): this {
    return this.#varint(field * 8 + wireType);
  }

  #varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be written`);
    const bytes: number[] = [];
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
    bytes.push(rest);
    this.#pieces.push(Uint8Array.from(bytes));
    return this;
  }

  #delimited(field: number, bytes: Uint8Array): this {
    this.#tag(field, LENGTH_DELIMITED).#varint(bytes.length);
    this.#pieces.push(bytes);
    return this;
  }
}

const isList = (value: readonly StructValue[] | StructFields): value is readonly StructValue[] => Array.isArray(value);
