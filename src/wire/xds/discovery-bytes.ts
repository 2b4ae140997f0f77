// The client's side of incremental discovery in bytes: requests written, responses read. Resources of a response are read
// as they are asked for, so that a first push of a large mesh is never in memory as ten thousand objects at once.

import { Buffer } from 'node:buffer';
import { once, ProtoError, ProtoReader, type ProtoReader as Reader } from '../protobuf/reader.ts';
import { ProtoWriter, type StructFields } from '../protobuf/writer.ts';

/** One `envoy.service.discovery.v3.Resource`, as far as it is used. */
export interface ResourceBytes {
  readonly name: string;
  readonly version: string;
  readonly aliases: readonly string[];
  /** Undefined when it has none, or when the bytes are no resource: either way it must be refused. */
  readonly resource: { readonly value: Uint8Array } | undefined;
}

export interface DeltaResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly removedResources: readonly string[];
  readonly resourceCount: number;
  /** In order; may be read again. */
  resources(): Iterable<ResourceBytes>;
}

/** @throws ProtoError when the bytes are no `DeltaDiscoveryResponse` */
export function readDeltaResponse(bytes: Uint8Array): DeltaResponse {
  const r = new ProtoReader(bytes);
  let typeUrl = '';
  let nonce = '';
  const removedResources: string[] = [];
  /** Where each lies: begin and end by turns. */
  const spans: number[] = [];
  while (r.next())
    switch (r.field) {
      case 2:
        r.span(spans);
        break;
      case 4:
        typeUrl = r.string();
        break;
      case 5:
        nonce = r.string();
        break;
      case 6:
        removedResources.push(r.string());
        break;
      default:
        r.skip();
    }
  return {
    typeUrl,
    nonce,
    removedResources,
    resourceCount: spans.length / 2,
    *resources() {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let i = 0; i < spans.length; i += 2) yield readResource(new ProtoReader(buffer, spans[i], spans[i + 1]));
    },
  };
}

const NO_BYTES = new Uint8Array();

function readResource(r: Reader): ResourceBytes {
  let name = '';
  let version = '';
  const aliases: string[] = [];
  let resource: { value: Uint8Array } | undefined;
  try {
    while (r.next())
      switch (r.field) {
        case 1:
          version = r.string();
          break;
        case 2:
          once(resource, 'resource');
          resource = { value: r.message(readAnyValue) };
          break;
        case 3:
          name = r.string();
          break;
        case 4:
          aliases.push(r.string());
          break;
        default:
          r.skip();
      }
  } catch (error) {
    if (!(error instanceof ProtoError)) throw error;
    resource = undefined;
  }
  return { name, version, aliases, resource };
}

/** The type URL is not looked at: the response says what its resources are. */
function readAnyValue(r: Reader): Uint8Array {
  let value: Uint8Array = NO_BYTES;
  while (r.next())
    if (r.field === 2) value = r.bytes();
    else r.skip();
  return value;
}

export interface DeltaRequest {
  readonly node?: { readonly id: string; readonly metadata: StructFields };
  readonly typeUrl: string;
  readonly resourceNamesSubscribe?: readonly string[];
  readonly resourceNamesUnsubscribe?: readonly string[];
  readonly initialResourceVersions?: Iterable<readonly [name: string, version: string]>;
  readonly responseNonce?: string;
  readonly errorDetail?: { readonly message: string };
}

/** An `envoy.service.discovery.v3.DeltaDiscoveryRequest`. */
export function writeDeltaRequest(request: DeltaRequest): Uint8Array {
  const w = new ProtoWriter();
  const { node, errorDetail } = request;
  if (node !== undefined) w.message(1, (inner) => inner.string(1, node.id).struct(3, node.metadata));
  w.string(2, request.typeUrl);
  for (const name of request.resourceNamesSubscribe ?? []) w.stringAlways(3, name);
  for (const name of request.resourceNamesUnsubscribe ?? []) w.stringAlways(4, name);
  w.stringMap(5, request.initialResourceVersions ?? []);
  w.string(6, request.responseNonce ?? '');
  // The code stays 0, as Istio's proxy leaves it.
  if (errorDetail !== undefined) w.message(7, (inner) => inner.string(2, errorDetail.message));
  return w.finish();
}
