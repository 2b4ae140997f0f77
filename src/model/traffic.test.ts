import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service, workload } from './testing/builders.ts';
import { type BaggageClaims, peerOf, sourcePeer, type Traffic, trafficLabels } from './traffic.ts';
import { identityOf } from './workload.ts';

const order = workload('order-1', {
  workloadName: 'order',
  canonicalName: 'order',
  canonicalRevision: 'v1',
  serviceAccount: 'order',
  clusterId: 'c1',
});
const payment = workload('payment-1', {
  workloadName: 'payment',
  canonicalName: 'payment',
  canonicalRevision: 'v1',
  serviceAccount: 'payment',
  clusterId: 'c1',
});
const tunnelled: Traffic = {
  reporter: 'source',
  source: peerOf(order),
  sourceIdentity: identityOf(order),
  destination: peerOf(payment),
  destinationService: service('payment'),
  mutualTls: true,
  responseFlags: '-',
};
const text = (traffic: Traffic): string =>
  trafficLabels(traffic)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',');

// Lines that a real ztunnel wrote for the same calls.
const REGIONS = 'source_region="unknown",source_zone="unknown",destination_region="unknown",destination_zone="unknown"';
const SOURCE =
  'source_workload="order",source_canonical_service="order",source_canonical_revision="v1",source_workload_namespace="shop"';
const recorded: readonly [what: string, traffic: Traffic, want: string][] = [
  [
    'to a service through a tunnel',
    tunnelled,
    `reporter="source",${SOURCE},source_principal="spiffe://cluster.local/ns/shop/sa/order",source_app="order",source_version="v1",source_cluster="c1",destination_service="payment.shop.svc.cluster.local",destination_service_namespace="shop",destination_service_name="payment",destination_workload="payment",destination_canonical_service="payment",destination_canonical_revision="v1",destination_workload_namespace="shop",destination_principal="spiffe://cluster.local/ns/shop/sa/payment",destination_app="payment",destination_version="v1",destination_cluster="c1",request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls",${REGIONS}`,
  ],
  [
    'to an address outside the mesh',
    {
      ...tunnelled,
      sourceIdentity: undefined,
      destination: undefined,
      destinationService: undefined,
      mutualTls: false,
    },
    `reporter="source",${SOURCE},source_principal="unknown",source_app="order",source_version="v1",source_cluster="c1",destination_service="unknown",destination_service_namespace="unknown",destination_service_name="unknown",destination_workload="unknown",destination_canonical_service="unknown",destination_canonical_revision="unknown",destination_workload_namespace="unknown",destination_principal="unknown",destination_app="unknown",destination_version="unknown",destination_cluster="unknown",request_protocol="tcp",response_flags="-",connection_security_policy="unknown",${REGIONS}`,
  ],
];
for (const [what, traffic, want] of recorded) test(`labels ${what}`, () => assert.equal(text(traffic), want));

test('region and zone are left out when neither end is known', () => {
  const nobody = { ...tunnelled, source: undefined, destination: undefined };
  assert.equal(text(nobody).includes('region'), false);
});
test('the destination has a principal as soon as it is known, the source only with mutual TLS', () => {
  const plain = text({ ...tunnelled, sourceIdentity: undefined, mutualTls: false });
  assert.match(
    plain,
    /source_principal="unknown".*destination_principal="spiffe:\/\/cluster.local\/ns\/shop\/sa\/payment"/,
  );
});

const claims = (set: Partial<BaggageClaims> = {}): BaggageClaims => ({
  clusterId: undefined,
  namespace: undefined,
  workloadName: undefined,
  canonicalName: undefined,
  canonicalRevision: undefined,
  region: undefined,
  zone: undefined,
  ...set,
});
test('one workload version is one peer object', () => {
  assert.equal(peerOf(order), peerOf(order));
  assert.notEqual(peerOf(order), peerOf({ ...order }));
  assert.equal(sourcePeer(order, claims({ namespace: 'liar', region: '' })), peerOf(order));
});
test('baggage fills what state does not know, and contradicts nothing', () => {
  const peer = sourcePeer(order, claims({ namespace: 'liar', region: 'kr', workloadName: 'liar' }));
  assert.deepEqual([peer?.namespace, peer?.region, peer?.app, peer?.name], ['shop', 'kr', 'order', 'order-1']);
});
test('baggage alone: the app is the name of the workload, and nobody vouches for an identity', () => {
  const peer = sourcePeer(undefined, claims({ workloadName: 'order', canonicalName: 'orders' }));
  assert.deepEqual([peer?.app, peer?.canonicalName, peer?.identity, peer?.name], ['order', 'orders', undefined, '']);
  assert.equal(sourcePeer(undefined, claims()), undefined);
});
