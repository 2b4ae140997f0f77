import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { plainWorld } from '../model/plain-world.ts';
import { somePolicy, someService, someWorkload } from '../model/testing/arbitrary.ts';
import type { PortMapping, Service, Workload } from '../model/workload.ts';
import { serviceKey } from '../model/workload.ts';
import { readDump } from '../wire/dump/decode.ts';
import { policyJson, serviceJson, staticConfigJson, workloadJson } from './admin/state-json.ts';
import { parseLocalState } from './local-state.ts';

const YAML = `
workloads:
- name: order-1
  namespace: shop
  workloadIps: [10.99.0.11, "fd00::1"]
  protocol: HBONE
  node: n1
  waypoint: { destination: istio-system/wp.istio-system.svc.cluster.local, hboneMtlsPort: 15008 }
  services:
    shop/order.shop.svc.cluster.local: { 80: 8080 }
services:
- name: order
  namespace: shop
  hostname: Order.shop.svc.cluster.local
  vips: [/10.96.0.1]
  cidrVips: [net/10.0.0.0/8]
  ports: { 80: 8080 }
  loadBalancer: { mode: Failover, routingPreferences: [Network, Region], healthPolicy: AllowAll }
policies:
- name: p
  namespace: shop
  scope: WorkloadSelector
  action: Allow
  rules:
  - - - principals: [{ Exact: cluster.local/ns/a/sa/b }, { Presence: [] }]
        notDestinationPorts: [9999]
      - serviceAccounts: [{ namespace: a, serviceAccount: b }]
        sourceIps: [10.0.0.0/8]
`;

test('workloads, services and policies in the shape of the dump', () => {
  const parsed = parseLocalState(parse(YAML));
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.error.join('\n'));
  const [service, workload] = parsed.value.addresses;
  assert.ok(service?.kind === 'service' && workload?.kind === 'workload');
  assert.equal(service.service.hostname, 'order.shop.svc.cluster.local');
  assert.deepEqual(service.service.vips, [{ network: '', ip: '10.96.0.1' }]);
  assert.deepEqual(service.service.cidrVips, [{ network: 'net', range: { ip: '10.0.0.0', length: 8 } }]);
  assert.deepEqual(service.service.loadBalancing, {
    mode: 'failover',
    preferences: ['network', 'region'],
    healthPolicy: 'allowAll',
  });
  assert.equal(workload.workload.uid, 'Kubernetes//Pod/shop/order-1');
  assert.deepEqual(workload.workload.addresses, ['10.99.0.11', 'fd00::1']);
  assert.deepEqual(workload.workload.waypoint?.destination, {
    kind: 'hostname',
    namespace: 'istio-system',
    hostname: 'wp.istio-system.svc.cluster.local',
  });
  assert.deepEqual(
    [...workload.workload.services],
    [['shop/order.shop.svc.cluster.local', [{ servicePort: 80, targetPort: 8080, appProtocol: 'unknown' }]]],
  );
  const [policy] = parsed.value.policies;
  assert.equal(policy?.key, 'shop/p');
  assert.deepEqual(policyJson(policy!).rules, parse(YAML).policies[0].rules, 'what was read is dumped alike');
});

const policy = (rules: string): string =>
  `policies: [{ name: a, namespace: b, scope: Namespace, action: Allow, rules: ${rules} }]`;
const refused: { name: string; yaml: string; why: RegExp }[] = [
  { name: 'a list', yaml: '[]', why: /local state is `\[\]`; it must be a map/ },
  { name: 'an unknown part', yaml: 'pods: []', why: /local state\.pods is no known field/ },
  {
    name: 'a typo',
    yaml: 'workloads: [{ name: a, protocl: HBONE }]',
    why: /workloads\[0\]\.protocl is no known field/,
  },
  { name: 'no name', yaml: 'workloads: [{}]', why: /workloads\[0\]\.name is missing/ },
  { name: 'an address', yaml: 'workloads: [{ name: a, workloadIps: [x] }]', why: /workloadIps\[0\] is `"x"`/ },
  { name: 'a protocol', yaml: 'workloads: [{ name: a, protocol: UDP }]', why: /must be one of TCP, HBONE/ },
  { name: 'a port', yaml: 'services: [{ hostname: b, ports: { 80: x } }]', why: /ports\.80 is `"x"`/ },
  {
    name: 'a policy without action',
    yaml: 'policies: [{ name: a, namespace: b, scope: Global }]',
    why: /action is missing/,
  },
  { name: 'a condition', yaml: policy('[[[{ principals: [{ Like: x }] }]]]'), why: /one of Exact, Prefix/ },
  {
    name: 'a condition with a typo, which would widen the policy',
    yaml: policy('[[[{ principal: [] }]]]'),
    why: /principal is no known field/,
  },
  { name: 'nesting', yaml: policy('[{ principals: [] }]'), why: /rules\[0\] .*must be a list/ },
];
for (const c of refused)
  test(`refused with its place: ${c.name}`, () => {
    const got = parseLocalState(parse(c.yaml));
    assert.match(got.ok ? 'accepted' : got.error.join('\n'), c.why);
  });

test('nothing is an empty state', () =>
  assert.deepEqual(parseLocalState(undefined), { ok: true, value: { addresses: [], policies: [] } }));

test('any JSON: a state or problems, nothing thrown', () =>
  fc.assert(
    fc.property(fc.constantFrom('workloads', 'services', 'policies'), fc.array(fc.jsonValue()), (key, items) => {
      parseLocalState({ [key]: items });
    }),
  ));

/** What the JSON has no place for: application protocols, second mappings of a port, preferences that nobody asks for. */
const ports = (mappings: readonly PortMapping[]): PortMapping[] =>
  [...new Map(mappings.map((m) => [m.servicePort, { ...m, appProtocol: 'unknown' as const }])).values()].sort(
    (a, b) => a.servicePort - b.servicePort,
  );
const plainService = (s: Service): Service => ({
  ...s,
  ports: ports(s.ports),
  ingressUseWaypoint: false,
  loadBalancing:
    s.loadBalancing.mode === 'unspecified' && s.loadBalancing.healthPolicy === 'onlyHealthy'
      ? { ...s.loadBalancing, preferences: [] }
      : s.loadBalancing,
});
const plainWorkload = (w: Workload): Workload => ({
  ...w,
  services: new Map([...w.services].map(([key, mappings]) => [key, ports(mappings)])),
});

test('what the dump shows of a local state reads back as that state', () =>
  fc.assert(
    fc.property(
      fc.array(someWorkload),
      fc.array(someService),
      fc.array(somePolicy),
      (workloads, services, policies) => {
        const state = parseLocalState(JSON.parse(JSON.stringify(staticConfigJson(workloads, services, policies))));
        assert.ok(state.ok, state.ok ? '' : state.error.join());
        assert.deepEqual(state.value.addresses, [
          ...services.map((service) => ({ kind: 'service', service: plainService(service) })),
          ...workloads.map((workload) => ({ kind: 'workload', workload: plainWorkload(workload) })),
        ]);
        assert.deepEqual(state.value.policies, policies);
      },
    ),
  ));

test('the dump itself reads back with the members that are endpoints', () =>
  fc.assert(
    fc.property(
      fc.uniqueArray(someWorkload, { selector: (w) => w.uid }),
      fc.uniqueArray(someService, { selector: serviceKey }),
      (workloads, services) => {
        const world = plainWorld('', workloads, services, []);
        const dump = {
          workloads: workloads.map(workloadJson),
          services: services.map((s) => serviceJson(s, world.endpoints(serviceKey(s)))),
        };
        const read = readDump(JSON.parse(JSON.stringify(dump)));
        assert.deepEqual(read.problems, []);
        const again = plainWorld('', read.workloads, read.services, []);
        for (const s of services) {
          const members = (of: typeof world) => of.endpoints(serviceKey(s)).map((e) => [e.workload.uid, e.ports]);
          const sorted = (list: ReturnType<typeof members>) =>
            list.map(([uid, mapped]) => [uid, [...(mapped as Map<number, number>)].sort((a, b) => a[0] - b[0])]);
          assert.deepEqual(sorted(members(again)), sorted(members(world)));
        }
      },
    ),
  ));
