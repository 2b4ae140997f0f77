import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { policyJson } from './admin/state-json.ts';
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

const refused: { name: string; yaml: string; why: RegExp }[] = [
  { name: 'a list', yaml: '[]', why: /local state is no mapping/ },
  { name: 'an unknown part', yaml: 'pods: []', why: /local state\.pods is unknown/ },
  { name: 'a typo', yaml: 'workloads: [{ name: a, protocl: HBONE }]', why: /workloads\[0\]\.protocl is unknown/ },
  { name: 'no name', yaml: 'workloads: [{}]', why: /workloads\[0\]\.name is missing/ },
  { name: 'an address', yaml: 'workloads: [{ name: a, workloadIps: [x] }]', why: /workloadIps\[0\]: `x` is not an IP/ },
  { name: 'a protocol', yaml: 'workloads: [{ name: a, protocol: UDP }]', why: /protocol is not one of hbone, tcp/ },
  { name: 'a service key', yaml: 'workloads: [{ name: a, services: { x: {} } }]', why: /not namespace\/hostname/ },
  { name: 'a port', yaml: 'services: [{ name: a, hostname: b, ports: { 80: x } }]', why: /bad port `80`/ },
  {
    name: 'a condition',
    yaml: 'policies: [{ name: a, rules: [[[{ principals: [{ Like: x }] }]]] }]',
    why: /none of Exact, Prefix/,
  },
  {
    name: 'a condition with a typo, which would widen the policy',
    yaml: 'policies: [{ name: a, rules: [[[{ principal: [] }]]] }]',
    why: /principal is unknown/,
  },
  { name: 'nesting', yaml: 'policies: [{ name: a, rules: [{ principals: [] }] }]', why: /rules\[0\] is no list/ },
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
