// Request bodies in Kubernetes' protobuf, which Go's typed clients (kubectl create, kubectl auth, controllers) prefer:
// `k8s\0`, then an envelope that names the kind, then the object. Answers are JSON: every client takes that as well.

import { badRequest } from '../errors.ts';
import messages from '../gen/protobuf.json' with { type: 'json' };

const MAGIC = Buffer.from('k8s\0');
const MAX_DEPTH = 64;

type Message = Readonly<Record<string, string>>;
const table = messages as unknown as Readonly<Record<string, Message | undefined>>;

const ENVELOPE: Message = {
  1: 'typeMeta:#envelope.TypeMeta',
  2: 'raw:bytes',
  3: 'contentEncoding:s',
  4: 'contentType:s',
};
const TYPE_META: Message = { 1: 'apiVersion:s', 2: 'kind:s' };
const SECONDS: Message = { 1: 'seconds*:i', 2: 'nanos*:i' };
const TEXT: Message = { 1: 'text:s' };
const BYTES: Message = { 1: 'bytes:bytes' };
const INT_OR_STRING: Message = { 1: 'type*:i', 2: 'int*:i', 3: 'string*:s' };
const ITEMS: Message = { 1: 'items:[]s' };

/**
 * @returns the object as its JSON has it
 * @throws KubeError 400 for bytes that are no such message; undefined for a kind whose message is not known
 */
export function decodeProtobuf(bytes: Buffer): Record<string, unknown> | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw badRequest('the body is not Kubernetes protobuf: it does not begin with `k8s`');
  const envelope = decodeMessage(ENVELOPE, bytes.subarray(MAGIC.length), 0) as {
    typeMeta?: { apiVersion?: string; kind?: string };
    raw?: Buffer;
  };
  const { apiVersion = '', kind = '' } = envelope.typeMeta ?? {};
  const message = messageOf(apiVersion, kind);
  if (message === undefined) return undefined;
  return { apiVersion, kind, ...decodeMessage(message, envelope.raw ?? Buffer.alloc(0), 0) };
}

function messageOf(apiVersion: string, kind: string): Message | undefined {
  if (kind === 'DeleteOptions') return table['meta.v1.DeleteOptions'];
  const slash = apiVersion.indexOf('/');
  const name = slash < 0 ? `core.${apiVersion}` : `${apiVersion.slice(0, slash)}.${apiVersion.slice(slash + 1)}`;
  return table[`${name}.${kind}`];
}

/** One field as the wire has it: a number for wire types 0, 1 and 5, bytes for 2. */
interface WireField {
  readonly number: number;
  readonly value: bigint | Buffer;
}

function* wireFields(bytes: Buffer): Generator<WireField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw cut();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw badRequest('the protobuf body has a number that does not end');
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw cut();
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = tag >>> 3;
    switch (tag & 7) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8).readBigUInt64LE() };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: BigInt(take(4).readUInt32LE()) };
        break;
      default:
        throw badRequest('the protobuf body has a field of an unknown wire type');
    }
  }
}

function cut(): Error {
  return badRequest('the protobuf body is cut short');
}

function decodeMessage(message: Message, bytes: Buffer, depth: number): Record<string, unknown> {
  if (depth > MAX_DEPTH) throw badRequest(`the protobuf body is nested deeper than ${MAX_DEPTH}`);
  const object: Record<string, unknown> = {};
  for (const { number, value } of wireFields(bytes)) {
    const field = message[number];
    if (field === undefined) continue; // of a newer client
    const colon = field.indexOf(':');
    const pointer = field[colon - 1] === '*';
    const name = field.slice(0, pointer ? colon - 1 : colon);
    const code = field.slice(colon + 1);
    if (name === '') Object.assign(object, decodeValue(code, value, depth));
    else if (code.startsWith('[]')) {
      const list = (object[name] ?? []) as unknown[];
      list.push(decodeValue(code.slice(2), value, depth));
      object[name] = list;
    } else if (code.startsWith('{}')) {
      const [key, item] = decodeEntry(code.slice(2), value, depth);
      object[name] = { ...(object[name] as object | undefined), [key]: item };
    } else {
      const decoded = decodeValue(code, value, depth);
      if (decoded !== undefined && (pointer || !isZero(decoded))) object[name] = decoded;
    }
  }
  return object;
}

/** Go writes every plain field, also those that nobody set; JSON leaves them out. */
function isZero(value: unknown): boolean {
  if (value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && value !== null && !Buffer.isBuffer(value) && Object.keys(value).length === 0;
}

function decodeEntry(code: string, value: bigint | Buffer, depth: number): [string, unknown] {
  let key = '';
  let item: unknown;
  for (const field of wireFields(bytesOf(value))) {
    if (field.number === 1) key = bytesOf(field.value).toString('utf8');
    else if (field.number === 2) item = decodeValue(code, field.value, depth + 1);
  }
  return [key, item ?? (code === 's' || code === 'y' ? '' : {})];
}

function bytesOf(value: bigint | Buffer): Buffer {
  if (!Buffer.isBuffer(value)) throw badRequest('the protobuf body has a number where a message or text belongs');
  return value;
}

function numberOf(value: bigint | Buffer): bigint {
  if (Buffer.isBuffer(value)) throw badRequest('the protobuf body has text where a number belongs');
  return value;
}

function decodeValue(code: string, value: bigint | Buffer, depth: number): unknown {
  const within = (message: Message) => decodeMessage(message, bytesOf(value), depth + 1);
  switch (code) {
    case 's':
      return bytesOf(value).toString('utf8');
    case 'y':
      return bytesOf(value).toString('base64');
    case 'bytes':
      return bytesOf(value);
    case 'b':
      return numberOf(value) !== 0n;
    case 'i':
      return Number(BigInt.asIntN(64, numberOf(value)));
    case 'd':
      return doubleOf(numberOf(value));
    case 't':
    case 'u':
      return timeOf(within(SECONDS), code === 'u');
    case 'q':
      return within(TEXT).text;
    case 'x': {
      const { type = 0, int = 0, string = '' } = within(INT_OR_STRING);
      return type === 1 ? string : int;
    }
    case 'r':
      return rawJson(within(BYTES).bytes);
    case 'e':
      return within(ITEMS).items ?? [];
    default:
      return decodeMessage(
        code === '#envelope.TypeMeta' ? TYPE_META : (table[code.slice(1)] ?? {}),
        bytesOf(value),
        depth + 1,
      );
  }
}

function doubleOf(bits: bigint): number {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(bits);
  return bytes.readDoubleLE();
}

function timeOf({ seconds, nanos = 0 }: { seconds?: unknown; nanos?: unknown }, micro: boolean): string | undefined {
  if (typeof seconds !== 'number' || typeof nanos !== 'number') return undefined;
  const time = new Date(seconds * 1000);
  if (Number.isNaN(time.getTime())) throw badRequest('the protobuf body has a time that is none');
  const text = time.toISOString().slice(0, 19);
  return micro ? `${text}.${String(Math.trunc(nanos / 1000)).padStart(6, '0')}Z` : `${text}Z`;
}

function rawJson(bytes: unknown): unknown {
  if (!Buffer.isBuffer(bytes) || bytes.length === 0) return undefined;
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw badRequest('the protobuf body has JSON inside that does not parse');
  }
}
