// envoy.service.auth.v3 in bytes: CheckRequest written, CheckResponse read. Only the fields in use.

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { ProtoError, ProtoReader } from '../../../wire/protobuf/reader.ts';

export interface CheckPeer {
  readonly ip: string;
  readonly port: number;
  /** SPIFFE URI; empty: not proved. */
  readonly principal: string;
}

export interface CheckRequest {
  readonly source: CheckPeer;
  readonly destination: CheckPeer;
  readonly startedAtMs: number;
  readonly id: string;
  readonly method: string;
  /** Lower-case names, repeated ones joined. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** With its query. */
  readonly path: string;
  readonly host: string;
  readonly scheme: string;
  readonly protocol: string;
  /** Of the body; -1: not known. */
  readonly size: number;
  readonly body: Uint8Array | undefined;
  readonly bodyAsBytes: boolean;
  readonly serverName: string;
}

export interface HeaderChange {
  readonly name: string;
  readonly value: string;
  readonly how: 'set' | 'append' | 'addIfAbsent' | 'setIfPresent';
}

export type CheckAnswer =
  | {
      readonly kind: 'ok';
      readonly headers: readonly HeaderChange[];
      readonly remove: readonly string[];
      readonly toDownstream: readonly HeaderChange[];
    }
  | {
      readonly kind: 'denied';
      readonly status: number;
      readonly headers: readonly HeaderChange[];
      readonly body: string;
    };

export function encodeCheck(check: CheckRequest): Uint8Array {
  const writer = new BinaryWriter();
  part(writer, 1);
  peer(part(writer, 1), check.source).join();
  peer(part(writer, 2), check.destination).join();
  part(writer, 4);
  const nanos = Math.floor((check.startedAtMs % 1000) * 1e6);
  part(writer, 1)
    .tag(1, WireType.Varint)
    .int64(Math.floor(check.startedAtMs / 1000));
  writer.tag(2, WireType.Varint).int32(nanos).join();
  http(part(writer, 2), check).join();
  writer.join();
  if (check.serverName !== '') text(part(writer, 12), 1, check.serverName).join();
  return writer.join().finish();
}

const part = (writer: BinaryWriter, field: number): BinaryWriter => writer.tag(field, WireType.LengthDelimited).fork();
const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter =>
  value === '' ? writer : writer.tag(field, WireType.LengthDelimited).string(value);

function peer(writer: BinaryWriter, { ip, port, principal }: CheckPeer): BinaryWriter {
  part(writer, 1);
  text(part(writer, 1), 2, ip).tag(3, WireType.Varint).uint32(port).join();
  return text(writer.join(), 4, principal);
}

function http(writer: BinaryWriter, check: CheckRequest): BinaryWriter {
  text(writer, 1, check.id);
  text(writer, 2, check.method);
  for (const [name, value] of check.headers) text(text(part(writer, 3), 1, name), 2, value).join();
  text(writer, 4, check.path);
  text(writer, 5, check.host);
  text(writer, 6, check.scheme);
  writer.tag(9, WireType.Varint).int64(check.size);
  text(writer, 10, check.protocol);
  if (check.body === undefined) return writer;
  if (check.bodyAsBytes) return writer.tag(12, WireType.LengthDelimited).bytes(check.body);
  return text(writer, 11, Buffer.from(check.body).toString('utf8'));
}

/** @throws ProtoError for what is no such message */
export function decodeCheck(bytes: Uint8Array): CheckAnswer {
  const reader = new ProtoReader(bytes);
  let code = 0;
  let denied: Response | undefined;
  let allowed: Response | undefined;
  while (reader.next())
    switch (reader.field) {
      case 1:
        code = reader.message(statusCode);
        break;
      case 2:
        denied = reader.message(readDenied);
        break;
      case 3:
        allowed = reader.message(readOk);
        break;
      default:
        reader.skip();
    }
  if (code === 0 && denied === undefined) {
    const { headers = [], remove = [], toDownstream = [] } = allowed ?? {};
    return { kind: 'ok', headers, remove, toDownstream };
  }
  const { status = 0, headers = [], body = '' } = denied ?? {};
  return { kind: 'denied', status: status >= 200 && status <= 599 ? status : 403, headers, body };
}

interface Response {
  readonly status?: number;
  readonly headers: HeaderChange[];
  readonly remove: string[];
  readonly toDownstream: HeaderChange[];
  readonly body: string;
}

/** Headers that one answer may change: more is an authorizer gone wrong. */
const MOST_HEADERS = 200;

/** Keeps the number of a google.rpc.Status or envoy.type.v3.HttpStatus: both have it first. */
function statusCode(reader: ProtoReader): number {
  let code = 0;
  while (reader.next())
    if (reader.field === 1) code = reader.uint32();
    else reader.skip();
  return code;
}

function readDenied(reader: ProtoReader): Response {
  let status = 0;
  let body = '';
  const headers: HeaderChange[] = [];
  while (reader.next())
    if (reader.field === 1) status = reader.message(statusCode);
    else if (reader.field === 2) add(headers, reader.message(readHeader));
    else if (reader.field === 3) body = reader.string();
    else reader.skip();
  return { status, headers, remove: [], toDownstream: [], body };
}

function readOk(reader: ProtoReader): Response {
  const headers: HeaderChange[] = [];
  const toDownstream: HeaderChange[] = [];
  const remove: string[] = [];
  while (reader.next())
    if (reader.field === 2) add(headers, reader.message(readHeader));
    else if (reader.field === 5) add(remove, reader.string());
    else if (reader.field === 6) add(toDownstream, reader.message(readHeader));
    else reader.skip();
  return { headers, remove, toDownstream, body: '' };
}

function add<T>(list: T[], item: T): void {
  if (list.length >= MOST_HEADERS) throw new ProtoError(`more than ${MOST_HEADERS} headers`);
  list.push(item);
}

const ACTIONS: readonly HeaderChange['how'][] = ['set', 'addIfAbsent', 'set', 'setIfPresent'];

/** HeaderValueOption. Without `append` and `append_action` a value replaces (Envoy's rule for authorizers). */
function readHeader(reader: ProtoReader): HeaderChange {
  let name = '';
  let value = '';
  let append = false;
  let action = 0;
  while (reader.next())
    switch (reader.field) {
      case 1:
        reader.message((header) => {
          while (header.next())
            if (header.field === 1) name = header.string();
            else if (header.field === 2) value = Buffer.from(header.string(), 'utf8').toString('latin1');
            else if (header.field === 3) value = Buffer.from(header.bytes()).toString('latin1');
            else header.skip();
        });
        break;
      case 2:
        reader.message((flag) => {
          while (flag.next())
            if (flag.field === 1) append = flag.bool();
            else flag.skip();
        });
        break;
      case 3:
        action = reader.uint32();
        break;
      default:
        reader.skip();
    }
  return { name: name.toLowerCase(), value, how: append ? 'append' : (ACTIONS[action] ?? 'set') };
}
