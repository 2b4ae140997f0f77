import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IPod } from 'kubernetes-models/v1/Pod';
import {
  AUTHORIZATION_POLICIES,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  SERVICES,
} from '../kube/client/resources.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import { overviewOf, serviceLines } from './overview.ts';

interface PodSet {
  readonly labels?: Record<string, string>;
  readonly captured?: string;
  readonly ready?: boolean;
  readonly phase?: 'Pending' | 'Running' | 'Succeeded';
  readonly waiting?: { reason: string; message?: string };
  readonly hostNetwork?: boolean;
  readonly deleting?: boolean;
}

function pod(namespace: string, name: string, set: PodSet = {}): IPod {
  const { labels = {}, captured, ready = true, phase = 'Running', waiting, hostNetwork = false, deleting } = set;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels,
      annotations: captured === undefined ? {} : { 'ambient.istio.io/redirection': captured },
      ...(deleting ? { deletionTimestamp: '2026-11-21T08:00:00Z' } : {}),
    },
    spec: { nodeName: 'node-1', hostNetwork, containers: [{ name: 'c' }] },
    status: {
      phase,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [
        {
          name: 'c',
          image: 'i',
          imageID: '',
          ready,
          restartCount: 2,
          state: waiting === undefined ? { running: {} } : { waiting },
        },
      ],
    },
  };
}

function client(): MemoryKubeClient {
  const fake = new MemoryKubeClient();
  for (const name of ['node-1', 'node-2'])
    fake.put(NODES, { metadata: { name }, status: { conditions: [{ type: 'Ready', status: 'True' }] } });
  fake.put(NAMESPACES, { metadata: { name: 'istio-system' } });
  fake.put(NAMESPACES, { metadata: { name: 'kube-system' } });
  fake.put(NAMESPACES, { metadata: { name: 'default' } });
  fake.put(NAMESPACES, { metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } });
  fake.put(PODS, pod('istio-system', 'ztunnel-a', { labels: { app: 'ztunnel' } }));
  return fake;
}

test('nodes with their proxies, parts with restarts, namespaces of users only', async () => {
  const overview = await overviewOf(client());
  assert.deepEqual(overview.nodes, [
    { name: 'node-1', ready: true, pods: 1, ztunnel: 'ztunnel-a' },
    { name: 'node-2', ready: true, pods: 0, ztunnel: '' },
  ]);
  assert.deepEqual(
    overview.parts.map(({ name, ready, restarts }) => [name, ready, restarts]),
    [['ztunnel-a', true, 2]],
  );
  assert.deepEqual(
    overview.namespaces.map(({ name, mode }) => [name, mode]),
    [
      ['default', 'none'],
      ['shop', 'ambient'],
    ],
  );
});

const peer = (namespace: string, mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE' | 'UNSET', set: object = {}) => ({
  metadata: { namespace, name: mode.toLowerCase(), creationTimestamp: '2026-01-02T00:00:00Z' },
  spec: { mtls: { mode }, ...set },
});
const modes: readonly { name: string; put: readonly ReturnType<typeof peer>[]; want: string }[] = [
  { name: 'nothing said', put: [], want: 'PERMISSIVE' },
  { name: 'of the namespace', put: [peer('shop', 'STRICT')], want: 'STRICT' },
  { name: 'of the mesh', put: [peer('istio-system', 'STRICT')], want: 'STRICT' },
  {
    name: 'of the namespace before that of the mesh',
    put: [peer('istio-system', 'STRICT'), peer('shop', 'DISABLE')],
    want: 'DISABLE',
  },
  { name: 'UNSET inherits', put: [peer('istio-system', 'STRICT'), peer('shop', 'UNSET')], want: 'STRICT' },
  {
    name: 'of single workloads does not count',
    put: [peer('shop', 'STRICT', { selector: { matchLabels: { app: 'x' } } })],
    want: 'PERMISSIVE',
  },
];
for (const { name, put, want } of modes)
  test(`mutual TLS of a namespace: ${name}`, async () => {
    const fake = client();
    for (const each of put) fake.put(PEER_AUTHENTICATIONS, each);
    const { namespaces } = await overviewOf(fake);
    assert.equal(namespaces.find((n) => n.name === 'shop')?.mtls, want);
  });

test('of several the oldest counts', async () => {
  const fake = client();
  fake.put(PEER_AUTHENTICATIONS, peer('shop', 'STRICT'));
  const older = peer('shop', 'DISABLE');
  fake.put(PEER_AUTHENTICATIONS, {
    ...older,
    metadata: { ...older.metadata, creationTimestamp: '2026-01-01T00:00:00Z' },
  });
  assert.equal((await overviewOf(fake)).namespaces.find((n) => n.name === 'shop')?.mtls, 'DISABLE');
});

test('services: who is behind them, ready and in the mesh', async () => {
  const fake = client();
  const svc = (name: string, spec: object) =>
    fake.put(SERVICES, { metadata: { namespace: 'shop', name }, spec: { ports: [{ port: 80 }], ...spec } });
  svc('api', { clusterIP: '10.96.0.2', selector: { app: 'api' } });
  svc('half', { clusterIP: 'None', selector: { app: 'half' } });
  svc('beyond', { type: 'ExternalName', externalName: 'example.com', ports: [] });
  svc('empty', { clusterIP: '10.96.0.3', ports: [{ port: 80 }, { port: 443 }] });
  fake.put(PODS, pod('shop', 'api-1', { labels: { app: 'api' }, captured: 'enabled' }));
  fake.put(PODS, pod('shop', 'api-2', { labels: { app: 'api' }, captured: 'enabled', ready: false }));
  fake.put(PODS, pod('shop', 'api-old', { labels: { app: 'api' }, deleting: true }));
  fake.put(PODS, pod('shop', 'api-done', { labels: { app: 'api' }, phase: 'Succeeded' }));
  fake.put(PODS, pod('default', 'api-elsewhere', { labels: { app: 'api' } }));
  fake.put(PODS, pod('shop', 'half-1', { labels: { app: 'half' }, captured: 'enabled' }));
  fake.put(PODS, pod('shop', 'half-2', { labels: { app: 'half' } }));
  const { services } = await overviewOf(fake);
  assert.deepEqual(
    services.map((s) => [s.name, s.address, s.ports, `${s.ready}/${s.pods}`, s.inMesh]),
    [
      ['api', '10.96.0.2', '80', '1/2', true],
      ['beyond', 'example.com', '', '0/0', false],
      ['empty', '10.96.0.3', '80,443', '0/0', false],
      ['half', 'headless', '80', '2/2', false],
    ],
  );
  assert.match(serviceLines(services), /^NAMESPACE {2}SERVICE {2}ADDRESS/);
});

test('pods in trouble say why; those that are well, outside or finished do not', async () => {
  const fake = client();
  fake.put(PODS, pod('shop', 'well', { captured: 'enabled' }));
  fake.put(PODS, pod('default', 'outside'));
  fake.put(PODS, pod('shop', 'out', { labels: { 'istio.io/dataplane-mode': 'none' } }));
  fake.put(PODS, pod('shop', 'host', { hostNetwork: true }));
  fake.put(PODS, pod('shop', 'done', { phase: 'Succeeded', ready: false }));
  fake.put(PODS, pod('shop', 'missed'));
  fake.put(PODS, pod('shop', 'pending', { captured: 'pending' }));
  fake.put(PODS, pod('shop', 'slow', { captured: 'enabled', ready: false }));
  fake.put(PODS, pod('shop', 'early', { phase: 'Pending', ready: false }));
  fake.put(PODS, pod('default', 'asked', { labels: { 'istio.io/dataplane-mode': 'ambient' } }));
  fake.put(PODS, pod('shop', 'image', { waiting: { reason: 'ImagePullBackOff', message: 'nobody knows it' } }));
  const { troubles } = await overviewOf(fake);
  assert.deepEqual(Object.fromEntries(troubles.map((t) => [t.pod, t.why])), {
    'shop/missed': 'should be in the mesh and is not: see its events',
    'shop/pending': 'captured, but no ztunnel has taken it yet',
    'shop/slow': 'not ready',
    'shop/early': 'Pending',
    'default/asked': 'should be in the mesh and is not: see its events',
    'shop/image': 'ImagePullBackOff: nobody knows it',
  });
});

test('a cluster without Istio`s kinds has none of its objects; another failure is told', async () => {
  const fake = client();
  fake.setInstalled(AUTHORIZATION_POLICIES, false);
  fake.setInstalled(PEER_AUTHENTICATIONS, false);
  assert.equal((await overviewOf(fake)).namespaces.length, 2);
  fake.onRequest = () => {
    throw new Error('connection refused');
  };
  await assert.rejects(overviewOf(fake), /connection refused/);
});
