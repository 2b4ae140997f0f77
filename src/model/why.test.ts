import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Predicate } from './facts.ts';
import { plainWorld } from './plain-world.ts';
import type { Policy } from './policy.ts';
import { IPS, somePolicy, someService, someWorkload } from './testing/arbitrary.ts';
import { ip, match, members, policy, ports, rule, service, workload } from './testing/builders.ts';
import { explainConnection } from './why.ts';
import type { Service, Workload } from './workload.ts';

const KEY = 'shop/payment.shop.svc.cluster.local';
const payment = service('payment', { vips: [{ network: '', ip: ip('10.96.0.1') }], ports: ports('80:8080') });
const pod = workload('payment-1', {
  addresses: [ip('10.0.0.2')],
  serviceAccount: 'payment',
  services: members({ [KEY]: ['80:8080'] }),
});
const order = workload('order-1', { addresses: [ip('10.0.0.1')], serviceAccount: 'order' });
const exact = (value: string): Predicate => ({ kind: 'exact', value });
const orderOnly = policy('order-only', 'allow', {
  anyRule: [rule(match({ principals: [exact('cluster.local/ns/shop/sa/order')] }))],
});
const strict = policy('strict', 'deny', { anyRule: [rule(match({ notPrincipals: [{ kind: 'present' }] }))] });

function why(
  source: Workload,
  policies: readonly Policy[],
  to = '10.96.0.1',
  port = 80,
  services: readonly Service[] = [payment],
  target = pod,
) {
  const world = plainWorld('', [source, target], services, policies);
  return explainConnection(
    world,
    source,
    { client: { ip: source.addresses[0] ?? ip('10.9.9.9'), port: 40000 }, destination: { ip: ip(to), port } },
    () => 0,
  );
}

test('allowed through a tunnel: path, both identities, policy and rule', () => {
  const answer = why(order, [orderOnly, strict]);
  assert.equal(answer.outcome, 'allowed');
  assert.deepEqual(answer.path, {
    kind: 'hbone',
    via: 'workload',
    hop: '10.0.0.2:15008',
    authority: '10.0.0.2:8080',
    expect: ['spiffe://cluster.local/ns/shop/sa/payment'],
  });
  assert.equal(answer.source.identity, 'spiffe://cluster.local/ns/shop/sa/order');
  assert.equal(answer.destination?.identity, 'spiffe://cluster.local/ns/shop/sa/payment');
  assert.deepEqual(answer.authorization?.because, ['shop/order-only']);
  assert.deepEqual(answer.words, [
    'shop/order-1 dials 10.96.0.1:80 (payment.shop.svc.cluster.local)',
    'goes as spiffe://cluster.local/ns/shop/sa/order through a mutual TLS tunnel to 10.0.0.2:15008, which must be spiffe://cluster.local/ns/shop/sa/payment',
    'shop/payment-1 allows it: allowed by: shop/order-only',
    'rule 1 of shop/order-only matched (principals: `cluster.local/ns/shop/sa/order`)',
  ]);
  assert.deepEqual(JSON.parse(JSON.stringify(answer)).authorization.effect, 'allow');
});
test('refused because no ALLOW matches: each rule says what it wants', () => {
  const shopper = workload('shopper', { addresses: [ip('10.0.0.3')] });
  const answer = why(shopper, [orderOnly]);
  assert.equal(answer.outcome, 'refused');
  assert.deepEqual(answer.words.slice(-2), [
    'shop/payment-1 refuses it: allow policies exist, but none allowed',
    'rule 1 of shop/order-only wants principals: `cluster.local/ns/shop/sa/order`',
  ]);
});
test('a source outside the mesh arrives in plain text, without identity', () => {
  const outside = { ...order, tunnelProtocol: 'none' as const };
  const answer = why(outside, [strict]);
  assert.deepEqual(
    [answer.outcome, answer.source.identity, answer.path],
    ['refused', undefined, { kind: 'plain', why: 'sourceNotEnrolled', hop: '10.0.0.2:8080' }],
  );
  assert.deepEqual(answer.words.slice(2), [
    'shop/payment-1 refuses it: explicitly denied by: shop/strict',
    'rule 1 of shop/strict matched (notPrincipals: anything)',
  ]);
  assert.equal(why(outside, []).outcome, 'allowed');
  assert.equal(
    why(outside, [strict], '10.96.0.1', 80, [payment], { ...pod, tunnelProtocol: 'none' }).authorization,
    undefined,
  );
});
test('refused before it leaves, and at the tunnel', () => {
  const nobody = why(order, [], '10.96.0.1', 81);
  assert.deepEqual([nobody.outcome, nobody.path.kind], ['refused', 'refused']);
  const own = why(order, [], '10.0.0.2', 15001);
  assert.ok(own.path.kind === 'refused');
  assert.deepEqual([own.path.at, own.path.why], ['destination', 'ownPort']);
});
test('a waypoint decides about the rest', () => {
  const waypoint = { destination: { kind: 'address' as const, network: '', ip: ip('10.0.0.2') }, hbonePort: 15008 };
  const answer = why(order, [strict], '10.96.0.1', 80, [{ ...payment, waypoint }]);
  assert.deepEqual([answer.outcome, answer.authorization], ['undecided', undefined]);
  assert.match(answer.words.join('\n'), /the waypoint shop\/payment-1 decides/);
});
test('a policy that is listed and not known is said to restrict nothing', () => {
  const answer = why(order, [], '10.0.0.2', 80, [], { ...pod, authorizationPolicies: ['shop/gone'] });
  assert.deepEqual(answer.authorization?.missing, ['shop/gone']);
  assert.match(answer.words.at(-1) ?? '', /shop\/gone is listed but not known/);
});
test('any connection in any world has an answer that survives JSON', () =>
  fc.assert(
    fc.property(
      fc.array(someWorkload, { minLength: 1, maxLength: 4 }),
      fc.array(someService, { maxLength: 3 }),
      fc.array(somePolicy, { maxLength: 4 }),
      fc.constantFrom(...IPS),
      (workloads, services, policies, to) => {
        const world = plainWorld('', workloads, services, policies);
        const source = workloads[0] as Workload;
        const answer = explainConnection(
          world,
          source,
          { client: { ip: ip('10.0.0.1'), port: 1 }, destination: { ip: to, port: 80 } },
          () => 0,
        );
        assert.ok(answer.words.length >= 2);
        assert.equal(JSON.parse(JSON.stringify(answer)).outcome, answer.outcome);
        assert.equal(
          answer.authorization?.effect === 'deny',
          answer.outcome === 'refused' && answer.path.kind !== 'refused',
        );
      },
    ),
    { numRuns: 500 },
  ));
