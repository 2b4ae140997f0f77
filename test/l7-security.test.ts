// Who may do what at a waypoint, and with which token, through the real path.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { Answered, Asked } from './support/client-pod.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';

let world: L7World;
before(async () => {
  world = await L7World.up();
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const ask = (path: string, more: Omit<Asked, 'url'> = {}): Promise<Answered> =>
  world.client.ask({ url: `http://echo${path}`, ...more });
const askAsOther = (path: string): Promise<Answered> => world.other.ask({ url: `http://echo${path}` });
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 10_000, 50);

const policy = (action: string, rules: string, name = 'rules'): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: echo }]
  action: ${action}
  rules: ${rules}
---`;

test('ALLOW: method, path and the client’s identity, which the waypoint sees itself', async () => {
  await using _policy = await world.apply(
    policy(
      'ALLOW',
      `
    - from: [{ source: { principals: [cluster.local/ns/${NAMESPACE}/sa/client] } }]
      to: [{ operation: { methods: [GET], paths: ["/public/*", "/item/{*}"] } }]`,
    ),
  );
  await soon('the policy is in force', async () => (await ask('/private')).status === 403);
  assert.equal((await ask('/public/a')).status, 200);
  assert.equal((await ask('/item/7')).status, 200);
  assert.equal((await ask('/item/7/8')).status, 403);
  assert.equal((await ask('/public/a', { method: 'POST', body: 'x' })).status, 403);
  const refused = await askAsOther('/public/a');
  assert.equal(refused.status, 403);
  assert.match(refused.body, /RBAC: access denied/);
});

test('a path is judged, routed and sent in one form', async () => {
  await using _policy = await world.apply(policy('DENY', '\n    - to: [{ operation: { paths: ["/admin*"] } }]'));
  await soon('the policy is in force', async () => (await ask('/admin')).status === 403);
  for (const path of ['/admin/x', '/./admin', '/a/../admin', '/%61dmin', '/admin?x', '/x/%2e%2e/admin'])
    assert.notEqual((await ask(path)).status, 200, path);
  assert.equal((await ask('/user')).status, 200);
});

test('headers that come several times are judged so that doubt refuses', async () => {
  await using _policy = await world.apply(
    policy('DENY', '\n    - when: [{ key: "request.headers[x-role]", values: [guest] }]'),
  );
  await soon('the policy is in force', async () => (await ask('/', { headers: { 'x-role': 'guest' } })).status === 403);
  assert.equal((await ask('/', { headers: { 'x-role': ['admin', 'guest'] } })).status, 403);
  assert.equal((await ask('/', { headers: { 'x-role': 'admin' } })).status, 200);
});

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const JWKS = JSON.stringify({
  keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }],
});
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = (): number => Math.floor(Date.now() / 1000);
function token(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
  const text = `${encode({ alg: 'RS256', kid: 'one', ...header })}.${encode({ iss: 'https://issuer.example', sub: 'alice', exp: now() + 600, ...claims })}`;
  return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`;
}
const bearer = (text: string): Omit<Asked, 'url'> => ({ headers: { authorization: `Bearer ${text}` } });

const authentication = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: tokens, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: echo }]
  jwtRules:
    - issuer: https://issuer.example
      audiences: [shop]
      jwks: '${JWKS}'
      outputClaimToHeaders: [{ header: x-sub, claim: sub }]
---`;

test('RequestAuthentication: none passes, good passes, bad is 401; with a policy claims decide', async () => {
  await using _objects = await world.apply(
    authentication +
      policy(
        'DENY',
        `
    - to: [{ operation: { paths: ["/members*"] } }]
      from: [{ source: { notRequestPrincipals: ["https://issuer.example/*"] } }]
    - to: [{ operation: { paths: ["/gold*"] } }]
      when: [{ key: "request.auth.claims[group]", notValues: [gold] }]`,
      ),
  );
  await soon(
    'both are in force',
    async () => (await ask('/', bearer('x'))).status === 401 && (await ask('/members')).status === 403,
  );
  assert.equal((await ask('/')).status, 200, 'no token is no reason to refuse');
  const good = token({ aud: 'shop' });
  const answer = await ask('/members', bearer(good));
  assert.equal(answer.status, 200);
  const seen = JSON.parse(answer.body) as { headers: Record<string, string> };
  assert.equal(seen.headers['x-sub'], 'alice');
  assert.equal(seen.headers.authorization, undefined, 'the token is not passed on');
  assert.equal((await ask('/gold', bearer(good))).status, 403);
  assert.equal((await ask('/gold', bearer(token({ aud: 'shop', group: 'gold' })))).status, 200);
  const bad: readonly (readonly [string, string])[] = [
    ['expired', token({ aud: 'shop', exp: now() - 600 })],
    ['another issuer', token({ aud: 'shop', iss: 'https://evil.example' })],
    ['not yet valid', token({ aud: 'shop', nbf: now() + 600 })],
    [
      'alg none',
      `${encode({ alg: 'none' })}.${encode({ iss: 'https://issuer.example', sub: 'a', aud: 'shop', exp: now() + 600 })}.`,
    ],
    [
      'a changed payload',
      good.replace(
        /\.[^.]+\./,
        `.${encode({ iss: 'https://issuer.example', sub: 'root', aud: 'shop', exp: now() + 600 })}.`,
      ),
    ],
    ['an unknown key', token({ aud: 'shop' }, { kid: 'two' })],
  ];
  assert.equal(
    (await ask('/', bearer(token({ aud: 'other' })))).status,
    403,
    'for somebody else: known, and not let in',
  );
  for (const [name, text] of bad) {
    const refused = await ask('/', bearer(text));
    assert.equal(refused.status, 401, name);
    assert.ok(refused.headers['www-authenticate'], name);
  }
});

test('a local rate limit of a TrafficFilter answers 429 beyond its bucket', async () => {
  await using _filter = await world.apply(`
apiVersion: ambit.dev/v1alpha1
kind: TrafficFilter
metadata: { name: limit, namespace: ${NAMESPACE} }
spec:
  targetRefs: [{ group: "", kind: Service, name: echo }]
  localRateLimits: [{ maxTokens: 3, fillInterval: 600s, match: [{ path: { prefix: /limited } }], headers: [{ name: x-limited, value: "yes" }] }]
  responseHeaders: { set: [{ name: x-filtered, value: "1" }] }
`);
  await soon('the filter is in force', async () => (await ask('/')).headers['x-filtered'] === '1');
  const statuses: number[] = [];
  for (let i = 0; i < 6; i++) statuses.push((await ask('/limited')).status);
  assert.deepEqual(statuses, [200, 200, 200, 429, 429, 429]);
  assert.equal((await ask('/free')).status, 200);
});
