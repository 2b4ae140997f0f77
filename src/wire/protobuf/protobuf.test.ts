import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { ProtoError, ProtoReader } from './reader.ts';
import { ProtoWriter, type StructFields } from './writer.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

test('numbers, texts, bytes and booleans are read as the library writes them', () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.string({ unit: 'grapheme' }),
      fc.uint8Array(),
      fc.boolean(),
      (u, i, text, bytes, flag) => {
        const w = new BinaryWriter();
        w.tag(1, WireType.Varint).uint32(u).tag(2, WireType.Varint).int32(i);
        w.tag(300, WireType.LengthDelimited).string(text).tag(4, WireType.LengthDelimited).bytes(bytes);
        w.tag(5, WireType.Varint).bool(flag);
        const r = new ProtoReader(w.finish());
        const got: unknown[] = [];
        for (const read of [
          () => r.uint32(),
          () => r.enumeration(),
          () => r.string(),
          () => [...r.bytes()],
          () => r.bool(),
        ]) {
          assert.ok(r.next());
          got.push(r.field, read());
        }
        assert.deepEqual(got, [1, u, 2, i, 300, text, 4, [...bytes], 5, flag]);
        assert.equal(r.next(), false);
      },
    ),
  ));

test('what is skipped leaves the next field in its place', () => {
  const w = new BinaryWriter();
  w.tag(1, WireType.Bit64).fixed64(1n).tag(2, WireType.Bit32).fixed32(1).tag(3, WireType.LengthDelimited).string('abc');
  w.tag(4, WireType.Varint).int64(-1n).tag(5, WireType.Varint).uint32(7);
  const r = new ProtoReader(w.finish());
  for (let i = 0; i < 4; i++) {
    assert.ok(r.next());
    r.skip();
  }
  assert.ok(r.next());
  assert.equal(r.uint32(), 7);
});

const text = (r: ProtoReader): unknown => r.string();
const refused: { name: string; bytes: Uint8Array; read: (r: ProtoReader) => unknown }[] = [
  { name: 'a length beyond the end', bytes: hex('0a05 6161'), read: text },
  { name: 'a length of 4 GiB', bytes: hex('0a ffffffff0f 61'), read: text },
  { name: 'a tag of more than 32 bits', bytes: hex('8a80808010 01 61'), read: text },
  { name: 'a tag that ends early', bytes: hex('80'), read: text },
  { name: 'a number of 11 bytes', bytes: hex('08 ffffffffffffffffffffff01'), read: (r) => r.uint32() },
  { name: 'a boolean of 11 bytes', bytes: hex('08 ffffffffffffffffffffff01'), read: (r) => r.bool() },
  { name: 'a number that ends early', bytes: hex('08 ff'), read: (r) => r.uint32() },
  { name: 'a fixed number that ends early', bytes: hex('09 0102'), read: (r) => r.skip() },
  { name: 'a text where a number stands', bytes: hex('08 01'), read: text },
  { name: 'a number where a text stands', bytes: hex('0a 0161'), read: (r) => r.uint32() },
  { name: 'a text that is not UTF-8', bytes: hex('0a 01 ff'), read: text },
  { name: 'a group', bytes: hex('0b 0c'), read: (r) => r.skip() },
  { name: 'field number 0', bytes: hex('00 00'), read: (r) => r.skip() },
  { name: 'a packed list that runs past its end', bytes: hex('0a 01 80 01'), read: (r) => r.uint32List([]) },
  {
    name: 'an inner value that runs past its message',
    bytes: hex('0a 02 0a 05 6161616161'),
    read: (r) =>
      r.message((inner) => {
        while (inner.next()) inner.string();
      }),
  },
  {
    name: 'an inner number that runs past its message',
    bytes: hex('0a 02 08 ff 01'),
    read: (r) =>
      r.message((inner) => {
        while (inner.next()) inner.uint32();
      }),
  },
];
for (const c of refused)
  test(`refused: ${c.name}`, () => {
    const r = new ProtoReader(c.bytes);
    assert.throws(() => {
      r.next();
      c.read(r);
    }, ProtoError);
  });

test('any bytes: skipping through them ends, or is a ProtoError', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const r = new ProtoReader(bytes);
      try {
        while (r.next()) r.skip();
      } catch (error) {
        assert.ok(error instanceof ProtoError);
      }
    }),
  ));

test('written fields are read by the library', () => {
  const bytes = new ProtoWriter()
    .string(1, 'ä')
    .string(2, '')
    .stringAlways(3, '')
    .number(4, 0)
    .number(5, 2 ** 53 - 1)
    .message(200, (m) => m.number(1, 300))
    .stringMap(7, [['', 'v']])
    .finish();
  const r = new BinaryReader(bytes);
  const got: unknown[] = [];
  while (r.pos < r.len) {
    const [field, wire] = r.tag();
    got.push(field, wire === WireType.Varint ? r.uint64() : Buffer.from(r.bytes()).toString('hex'));
  }
  assert.deepEqual(got, [1, 'c3a4', 3, '', 5, 2n ** 53n - 1n, 200, '08ac02', 7, '120176']);
  assert.throws(() => new ProtoWriter().number(1, -1), RangeError);
});

test('structs are read by the library as they were given', () =>
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (fields) => {
      const bytes = new ProtoWriter().struct(1, fields as StructFields).finish();
      const r = new BinaryReader(bytes);
      r.tag();
      const struct = fromBinary(StructSchema, r.bytes());
      // By way of JSON text, which does not know -0.
      assert.equal(JSON.stringify(toJson(StructSchema, struct)), JSON.stringify(fields));
    }),
  ));
