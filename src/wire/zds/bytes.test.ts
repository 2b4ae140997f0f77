// ZDS packets against the library's reading and writing of the same schema.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema } from '../gen/istio/workload/zds/zds_pb.ts';
import { messageOf, plain } from '../protobuf/testing/messages.ts';
import {
  decodeAck,
  decodeHello,
  decodeRequest,
  encodeAck,
  encodeHello,
  encodeRequest,
  MAX_PACKET_BYTES,
} from './messages.ts';

test('requests are read as the library reads them', () =>
  fc.assert(
    fc.property(messageOf(WorkloadRequestSchema), ({ payload }) => {
      const message = { $typeName: 'istio.workload.zds.WorkloadRequest', payload } as const;
      const got = decodeRequest(toBinary(WorkloadRequestSchema, message));
      switch (payload.case) {
        case undefined:
          assert.equal(got.ok, false);
          return;
        case 'add': {
          const { uid, workloadInfo: info } = payload.value;
          const pod = info && { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount };
          assert.deepEqual(got, { ok: true, value: { kind: 'add', uid, pod } });
          return;
        }
        case 'snapshotSent':
          assert.deepEqual(got, { ok: true, value: { kind: 'snapshotSent' } });
          return;
        default:
          assert.deepEqual(got, { ok: true, value: { kind: payload.case, uid: payload.value.uid } });
      }
    }),
  ));

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
test('requests, acknowledgements and hellos are written as the library would', () =>
  fc.assert(
    fc.property(
      text,
      fc.option(fc.record({ name: text, namespace: text, serviceAccount: text }, { noNullPrototype: true }), {
        nil: undefined,
      }),
      (uid, pod) => {
        const read = (bytes: Uint8Array) => plain(fromBinary(WorkloadRequestSchema, bytes).payload);
        const expected = (kind: string, value: object) => plain({ case: kind, value });
        const type = (name: string) => ({ $typeName: `istio.workload.zds.${name}` });
        assert.deepEqual(
          read(encodeRequest({ kind: 'add', uid, pod })),
          expected('add', {
            ...type('AddWorkload'),
            uid,
            ...(pod && { workloadInfo: { ...type('WorkloadInfo'), ...pod } }),
          }),
        );
        assert.deepEqual(
          read(encodeRequest({ kind: 'keep', uid })),
          expected('keep', { ...type('KeepWorkload'), uid }),
        );
        assert.deepEqual(read(encodeRequest({ kind: 'del', uid })), expected('del', { ...type('DelWorkload'), uid }));
        assert.deepEqual(read(encodeRequest({ kind: 'snapshotSent' })), expected('snapshotSent', type('SnapshotSent')));
        const ack = fromBinary(WorkloadResponseSchema, encodeAck({ error: uid || undefined })).payload;
        assert.deepEqual(plain(ack), expected('ack', { ...type('Ack'), error: uid }));
        assert.deepEqual(decodeAck(encodeAck({ error: uid || undefined })), {
          ok: true,
          value: { error: uid || undefined },
        });
      },
    ),
  ));

test('hello', () => {
  assert.equal(fromBinary(ZdsHelloSchema, encodeHello()).version, 1);
  assert.deepEqual(decodeHello(encodeHello()), { ok: true, value: { version: 'v1' } });
  assert.equal(decodeHello(Uint8Array.of()).ok, false);
});

test('any bytes: a message or a reason, nothing thrown', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: MAX_PACKET_BYTES + 10 }), (bytes) => {
      for (const decode of [decodeHello, decodeRequest, decodeAck]) assert.equal(typeof decode(bytes).ok, 'boolean');
    }),
  ));
