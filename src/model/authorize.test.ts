import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorize, selectPolicies } from './authorize.ts';
import { compilePolicies } from './compiled-policies.ts';
import { type Connection, concreteFacts } from './connection.ts';
import { explainAuthorization } from './explain.ts';
import type { Facts, Field, Predicate } from './facts.ts';
import { IndexedWorld } from './indexed-world.ts';
import { plainWorld } from './plain-world.ts';
import type { Policy, PolicyMatch, PolicyRule } from './policy.ts';
import { policyMatches } from './policy-match.ts';
import { someConnection, somePolicy, someWorkload } from './testing/arbitrary.ts';
import { cidr, ip, match, policy, rule, workload } from './testing/builders.ts';
import type { Verdict } from './verdict.ts';
import type { Workload } from './workload.ts';

const connection = (set: Partial<Connection> = {}): Connection => ({
  source: { ip: ip('10.0.0.1'), port: 40000 },
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' },
  destination: { ip: ip('10.0.0.2'), port: 8080 },
  ...set,
});
const plaintext = connection({ identity: undefined });
const payment = workload('payment');
const effect = ({ effect, because, reason }: Verdict) => `${effect} [${because}] ${reason}`;
const judge = (policies: readonly Policy[], c: Connection = connection(), destination: Workload = payment): Verdict =>
  authorize(plainWorld('', [], [], policies), destination, concreteFacts(c));

const exact = (value: string): Predicate => ({ kind: 'exact', value });
const present: Predicate = { kind: 'present' };
const port = (number: number): Predicate => ({ kind: 'port', port: number });
const range = (text: string): Predicate => ({ kind: 'cidr', range: cidr(text) });
const ORDER = 'cluster.local/ns/shop/sa/order';

/** Whether one match, alone in an otherwise empty policy, matches. */
const matches = (set: Partial<PolicyMatch>, c: Connection = connection()): boolean =>
  policyMatches(policy('p', 'deny', { anyRule: [rule(match(set))] }), concreteFacts(c));
const everything: PolicyRule = { everyClause: [] };

test('nesting: what empty means at each level', () => {
  const holds = (anyRule: readonly PolicyRule[]) =>
    policyMatches(policy('p', 'deny', { anyRule }), concreteFacts(connection()));
  assert.equal(holds([]), false, 'no rules: never');
  assert.equal(holds([everything]), true, 'no clauses: everything');
  assert.equal(holds([rule()]), true, 'no matches: everything');
  assert.equal(holds([rule(match())]), false, 'a match without any condition: nothing');
  assert.equal(holds([rule(match(), match({ destinationPorts: [port(8080)] }))]), true, 'matches are alternatives');
  assert.equal(holds([{ everyClause: [{ anyMatch: [] }, { anyMatch: [match()] }] }]), false, 'clauses must all hold');
  assert.equal(holds([rule(match()), everything]), true, 'rules are alternatives');
});
test('lists: entries are alternatives, negated ones forbid, kinds must all agree', () => {
  assert.equal(matches({ principals: [exact('x'), exact(ORDER)] }), true);
  assert.equal(matches({ notPrincipals: [exact('x'), exact(ORDER)] }), false);
  assert.equal(matches({ notPrincipals: [exact('x')] }), true);
  assert.equal(matches({ principals: [exact(ORDER)], destinationPorts: [port(1)] }), false);
  assert.equal(matches({ principals: [present], notPrincipals: [exact(ORDER)] }), false);
});

const conditions: readonly [name: string, match: Partial<PolicyMatch>, tls: boolean, plain: boolean][] = [
  ['principal exact', { principals: [exact(ORDER)] }, true, false],
  ['principal with scheme never', { principals: [exact(`spiffe://${ORDER}`)] }, false, false],
  ['principal prefix', { principals: [{ kind: 'prefix', value: 'cluster.local/ns/shop/' }] }, true, false],
  ['principal suffix', { principals: [{ kind: 'suffix', value: '/sa/order' }] }, true, false],
  ['principal present', { principals: [present] }, true, false],
  ['principal absent', { notPrincipals: [present] }, false, true],
  ['not that principal: plaintext is not it', { notPrincipals: [exact(ORDER)] }, false, true],
  ['namespace', { namespaces: [exact('shop')] }, true, false],
  ['namespace present: plaintext has an empty one', { namespaces: [present] }, true, false],
  ['namespace prefix of nothing: also the empty one', { namespaces: [{ kind: 'prefix', value: '' }] }, true, true],
  ['not namespace', { notNamespaces: [exact('shop')] }, false, true],
  ['service account', { serviceAccounts: [exact('shop/order')] }, true, false],
  ['not service account', { notServiceAccounts: [exact('shop/order')] }, false, true],
  ['source range', { sourceIps: [range('10.0.0.0/24')] }, true, true],
  ['source range of the other family', { sourceIps: [range('::/0')] }, false, false],
  ['not source range', { notSourceIps: [range('10.0.0.1/32')] }, false, false],
  ['destination range', { destinationIps: [range('10.0.0.2')] }, true, true],
  ['destination port', { destinationPorts: [port(8080)] }, true, true],
  ['not destination port', { notDestinationPorts: [port(8080)] }, false, false],
];
for (const [name, set, tls, plain] of conditions)
  test(`condition: ${name}`, () => assert.deepEqual([matches(set), matches(set, plaintext)], [tls, plain]));

const orderOnly = policy('order-only', 'allow', { anyRule: [rule(match({ principals: [exact(ORDER)] }))] });
const strict = policy('strict', 'deny', { anyRule: [rule(match({ notPrincipals: [present] }))] });
const dry = (p: Policy): Policy => ({ ...p, dryRun: true });

test('no policy: allowed', () => assert.equal(effect(judge([])), 'allow [] no allow policy applies'));
test('a DENY that matches refuses, also when an ALLOW matches', () =>
  assert.equal(
    effect(judge([policy('allow-all', 'allow', { anyRule: [everything] }), strict], plaintext)),
    'deny [shop/strict] explicitly denied by: shop/strict',
  ));
test('an ALLOW that matches allows', () =>
  assert.equal(effect(judge([orderOnly, strict])), 'allow [shop/order-only] allowed by: shop/order-only'));
test('an ALLOW that exists and does not match refuses', () =>
  assert.equal(effect(judge([orderOnly], plaintext)), 'deny [] allow policies exist, but none allowed'));
test('an ALLOW without rules locks', () =>
  assert.equal(effect(judge([policy('none', 'allow')])), 'deny [] allow policies exist, but none allowed'));
test('a DENY without rules does nothing', () => assert.equal(judge([policy('none', 'deny')]).effect, 'allow'));
test('dry-run policies are reported and decide nothing', () => {
  assert.deepEqual(judge([dry(strict)], plaintext).effect, 'allow');
  assert.deepEqual(judge([dry(strict)], plaintext).dryRun, [{ would: 'deny', policy: 'shop/strict' }]);
  assert.deepEqual(judge([dry(orderOnly)]).dryRun, [{ would: 'allow', policy: 'shop/order-only' }]);
  const unmatched = judge([dry(orderOnly)], plaintext);
  assert.deepEqual([unmatched.effect, unmatched.dryRun], ['allow', [{ would: 'deny', policy: undefined }]]);
});
test('the permit of an allowing verdict names the destination; a refusal has none', () => {
  const allowed = judge([]);
  assert.ok(allowed.effect === 'allow');
  assert.equal(allowed.permit.destination, payment);
  assert.equal('permit' in judge([orderOnly], plaintext), false);
});

test('which policies apply: own namespace, the whole mesh, and selected ones by name', () => {
  const policies = [
    policy('own', 'deny'),
    policy('other', 'deny', { namespace: 'bank' }),
    policy('mesh', 'deny', { namespace: 'istio-system', scope: 'global' }),
    policy('selected', 'deny', { scope: 'workloadSelector' }),
    policy('unselected', 'deny', { scope: 'workloadSelector' }),
  ];
  const destination = workload('payment', { authorizationPolicies: ['shop/selected', 'shop/gone'] });
  const { policies: applicable, missing } = selectPolicies(plainWorld('', [], [], policies), destination);
  assert.deepEqual(
    applicable.map((p) => p.key),
    ['shop/own', 'istio-system/mesh', 'shop/selected'],
  );
  assert.deepEqual(missing, ['shop/gone']);
});

// ---- properties ----

const RUNS = { numRuns: 400 };
const policies = fc.array(somePolicy, { maxLength: 6 });
const simple = (verdict: Verdict) => ({ ...verdict, permit: undefined });

test('compiled policies judge as the definition does, and follow changes', () =>
  fc.assert(
    fc.property(
      policies,
      policies,
      fc.array(someWorkload, { maxLength: 3 }),
      fc.array(someConnection, { minLength: 1, maxLength: 5 }),
      (first, second, workloads, connections) => {
        const indexed = new IndexedWorld('');
        const compiled = compilePolicies(indexed);
        const held = new Map<string, Policy>();
        for (const batch of [first, second]) {
          indexed.applyPolicies(batch);
          for (const p of batch) held.set(p.key, p);
          const plain = plainWorld('', [], [], [...held.values()]);
          for (const destination of workloads)
            for (const c of connections)
              assert.deepEqual(
                simple(compiled.authorize(destination, c)),
                simple(authorize(plain, destination, concreteFacts(c))),
              );
        }
        indexed.applyPolicies([], held.keys());
        for (const destination of workloads)
          assert.equal(compiled.authorize(destination, connections[0] as Connection).effect, 'allow');
      },
    ),
    RUNS,
  ));
test('the order of policies is irrelevant, also for the reason', () =>
  fc.assert(
    fc.property(policies, someWorkload, someConnection, (list, destination, c) => {
      const distinct = [...new Map(list.map((p) => [p.key, p])).values()];
      const judged = (some: readonly Policy[]) =>
        simple(authorize(plainWorld('', [], [], some), destination, concreteFacts(c)));
      assert.deepEqual(judged(distinct), judged(distinct.toReversed()));
    }),
    RUNS,
  ));
test('one more DENY never allows more', () =>
  fc.assert(
    fc.property(policies, somePolicy, someWorkload, someConnection, (list, extra, destination, c) => {
      const deny: Policy = { ...extra, key: 'x/extra', action: 'deny', scope: 'global' };
      const judged = (some: readonly Policy[]) =>
        authorize(plainWorld('', [], [], some), destination, concreteFacts(c)).effect;
      if (judged(list) === 'deny') assert.equal(judged([...list, deny]), 'deny');
    }),
    RUNS,
  ));
test('the explanation comes to the verdict, and its traces to what each policy matches', () =>
  fc.assert(
    fc.property(policies, someWorkload, someConnection, (list, destination, c) => {
      const world = plainWorld('', [], [], list);
      const facts = concreteFacts(c);
      const trace = explainAuthorization(world, destination, facts);
      assert.deepEqual(simple(trace.verdict), simple(authorize(world, destination, facts)));
      assert.equal(trace.policies.length, selectPolicies(world, destination).policies.length);
      for (const t of trace.policies) {
        const p = world.policy(t.policy);
        assert.equal(t.matched, p !== undefined && policyMatches(p, facts));
      }
    }),
    RUNS,
  ));

// ---- symbolic ----

interface Path {
  readonly verdict: Verdict;
  readonly asked: readonly { readonly field: Field; readonly predicate: Predicate; readonly answer: boolean }[];
}

/** Runs a decision once for every sequence of answers that it can be given: a question asked again is answered alike. */
function explore(decide: (facts: Facts) => Verdict, most = 20_000): Path[] {
  const paths: Path[] = [];
  let answers: boolean[] = [];
  for (;;) {
    const asked: Path['asked'][number][] = [];
    const known = new Map<string, boolean>();
    const facts: Facts = {
      test(field, predicate) {
        const question = `${field} ${JSON.stringify(predicate)}`;
        let answer = known.get(question);
        if (answer === undefined) {
          answer = answers[known.size] ?? true;
          known.set(question, answer);
          asked.push({ field, predicate, answer });
        }
        return answer;
      },
    };
    paths.push({ verdict: decide(facts), asked });
    assert.ok(paths.length < most);
    answers = asked.map((question) => question.answer);
    while (answers.at(-1) === false) answers.pop();
    if (answers.length === 0) return paths;
    answers[answers.length - 1] = false;
  }
}

test('authorize asks through facts.test alone: forked answers give every class of connections, each with its verdict', () => {
  let several = 0;
  fc.assert(
    fc.property(
      fc.array(somePolicy, { maxLength: 3 }),
      someWorkload,
      fc.array(someConnection, { minLength: 1, maxLength: 8 }),
      (list, destination, connections) => {
        const world = plainWorld('', [], [], list);
        const paths = explore((facts) => authorize(world, destination, facts));
        if (paths.length > 1) several++;
        for (const c of connections) {
          const facts = concreteFacts(c);
          const taken = paths.filter((path) =>
            path.asked.every(({ field, predicate, answer }) => facts.test(field, predicate) === answer),
          );
          assert.equal(taken.length, 1, 'exactly one class holds the connection');
          assert.deepEqual(simple((taken[0] as Path).verdict), simple(authorize(world, destination, facts)));
        }
      },
    ),
    { numRuns: 200 },
  );
  assert.ok(several > 20, `only ${several} worlds told connections apart`);
});
