import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseEndpoint, endpointDraws } from './balance.ts';
import { plainWorld } from './plain-world.ts';
import { someService, someWorkload } from './testing/arbitrary.ts';
import { ip, match, members, policy, ports, rule, service, workload } from './testing/builders.ts';
import { countEndpoints, explainEndpoints } from './why-endpoints.ts';
import type { Service, Workload } from './workload.ts';

const KEY = 'shop/payment.shop.svc.cluster.local';
const payment = service('payment', { vips: [{ network: '', ip: ip('10.96.0.1') }], ports: ports('80:8080') });
const order = workload('order-1', { addresses: [ip('10.0.0.1')], serviceAccount: 'order' });
const pod = (n: number, set: Partial<Workload> = {}): Workload =>
  workload(`payment-${n}`, { addresses: [ip(`10.0.1.${n}`)], services: members({ [KEY]: ['80:8080'] }), ...set });
const nobody = policy('nobody', 'deny', { scope: 'workloadSelector', anyRule: [{ everyClause: [] }] });
const dial = { client: { ip: ip('10.0.0.1'), port: 0 }, destination: { ip: ip('10.96.0.1'), port: 80 } };

test('each endpoint is asked, and may answer differently', () => {
  const pods = [
    pod(1),
    pod(2, { capacity: 7 }),
    pod(3, { authorizationPolicies: ['shop/nobody'] }),
    pod(4, { capacity: 0 }),
  ];
  const world = plainWorld('', [order, ...pods], [payment], [nobody]);
  assert.deepEqual(
    explainEndpoints(world, order, dial, 10).map((answer) => [answer.destination?.name, answer.outcome]),
    [
      ['payment-1', 'allowed'],
      ['payment-2', 'allowed'],
      ['payment-3', 'refused'],
    ],
  );
  assert.equal(explainEndpoints(world, order, dial, 2).length, 2);
  assert.equal(countEndpoints(world, order, dial), 3);
  const outside = { ...order, tunnelProtocol: 'none' as const };
  assert.equal(explainEndpoints(world, outside, dial, 10).length, 3);
});

test('without endpoints, and for an address that is no service, there is one answer', () => {
  const world = plainWorld('', [order], [payment], []);
  assert.deepEqual(
    explainEndpoints(world, order, dial, 10).map(({ outcome }) => outcome),
    ['refused'],
  );
  const other = { ...dial, destination: { ip: ip('192.0.2.1'), port: 80 } };
  assert.deepEqual([explainEndpoints(world, order, other, 10).length, countEndpoints(world, order, other)], [1, 1]);
});

test('a waypoint is one answer, weighted waypoints one each', () => {
  const gateway = (address: string) => ({
    destination: { kind: 'address' as const, network: '', ip: ip(address) },
    hbonePort: 15008,
  });
  const pods = [pod(1), pod(2)];
  const through = (set: Partial<Service>) =>
    explainEndpoints(plainWorld('', [order, ...pods], [{ ...payment, ...set }], []), order, dial, 10).map(
      (answer) => answer.destination?.name,
    );
  assert.deepEqual(through({ waypoint: gateway('10.0.1.2') }), ['payment-2']);
  const weighted = [
    { waypoint: gateway('10.0.1.1'), weight: 1 },
    { waypoint: gateway('10.0.1.2'), weight: 99 },
    { waypoint: gateway('10.0.1.9'), weight: 0 },
  ];
  assert.deepEqual(through({ weightedWaypoints: weighted }), ['payment-1', 'payment-2']);
});

test('the destination decides by what its own proxy knows', () => {
  const near = plainWorld('', [order, pod(1)], [payment], []);
  const strict = { ...pod(1), authorizationPolicies: ['shop/strict'] };
  const far = plainWorld(
    '',
    [order, strict],
    [payment],
    [
      policy('strict', 'allow', {
        scope: 'workloadSelector',
        anyRule: [rule(match({ namespaces: [{ kind: 'exact', value: 'bank' }] }))],
      }),
    ],
  );
  const farSide = () => ({ world: far, workload: strict });
  const outside = { ...order, tunnelProtocol: 'none' as const };
  for (const source of [order, outside]) {
    assert.equal(explainEndpoints(near, source, dial, 10)[0]?.outcome, 'allowed');
    assert.equal(explainEndpoints(near, source, dial, 10, farSide)[0]?.outcome, 'refused');
  }
});

test('draws name exactly the endpoints that can be chosen', () =>
  fc.assert(
    fc.property(
      fc.array(someWorkload, { minLength: 1, maxLength: 5 }),
      someService,
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (workloads, svc, any) => {
        const world = plainWorld('', workloads, [svc], []);
        const source = workloads[0] as Workload;
        const port = svc.ports[0]?.servicePort ?? 0;
        const draws = endpointDraws(world, source, svc, port);
        const chosen = (draw: number) => chooseEndpoint(world, source, svc, port, 'standard', () => draw)?.workload.uid;
        for (const { workload: drawn, draw } of draws) assert.ok([drawn.uid, undefined].includes(chosen(draw)));
        const found = chosen(any);
        assert.ok(found === undefined || draws.some(({ workload: drawn }) => drawn.uid === found));
        assert.equal(new Set(draws.map(({ workload: w }) => w.uid)).size, draws.length);
      },
    ),
    { numRuns: 500 },
  ));
