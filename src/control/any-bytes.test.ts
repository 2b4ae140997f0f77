// Bytes and texts of any kind where peers or Secrets bring them: an outcome, never an exception that nobody expects.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { deriveAmbient } from '../derive/ambient.ts';
import { ManualClock } from '../platform/clock.ts';
import { configureLogging } from '../telemetry/log.ts';
import { DeltaDiscoveryRequestSchema } from '../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { PROXY_TYPE, ROUTE_TYPE } from '../wire/l7/names.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../wire/xds/names.ts';
import { Inventories } from './ads/inventory.ts';
import { ProxyInventories } from './ads/proxy-inventories.ts';
import { ProxyStream } from './ads/stream.ts';
import { readBundle } from './ca/bundle.ts';
import { readCsr } from './ca/csr.ts';
import { createSelfSigned } from './ca/self-signed.ts';
import { GrpcFailure } from './grpc/failure.ts';
import { createMetrics } from './metrics.ts';

configureLogging({ filter: 'off' });

const caller = { namespace: 'n', serviceAccount: 'a', via: 'token', pod: undefined, node: undefined } as const;
function newStream(): ProxyStream {
  const ambient = deriveAmbient();
  ambient.graph.flush();
  const sender = { send: async () => {}, end: () => {} };
  return new ProxyStream(sender, caller, 'peer', {
    inventories: new Inventories(ambient),
    proxies: new ProxyInventories(ambient),
    metrics: createMetrics('test'),
    clock: new ManualClock(0),
    version: () => 'v',
    checkIdentity: true,
    identified: () => {},
    closed: () => {},
  });
}
const node = { id: 'ztunnel~1.1.1.1~p.n~n.svc.cluster.local', metadata: { NAMESPACE: 'n' } };
const name = fc.oneof(fc.string(), fc.constantFrom('*', '', '/10.0.0.1', 'n/h', '__proto__'));
const request = fc.record({
  node: fc.oneof(fc.constant(node), fc.record({ id: fc.string() }), fc.constant(undefined)),
  typeUrl: fc.oneof(fc.constantFrom(ADDRESS_TYPE, AUTHORIZATION_TYPE, ROUTE_TYPE, PROXY_TYPE), fc.string()),
  resourceNamesSubscribe: fc.array(name),
  resourceNamesUnsubscribe: fc.array(name),
  initialResourceVersions: fc.dictionary(name, fc.string()),
  responseNonce: fc.string(),
});

test('requests of any content on a stream: taken, or a failure with a status', () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 8 }), (requests) => {
      const stream = newStream();
      for (const each of requests)
        try {
          const { node: sent, ...rest } = each;
          const message = create(DeltaDiscoveryRequestSchema, {
            ...rest,
            ...(sent === undefined ? {} : { node: sent }),
          });
          stream.message(toBinary(DeltaDiscoveryRequestSchema, message));
        } catch (error) {
          assert.ok(error instanceof GrpcFailure, String(error));
          break;
        }
    }),
  );
});

test('bytes of any kind on a stream', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        newStream().message(bytes);
      } catch (error) {
        assert.ok(error instanceof GrpcFailure, String(error));
      }
    }),
  );
});

const der = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64'));
test('signing requests of any kind are refused with a reason', async () => {
  const pem = der.map((text) => `-----BEGIN CERTIFICATE REQUEST-----\n${text}\n-----END CERTIFICATE REQUEST-----\n`);
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), pem), async (text) => {
      const read = await readCsr(text);
      assert.ok(!read.ok && read.error !== '');
    }),
  );
});

test('files of an authority that were damaged anywhere are refused, or still fit together', async () => {
  const files = await createSelfSigned('cluster.local', 0, Date.now());
  const field = fc.constantFrom('certificate', 'key', 'chain', 'roots');
  fc.assert(
    fc.property(field, fc.nat(2000), fc.string({ maxLength: 5 }), (which, at, text) => {
      const damaged = files[which].slice(0, at) + text + files[which].slice(at + text.length);
      const read = readBundle({ ...files, [which]: damaged }, Date.now());
      assert.ok(read.ok || read.error !== '');
    }),
  );
});
