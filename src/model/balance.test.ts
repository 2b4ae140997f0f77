import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseAddress, chooseEndpoint, localityRank } from './balance.ts';
import { plainWorld } from './plain-world.ts';
import { ip, members, ports, service, workload } from './testing/builders.ts';
import type { LoadBalancing, LoadBalancingScope, Service, Workload } from './workload.ts';

const KEY = 'shop/s.shop.svc.cluster.local';
const pod = (name: string, last: number, set: Partial<Workload> = {}): Workload =>
  workload(name, { addresses: [ip(`10.0.0.${last}`)], services: members({ [KEY]: ['80:8080'] }), ...set });
const at = (region: string, zone: string, subzone = '') => ({ locality: { region, zone, subzone } });
const source = workload('source', at('r1', 'z1', 's1'));
const balancing = (mode: LoadBalancing['mode'], ...preferences: LoadBalancingScope[]): LoadBalancing => ({
  mode,
  preferences,
  healthPolicy: 'onlyHealthy',
});
const base = service('s', { ports: ports('80:8080') });

/** Names chosen over evenly spread randomness. */
function chosen(
  workloads: readonly Workload[],
  set: Partial<Service> = {},
  port = 80,
  mode: 'standard' | 'waypoint' = 'standard',
): string[] {
  const s = { ...base, ...set };
  const world = plainWorld('', workloads, [s], []);
  return Array.from({ length: 10 }, (_, i) => {
    const found = chooseEndpoint(world, source, s, port, mode, () => i / 10);
    return found === undefined ? '-' : `${found.workload.name}:${found.port}`;
  });
}
const all = (name: string): string[] => Array<string>(10).fill(name);

test('weights are capacities; 0 is never chosen', () => {
  assert.deepEqual(chosen([pod('a', 1, { capacity: 3 }), pod('z', 2, { capacity: 0 }), pod('b', 3, { capacity: 7 })]), [
    ...Array<string>(3).fill('a:8080'),
    ...Array<string>(7).fill('b:8080'),
  ]);
  assert.deepEqual(chosen([pod('a', 1, { capacity: 0 })]), all('-'));
});
test('unhealthy workloads are no endpoints, unless the service allows all', () => {
  const sick = pod('a', 1, { status: 'unhealthy' });
  assert.deepEqual(chosen([sick]), all('-'));
  assert.deepEqual(
    chosen([sick], { loadBalancing: { mode: 'unspecified', preferences: [], healthPolicy: 'allowAll' } }),
    all('a:8080'),
  );
});
test("an endpoint's own mapping of a port comes before the service's", () => {
  assert.deepEqual(chosen([pod('a', 1, { services: members({ [KEY]: ['80:9999'] }) })]), all('a:9999'));
  assert.deepEqual(chosen([pod('a', 1, { services: members({ [KEY]: [] }) })]), all('a:8080'));
});
test('a named port: only endpoints that map it', () => {
  const unmapped = pod('a', 1, { services: members({ [KEY]: [] }) });
  assert.deepEqual(chosen([unmapped, pod('b', 2)], { ports: ports('80:0') }), all('b:8080'));
});
test('nowhere to go: no address, no name, no gateway', () => {
  assert.deepEqual(chosen([pod('a', 1, { addresses: [] })]), all('-'));
  assert.deepEqual(chosen([pod('a', 1, { addresses: [], hostname: 'a.example.com' })]), all('a:8080'));
});
test('unspecified mode ignores preferences', () => {
  const names = chosen([pod('far', 1, at('r2', 'z2')), pod('near', 2, at('r1', 'z1'))], {
    loadBalancing: balancing('unspecified', 'region'),
  });
  assert.deepEqual(new Set(names), new Set(['far:8080', 'near:8080']));
});
test('failover: the best rank alone, and the next best when it is gone', () => {
  const loadBalancing = balancing('failover', 'region', 'zone', 'subzone');
  const [far, region, zone] = [
    pod('far', 1, at('r2', 'z1', 's1')),
    pod('region', 2, at('r1', 'z2', 's1')),
    pod('zone', 3, at('r1', 'z1')),
  ];
  assert.deepEqual(chosen([far, region, zone], { loadBalancing }), all('zone:8080'));
  assert.deepEqual(chosen([far, region], { loadBalancing }), all('region:8080'));
  assert.deepEqual(chosen([far], { loadBalancing }), all('far:8080'));
});
test('comparison stops at the first scope that differs', () => {
  assert.equal(
    localityRank(source, workload('x', at('r2', 'z1', 's1')), balancing('failover', 'region', 'zone', 'subzone')),
    0,
  );
});
test('strict: every scope or nothing', () => {
  const loadBalancing = balancing('strict', 'node');
  assert.deepEqual(chosen([pod('a', 1, { node: 'node-2' })], { loadBalancing }), all('-'));
  assert.deepEqual(chosen([pod('a', 1, { node: 'node-2' }), pod('b', 2)], { loadBalancing }), all('b:8080'));
});
test('network first: same network beats any other, others are still ordered among themselves', () => {
  const b = balancing('failover', 'network', 'region', 'zone');
  const rank = (set: Partial<Workload>): number => localityRank(source, workload('x', set), b);
  assert.equal(rank({ ...at('r2', 'z2') }), 3);
  assert.equal(rank({ network: 'other', ...at('r1', 'z1') }), 2);
  assert.equal(rank({ network: 'other', ...at('r1', 'z2') }), 1);
  assert.equal(rank({ network: 'other', ...at('r2', 'z1') }), 0);
  assert.equal(rank({ ...at('r1', 'z1') }), 5);
});

test('address: the dialled one, the dialled family, then any admitted, then the name', () => {
  const w = workload('w', { addresses: [ip('fd00::1'), ip('10.0.0.1'), ip('10.0.0.2')] });
  const address = (dialled: string, families: Service['ipFamilies'] = 'automatic', from = w) => {
    const found = chooseAddress(from, ip(dialled), families);
    return found.kind === 'ip' ? found.ip : found.kind;
  };
  assert.equal(address('10.0.0.2'), '10.0.0.2');
  assert.equal(address('10.96.0.1'), '10.0.0.1');
  assert.equal(address('fd00::99'), 'fd00::1');
  assert.equal(address('10.96.0.1', 'ipv6'), 'fd00::1');
  assert.equal(address('10.96.0.1', 'ipv6', { ...w, addresses: [ip('10.0.0.1')] }), 'none');
  assert.equal(address('10.96.0.1', 'automatic', { ...w, addresses: [], hostname: 'x' }), 'hostname');
});

test('a long list is planned once a source, and alike for the next connection, another source and another port', () => {
  const workloads = Array.from({ length: 200 }, (_, i) =>
    pod(`p${i}`, i % 250, { ...at(i % 2 ? 'r1' : 'r2', 'z1', 's1'), capacity: i % 3, node: `node-${i % 5}` }),
  );
  const s: Service = {
    ...base,
    ports: ports('80:8080', '81:8081'),
    loadBalancing: balancing('failover', 'region', 'node'),
  };
  const plain = plainWorld('', workloads, [s], []);
  const endpoints = plain.endpoints(KEY);
  const held = { ...plain, endpoints: () => endpoints };
  for (let i = 0; i < 200; i++) {
    const from = workload('from', { ...at(i % 3 ? 'r1' : 'r2', ''), node: `node-${i % 7}` });
    for (const random of [0, i / 200, 0.999])
      for (const port of [80, 81, 82]) {
        const want = chooseEndpoint(plain, from, s, port, 'standard', () => random);
        for (const again of [1, 2])
          assert.deepEqual(
            chooseEndpoint(held, from, s, port, 'standard', () => random),
            want,
            `${again}`,
          );
        if (port === 82) assert.equal(want, undefined);
        else assert.equal(want?.workload.capacity === 0, false);
      }
  }
});
