// ZDS, the node agent's messages to the node proxy: one protobuf message a packet. Encoding and decoding only; sockets
// and descriptors are the two services' affair. `uid` is the Kubernetes uid of a pod, not the uid of a workload in xDS.

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fail, ok, type Result, unreachable } from '../../model/result.ts';
import {
  Version,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../gen/istio/workload/zds/zds_pb.ts';

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

export const encodeHello = (): Uint8Array<ArrayBuffer> =>
  toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version: Version.V1 }));

/** @returns an error for a version that we do not speak, or bytes that are no hello */
export function decodeHello(packet: Uint8Array): Result<{ readonly version: 'v1' }, string> {
  const hello = parse(packet, (bytes) => fromBinary(ZdsHelloSchema, bytes));
  if (!hello.ok) return hello;
  if (hello.value.version !== Version.V1) return fail(`version ${hello.value.version} of ZDS is not supported, only 1`);
  return ok({ version: 'v1' });
}

export function encodeRequest(request: ZdsRequest): Uint8Array<ArrayBuffer> {
  return toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload: payloadOf(request) }));
}

function payloadOf(request: ZdsRequest): NonNullable<MessageInitShape<typeof WorkloadRequestSchema>['payload']> {
  switch (request.kind) {
    case 'add': {
      const { uid, pod } = request;
      return { case: 'add', value: { uid, workloadInfo: pod && { ...pod } } };
    }
    case 'keep':
      return { case: 'keep', value: { uid: request.uid } };
    case 'del':
      return { case: 'del', value: { uid: request.uid } };
    case 'snapshotSent':
      return { case: 'snapshotSent', value: {} };
    default:
      return unreachable(request);
  }
}

export function decodeRequest(packet: Uint8Array): Result<ZdsRequest, string> {
  const message = parse(packet, (bytes) => fromBinary(WorkloadRequestSchema, bytes));
  if (!message.ok) return message;
  const { payload } = message.value;
  switch (payload.case) {
    case 'add': {
      const { uid, workloadInfo: info } = payload.value;
      const pod = info && { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount };
      return ok({ kind: 'add', uid, pod });
    }
    case 'keep':
      return ok({ kind: 'keep', uid: payload.value.uid });
    case 'del':
      return ok({ kind: 'del', uid: payload.value.uid });
    case 'snapshotSent':
      return ok({ kind: 'snapshotSent' });
    case undefined:
      return fail('the packet holds no request');
    default:
      return unreachable(payload);
  }
}

/** An answer; a long error is cut so that the packet fits the peer's buffer. */
export function encodeAck(ack: ZdsAck): Uint8Array<ArrayBuffer> {
  const error = (ack.error ?? '').slice(0, 256);
  return toBinary(
    WorkloadResponseSchema,
    create(WorkloadResponseSchema, { payload: { case: 'ack', value: { error } } }),
  );
}

export function decodeAck(packet: Uint8Array): Result<ZdsAck, string> {
  const message = parse(packet, (bytes) => fromBinary(WorkloadResponseSchema, bytes));
  if (!message.ok) return message;
  const { payload } = message.value;
  if (payload.case !== 'ack') return fail('the packet holds no acknowledgement');
  return ok({ error: payload.value.error === '' ? undefined : payload.value.error });
}

function parse<T>(packet: Uint8Array, read: (bytes: Uint8Array) => T): Result<T, string> {
  if (packet.length > MAX_PACKET_BYTES)
    return fail(`a packet of ${packet.length} bytes; at most ${MAX_PACKET_BYTES} fit`);
  try {
    return ok(read(packet));
  } catch (error) {
    return fail(`not a ZDS message: ${error instanceof Error ? error.message : String(error)}`);
  }
}
