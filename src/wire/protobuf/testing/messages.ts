// Random messages of any schema, and messages of the library as plain objects: for tests that hold hand-written readers and
// writers equal to the library, field by field of the schema as it is now.

import { create, type DescField, type DescMessage, type Message, type MessageShape } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import fc from 'fast-check';

const text = fc.string({ unit: 'grapheme', maxLength: 6 });
const u32 = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 0xffffffff }));
const enumeration = fc.oneof(fc.integer({ min: 0, max: 7 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }));

const scalar = (typeName: string): fc.Arbitrary<unknown> => {
  switch (typeName) {
    case 'string':
      return text;
    case 'bytes':
      return fc.uint8Array({ maxLength: 17 });
    case 'bool':
      return fc.boolean();
    case 'uint32':
      return u32;
    case 'int32':
      return enumeration;
    case 'int64':
      return fc.bigInt({ min: 0n, max: 2n ** 53n - 1n });
    default:
      throw new Error(`no random values for ${typeName}`);
  }
};
/** Names of `ScalarType` that our schemas use. */
const SCALARS: Readonly<Record<number, string>> = {
  3: 'int64',
  5: 'int32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
  13: 'uint32',
};

function fieldValue(field: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case 'scalar':
      return scalar(SCALARS[field.scalar] ?? String(field.scalar));
    case 'enum':
      return enumeration;
    case 'message':
      return messageOf(field.message, depth - 1);
    case 'list':
      return fc.array(
        field.listKind === 'message'
          ? messageOf(field.message, depth - 1)
          : field.listKind === 'enum'
            ? enumeration
            : scalar(SCALARS[field.scalar] ?? ''),
        { maxLength: 3 },
      );
    case 'map':
      return fc.dictionary(
        text,
        field.mapKind === 'message' ? messageOf(field.message, depth - 1) : scalar(SCALARS[field.scalar ?? 0] ?? ''),
        { maxKeys: 3 },
      );
  }
}

/** Every field of the schema is set in about two of three messages. */
export function messageOf<D extends DescMessage>(schema: D, depth = 8): fc.Arbitrary<MessageShape<D>> {
  if (depth < 0) return fc.constant(create(schema));
  const fields = schema.fields.map((field) => fc.option(fieldValue(field, depth), { nil: undefined, freq: 2 }));
  return fc.tuple(...fields).map((values) => {
    const message = create(schema);
    const reflected = reflect(schema, message);
    schema.fields.forEach((field, i) => {
      const value = values[i];
      if (value === undefined) return;
      if (field.fieldKind === 'list') {
        const list = reflected.get(field);
        for (const item of value as unknown[])
          list.add((field.listKind === 'message' ? reflect(field.message, item as Message) : item) as never);
      } else if (field.fieldKind === 'map') {
        const map = reflected.get(field);
        for (const [key, item] of Object.entries(value as object))
          map.set(key, (field.mapKind === 'message' ? reflect(field.message, item as Message) : item) as never);
      } else if (field.fieldKind === 'message') reflected.set(field, reflect(field.message, value as Message) as never);
      else reflected.set(field, value as never);
    });
    return message;
  });
}

/** Own and inherited fields alike, undefined ones left out, bytes as lists of numbers. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const key in value as object) {
    const item = (value as Record<string, unknown>)[key];
    if (item !== undefined && key !== '$unknown') out[key] = plain(item);
  }
  return out;
}
