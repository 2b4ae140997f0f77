// envoy.service.ratelimit.v3 in bytes: RateLimitRequest written, RateLimitResponse read. Only the fields in use.

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { ProtoReader } from '../../../wire/protobuf/reader.ts';

export type Descriptor = readonly { readonly key: string; readonly value: string }[];

export interface RateLimitAnswer {
  /** Anything but a clear OK or OVER_LIMIT is `unknown`. */
  readonly code: 'ok' | 'overLimit' | 'unknown';
  readonly toDownstream: readonly { readonly name: string; readonly value: string }[];
  readonly toUpstream: readonly { readonly name: string; readonly value: string }[];
  readonly body: string;
}

export function encodeRateLimit(domain: string, descriptors: readonly Descriptor[]): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(domain);
  for (const descriptor of descriptors) {
    writer.tag(2, WireType.LengthDelimited).fork();
    for (const { key, value } of descriptor) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value).join();
    }
    writer.join();
  }
  return writer.finish();
}

const OK = 1;
const OVER_LIMIT = 2;

/** @throws ProtoError for what is no such message */
export function decodeRateLimit(bytes: Uint8Array): RateLimitAnswer {
  const reader = new ProtoReader(bytes);
  let code = 0;
  let body = '';
  const toDownstream: { name: string; value: string }[] = [];
  const toUpstream: { name: string; value: string }[] = [];
  while (reader.next())
    switch (reader.field) {
      case 1:
        code = reader.uint32();
        break;
      case 3:
        toDownstream.push(reader.message(readHeader));
        break;
      case 4:
        toUpstream.push(reader.message(readHeader));
        break;
      case 5:
        body = Buffer.from(reader.bytes()).toString('utf8');
        break;
      default:
        reader.skip();
    }
  return { code: code === OK ? 'ok' : code === OVER_LIMIT ? 'overLimit' : 'unknown', toDownstream, toUpstream, body };
}

function readHeader(reader: ProtoReader): { name: string; value: string } {
  let name = '';
  let value = '';
  while (reader.next())
    if (reader.field === 1) name = reader.string().toLowerCase();
    else if (reader.field === 2) value = Buffer.from(reader.string(), 'utf8').toString('latin1');
    else if (reader.field === 3) value = Buffer.from(reader.bytes()).toString('latin1');
    else reader.skip();
  return { name, value };
}
