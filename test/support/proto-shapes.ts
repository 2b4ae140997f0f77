// Protobuf messages for the test programs, read and written by a table of field numbers: apart from the product's own
// writers, so that a wrong number there does not agree with itself.

import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

type Kind = 'string' | 'hex' | 'number' | 'bool' | 'fixed64' | 'fixed32' | Shape;
/** Field number -> name and kind; `[]` after the name: repeated. */
export interface Shape {
  readonly [field: number]: readonly [name: string, kind: Kind];
}
export type Shaped = { [name: string]: string | number | boolean | Shaped | (string | Shaped)[] };

export function decode(shape: Shape, bytes: Uint8Array): Shaped {
  const reader = new BinaryReader(bytes);
  const message: Shaped = {};
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const known = shape[field];
    if (known === undefined) throw new Error(`field ${field} (wire type ${wireType}) is not known`);
    const [name, kind] = known;
    const value = decodeValue(reader, kind);
    if (!name.endsWith('[]')) {
      message[name] = value;
      continue;
    }
    const key = name.slice(0, -2);
    const list = (message[key] ?? []) as Shaped[];
    list.push(value as Shaped);
    message[key] = list;
  }
  return message;
}

function decodeValue(reader: BinaryReader, kind: Kind): string | number | boolean | Shaped {
  switch (kind) {
    case 'string':
      return reader.string();
    case 'hex':
      return Buffer.from(reader.bytes()).toString('hex');
    case 'number':
      return Number(reader.int64());
    case 'bool':
      return reader.bool();
    case 'fixed64':
      return String(reader.fixed64());
    case 'fixed32':
      return reader.fixed32();
    default:
      return decode(kind, reader.bytes());
  }
}

export function encode(shape: Shape, message: Shaped): Uint8Array {
  const writer = new BinaryWriter();
  for (const [field, [written, kind]] of Object.entries(shape)) {
    const value = message[written.replace('[]', '')];
    for (const one of Array.isArray(value) ? value : value === undefined ? [] : [value])
      if (kind === 'string') writer.tag(Number(field), WireType.LengthDelimited).string(String(one));
      else if (kind === 'hex')
        writer.tag(Number(field), WireType.LengthDelimited).bytes(Buffer.from(String(one), 'hex'));
      else if (kind === 'number' || kind === 'bool') writer.tag(Number(field), WireType.Varint).int32(Number(one));
      else if (typeof kind === 'object')
        writer.tag(Number(field), WireType.LengthDelimited).bytes(encode(kind, one as Shaped));
  }
  return writer.finish();
}

const address: Shape = { 1: ['socket', { 2: ['address', 'string'], 3: ['port', 'number'] }] };
const peer: Shape = { 1: ['address', address], 4: ['principal', 'string'] };
const httpRequest: Shape = {
  1: ['id', 'string'],
  2: ['method', 'string'],
  3: ['headers[]', { 1: ['key', 'string'], 2: ['value', 'string'] }],
  4: ['path', 'string'],
  5: ['host', 'string'],
  6: ['scheme', 'string'],
  9: ['size', 'number'],
  10: ['protocol', 'string'],
  11: ['body', 'string'],
  12: ['rawBody', 'hex'],
};
/** envoy.service.auth.v3.CheckRequest */
export const CHECK_REQUEST: Shape = {
  1: [
    'attributes',
    {
      1: ['source', peer],
      2: ['destination', peer],
      4: ['request', { 1: ['time', { 1: ['seconds', 'number'], 2: ['nanos', 'number'] }], 2: ['http', httpRequest] }],
      12: ['tls', { 1: ['sni', 'string'] }],
    },
  ],
};
const header: Shape = { 1: ['key', 'string'], 2: ['value', 'string'], 3: ['raw', 'hex'] };
const headerOption: Shape = { 1: ['header', header], 2: ['append', { 1: ['value', 'bool'] }], 3: ['action', 'number'] };
/** envoy.service.auth.v3.CheckResponse */
export const CHECK_RESPONSE: Shape = {
  1: ['status', { 1: ['code', 'number'] }],
  2: ['denied', { 1: ['status', { 1: ['code', 'number'] }], 2: ['headers[]', headerOption], 3: ['body', 'string'] }],
  3: ['ok', { 2: ['headers[]', headerOption], 5: ['remove[]', 'string'], 6: ['toDownstream[]', headerOption] }],
};
/** envoy.service.ratelimit.v3 */
export const RATE_LIMIT_REQUEST: Shape = {
  1: ['domain', 'string'],
  2: ['descriptors[]', { 1: ['entries[]', { 1: ['key', 'string'], 2: ['value', 'string'] }] }],
};
export const RATE_LIMIT_RESPONSE: Shape = {
  1: ['code', 'number'],
  3: ['toDownstream[]', header],
  4: ['toUpstream[]', header],
  5: ['body', 'hex'],
};

const keyValue: Shape = { 1: ['key', 'string'], 2: ['value', { 1: ['text', 'string'] }] };
const resource: Shape = { 1: ['attributes[]', keyValue] };
const scope: Shape = { 1: ['name', 'string'] };
const span: Shape = {
  1: ['traceId', 'hex'],
  2: ['spanId', 'hex'],
  3: ['traceState', 'string'],
  4: ['parentId', 'hex'],
  5: ['name', 'string'],
  6: ['kind', 'number'],
  7: ['start', 'fixed64'],
  8: ['end', 'fixed64'],
  9: ['attributes[]', keyValue],
  15: ['status', { 2: ['message', 'string'], 3: ['code', 'number'] }],
  16: ['flags', 'fixed32'],
};
/** opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest */
export const EXPORT_TRACES: Shape = {
  1: ['resources[]', { 1: ['resource', resource], 2: ['scopes[]', { 1: ['scope', scope], 2: ['spans[]', span] }] }],
};
const logRecord: Shape = {
  1: ['time', 'fixed64'],
  5: ['body', { 1: ['text', 'string'] }],
  6: ['attributes[]', keyValue],
  9: ['traceId', 'hex'],
  10: ['spanId', 'hex'],
  11: ['observed', 'fixed64'],
};
/** opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest */
export const EXPORT_LOGS: Shape = {
  1: [
    'resources[]',
    { 1: ['resource', resource], 2: ['scopes[]', { 1: ['scope', scope], 2: ['records[]', logRecord] }] },
  ],
};
