// Rules of choice, through `pick` as the engine asks it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { OutlierDetection } from '../../model/proxy/service-config.ts';
import { ip, members, ports, service, workload } from '../../model/testing/builders.ts';
import { Bench, client, config, KEY, pod, policy } from './testing.ts';

const OUTLIER: OutlierDetection = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  consecutiveLocalOriginFailures: 2,
  splitsLocalOrigin: false,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};
const region = (
  name: string,
  zone = '',
  subzone = '',
): { locality: { region: string; zone: string; subzone: string } } => ({
  locality: { region: name, zone, subzone },
});
const near = (actual: number | undefined, wanted: number, by: number): void =>
  assert.ok(Math.abs((actual ?? 0) - wanted) <= by, `${actual} is not about ${wanted}`);

test('a meshed endpoint is reached by a tunnel to its own identity, another one plainly', () => {
  const bench = new Bench([pod('a', '10.0.0.1')], {
    subjectAltNames: [{ trustDomain: 'td', namespace: 'x', serviceAccount: 'y' }],
  });
  const { endpoint } = bench.pick();
  assert.deepEqual(endpoint.address, { ip: '10.0.0.1', port: 8080 });
  assert.deepEqual(endpoint.tunnel, {
    hop: { ip: '10.0.0.1', port: 15008 },
    expected: [
      { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'a' },
      { trustDomain: 'td', namespace: 'x', serviceAccount: 'y' },
    ],
  });
  const plain = new Bench([pod('b', '10.0.0.2', { tunnelProtocol: 'none' })]);
  assert.equal(plain.pick().endpoint.tunnel, undefined);
});

test('a named target port is resolved by each endpoint', () => {
  const bench = new Bench(
    [
      pod('a', '10.0.0.1', { services: members({ [KEY]: ['80:8081'] }) }),
      pod('b', '10.0.0.2', { services: members({ [KEY]: ['80:9090'] }) }),
      pod('none', '10.0.0.3', { services: members({ [KEY]: [] }) }),
    ],
    { ports: ports('80:0') },
  );
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const { address } = bench.pick().endpoint;
    seen.add(`${address.ip}:${address.port}`);
  }
  assert.deepEqual([...seen].sort(), ['10.0.0.1:8081', '10.0.0.2:9090']);
});

test('what is not there: service, port, subset, endpoints', () => {
  const bench = new Bench([]);
  assert.throws(() => bench.pick(), /noHealthyEndpoint/);
  assert.throws(() => bench.pick({ subset: 'v9' }), /noService/);
  const target = (set: object): unknown =>
    bench.upstream.pick({ service: KEY, port: 80, subset: undefined, ...set }, client(), undefined, []);
  assert.deepEqual(target({ port: 81 }), { kind: 'noService' });
  assert.deepEqual(target({ service: 'shop/none' }), { kind: 'noService' });
});

test('endpoints of another network, of no weight, and unhealthy ones are left out', () => {
  const bench = new Bench([
    pod('a', '10.0.0.1'),
    pod('far', '10.0.0.2', { network: 'other' }),
    pod('zero', '10.0.0.3', { capacity: 0 }),
    pod('ill', '10.0.0.4', { status: 'unhealthy' }),
  ]);
  assert.deepEqual(bench.spread(50), { a: 50 });
});

test('round robin: in turn, and by weight where weights differ', () => {
  const equal = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2'), pod('c', '10.0.0.3')]);
  equal.config = config({ loadBalancer: { kind: 'roundRobin' } });
  assert.deepEqual(equal.spread(30), { a: 10, b: 10, c: 10 });
  const weighted = new Bench([pod('a', '10.0.0.1', { capacity: 1 }), pod('b', '10.0.0.2', { capacity: 4 })]);
  weighted.config = config({ loadBalancer: { kind: 'roundRobin' } });
  const { a, b } = weighted.spread(1000);
  near(a, 200, 3);
  near(b, 800, 3);
});

test('weights hold for every balancer that goes by none of the request', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('roundRobin', 'leastRequest', 'random'),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 6 }),
      (kind, weights) => {
        const bench = new Bench(weights.map((capacity, i) => pod(`p${i}`, `10.0.0.${i + 1}`, { capacity })));
        bench.config = config({ loadBalancer: { kind } as { kind: 'random' } });
        const spread = bench.spread(2000);
        const total = weights.reduce((x, y) => x + y, 0);
        for (const [i, weight] of weights.entries()) near(spread[`p${i}`], (2000 * weight) / total, 110);
      },
    ),
    { numRuns: 25 },
  );
});

test('least request: who has more under way gets less', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  const held = new Map<string, number>();
  for (let i = 0; i < 400; i++) {
    const picked = bench.pick();
    const name = picked.endpoint.workload?.name as string;
    // `a` never finishes
    if (name === 'a') held.set(name, (held.get(name) ?? 0) + 1);
    else picked.done({ kind: 'status', status: 200 });
  }
  assert.ok((held.get('a') ?? 0) <= 2, `${held.get('a')} went to the busy one`);
});

test('the same endpoint for the same key, and few move when the endpoints change', () => {
  for (const kind of ['ringHash', 'maglev'] as const) {
    const pods = Array.from({ length: 8 }, (_, i) => pod(`p${i}`, `10.0.0.${i + 1}`));
    const bench = new Bench(pods);
    bench.config = config({
      loadBalancer:
        kind === 'ringHash'
          ? { kind, by: { kind: 'sourceIp' }, minimumRingSize: 1024 }
          : { kind, by: { kind: 'sourceIp' }, tableSize: 65_537 },
    });
    const from = (i: number): string => {
      const at = client({ source: { ip: ip(`10.1.${i >> 8}.${i & 255}`), port: 1 } });
      return bench.pick({ client: at }).endpoint.workload?.name as string;
    };
    const before = Array.from({ length: 500 }, (_, i) => from(i));
    assert.deepEqual(
      Array.from({ length: 500 }, (_, i) => from(i)),
      before,
    );
    assert.ok(new Set(before).size === 8);
    bench.remove(pods[3]!);
    const moved = before.filter((name, i) => name !== 'p3' && from(i) !== name).length;
    assert.ok(moved < 40, `${kind}: ${moved} moved`);
    // A retry stays where the key belongs.
    const picked = bench.pick();
    assert.equal(bench.pick({ tried: [picked.endpoint] }).endpoint, picked.endpoint);
  }
});

test('a retry goes to another endpoint, though one that fails at once is always the idle one', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  bench.config = config({ loadBalancer: { kind: 'leastRequest' } });
  let failed = bench.pick();
  while (failed.endpoint.address.ip !== '10.0.0.1') failed = bench.pick();
  failed.done({ kind: 'connectFailure' });
  let same = 0;
  for (let i = 0; i < 200; i++) {
    const again = bench.pick({ tried: [failed.endpoint] });
    if (again.endpoint === failed.endpoint) same++;
  }
  assert.equal(same, 0);
});

test('a retry goes to another endpoint where there is one', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  bench.config = config({ loadBalancer: { kind: 'roundRobin' } });
  for (let i = 0; i < 20; i++) {
    const first = bench.pick();
    const second = bench.pick({ tried: [first.endpoint] });
    assert.notEqual(second.endpoint.address.ip, first.endpoint.address.ip);
    first.done({ kind: 'reset' });
    second.done({ kind: 'status', status: 200 });
  }
});

test('subsets have their members, their policy, and that of their port', () => {
  const v1 = pod('v1', '10.0.0.1');
  const v2 = pod('v2', '10.0.0.2');
  const bench = new Bench([v1, v2]);
  const special = policy({ loadBalancer: { kind: 'random' } });
  bench.config = config(
    {},
    {
      traffic: {
        policy: policy(),
        ports: {},
        subsets: [
          { name: 'v1', members: [v1.uid], policy: policy(), ports: {} },
          { name: 'v2', members: [v2.uid], policy: policy(), ports: { '80': special } },
        ],
      },
    },
  );
  assert.deepEqual(bench.spread(20, { subset: 'v1' }), { v1: 20 });
  assert.deepEqual(bench.spread(20, { subset: 'v2' }), { v2: 20 });
  assert.equal(bench.pick({ subset: 'v2' }).policy, special);
});

// ---- places ------------------------------------------------------------------------------------------------------

const placed = [
  pod('same', '10.0.0.1', region('eu', 'a', 'x')),
  pod('zone', '10.0.0.2', region('eu', 'a', 'y')),
  pod('region', '10.0.0.3', region('eu', 'b', 'x')),
  pod('us', '10.0.0.4', region('us', 'a', 'x')),
  pod('asia', '10.0.0.5', region('asia', 'a', 'x')),
];
const fails = (bench: Bench, name: string): void => {
  for (let i = 0; i < 500; i++) {
    const picked = bench.pick();
    const isIt = picked.endpoint.workload?.name === name;
    picked.done({ kind: 'status', status: isIt ? 500 : 200 });
  }
};

test('nearest first, and on to the next place when it fails: with outlier detection', () => {
  const bench = new Bench(placed);
  bench.place = pod('waypoint', '10.0.0.200', { services: new Map(), ...region('eu', 'a', 'x') });
  bench.config = config({ locality: { kind: 'failover', rules: [{ from: 'eu', to: 'asia' }] }, outlier: OUTLIER });
  assert.deepEqual(bench.spread(20), { same: 20 });
  for (const [failing, next] of [
    ['same', 'zone'],
    ['zone', 'region'],
    ['region', 'asia'],
    ['asia', 'us'],
  ] as const) {
    fails(bench, failing);
    assert.deepEqual(bench.spread(20), { [next]: 20 });
  }
});

test('without outlier detection failover prefers nobody', () => {
  const bench = new Bench(placed);
  bench.place = pod('waypoint', '10.0.0.200', { services: new Map(), ...region('eu', 'a', 'x') });
  bench.config = config({ locality: { kind: 'failover', rules: [] }, loadBalancer: { kind: 'roundRobin' } });
  assert.deepEqual(bench.spread(50), { same: 10, zone: 10, region: 10, us: 10, asia: 10 });
});

test('distribute: by the rule of our place; what it does not name gets nothing', () => {
  const bench = new Bench(placed);
  bench.place = pod('waypoint', '10.0.0.200', { services: new Map(), ...region('eu', 'a', 'x') });
  bench.config = config({
    locality: {
      kind: 'distribute',
      rules: [
        { from: 'us/*', to: { 'us/*': 100 } },
        { from: 'eu/a/*', to: { 'eu/a/*': 80, 'us/*': 20 } },
      ],
    },
  });
  const { same = 0, zone = 0, us = 0, ...rest } = bench.spread(2000);
  assert.deepEqual(rest, {});
  near(same + zone, 1600, 80);
  near(us, 400, 80);
});

test('failoverPriority: as many leading labels as agree', () => {
  const [same, zone, other, far] = [
    pod('same', '10.0.0.1', region('eu', 'a')),
    pod('zone', '10.0.0.2', region('eu', 'a')),
    pod('other', '10.0.0.3', region('eu', 'b')),
    pod('far', '10.0.0.4', region('us', 'a')),
  ] as const;
  const bench = new Bench([same, zone, other, far]);
  bench.place = pod('waypoint', '10.0.0.200', { services: new Map(), ...region('eu', 'a') });
  bench.config = config({
    outlier: OUTLIER,
    locality: {
      kind: 'priority',
      labels: [
        { name: 'topology.kubernetes.io/region', value: undefined, members: [] },
        { name: 'topology.kubernetes.io/zone', value: undefined, members: [] },
        { name: 'version', value: 'v1', members: [same.uid, far.uid] },
      ],
    },
  });
  for (const name of ['same', 'zone', 'other', 'far']) {
    assert.deepEqual(bench.spread(10), { [name]: 10 });
    if (name !== 'far') fails(bench, name);
  }
});

test("the Service's own distribution holds where no rule does: PreferClose, and Local without exception", () => {
  const close = new Bench(placed, {
    loadBalancing: { mode: 'failover', preferences: ['network', 'region', 'zone'], healthPolicy: 'onlyHealthy' },
  });
  close.place = pod('waypoint', '10.0.0.200', { services: new Map(), ...region('eu', 'a', 'x') });
  close.config = config({ loadBalancer: { kind: 'roundRobin' } });
  assert.deepEqual(close.spread(20), { same: 10, zone: 10 });

  const strict = { mode: 'strict', preferences: ['node'], healthPolicy: 'onlyHealthy' } as const;
  const local = new Bench([pod('here', '10.0.0.1'), pod('there', '10.0.0.2', { node: 'node-2' })], {
    loadBalancing: strict,
  });
  assert.deepEqual(local.spread(20), { here: 20 });
  local.place = undefined;
  assert.throws(() => local.pick(), /noHealthyEndpoint/);
});

// ---- health ------------------------------------------------------------------------------------------------------

test('an ejected endpoint is never picked; it comes back after its time, which grows', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  bench.config = config({ outlier: OUTLIER, loadBalancer: { kind: 'roundRobin' } });
  fails(bench, 'a');
  assert.deepEqual(bench.spread(50), { b: 50 });
  bench.nowMs += 29_000;
  assert.deepEqual(bench.spread(50), { b: 50 });
  bench.nowMs += 11_000; // 30 s, seen at the next interval
  assert.deepEqual(bench.spread(50), { a: 25, b: 25 });
  fails(bench, 'a');
  bench.nowMs += 50_000;
  assert.deepEqual(bench.spread(50), { b: 50 }, 'the second time lasts twice as long');
  bench.nowMs += 20_000;
  assert.deepEqual(bench.spread(50), { a: 25, b: 25 });
});

test('an ejection ends in its time however often endpoints and rules change, and with the rule', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  const detects = config({ outlier: OUTLIER, loadBalancer: { kind: 'roundRobin' } });
  bench.config = detects;
  fails(bench, 'a');
  const other = pod('c', '10.0.0.3');
  for (let i = 0; i < 12; i++) {
    assert.equal(bench.spread(10).a, undefined);
    bench.nowMs += 3_000;
    if (i % 2 === 0) bench.add(other);
    else bench.remove(other);
    bench.config = {
      ...bench.config,
      traffic: { ...bench.config.traffic, policy: { ...bench.config.traffic.policy } },
    };
  }
  bench.nowMs += 5_000;
  assert.ok((bench.spread(10).a ?? 0) > 0);
  fails(bench, 'a');
  bench.config = config({ loadBalancer: { kind: 'roundRobin' } });
  assert.ok((bench.spread(10).a ?? 0) > 0, 'without the rule nobody is left out');
});

test('no pick of an ejected endpoint, whatever the outcomes', () => {
  const outcomes = fc.array(fc.tuple(fc.constantFrom(200, 404, 500, 503), fc.nat({ max: 3_000 })), { maxLength: 200 });
  fc.assert(
    fc.property(outcomes, fc.constantFrom('roundRobin', 'leastRequest', 'random'), (steps, kind) => {
      const bench = new Bench([1, 2, 3, 4].map((i) => pod(`p${i}`, `10.0.0.${i}`)));
      bench.config = config({
        outlier: { ...OUTLIER, consecutive5xx: 1, maxEjectionPercent: 50 },
        loadBalancer: { kind } as { kind: 'random' },
      });
      const outUntil = new Map<string, number>();
      for (const [status, passes] of steps) {
        bench.nowMs += passes;
        const picked = bench.pick();
        const name = picked.endpoint.workload?.name as string;
        assert.ok(bench.nowMs >= (outUntil.get(name) ?? 0), `${name} is out`);
        const out = [...outUntil.values()].filter((until) => until > bench.nowMs).length;
        // Those whose time is over are let in at the next interval only: fewer than two out for certain is enough.
        picked.done({ kind: 'status', status });
        if (status >= 500 && out === 0 && outUntil.size === 0) outUntil.set(name, bench.nowMs + OUTLIER.baseEjectionMs);
      }
    }),
    { numRuns: 40 },
  );
});

test('at most so many percent are out, but one always may be', () => {
  const bench = new Bench([1, 2, 3, 4].map((i) => pod(`p${i}`, `10.0.0.${i}`)));
  bench.config = config({ outlier: { ...OUTLIER, maxEjectionPercent: 10 }, loadBalancer: { kind: 'roundRobin' } });
  fails(bench, 'p1');
  fails(bench, 'p2');
  assert.deepEqual(bench.spread(30), { p2: 10, p3: 10, p4: 10 });
});

test('below its least health a service uses everybody; without one it has nobody', () => {
  const all = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  all.config = config({ outlier: OUTLIER, loadBalancer: { kind: 'roundRobin' } });
  fails(all, 'a');
  for (let i = 0; i < 3; i++) all.pick().done({ kind: 'connectFailure' });
  assert.throws(() => all.pick(), /noHealthyEndpoint/);

  const panic = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  panic.config = config({ outlier: { ...OUTLIER, minHealthPercent: 50 }, loadBalancer: { kind: 'roundRobin' } });
  fails(panic, 'a');
  assert.deepEqual(panic.spread(10), { b: 10 });
  for (let i = 0; i < 3; i++) panic.pick().done({ kind: 'timeout' });
  assert.deepEqual(panic.spread(10), { a: 5, b: 5 });
});

test('failures of our own making count apart where that is asked for', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  bench.config = config({
    outlier: { ...OUTLIER, splitsLocalOrigin: true, consecutive5xx: 5 },
    loadBalancer: { kind: 'roundRobin' },
  });
  for (let i = 0; i < 4; i++) {
    const picked = bench.pick();
    picked.done(picked.endpoint.workload?.name === 'a' ? { kind: 'connectFailure' } : { kind: 'status', status: 200 });
  }
  assert.deepEqual(bench.spread(10), { b: 10 });
});

test('gateway errors count by themselves, and cancelled tries not at all', () => {
  const bench = new Bench([pod('a', '10.0.0.1'), pod('b', '10.0.0.2')]);
  bench.config = config({ outlier: { ...OUTLIER, consecutive5xx: 0, consecutiveGatewayErrors: 2 } });
  for (let i = 0; i < 20; i++) bench.pick().done({ kind: 'status', status: 500 });
  for (let i = 0; i < 20; i++) bench.pick().done({ kind: 'cancelled' });
  assert.equal(Object.keys(bench.spread(40)).length, 2);
  for (let i = 0; i < 20; i++) {
    const picked = bench.pick();
    picked.done({ kind: 'status', status: picked.endpoint.workload?.name === 'a' ? 503 : 200 });
  }
  assert.deepEqual(bench.spread(10), { b: 10 });
});

test('slow start: a new endpoint warms up', () => {
  const bench = new Bench([pod('old', '10.0.0.1')]);
  bench.config = config({
    loadBalancer: { kind: 'roundRobin' },
    slowStart: { durationMs: 10_000, minimumPercent: 10, aggression: 1 },
  });
  bench.spread(1);
  bench.nowMs += 20_000;
  bench.add(pod('new', '10.0.0.2'));
  near(bench.spread(1100).new, 100, 15);
  bench.nowMs += 5_000;
  near(bench.spread(1500).new, 500, 30);
  bench.nowMs += 5_000;
  near(bench.spread(1000).new, 500, 20);
});

test("a ServiceEntry's names are those of its endpoints' certificates, unless the rule says others", () => {
  const bench = new Bench([pod('a', '10.0.0.1')]);
  const tls = {
    mode: 'simple',
    serverName: 'api.example.com',
    subjectAltNames: [],
    roots: { kind: 'system' },
    certificate: undefined,
  } as const;
  bench.config = config({ tls }, { subjectAltNames: ['spiffe://td/ns/x/sa/y'] });
  const { policy: first } = bench.pick();
  assert.deepEqual(first.tls?.subjectAltNames, [{ kind: 'exact', value: 'spiffe://td/ns/x/sa/y' }]);
  assert.equal(bench.pick().policy, first, 'one object, so that connections are shared');
  const own = [{ kind: 'exact', value: 'other' }] as const;
  bench.config = config({ tls: { ...tls, subjectAltNames: own } }, { subjectAltNames: ['spiffe://td/ns/x/sa/y'] });
  assert.deepEqual(bench.pick().policy.tls?.subjectAltNames, own);
});

// ---- limits ------------------------------------------------------------------------------------------------------

test('circuit breakers: requests, retries, the budget of retries, and what the pool counts', () => {
  const bench = new Bench([pod('a', '10.0.0.1')]);
  const { pool } = policy();
  bench.config = config({ pool: { ...pool, maxRequests: 2, maxRetries: 1, maxConnections: 1, maxPendingRequests: 0 } });
  const first = bench.pick();
  const second = bench.pick();
  assert.throws(() => bench.pick(), /overflow/);
  first.done({ kind: 'status', status: 200 });
  first.done({ kind: 'status', status: 200 }); // once only
  const retry = bench.pick({ tried: [first.endpoint] });
  second.done({ kind: 'status', status: 200 });
  assert.throws(() => bench.pick({ tried: [first.endpoint] }), /overflow/);
  retry.done({ kind: 'status', status: 200 });
  bench.pick({ tried: [first.endpoint] }).done({ kind: 'cancelled' });
  const { breaker } = bench.pick();
  assert.equal(breaker.take('connection'), true);
  assert.equal(breaker.take('connection'), false);
  breaker.release('connection');
  assert.equal(breaker.take('connection'), true);
  assert.equal(breaker.take('pending'), false);

  const budget = new Bench([pod('a', '10.0.0.1')]);
  budget.config = config({ retryBudget: { percent: 20, minRetries: 1 } });
  const running = Array.from({ length: 13 }, () => budget.pick());
  const again = (): unknown => budget.pick({ tried: [running[0]!.endpoint] });
  again();
  again();
  again();
  assert.throws(again, /overflow/, '20 % of 16');
});

test('a changed policy is in force at the next pick; what is under way stays counted', () => {
  const bench = new Bench([pod('a', '10.0.0.1')]);
  bench.pick();
  const { pool } = policy();
  bench.config = config({ pool: { ...pool, maxRequests: 1 } });
  assert.throws(() => bench.pick(), /overflow/);
});

// ---- other kinds of endpoints ------------------------------------------------------------------------------------

test('passthrough: to the address that was asked for, never to the proxy itself', () => {
  const bench = new Bench([pod('a', '10.0.0.1')]);
  bench.config = config({ loadBalancer: { kind: 'passthrough' } });
  const to = (text: string) => client({ destination: { ip: ip(text), port: 8080 } });
  assert.deepEqual(bench.pick({ client: to('10.0.0.1') }).endpoint.tunnel?.hop, { ip: '10.0.0.1', port: 15008 });
  assert.deepEqual(bench.pick({ client: to('192.0.2.1') }).endpoint, {
    workload: undefined,
    address: { ip: '192.0.2.1', port: 8080 },
    tunnel: undefined,
  });
  for (const own of ['10.0.0.200', '127.0.0.1', '::1'])
    assert.throws(() => bench.pick({ client: to(own) }), /noHealthyEndpoint/);
});

test("a gateway goes through a service's waypoint where that is wanted, and never around it", () => {
  const waypointKey = 'shop/wp.shop.svc.cluster.local';
  const hostname = { kind: 'hostname', namespace: 'shop', hostname: 'wp.shop.svc.cluster.local' } as const;
  const set = {
    vips: [{ network: '', ip: ip('10.96.0.7') }],
    waypoint: { destination: hostname, hbonePort: 15008 },
    ingressUseWaypoint: true,
  };
  const bench = new Bench([pod('a', '10.0.0.1')], set, 'gateway');
  assert.throws(() => bench.pick(), /noHealthyEndpoint/, 'it is not there yet');
  bench.world.applyAddresses([
    { kind: 'service', service: service('wp', { ports: ports('15008:15008') }) },
    {
      kind: 'workload',
      workload: workload('wp-1', {
        addresses: [ip('10.0.0.50')],
        serviceAccount: 'wp',
        services: members({ [waypointKey]: ['15008:15008'] }),
      }),
    },
  ]);
  const { endpoint } = bench.pick();
  assert.deepEqual(endpoint.address, { ip: '10.96.0.7', port: 80 });
  assert.deepEqual(endpoint.tunnel, {
    hop: { ip: '10.0.0.50', port: 15008 },
    expected: [{ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'wp' }],
  });
  const waypoint = new Bench([pod('a', '10.0.0.1')], set, 'waypoint');
  assert.equal(waypoint.pick().endpoint.workload?.name, 'a');
});
