import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeAck,
  decodeHello,
  decodeRequest,
  encodeAck,
  encodeHello,
  encodeRequest,
  MAX_PACKET_BYTES,
  type ZdsRequest,
} from './messages.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('bytes of each message: uid is field 1 in add and keep, field 2 in del', () => {
  assert.equal(hex(encodeHello()), '0801');
  assert.equal(
    hex(encodeRequest({ kind: 'add', uid: 'u', pod: { name: 'n', namespace: 's', serviceAccount: 'a' } })),
    '0a0e0a017512090a016e1201731a0161',
  );
  assert.equal(hex(encodeRequest({ kind: 'del', uid: 'u' })), '1203120175');
  assert.equal(hex(encodeRequest({ kind: 'keep', uid: 'u' })), '2a030a0175');
  assert.equal(hex(encodeRequest({ kind: 'snapshotSent' })), '1a00');
  assert.equal(hex(encodeAck({ error: undefined })), '0a00');
  assert.equal(hex(encodeAck({ error: 'no' })), '0a040a026e6f');
});

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });
const uid = fc.string({ maxLength: 40 });
const some: fc.Arbitrary<ZdsRequest> = fc.oneof(
  record({
    kind: fc.constant('add' as const),
    uid,
    pod: fc.option(record({ name: uid, namespace: uid, serviceAccount: uid }), { nil: undefined }),
  }),
  record({ kind: fc.constant('keep' as const), uid }),
  record({ kind: fc.constant('del' as const), uid }),
  record({ kind: fc.constant('snapshotSent' as const) }),
);
test('requests survive the wire', () =>
  fc.assert(
    fc.property(some, (request) =>
      assert.deepEqual(decodeRequest(encodeRequest(request)), { ok: true, value: request }),
    ),
  ));
test('acknowledgements survive the wire, and always fit a packet', () => {
  assert.deepEqual(decodeAck(encodeAck({ error: 'port busy' })), { ok: true, value: { error: 'port busy' } });
  assert.deepEqual(decodeAck(encodeAck({ error: undefined })), { ok: true, value: { error: undefined } });
  assert.ok(encodeAck({ error: '\u{1F600}'.repeat(5000) }).length <= MAX_PACKET_BYTES);
});
test('only version 1 is spoken', () => {
  assert.deepEqual(decodeHello(encodeHello()), { ok: true, value: { version: 'v1' } });
  assert.equal(decodeHello(new Uint8Array([8, 2])).ok, false);
  assert.equal(decodeHello(new Uint8Array(0)).ok, false);
});
test('empty, oversized and random packets are refused without a throw', () => {
  assert.equal(decodeRequest(new Uint8Array(0)).ok, false);
  assert.equal(decodeAck(new Uint8Array(0)).ok, false);
  assert.equal(decodeRequest(new Uint8Array(MAX_PACKET_BYTES + 1)).ok, false);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      for (const decoded of [decodeRequest(bytes), decodeAck(bytes), decodeHello(bytes)])
        assert.ok(decoded.ok || decoded.error.length > 0);
    }),
    { numRuns: 1000 },
  );
});
