import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorizeHttp } from './authorize.ts';
import { compileHttpPolicies } from './compiled-policies.ts';
import { describeHttpCondition, explainHttpAuthorization } from './explain.ts';
import { parsePathTemplate } from './path-template.ts';
import type { HttpCondition, HttpPolicy, HttpPolicyRule } from './policy.ts';
import { claimField, type HttpRequest, headerField, requestFacts, type VerifiedToken } from './request.ts';
import { someHttpPolicy, somePolicies, someRequest } from './testing/arbitrary.ts';
import { asks, exact, httpPolicy, lines, policyRule, prefix, present, request, suffix } from './testing/builders.ts';
import { classOf, explore } from './testing/explore.ts';
import { type CustomStage, denialDetails, type HttpVerdict } from './verdict.ts';

const judge = (policies: readonly HttpPolicy[], r: HttpRequest = request(), stage: CustomStage = 'notAsked') => {
  const plain = authorizeHttp(policies, requestFacts(r), stage);
  assert.deepEqual(compileHttpPolicies(policies).authorize(r, stage), plain);
  return plain;
};
const brief = ({ effect, because, reason }: HttpVerdict): string =>
  `${effect} [${because === undefined ? '' : `${because.policy} rule ${because.rule}`}] ${reason}`;
/** Whether an ALLOW, and a DENY, of this one condition match. */
const asAllowAndDeny = (condition: HttpCondition, r: HttpRequest): readonly [allow: boolean, deny: boolean] => {
  const rules = [policyRule({ when: [condition] })];
  return [
    judge([httpPolicy('p', 'allow', rules)], r).effect === 'allow',
    judge([httpPolicy('p', 'deny', rules)], r).effect === 'deny',
  ];
};
const everything = policyRule();
const onPath = (value: string): HttpPolicyRule => policyRule({ to: [[asks('paths', 'request.path', exact(value))]] });

// ---- order ----

const custom = (name: string, provider: string, known = true, rules = [everything]): HttpPolicy =>
  httpPolicy(name, { kind: 'custom', provider: { name: provider, known } }, rules);
const allowAll = httpPolicy('allow-all', 'allow', [everything]);
const denyAll = httpPolicy('deny-all', 'deny', [everything]);

const order: readonly [name: string, policies: readonly HttpPolicy[], stage: CustomStage, verdict: string][] = [
  ['no policy', [], 'notAsked', 'allow [] no allow policy applies'],
  ['CUSTOM before DENY', [denyAll, custom('c', 'opa')], 'notAsked', 'ask [shop/c rule 0] shop/c asks the provider opa'],
  [
    'DENY after the provider has allowed',
    [denyAll, custom('c', 'opa'), allowAll],
    'passed',
    'deny [shop/deny-all rule 0] explicitly denied by: shop/deny-all',
  ],
  [
    'a CUSTOM that does not match asks nobody',
    [custom('c', 'opa', true, [])],
    'notAsked',
    'allow [] no allow policy applies',
  ],
  [
    'CUSTOM of an unknown provider refuses',
    [custom('c', 'gone', false), allowAll],
    'notAsked',
    'deny [shop/c rule 0] shop/c cannot be asked: its provider is unknown, or the policies here name several',
  ],
  [
    'CUSTOM of two providers refuses',
    [custom('c', 'opa'), custom('d', 'other', true, [])],
    'notAsked',
    'deny [shop/c rule 0] shop/c cannot be asked: its provider is unknown, or the policies here name several',
  ],
  [
    'DENY before ALLOW',
    [allowAll, denyAll],
    'notAsked',
    'deny [shop/deny-all rule 0] explicitly denied by: shop/deny-all',
  ],
  ['ALLOW that matches', [allowAll], 'notAsked', 'allow [shop/allow-all rule 0] allowed by: shop/allow-all'],
  [
    'ALLOW that does not match',
    [httpPolicy('a', 'allow', [onPath('/x')])],
    'notAsked',
    'deny [] allow policies exist, but none allowed',
  ],
  [
    'ALLOW without rules locks',
    [httpPolicy('a', 'allow', [])],
    'notAsked',
    'deny [] allow policies exist, but none allowed',
  ],
  ['DENY without rules does nothing', [httpPolicy('d', 'deny', [])], 'notAsked', 'allow [] no allow policy applies'],
  ['AUDIT enforces nothing', [httpPolicy('a', 'audit', [everything])], 'notAsked', 'allow [] no allow policy applies'],
  [
    'the rule that matched is named',
    [httpPolicy('a', 'allow', [onPath('/x'), onPath('/')])],
    'notAsked',
    'allow [shop/a rule 1] allowed by: shop/a',
  ],
];
for (const [name, policies, stage, verdict] of order)
  test(`order: ${name}`, () => assert.equal(brief(judge(policies, request(), stage)), verdict));

test('AUDIT and dry-run policies are reported and decide nothing', () => {
  const verdict = judge([
    httpPolicy('audit', 'audit', [onPath('/x'), everything]),
    httpPolicy('dry-deny', 'deny', [everything], true),
    httpPolicy('dry-allow', 'allow', [onPath('/x')], true),
    httpPolicy('dry-custom', { kind: 'custom', provider: { name: 'gone', known: false } }, [everything], true),
  ]);
  assert.equal(verdict.effect, 'allow');
  assert.deepEqual(verdict.audit, [{ policy: 'shop/audit', rule: 1 }]);
  assert.deepEqual(verdict.dryRun, [
    { would: 'ask', because: { policy: 'shop/dry-custom', rule: 0 } },
    { would: 'deny', because: { policy: 'shop/dry-deny', rule: 0 } },
    { would: 'deny', because: undefined },
  ]);
});
test('only an allowing verdict carries a permit', () => {
  assert.equal('permit' in judge([allowAll]), true);
  assert.equal('permit' in judge([denyAll]), false);
  assert.equal('permit' in judge([custom('c', 'opa')]), false);
});
test('details of a refusal name policy and rule', () => {
  assert.equal(
    denialDetails(judge([denyAll]).because),
    'rbac_access_denied_matched_policy[ns[shop]-policy[deny-all]-rule[0]]',
  );
  assert.equal(denialDetails(undefined), 'rbac_access_denied_matched_policy[none]');
});

// ---- nesting ----

test('nesting: sources and operations are alternatives, lists and conditions must all hold', () => {
  const a = asks('methods', 'request.method', exact('GET'));
  const no = asks('methods', 'request.method', exact('POST'));
  const holds = (rule: Partial<HttpPolicyRule>) =>
    judge([httpPolicy('p', 'deny', [policyRule(rule)])]).effect === 'deny';
  assert.deepEqual(
    [
      holds({}),
      holds({ to: [[no], [a]] }),
      holds({ to: [[no, a]] }),
      holds({ from: [[no]], to: [[a]] }),
      holds({ from: [[]], when: [a] }),
      holds({ when: [a, no] }),
      holds({ when: [asks('methods', 'request.method')] }),
      holds({ when: [asks('notMethods', 'request.method')] }),
    ],
    [true, true, false, false, true, false, false, true],
  );
});

// ---- values ----

const token: VerifiedToken = {
  principal: 'https://issuer/alice',
  presenter: 'web',
  audiences: ['shop', 'bank'],
  claims: { groups: ['admin', 'dev'], realm: { roles: 'owner' }, level: 7 },
};
const plaintext = request({ connection: { ...request().connection, identity: undefined } });
const template = (text: string) => {
  const parsed = parsePathTemplate(text);
  assert.ok(parsed.ok);
  return { kind: 'pathTemplate' as const, parts: parsed.value };
};
const values: readonly [name: string, condition: HttpCondition, r: HttpRequest, holds: boolean][] = [
  ['exact', asks('paths', 'request.path', exact('/a')), request({ path: '/a' }), true],
  ['exact is not a prefix', asks('paths', 'request.path', exact('/a')), request({ path: '/a/' }), false],
  ['prefix', asks('paths', 'request.path', prefix('/a')), request({ path: '/ab' }), true],
  ['suffix', asks('paths', 'request.path', suffix('.js')), request({ path: '/x.js' }), true],
  ['not paths', asks('notPaths', 'request.path', prefix('/a')), request({ path: '/b' }), true],
  ['host without its port', asks('hosts', 'request.host', exact('a.b')), request({ authority: 'a.b:8080' }), true],
  ['host with a port', asks('hosts', 'request.authority', exact('a.b:80')), request({ authority: 'a.b:80' }), true],
  ['a principal where there is none', asks('principals', 'source.principal', present), plaintext, false],
  ['not a principal: plaintext', asks('notPrincipals', 'source.principal', present), plaintext, true],
  ['trust domain', asks('trustDomains', 'source.trustDomain', exact('cluster.local')), request(), true],
  [
    'request principal',
    asks('requestPrincipals', 'request.principal', prefix('https://issuer/')),
    request({ token }),
    true,
  ],
  ['request principal without token', asks('requestPrincipals', 'request.principal', present), request(), false],
  [
    'not a request principal without token',
    asks('notRequestPrincipals', 'request.principal', present),
    request(),
    true,
  ],
  ['audience: one of several', asks('a', 'request.audience', exact('bank')), request({ token }), true],
  ['claim in a list', asks('c', claimField(['groups']), exact('admin')), request({ token }), true],
  ['not a claim in a list', asks('notC', claimField(['groups']), exact('admin')), request({ token }), false],
  ['nested claim', asks('c', claimField(['realm', 'roles']), exact('owner')), request({ token }), true],
  ['claim that is no text', asks('c', claimField(['level']), exact('7')), request({ token }), false],
  ['claim that every object has', asks('c', claimField(['constructor', 'name']), present), request({ token }), false],
  ['remote address unknown', asks('notRemoteIpBlocks', 'remote.ip', present), request(), true],
  ['port as a number', asks('ports', 'destination.port', { kind: 'port', port: 8080 }), request(), true],
  ['port is no text', asks('ports', 'destination.port', exact('8080')), request(), false],
];
for (const [name, condition, r, holds] of values)
  test(`value: ${name}`, () => assert.deepEqual(asAllowAndDeny(condition, r), [holds, holds]));

const templates: readonly [template: string, path: string, holds: boolean][] = [
  ['/foo/{*}', '/foo/bar', true],
  ['/foo/{*}', '/foo/bar/baz', false],
  ['/foo/{*}', '/foo/', false],
  ['/foo/{*}/bar/{**}', '/foo/buzz/bar/', true],
  ['/foo/{*}/bar/{**}', '/foo/buzz/bar/baz/x', true],
  ['/foo/{*}/bar/{**}', '/foo/buzz/bar', false],
  ['/foo/{**}/', '/foo/bar/', true],
  ['/foo/{**}/', '/foo//', true],
  ['/foo/{**}/', '/foo/bar', false],
  ['/foo/{**}/x', '/foo/x', false],
  ['/{**}', '/', true],
];
for (const [text, path, holds] of templates)
  test(`path template ${text} and ${path}`, () =>
    assert.deepEqual(asAllowAndDeny(asks('paths', 'request.path', template(text)), request({ path })), [holds, holds]));
for (const text of ['foo/{*}', '/foo{*}', '/{**}/{*}', '/{**}/{**}', '/a*/{*}', '/{x}'])
  test(`path template ${text} is refused`, () => assert.equal(parsePathTemplate(text).ok, false));

// A header that comes several times: each row says what an ALLOW and a DENY of that condition do.
const repeated: readonly [list: string, lines: readonly string[], allow: boolean, deny: boolean][] = [
  ['values', [], false, false],
  ['values', ['admin'], true, true],
  ['values', ['user'], false, false],
  ['values', ['admin', 'admin'], true, true],
  ['values', ['admin', 'user'], false, true],
  ['values', ['user', 'admin'], false, true],
  ['notValues', [], true, true],
  ['notValues', ['admin'], false, false],
  ['notValues', ['user'], true, true],
  ['notValues', ['admin', 'user'], false, true],
];
for (const [list, each, allow, deny] of repeated)
  test(`header lines [${each}] and ${list} admin: ALLOW ${allow}, DENY ${deny}`, () => {
    const r = request({ headers: lines(each.length === 0 ? {} : { 'x-role': each }) });
    assert.deepEqual(asAllowAndDeny(asks(list, headerField('X-Role'), exact('admin')), r), [allow, deny]);
  });
test('header lines: a DENY also sees them joined, an ALLOW wants each to satisfy one of its values', () => {
  const r = request({ headers: lines({ 'x-role': ['a', 'b'] }) });
  const on = (...all: string[]) => asAllowAndDeny(asks('values', headerField('x-role'), ...all.map(exact)), r);
  assert.deepEqual(
    [on('a,b'), on('a', 'b')],
    [
      [false, true],
      [true, true],
    ],
  );
});

test('the explanation names list, entry and answer', () => {
  const rule = policyRule({ to: [[asks('paths', 'request.path', prefix('/b'), template('/a/{*}'))]] });
  const trace = explainHttpAuthorization([httpPolicy('p', 'deny', [rule])], requestFacts(request({ path: '/a/x' })));
  const condition = trace.policies[0]?.rules[0]?.to[0]?.conditions[0];
  assert.ok(condition);
  assert.equal(describeHttpCondition(condition), 'paths: `/b*` or `/a/{*}`');
  assert.deepEqual(
    condition.entries.map(({ satisfied }) => satisfied),
    [false, true],
  );
});

// ---- properties ----

const requests = fc.array(someRequest, { minLength: 1, maxLength: 5 });
const stages = fc.constantFrom<CustomStage[]>('notAsked', 'passed');

test('compiled policies judge as the definition does, and the explanation comes to the same', () => {
  const seen: Record<string, number> = {};
  fc.assert(
    fc.property(somePolicies(4), requests, stages, (policies, some, stage) => {
      const compiled = compileHttpPolicies(policies);
      for (const r of some) {
        const plain = authorizeHttp(policies, requestFacts(r), stage);
        assert.deepEqual(compiled.authorize(r, stage), plain);
        const kind = `${plain.effect}${plain.because === undefined ? '' : ' by a policy'}`;
        seen[kind] = (seen[kind] ?? 0) + 1;
        const trace = explainHttpAuthorization(policies, requestFacts(r), stage);
        assert.deepEqual(trace.verdict, plain);
        const { because } = plain;
        if (because !== undefined) {
          const rules = trace.policies.find(({ policy }) => policy === because.policy)?.rules;
          assert.equal(
            rules?.findIndex(({ matched }) => matched),
            because.rule,
          );
        }
      }
    }),
    { numRuns: 600 },
  );
  for (const kind of ['allow', 'allow by a policy', 'deny', 'deny by a policy', 'ask by a policy'])
    assert.ok((seen[kind] ?? 0) > 20, `${kind}: ${seen[kind]}`);
});
test('the order of policies is irrelevant, also for the reason', () =>
  fc.assert(
    fc.property(somePolicies(4), someRequest, (policies, r) =>
      assert.deepEqual(authorizeHttp(policies, requestFacts(r)), authorizeHttp(policies.toReversed(), requestFacts(r))),
    ),
    { numRuns: 300 },
  ));
test('one more DENY never allows more', () =>
  fc.assert(
    fc.property(somePolicies(3), someHttpPolicy, someRequest, (policies, extra, r) => {
      const deny: HttpPolicy = { ...extra, key: 'x/extra', action: { kind: 'deny' } };
      if (authorizeHttp(policies, requestFacts(r)).effect === 'deny')
        assert.equal(authorizeHttp([...policies, deny], requestFacts(r)).effect, 'deny');
    }),
    { numRuns: 300 },
  ));
test('a header line more never turns a refusal by its conditions into leave', () =>
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }),
      fc.constantFrom('a', 'b', 'c'),
      fc.constantFrom('values', 'notValues'),
      fc.uniqueArray(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 2 }),
      (each, more, list, wanted) => {
        const condition = asks(list, headerField('x'), ...wanted.map(exact));
        const [allow, deny] = asAllowAndDeny(condition, request({ headers: lines({ x: each }) }));
        const [allowMore, denyMore] = asAllowAndDeny(condition, request({ headers: lines({ x: [...each, more] }) }));
        if (!allow && allowMore) assert.fail(`ALLOW: ${each} and then ${more}`);
        if (deny && !denyMore) assert.fail(`DENY: ${each} and then ${more}`);
      },
    ),
    { numRuns: 300 },
  ));
test('authorizeHttp asks through facts.test alone: forked answers give every class of requests', () => {
  let several = 0;
  fc.assert(
    fc.property(somePolicies(2), requests, stages, (policies, some, stage) => {
      const paths = explore((facts) => authorizeHttp(policies, facts, stage), 1_000);
      if (paths === undefined) return;
      if (paths.length > 1) several++;
      for (const r of some)
        assert.deepEqual(classOf(paths, requestFacts(r)), authorizeHttp(policies, requestFacts(r), stage));
    }),
    { numRuns: 100 },
  );
  assert.ok(several > 20, `only ${several} sets of policies told requests apart`);
});
