import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { cidr, ip, match, members, policy, ports, rule, service, workload } from '../../model/testing/builders.ts';
import { decodeLocalState, readDump } from './decode.ts';

const recorded: unknown = JSON.parse(readFileSync(new URL('testdata/config-dump.json', import.meta.url), 'utf8'));

test('a dump of the real node proxy: workloads with their services, services, policies', () => {
  const { workloads, services, policies, problems, settings } = readDump(recorded);
  assert.deepEqual(problems, []);
  assert.deepEqual(settings, { network: '', clusterDomain: 'cluster.local' });
  const common = { clusterId: 'c1', workloadType: 'deployment' as const, canonicalRevision: 'v1' };
  assert.deepEqual(workloads, [
    workload('order-1', {
      ...common,
      uid: 'c1//v1/Pod/shop/order-1',
      addresses: [ip('10.99.0.11')],
      serviceAccount: 'order',
      canonicalName: 'order',
      workloadName: 'order',
      node: 'n1',
    }),
    workload('payment-1', {
      ...common,
      uid: 'c1//v1/Pod/shop/payment-1',
      addresses: [ip('10.99.0.12')],
      serviceAccount: 'payment',
      canonicalName: 'payment',
      workloadName: 'payment',
      node: 'n2',
      authorizationPolicies: ['shop/no-9000'],
      services: members({ 'shop/payment.shop.svc.cluster.local': ['80:8000', '9000:9000'] }),
    }),
  ]);
  assert.deepEqual(services, [
    service('payment', {
      vips: [{ network: '', ip: ip('10.96.0.12') }],
      ports: ports('80:8000', '9000:9000'),
    }),
  ]);
  assert.deepEqual(policies, [
    policy('no-9000', 'deny', {
      scope: 'workloadSelector',
      anyRule: [rule(match({ destinationPorts: [{ kind: 'port', port: 9000 }] }))],
    }),
  ]);
});

const LOCAL = `
workloads:
- uid: cluster1//v1/Pod/bank/vault
  name: vault
  namespace: bank
  workloadIps: ["10.0.0.2", "fd00::2"]
  protocol: HBONE
  networkMode: HostNetwork
  workloadType: job
  status: Unhealthy
  applicationTunnel: { protocol: PROXY, port: 15088 }
  waypoint: { destination: /10.0.0.9, hboneMtlsPort: 15008 }
  networkGateway: { destination: edge/gate.example.com, hboneMtlsPort: 15009 }
  locality: { region: r, zone: z, subzone: s }
  capacity: 0
  services:
    bank/vault.example.com: { 80: 8080, 443: 0 }
services:
- name: vault
  namespace: bank
  hostname: vault.example.com
  vips: [blue/10.1.0.1]
  cidrVips: [{ network: "", cidr: 10.2.0.0/16 }]
  ports: { 80: 8080 }
  subjectAltNames: [spiffe://cluster.local/ns/bank/sa/other]
  loadBalancer: { routingPreferences: [Network, Zone], mode: Failover, healthPolicy: AllowAll }
  ipFamilies: Dual
  canonical: true
  visibility: Namespace
  weightedWaypoints: [{ destination: { destination: bank/w.example.com, hboneMtlsPort: 15008 }, weight: 3 }]
policies:
- name: all
  namespace: bank
  scope: Global
  action: Allow
  dryRun: true
  rules:
  - - - principals: [{ Exact: a }, { Prefix: b }, { Suffix: c }, { Presence: [] }]
        notServiceAccounts: [{ namespace: bank, serviceAccount: vault }]
        sourceIps: [10.0.0.0/8]
`;

test('a local file with every kind of field', () => {
  const state = decodeLocalState(parse(LOCAL));
  assert.ok(state.ok, JSON.stringify(state));
  assert.deepEqual(state.value.workloads, [
    workload('vault', {
      uid: 'cluster1//v1/Pod/bank/vault',
      namespace: 'bank',
      addresses: [ip('10.0.0.2'), ip('fd00::2')],
      hostNetwork: true,
      workloadType: 'job',
      status: 'unhealthy',
      serviceAccount: 'default',
      applicationTunnel: { protocol: 'proxy', port: 15088 },
      waypoint: { destination: { kind: 'address', network: '', ip: ip('10.0.0.9') }, hbonePort: 15008 },
      networkGateway: {
        destination: { kind: 'hostname', namespace: 'edge', hostname: 'gate.example.com' },
        hbonePort: 15009,
      },
      locality: { region: 'r', zone: 'z', subzone: 's' },
      capacity: 0,
      services: members({ 'bank/vault.example.com': ['80:8080', '443:0'] }),
      node: '',
      canonicalName: '',
      canonicalRevision: '',
      workloadName: '',
    }),
  ]);
  assert.deepEqual(state.value.services, [
    service('vault', {
      namespace: 'bank',
      hostname: 'vault.example.com',
      vips: [{ network: 'blue', ip: ip('10.1.0.1') }],
      cidrVips: [{ network: '', range: cidr('10.2.0.0/16') }],
      ports: ports('80:8080'),
      subjectAltNames: [{ trustDomain: 'cluster.local', namespace: 'bank', serviceAccount: 'other' }],
      loadBalancing: { mode: 'failover', preferences: ['network', 'zone'], healthPolicy: 'allowAll' },
      ipFamilies: 'dual',
      visibility: 'namespace',
      weightedWaypoints: [
        {
          waypoint: {
            destination: { kind: 'hostname', namespace: 'bank', hostname: 'w.example.com' },
            hbonePort: 15008,
          },
          weight: 3,
        },
      ],
    }),
  ]);
  assert.deepEqual(state.value.policies, [
    policy('all', 'allow', {
      namespace: 'bank',
      scope: 'global',
      dryRun: true,
      anyRule: [
        rule(
          match({
            principals: [
              { kind: 'exact', value: 'a' },
              { kind: 'prefix', value: 'b' },
              { kind: 'suffix', value: 'c' },
              { kind: 'present' },
            ],
            notServiceAccounts: [{ kind: 'exact', value: 'bank/vault' }],
            sourceIps: [{ kind: 'cidr', range: cidr('10.0.0.0/8') }],
          }),
        ),
      ],
    }),
  ]);
});

const bad = [
  ['workloads: 7', 'workloads', /must be a list/],
  ['workloads: [{ name: a, namespace: b, workloadIps: [1.2.3] }]', 'workloads[0].workloadIps[0]', /an IP address/],
  ['workloads: [{ namespace: b }]', 'workloads[0].name', /is missing/],
  ['workloads: [{ name: a, namespace: b, protocol: QUIC }]', 'workloads[0].protocol', /one of TCP, HBONE/],
  ['workloads: [{ name: a, namespace: b, wayPoint: {} }]', 'workloads[0].wayPoint', /no known field/],
  ['workloads: [{ name: a, namespace: b, capacity: -1 }]', 'workloads[0].capacity', /a whole number/],
  ['workloads: [{ name: a, namespace: b, services: { x: {} } }]', 'workloads[0].services.x', /namespace\/hostname/],
  ['services: [{ namespace: a, hostname: b, ports: { http: 80 } }]', 'services[0].ports.http', /service port/],
  ['services: [{ namespace: a, hostname: b, vips: [10.0.0.1] }]', 'services[0].vips[0]', /network\/ip/],
  [
    'services: [{ namespace: a, hostname: b, waypoint: { destination: x } }]',
    'services[0].waypoint.destination',
    /namespace\/hostname/,
  ],
  ['policies: [{ name: a, namespace: b, scope: Global }]', 'policies[0].action', /is missing/],
  ['policies: [{ name: a, namespace: b, scope: World, action: Deny }]', 'policies[0].scope', /one of Global/],
  [
    'policies: [{ name: a, namespace: b, scope: Global, action: Deny, rules: [[[{ paths: [] }]]] }]',
    'policies[0].rules[0][0][0].paths',
    /no known field/,
  ],
  [
    'policies: [{ name: a, namespace: b, scope: Global, action: Deny, rules: [[[{ principals: [{ Exakt: a }] }]]] }]',
    'policies[0].rules[0][0][0].principals[0]',
    /one of Exact, Prefix/,
  ],
  ['workloadz: []', 'workloadz', /no known field/],
  ['just text', '', /must be a map/],
] as const;
for (const [yaml, at, message] of bad)
  test(`refused with its place: ${yaml}`, () => {
    const state = decodeLocalState(parse(yaml));
    assert.ok(!state.ok);
    assert.equal(state.error[0].at, at);
    assert.match(state.error[0].message, message);
  });

test('a bad item of a dump is left out and told, the others stay; what is new is passed over', () => {
  const { workloads, policies, problems } = readDump({
    workloads: [{ uid: 'a' }, { uid: 'b', namespace: 'x', colour: 'red' }],
    policies: [{ name: 'p', namespace: 'x', scope: 'Namespace', action: 'Audit' }],
    config: { network: 7 },
    certificates: 7,
  });
  assert.deepEqual([workloads.map((w) => w.uid), policies.length], [['b'], 0]);
  assert.deepEqual(
    problems.map(({ at }) => at),
    ['workloads[0].namespace', 'policies[0].action', 'config.network'],
  );
});

test('endpoints that wait for their service are members of it, too', () => {
  const { workloads } = readDump({
    workloads: [{ uid: 'a', namespace: 'x', services: ['x/y.z'] }],
    stagedServices: { 'x/y.z': { a: { workloadUid: 'a', port: { 80: 81 }, status: 'Healthy' } } },
  });
  assert.deepEqual(workloads[0]?.services, members({ 'x/y.z': ['80:81'] }));
});

test('any value is read or refused, nothing is thrown', () =>
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.record({
          workloads: fc.array(
            fc.dictionary(fc.constantFrom('uid', 'namespace', 'waypoint', 'services'), fc.jsonValue()),
          ),
          services: fc.array(
            fc.dictionary(fc.constantFrom('hostname', 'namespace', 'endpoints', 'ports'), fc.jsonValue()),
          ),
          policies: fc.array(fc.dictionary(fc.constantFrom('name', 'namespace', 'rules', 'scope'), fc.jsonValue())),
        }),
      ),
      (value) => {
        readDump(value);
        decodeLocalState(value);
      },
    ),
    { numRuns: 300 },
  ));
