import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dnsLookup } from './dns.ts';
import { decideInboundHbone } from './inbound.ts';
import { type AddressUpdate, IndexedWorld } from './indexed-world.ts';
import { decideOutbound } from './outbound.ts';
import { plainWorld } from './plain-world.ts';
import type { Policy } from './policy.ts';
import {
  HOSTNAMES,
  IPS,
  NAMESPACES,
  NETWORKS,
  PORTS,
  somePolicy,
  someService,
  someServiceKey,
  someWorkload,
} from './testing/arbitrary.ts';
import { ip, members, policy, ports, service, workload } from './testing/builders.ts';
import type { Service, Workload } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { World } from './world.ts';

const asWorkload = (w: Workload): AddressUpdate => ({ kind: 'workload', workload: w });
const asService = (s: Service): AddressUpdate => ({ kind: 'service', service: s });

type Batch = {
  readonly updates: AddressUpdate[];
  readonly removed: string[];
  readonly policies: Policy[];
  readonly gone: string[];
};
const someBatch: fc.Arbitrary<Batch> = fc.record({
  updates: fc.array(fc.oneof(someWorkload.map(asWorkload), someService.map(asService)), { maxLength: 8 }),
  removed: fc.array(
    fc.oneof(
      someServiceKey,
      someWorkload.map((w) => w.uid),
    ),
    { maxLength: 2 },
  ),
  policies: fc.array(somePolicy, { maxLength: 4 }),
  gone: fc.array(
    somePolicy.map((p) => p.key),
    { maxLength: 1 },
  ),
});

/** Every answer of a world about the pools that random worlds are made of. */
function answers(world: World): unknown {
  const keys = NAMESPACES.flatMap((ns) => HOSTNAMES.map((h) => `${ns}/${h}`));
  const addresses = NETWORKS.flatMap((network) => IPS.map((at) => [network, at] as const));
  return {
    at: addresses.map(([network, at]) => world.workloadAt(network, at)),
    vip: addresses.map(([network, at]) => world.servicesWithVip(network, at)),
    cidr: addresses.map(([network, at]) => world.servicesWithCidr(network, at)),
    named: NAMESPACES.flatMap((ns) => HOSTNAMES.map((h) => world.workloadNamed(ns, h))),
    hostnames: HOSTNAMES.map((h) => world.servicesWithHostname(h)),
    services: keys.map((key) => world.service(key)),
    endpoints: keys.map((key) => world.endpoints(key)),
    namespacePolicies: NAMESPACES.map((ns) => world.namespacePolicies(ns)),
    globalPolicies: world.globalPolicies(),
  };
}

test('the indexed world answers as plain lists do, after any sequence of batches', () =>
  fc.assert(
    fc.property(fc.array(someBatch, { minLength: 1, maxLength: 3 }), (batches) => {
      const indexed = new IndexedWorld('');
      const workloads = new Map<string, Workload>();
      const services = new Map<string, Service>();
      const policies = new Map<string, Policy>();
      const put = <T>(map: Map<string, T>, key: string, item: T): void => {
        map.delete(key);
        map.set(key, item);
      };
      for (const batch of batches) {
        const before = { workloads: new Map(workloads), services: new Map(services) };
        const changes = indexed.applyAddresses(batch.updates, batch.removed);
        indexed.applyPolicies(batch.policies, batch.gone);
        for (const update of batch.updates)
          if (update.kind === 'workload') put(workloads, update.workload.uid, update.workload);
          else put(services, serviceKey(update.service), update.service);
        for (const name of batch.removed) if (!workloads.delete(name)) services.delete(name);
        for (const p of batch.policies) put(policies, p.key, p);
        for (const key of batch.gone) policies.delete(key);

        const plain = plainWorld('', [...workloads.values()], [...services.values()], [...policies.values()]);
        assert.deepEqual(answers(indexed), answers(plain));
        assert.deepEqual([...indexed.workloads()], [...workloads.values()]);
        assert.deepEqual([...indexed.services()], [...services.values()]);
        for (const { before: was, now } of changes.workloads) {
          const uid = (was ?? now)?.uid ?? '';
          assert.equal(was, before.workloads.get(uid));
          assert.equal(now, workloads.get(uid));
        }
        const changed = new Set(changes.workloads.map(({ before: was, now }) => (was ?? now)?.uid));
        for (const [uid, w] of workloads) if (before.workloads.get(uid) !== w) assert.ok(changed.has(uid));
        for (const uid of before.workloads.keys()) if (!workloads.has(uid)) assert.ok(changed.has(uid));
      }
    }),
    { numRuns: 200 },
  ));

test('decisions over the indexed world are those over plain lists', () => {
  const kinds = new Map<string, number>();
  fc.assert(
    fc.property(
      fc.array(someWorkload, { minLength: 1, maxLength: 5 }),
      fc.array(someService, { maxLength: 5 }),
      fc.constantFrom(...IPS),
      fc.constantFrom(...PORTS),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (workloads, services, to, port, random) => {
        const plain = plainWorld('', workloads, services, []);
        const indexed = new IndexedWorld('');
        indexed.applyAddresses([...services.map(asService), ...workloads.map(asWorkload)]);
        const source = workloads[0] as Workload;
        const dial = { client: { ip: source.addresses[0] ?? ip('10.9.9.9'), port: 1 }, destination: { ip: to, port } };
        const route = decideOutbound(indexed, source, dial, () => random);
        assert.deepEqual(
          route,
          decideOutbound(plain, source, dial, () => random),
        );
        const kind = route.kind === 'hbone' ? route.via : route.kind === 'reject' ? route.why : route.kind;
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        const request = {
          authority: `${to}:${port}`,
          localIp: source.addresses[0] ?? ip('10.9.9.9'),
          peer: dial.client,
          identity: undefined,
          forwardedNetwork: undefined,
          forwardedHost: undefined,
        };
        const options = { localhostApplicationTunnel: true };
        assert.deepEqual(
          decideInboundHbone(indexed, source, request, options),
          decideInboundHbone(plain, source, request, options),
        );
        const dns = { clusterDomain: 'cluster.local', ipv6: true };
        for (const name of ['order', 'order.shop', 'x.example.com', 'payment.bank.svc'])
          assert.deepEqual(dnsLookup(indexed, source, name, 'A', dns), dnsLookup(plain, source, name, 'A', dns));
      },
    ),
    { numRuns: 1500 },
  );
  for (const kind of [
    'plain',
    'workload',
    'waypoint',
    'resolve',
    'noHealthyUpstream',
    'unknownWaypoint',
    'otherNetwork',
  ])
    assert.ok((kinds.get(kind) ?? 0) > 0, `random worlds never led to ${kind}: ${[...kinds]}`);
});

const KEY = 'shop/order.shop.svc.cluster.local';
const order = service('order', { ports: ports('80:8080') });
const pod = workload('order-1', { addresses: [ip('10.0.0.2')], services: members({ [KEY]: ['80:8080'] }) });

test('a member that comes before its service waits for it', () => {
  const world = new IndexedWorld('');
  world.applyAddresses([asWorkload(pod)]);
  assert.deepEqual(world.endpoints(KEY), []);
  assert.deepEqual([...world.stagedServices()], [[KEY, [pod]]]);
  world.applyAddresses([asService(order)]);
  assert.deepEqual(
    world.endpoints(KEY).map((e) => e.workload),
    [pod],
  );
  assert.deepEqual([...world.stagedServices()], []);
});
test('removals come after updates, whatever their order in the response', () => {
  const world = new IndexedWorld('');
  const changes = world.applyAddresses([asWorkload(pod), asService(order)], [pod.uid, KEY]);
  assert.deepEqual(changes, { workloads: [], services: [], unknown: [] });
  assert.deepEqual([...world.workloads(), ...world.services()], []);
});
test('a change is told once a batch, with what was before it', () => {
  const world = new IndexedWorld('');
  world.applyAddresses([asWorkload(pod)]);
  const [second, third] = [
    { ...pod, status: 'unhealthy' as const },
    { ...pod, node: 'node-2' },
  ];
  assert.deepEqual(world.applyAddresses([asWorkload(second), asWorkload(third)]).workloads, [
    { before: pod, now: third },
  ]);
  assert.deepEqual(world.applyAddresses([], [pod.uid]).workloads, [{ before: third, now: undefined }]);
});
test('removing an unknown service is worth a warning, an unknown workload is not', () => {
  const world = new IndexedWorld('');
  assert.deepEqual(world.applyAddresses([], ['shop/gone.example.com', 'Kubernetes//Pod/shop/gone', 'odd']).unknown, [
    'shop/gone.example.com',
    'odd',
  ]);
});
test('who has a shared address: a meshed pod, a pod, a meshed workload, another; of equals the later', () => {
  const world = new IndexedWorld('');
  const shared = (uid: string, tunnelProtocol: Workload['tunnelProtocol']) =>
    workload(uid, { uid, tunnelProtocol, addresses: [ip('10.0.0.9')] });
  const steps = [
    shared('other', 'none'),
    shared('other-meshed', 'hbone'),
    shared('c//Pod/a', 'none'),
    shared('c//Pod/b', 'hbone'),
    shared('c//Pod/c', 'hbone'),
  ];
  const add = [...steps].map((w) => {
    world.applyAddresses([asWorkload(w)]);
    return world.workloadAt('', ip('10.0.0.9'))?.uid;
  });
  assert.deepEqual(add, ['other', 'other-meshed', 'c//Pod/a', 'c//Pod/b', 'c//Pod/c']);
  world.applyAddresses([asWorkload(steps[0] as Workload)]);
  assert.equal(world.workloadAt('', ip('10.0.0.9'))?.uid, 'c//Pod/c');
  world.applyAddresses([], ['c//Pod/c', 'c//Pod/b', 'c//Pod/a', 'other-meshed']);
  assert.equal(world.workloadAt('', ip('10.0.0.9'))?.uid, 'other');
});
test('the policy revision changes with policies alone', () => {
  const world = new IndexedWorld('');
  const start = world.policyRevision;
  world.applyAddresses([asWorkload(pod)]);
  world.applyPolicies([], ['shop/unknown']);
  assert.equal(world.policyRevision, start);
  const p = policy('p', 'deny');
  assert.deepEqual(world.applyPolicies([p]), [{ before: undefined, now: p }]);
  assert.notEqual(world.policyRevision, start);
});
test('lists handed out do not change under their holder', () => {
  const world = new IndexedWorld('');
  world.applyAddresses([asService(order), asWorkload(pod)]);
  world.applyPolicies([policy('a', 'deny')]);
  const [endpoints, named, policies] = [
    world.endpoints(KEY),
    world.servicesWithHostname(order.hostname),
    world.namespacePolicies('shop'),
  ];
  world.applyAddresses([asWorkload({ ...pod, uid: 'second' }), asService({ ...order, namespace: 'bank' })]);
  world.applyPolicies([policy('b', 'deny')], ['shop/a']);
  assert.deepEqual([endpoints.length, named.length, policies.map((p) => p.name)], [1, 1, ['a']]);
});
