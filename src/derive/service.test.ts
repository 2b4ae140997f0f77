import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from '../model/workload.ts';
import { serviceKey } from '../model/workload.ts';
import type { Json, Labels } from './read.ts';
import { ambientOf } from './testing.ts';

const service = (spec: Json, metadata: Json = {}): Json => ({
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', ...metadata },
  spec,
});
const entry = (spec: Json, metadata: Json = {}): Json => ({
  kind: 'ServiceEntry',
  metadata: { name: 'ext', namespace: 'shop', ...metadata },
  spec: { hosts: ['ext.example'], resolution: 'STATIC', ...spec },
});
const servicesOf = (objects: readonly Json[], mesh?: Json): readonly Service[] => [
  ...ambientOf(objects, {}, mesh).services.values(),
];
const one = (...objects: Json[]): Service => {
  const [found, ...rest] = servicesOf(objects);
  assert.ok(found && rest.length === 0);
  return found;
};

test('addresses: cluster IPs, none for headless, nothing at all for ExternalName', () => {
  assert.deepEqual(one(service({ clusterIP: '10.96.0.1' })).vips, [{ network: '', ip: '10.96.0.1' }]);
  const dual = one(
    service({ clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', 'fd00::1'], ipFamilies: ['IPv4', 'IPv6'] }),
  );
  assert.deepEqual(
    dual.vips.map(({ ip }) => ip),
    ['10.96.0.1', 'fd00::1'],
  );
  assert.equal(dual.ipFamilies, 'dual');
  assert.deepEqual(one(service({ clusterIP: 'None' })).vips, []);
  assert.deepEqual(servicesOf([service({ type: 'ExternalName', externalName: 'x.example' })]), []);
});

test('ports keep numbers, names become 0, protocols come from appProtocol, name and number', () => {
  const ports = [
    { name: 'http-web', port: 80, targetPort: 8080 },
    { name: 'grpc', port: 81, targetPort: 'grpc' },
    { name: 'x', port: 82, appProtocol: 'HTTPS' },
    { name: 'x', port: 83, appProtocol: 'kubernetes.io/h2c' },
    { name: 'http', port: 84, protocol: 'UDP' },
    { name: 'grpc-web', port: 85 },
    { name: 'http', port: 3306 },
    { name: 'http2', port: 86 },
    { name: 'mysql', port: 87 },
  ];
  assert.deepEqual(
    one(service({ ports })).ports.map(({ targetPort, appProtocol }) => `${targetPort} ${appProtocol}`),
    [
      '8080 http11',
      '0 grpc',
      '82 tls',
      '83 http2',
      '84 unknown',
      '85 unknown',
      '3306 unknown',
      '86 http2',
      '87 unknown',
    ],
  );
});

const ANNOTATION = 'networking.istio.io/traffic-distribution';
const balancing: readonly [string, Json, Labels, Labels, string][] = [
  ['nothing said', {}, {}, {}, 'unspecified '],
  ['spec', { trafficDistribution: 'PreferClose' }, {}, {}, 'failover network region zone'],
  ['spec, same node', { trafficDistribution: 'PreferSameNode' }, {}, {}, 'failover network region zone subzone node'],
  [
    'spec is spelt exactly',
    { trafficDistribution: 'preferclose' },
    { [ANNOTATION]: 'PreferClose' },
    {},
    'unspecified ',
  ],
  ['annotation in any case', {}, { [ANNOTATION]: 'PREFERSAMEZONE' }, {}, 'failover network region zone'],
  ['annotation of the namespace', {}, {}, { [ANNOTATION]: 'PreferClose' }, 'failover network region zone'],
  [
    'an unknown annotation ends the search',
    {},
    { [ANNOTATION]: 'Any' },
    { [ANNOTATION]: 'PreferClose' },
    'unspecified ',
  ],
  [
    'local traffic policy wins',
    { internalTrafficPolicy: 'Local', trafficDistribution: 'PreferClose' },
    {},
    {},
    'strict node',
  ],
];
for (const [name, spec, own, inherited, want] of balancing)
  test(`load balancing: ${name}`, () => {
    const space = { kind: 'Namespace', metadata: { name: 'shop', annotations: inherited } };
    const { mode, preferences } = one(service(spec, { annotations: own }), space).loadBalancing;
    assert.equal(`${mode} ${preferences.join(' ')}`, want);
  });

test('publishNotReadyAddresses takes unhealthy endpoints too', () => {
  assert.equal(one(service({ publishNotReadyAddresses: true })).loadBalancing.healthPolicy, 'allowAll');
});

test('a ServiceEntry makes a service a host, with ranges apart from addresses', () => {
  const found = servicesOf([
    entry({
      hosts: ['B.example', 'a.example', 'a.example'],
      addresses: ['10.1.0.0/16', '10.2.0.1', '10.3.0.1/32'],
      ports: [
        { number: 443, name: 'tls', protocol: 'TLS', targetPort: 8443 },
        { number: 80, protocol: 'HTTP' },
      ],
      subjectAltNames: ['spiffe://td/ns/a/sa/b', 'not-a-spiffe-id'],
    }),
  ]);
  assert.deepEqual(found.map(serviceKey).sort(), ['shop/a.example', 'shop/b.example']);
  const [first] = found;
  assert.deepEqual(
    first?.vips.map(({ ip }) => ip),
    ['10.2.0.1', '10.3.0.1'],
  );
  assert.deepEqual(first?.cidrVips, [{ network: '', range: { ip: '10.1.0.0', length: 16 } }]);
  assert.deepEqual(
    first?.ports.map(({ servicePort, targetPort, appProtocol }) => [servicePort, targetPort, appProtocol]),
    [
      [443, 8443, 'tls'],
      [80, 80, 'http11'],
    ],
  );
  assert.equal(first?.subjectAltNames.length, 1);
  assert.equal(first?.ipFamilies, 'automatic');
});

test('an address that cannot be read, and an entry hidden by the mesh, make no service', () => {
  assert.deepEqual(servicesOf([entry({ addresses: ['10.0.0.1', 'x'] })]), []);
  assert.deepEqual(servicesOf([entry({})], { serviceEntryVisibility: { defaultVisibility: 'NONE' } }), []);
});

test('resolution NONE passes through', () => {
  const { loadBalancing } = one(entry({ resolution: 'NONE', addresses: ['10.1.0.0/16'] }));
  assert.deepEqual(loadBalancing, { mode: 'passthrough', preferences: [], healthPolicy: 'allowAll' });
});

test('allocated addresses count where allocation is on, and only for their host', () => {
  const status = {
    addresses: [
      { host: 'ext.example', value: '240.240.0.7' },
      { host: 'other', value: '240.240.0.8' },
    ],
  };
  const vips = (spec: Json, labels: Labels = {}) =>
    one({ ...entry(spec, { labels }), status }).vips.map(({ ip }) => ip);
  assert.deepEqual(vips({}), ['240.240.0.7']);
  assert.deepEqual(vips({}, { 'networking.istio.io/enable-autoallocate-ip': 'false' }), []);
  assert.deepEqual(vips({ addresses: ['10.1.1.1'] }), ['10.1.1.1']);
  assert.deepEqual(vips({ resolution: 'NONE' }), []);
});

const at = (namespace: string, name: string, created: string): Json => ({
  namespace,
  name,
  creationTimestamp: created,
});
const OLD = '2026-01-01T00:00:00Z';
const NEW = '2026-02-01T00:00:00Z';
const hosts = { hosts: ['web.shop.svc.cluster.local'] };
const settled = (objects: readonly Json[], mesh?: Json): readonly string[] =>
  servicesOf(objects, mesh)
    .map(({ namespace, name, canonical }) => `${namespace}/${name}${canonical ? ' canonical' : ''}`)
    .sort();

test('of several with one host name: a Service before the oldest entry, one canonical for the mesh', () => {
  const young = entry(hosts, at('shop', 'young', NEW));
  const old = entry(hosts, at('shop', 'old', OLD));
  const elsewhere = entry(hosts, at('other', 'x', NEW));
  assert.deepEqual(settled([young, old]), ['shop/old canonical']);
  assert.deepEqual(settled([young, old, service({}, { creationTimestamp: NEW })]), ['shop/web canonical']);
  assert.deepEqual(settled([old, elsewhere]), ['other/x', 'shop/old canonical']);
  assert.deepEqual(settled([elsewhere, service({}, { creationTimestamp: NEW })]), ['other/x', 'shop/web canonical']);
});

test('an entry of its namespace alone is never canonical', () => {
  const mesh = { serviceEntryVisibility: { defaultVisibility: 'NAMESPACE' } };
  assert.deepEqual(settled([entry(hosts, at('shop', 'x', OLD))], mesh), ['shop/x']);
  const [found] = servicesOf([entry({})], mesh);
  assert.equal(found?.visibility, 'namespace');
});

test('visibility by namespace selector, the first policy that matches', () => {
  const policies = [
    { visibility: 'NONE', matchingRules: [{ namespaceSelector: { matchLabels: { team: 'x' } } }] },
    { visibility: 'NAMESPACE', matchingRules: [{ namespaceSelector: {} }] },
  ];
  const mesh = { serviceEntryVisibility: { policies } };
  const space = (labels: Labels): Json => ({ kind: 'Namespace', metadata: { name: 'shop', labels } });
  assert.equal(servicesOf([entry({}), space({ team: 'x' })], mesh).length, 0);
  assert.equal(servicesOf([entry({}), space({})], mesh)[0]?.visibility, 'namespace');
});
