import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_TRAFFIC_POLICY, type TrafficConfig } from '../../model/proxy/service-config.ts';
import { parseDestinationRule } from '../objects/routing.ts';
import type { Json } from '../read.ts';
import { type DestinationRuleWorld, deriveTrafficConfig, destinationRuleFor } from './destination-rules.ts';
import { durationMs } from './duration.ts';

const rule = (spec: Json, { name = 'r', namespace = 'shop', at = '2026-01-01T00:00:00Z' } = {}) =>
  parseDestinationRule({ metadata: { name, namespace, creationTimestamp: at }, spec: { host: 'order', ...spec } });

const world: DestinationRuleWorld = {
  clusterDomain: 'cluster.local',
  rootNamespace: 'istio-system',
  defaultExportTo: ['*'],
  membersWith: (labels) => (labels.version === 'v1' ? ['uid-1'] : labels.version === 'v2' ? ['uid-2'] : []),
  credential: (name) => (name === 'client' ? { certificate: 'shop/client', roots: 'PEM' } : undefined),
  meshDefaults: {},
  meshLocality: {},
  connectTimeoutMs: 10_000,
};
const service = { namespace: 'shop', hostname: 'order.shop.svc.cluster.local' };
const derive = (spec: Json, over: Partial<DestinationRuleWorld> = {}): TrafficConfig =>
  deriveTrafficConfig(rule(spec), { ...world, ...over });

test('without a rule every default holds', () => {
  assert.deepEqual(deriveTrafficConfig(undefined, world), { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] });
});

test('which rule counts: own namespace, then the service’s, then the root; exact before the longest wildcard', () => {
  const pick = (...rules: ReturnType<typeof rule>[]): string | undefined =>
    destinationRuleFor(rules, service, 'edge', world)?.name;
  const own = rule({ host: service.hostname }, { name: 'own', namespace: 'edge' });
  const theirs = rule({}, { name: 'theirs' });
  const root = rule({ host: '*.shop.svc.cluster.local' }, { name: 'root', namespace: 'istio-system' });
  assert.equal(pick(root, theirs, own), 'own');
  assert.equal(pick(root, theirs), 'theirs');
  assert.equal(pick(root), 'root');
  assert.equal(pick(rule({ exportTo: ['.'] }, { name: 'hidden' }), root), 'root');
  assert.equal(pick(rule({ workloadSelector: { matchLabels: { app: 'a' } } }), root), 'root');
  assert.equal(
    pick(
      rule({ host: '*.svc.cluster.local' }, { name: 'wide' }),
      rule({ host: '*.shop.svc.cluster.local' }, { name: 'long' }),
    ),
    'long',
  );
  assert.equal(pick(rule({ host: '*.shop.svc.cluster.local' }, { name: 'long' }), theirs), 'theirs');
});

test('rules of one host are one: the oldest policy whole, subsets together', () => {
  const older = rule({
    trafficPolicy: { loadBalancer: { simple: 'RANDOM' } },
    subsets: [{ name: 'v1', labels: { version: 'v1' } }],
  });
  const newer = rule(
    {
      trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } },
      subsets: [
        { name: 'v1', labels: { version: 'v2' } },
        { name: 'v2', labels: { version: 'v2' } },
      ],
    },
    { name: 'newer', at: '2026-02-01T00:00:00Z' },
  );
  const { policy, subsets } = deriveTrafficConfig(destinationRuleFor([newer, older], service, 'shop', world), world);
  assert.deepEqual(policy.loadBalancer, { kind: 'random' });
  assert.deepEqual(
    subsets.map(({ name, members }) => [name, ...members]),
    [
      ['v1', 'uid-1'],
      ['v2', 'uid-2'],
    ],
  );
});

test('port settings inherit nothing; a subset takes over block by block', () => {
  const { ports, subsets } = derive({
    trafficPolicy: {
      loadBalancer: { simple: 'RANDOM' },
      connectionPool: { http: { maxRetries: 7 } },
      portLevelSettings: [{ port: { number: 80 }, connectionPool: { http: { maxRetries: 9 } } }],
    },
    subsets: [{ name: 'v1', labels: { version: 'v1' }, trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' } } }],
  });
  assert.deepEqual([ports['80']?.loadBalancer.kind, ports['80']?.pool.maxRetries], ['leastRequest', 9]);
  const [v1] = subsets;
  assert.deepEqual([v1?.policy.loadBalancer.kind, v1?.policy.pool.maxRetries], ['roundRobin', 7]);
  assert.deepEqual([v1?.ports['80']?.loadBalancer.kind, v1?.ports['80']?.pool.maxRetries], ['roundRobin', 9]);
});

test('hashing, locality, slow start, pools, outliers', () => {
  const { policy } = derive({
    trafficPolicy: {
      loadBalancer: {
        consistentHash: { httpCookie: { name: 'user', ttl: '0s' }, maglev: { tableSize: 101 } },
        localityLbSetting: { failoverPriority: ['topology.kubernetes.io/zone', 'version=v1'] },
        warmup: { duration: '30s', aggression: { value: 2 } },
      },
      connectionPool: {
        tcp: { maxConnections: 5, connectTimeout: '250ms' },
        http: { http1MaxPendingRequests: 3, h2UpgradePolicy: 'UPGRADE', http2KeepAlive: { interval: '30s' } },
      },
      outlierDetection: { consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, interval: '1s' },
    },
  });
  assert.deepEqual(policy.loadBalancer, {
    kind: 'maglev',
    by: { kind: 'cookie', name: 'user', path: '', ttlMs: 0, attributes: [] },
    tableSize: 101,
  });
  assert.deepEqual(policy.locality, {
    kind: 'priority',
    labels: [
      { name: 'topology.kubernetes.io/zone', value: undefined, members: [] },
      { name: 'version', value: 'v1', members: ['uid-1'] },
    ],
  });
  assert.deepEqual(policy.slowStart, { durationMs: 30_000, minimumPercent: 10, aggression: 2 });
  const { maxConnections, connectTimeoutMs, maxPendingRequests, http2 } = policy.pool;
  assert.deepEqual([maxConnections, connectTimeoutMs, maxPendingRequests, http2], [5, 250, 3, 'always']);
  assert.deepEqual(policy.pool.http2Keepalive, { intervalMs: 30_000, timeoutMs: 20_000 });
  assert.deepEqual([policy.outlier?.consecutive5xx, policy.outlier?.consecutiveGatewayErrors], [0, 2]);
  assert.deepEqual([policy.outlier?.maxEjectionPercent, policy.outlier?.baseEjectionMs], [10, 30_000]);
});

test('locality needs to know who is ill', () => {
  const failover = { localityLbSetting: { failover: [{ from: 'a', to: 'b' }] } };
  assert.equal(derive({ trafficPolicy: { loadBalancer: failover } }).policy.locality, undefined);
  assert.equal(
    derive({ trafficPolicy: { loadBalancer: failover, outlierDetection: {} } }).policy.locality?.kind,
    'failover',
  );
  assert.equal(derive({ trafficPolicy: { outlierDetection: {} } }).policy.locality?.kind, 'prefer');
  assert.equal(
    derive({ trafficPolicy: { outlierDetection: {} } }, { meshLocality: { enabled: false } }).policy.locality,
    undefined,
  );
});

test('the mesh’s defaults count for blocks that a rule leaves out', () => {
  const meshDefaults = { outlierDetection: { consecutive5xxErrors: 3 }, connectionPool: { http: { maxRetries: 1 } } };
  const { policy } = derive({ trafficPolicy: { connectionPool: { tcp: { maxConnections: 2 } } } }, { meshDefaults });
  assert.equal(policy.outlier?.consecutive5xx, 3);
  assert.equal(policy.pool.maxRetries, DEFAULT_TRAFFIC_POLICY.pool.maxRetries);
});

test('TLS: what cannot be verified as written is unusable, never plain', () => {
  const tls = (written: Json) => derive({ trafficPolicy: { tls: written } }).policy.tls;
  assert.equal(tls({ mode: 'ISTIO_MUTUAL' }), undefined);
  assert.equal(tls({ mode: 'DISABLE' }), undefined);
  assert.deepEqual(tls({ mode: 'SIMPLE', sni: 'a.example', subjectAltNames: ['a.example'] }), {
    mode: 'simple',
    serverName: 'a.example',
    subjectAltNames: [{ kind: 'exact', value: 'a.example' }],
    roots: { kind: 'system' },
    certificate: undefined,
  });
  assert.equal(tls({ mode: 'SIMPLE', insecureSkipVerify: true })?.roots.kind, 'unverified');
  assert.deepEqual(tls({ mode: 'MUTUAL', credentialName: 'client' })?.certificate, 'shop/client');
  assert.equal(tls({ mode: 'MUTUAL', credentialName: 'gone' })?.roots.kind, 'unusable');
  assert.equal(tls({ mode: 'MUTUAL', clientCertificate: '/a', privateKey: '/b' })?.roots.kind, 'unusable');
  assert.equal(tls({ mode: 'SIMPLE', caCertificates: '/etc/ca.pem' })?.roots.kind, 'unusable');
});

test('durations', () => {
  const cases: readonly (readonly [unknown, number | undefined])[] = [
    ['1.5s', 1500],
    ['1h30m', 5_400_000],
    ['0', 0],
    ['0s', 0],
    ['250ms', 250],
    ['-1s', undefined],
    ['5', undefined],
    ['', undefined],
    [5, undefined],
    ['1s ', undefined],
  ];
  for (const [written, ms] of cases) assert.equal(durationMs(written), ms, String(written));
});
