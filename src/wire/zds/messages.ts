// ZDS, the node agent's messages to the node proxy: one protobuf message a packet. Encoding and decoding only; sockets
// and descriptors are the two services' affair. `uid` is the Kubernetes uid of a pod, not the uid of a workload in xDS.

import { fail, ok, type Result, unreachable } from '../../model/result.ts';
import { Version } from '../gen/istio/workload/zds/zds_pb.ts';
import { once, ProtoReader } from '../protobuf/reader.ts';
import { ProtoWriter } from '../protobuf/writer.ts';

/** Receive buffer of both sides, bytes: a longer packet arrives cut and is an error. */
export const MAX_PACKET_BYTES = 1024;

export interface PodInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** `add` comes with one descriptor (the pod's network namespace), the others with none. */
export type ZdsRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly pod: PodInfo | undefined }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'snapshotSent' };

/** The proxy's answer to each request; no error means done. */
export interface ZdsAck {
  readonly error: string | undefined;
}

export const encodeHello = (): Uint8Array => new ProtoWriter().number(1, Version.V1).finish();

/** @returns an error for a version that we do not speak, or bytes that are no hello */
export function decodeHello(packet: Uint8Array): Result<{ readonly version: 'v1' }, string> {
  const version = parse(packet, (r) => {
    let value: number = Version.NOT_USED;
    while (r.next())
      if (r.field === 1) value = Number(r.enumeration());
      else r.skip();
    return value;
  });
  if (!version.ok) return version;
  if (version.value !== Version.V1) return fail(`version ${version.value} of ZDS is not supported, only 1`);
  return ok({ version: 'v1' });
}

export function encodeRequest(request: ZdsRequest): Uint8Array {
  const w = new ProtoWriter();
  switch (request.kind) {
    case 'add': {
      const { uid, pod } = request;
      return w
        .message(1, (add) => {
          add.string(1, uid);
          if (pod === undefined) return;
          add.message(2, (info) => info.string(1, pod.name).string(2, pod.namespace).string(3, pod.serviceAccount));
        })
        .finish();
    }
    case 'del':
      return w.message(2, (del) => del.string(2, request.uid)).finish();
    case 'snapshotSent':
      return w.message(3, () => {}).finish();
    case 'keep':
      return w.message(5, (keep) => keep.string(1, request.uid)).finish();
    default:
      return unreachable(request);
  }
}

/** The last member of a oneof that a packet gives is the one that counts. */
export function decodeRequest(packet: Uint8Array): Result<ZdsRequest, string> {
  const message = parse(packet, (r) => {
    let request: ZdsRequest | undefined;
    const again = (kind: ZdsRequest['kind']): void => {
      if (request?.kind === kind) once(request, kind);
    };
    while (r.next())
      switch (r.field) {
        case 1:
          again('add');
          request = r.message(readAdd);
          break;
        case 2:
          again('del');
          request = { kind: 'del', uid: r.message((del) => readText(del, 2)) };
          break;
        case 3:
          again('snapshotSent');
          r.message((empty) => readText(empty, -1));
          request = { kind: 'snapshotSent' };
          break;
        case 5:
          again('keep');
          request = { kind: 'keep', uid: r.message((keep) => readText(keep, 1)) };
          break;
        default:
          r.skip();
      }
    return request;
  });
  if (!message.ok) return message;
  return message.value === undefined ? fail('the packet holds no request') : ok(message.value);
}

/** A message of which only one text is of interest. */
function readText(r: ProtoReader, field: number): string {
  let text = '';
  while (r.next())
    if (r.field === field) text = r.string();
    else r.skip();
  return text;
}

function readAdd(r: ProtoReader): ZdsRequest {
  let uid = '';
  let pod: PodInfo | undefined;
  while (r.next())
    if (r.field === 1) uid = r.string();
    else if (r.field === 2) {
      once(pod, 'workload_info');
      pod = r.message(readPodInfo);
    } else r.skip();
  return { kind: 'add', uid, pod };
}

function readPodInfo(r: ProtoReader): PodInfo {
  const pod = { name: '', namespace: '', serviceAccount: '' };
  while (r.next())
    if (r.field === 1) pod.name = r.string();
    else if (r.field === 2) pod.namespace = r.string();
    else if (r.field === 3) pod.serviceAccount = r.string();
    else r.skip();
  return pod;
}

/** An answer; a long error is cut so that the packet fits the peer's buffer. */
export const encodeAck = (ack: ZdsAck): Uint8Array =>
  new ProtoWriter().message(1, (inner) => inner.string(1, (ack.error ?? '').slice(0, 256))).finish();

export function decodeAck(packet: Uint8Array): Result<ZdsAck, string> {
  const message = parse(packet, (r) => {
    let ack: ZdsAck | undefined;
    while (r.next())
      if (r.field === 1) {
        once(ack, 'ack');
        ack = { error: r.message((inner) => readText(inner, 1)) || undefined };
      } else r.skip();
    return ack;
  });
  if (!message.ok) return message;
  return message.value === undefined ? fail('the packet holds no acknowledgement') : ok(message.value);
}

function parse<T>(packet: Uint8Array, read: (reader: ProtoReader) => T): Result<T, string> {
  if (packet.length > MAX_PACKET_BYTES)
    return fail(`a packet of ${packet.length} bytes; at most ${MAX_PACKET_BYTES} fit`);
  try {
    return ok(read(new ProtoReader(packet)));
  } catch (error) {
    return fail(`not a ZDS message: ${error instanceof Error ? error.message : String(error)}`);
  }
}
