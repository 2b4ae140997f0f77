// What a waypoint and a gateway ask others before they let a request pass, and what only is logged: an authorizer over gRPC,
// a rate-limit service, a server of keys; AUDIT and dry runs; claims that choose routes; limits and addresses at the edge.

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { Answered, Asked } from './support/client-pod.ts';
import { listenerUrl } from './support/gateway-url.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer } from './support/node-server.ts';

/** Gives out the keys that were put there last. */
const KEYS = `
import http from 'node:http';
let keys = '{"keys":[]}';
let asked = 0;
http.createServer(async (request, response) => {
  if (request.url === '/asked') return response.end(String(asked));
  if (request.method === 'PUT') {
    keys = '';
    for await (const part of request) keys += part;
    return response.end();
  }
  asked++;
  response.end(keys);
}).listen(8080);
`;
const NO_WAYPOINT = { 'istio.io/use-waypoint': 'none' };
const MESH = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    accessLogFile: /dev/stdout
    defaultConfig: { gatewayTopology: { numTrustedProxies: 1 } }
    extensionProviders:
      - name: authorizer
        envoyExtAuthzGrpc: { service: authorizer.${NAMESPACE}.svc.cluster.local, port: 9000, timeout: 2s }
      - name: lenient
        envoyExtAuthzGrpc: { service: gone.${NAMESPACE}.svc.cluster.local, port: 9000, timeout: 1s, failOpen: true }
      - name: strict
        envoyExtAuthzGrpc: { service: gone.${NAMESPACE}.svc.cluster.local, port: 9000, timeout: 1s }
---`;
const EDGE = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  gatewayClassName: istio
  listeners: [{ name: http, port: 8088, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ name: edge }]
  rules: [{ backendRefs: [{ name: echo, port: 80 }] }]
---`;

let world: L7World;
before(async () => {
  world = await L7World.up(
    MESH +
      EDGE +
      nodeServer({
        name: 'authorizer',
        port: 9000,
        program: { file: 'authorizer.ts' },
        ports: '[{ name: grpc, port: 9000 }]',
        serviceLabels: NO_WAYPOINT,
      }) +
      nodeServer({
        name: 'limiter',
        port: 9001,
        program: { file: 'rate-limiter.ts' },
        ports: '[{ name: grpc, port: 9001 }]',
        serviceLabels: NO_WAYPOINT,
      }) +
      nodeServer({ name: 'keys', port: 8080, program: { text: KEYS }, serviceLabels: NO_WAYPOINT }),
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const ask = (path: string, more: Omit<Asked, 'url'> = {}): Promise<Answered> =>
  world.client.ask({ url: `http://echo${path}`, ...more });
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 100);
const GATEWAY = '{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }';
const SERVICE = '{ group: "", kind: Service, name: echo }';
const policy = (name: string, spec: string, annotations = '{}', target = SERVICE): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${NAMESPACE}, annotations: ${annotations} }
spec: { targetRefs: [${target}], ${spec} }
---`;
const paths = (path: string): string => `rules: [{ to: [{ operation: { paths: ["${path}"] } }] }]`;

test('CUSTOM over gRPC: what the authorizer says holds; one that is gone refuses unless it may fail open', async () => {
  await using _policy = await world.apply(
    policy('ask', `action: CUSTOM, provider: { name: authorizer }, ${paths('/asked*')}`),
  );
  await soon('it is asked', async () => (await ask('/asked')).status === 401);
  const refused = await ask('/asked');
  assert.deepEqual([refused.body, refused.headers['x-reason']], ['denied', 'nobody']);
  const allowed = await ask('/asked', { headers: { 'x-authz': 'allow', cookie: 'a=b' } });
  assert.equal(allowed.status, 200, allowed.body);
  const { headers } = JSON.parse(allowed.body) as { headers: Record<string, string | undefined> };
  assert.deepEqual([headers['x-user'], headers.cookie, headers['x-evil']], ['ann', undefined, undefined]);
  assert.equal(allowed.headers['x-policy'], 'p1');
  assert.equal((await ask('/asked', { headers: { 'x-authz': 'error' } })).status, 403);
});

test('CUSTOM: failOpen', async () => {
  {
    await using _policy = await world.apply(
      policy('ask', `action: CUSTOM, provider: { name: strict }, ${paths('/asked*')}`),
    );
    await soon('it refuses', async () => (await ask('/asked')).status === 403);
  }
  await using _policy = await world.apply(
    policy('ask', `action: CUSTOM, provider: { name: lenient }, ${paths('/asked*')}`) +
      policy('other', `action: DENY, ${paths('/in-force')}`),
  );
  await soon('the policies are in force', async () => (await ask('/in-force')).status === 403);
  assert.equal((await ask('/asked')).status, 200);
});

test('AUDIT and dry runs refuse nobody', async () => {
  await using _policies = await world.apply(
    policy('audit', `action: AUDIT, ${paths('/audited')}`) +
      policy('dry', `action: DENY, ${paths('/dry')}`, '{ istio.io/dry-run: "true" }') +
      policy('other', `action: DENY, ${paths('/in-force')}`),
  );
  await soon('the policies are in force', async () => (await ask('/in-force')).status === 403);
  assert.equal((await ask('/audited')).status, 200);
  assert.equal((await ask('/dry')).status, 200);
});

test('a global rate limit', async () => {
  await using _filter = await world.apply(`
apiVersion: ambit.dev/v1alpha1
kind: TrafficFilter
metadata: { name: global, namespace: ${NAMESPACE} }
spec:
  targetRefs: [${SERVICE}]
  globalRateLimit:
    domain: shop
    service: limiter.${NAMESPACE}.svc.cluster.local
    port: 9001
    timeout: 2s
    descriptors: [{ entries: [{ key: user, header: x-user }] }]
  responseHeaders: { set: [{ name: x-filtered, value: "1" }] }
`);
  await soon('the filter is in force', async () => (await ask('/')).headers['x-filtered'] === '1');
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) statuses.push((await ask('/', { headers: { 'x-user': 'ann' } })).status);
  assert.deepEqual(statuses, [200, 200, 429, 429]);
  assert.equal((await ask('/', { headers: { 'x-user': 'bob' } })).status, 200);
});

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
function key(kid: string): { jwk: object; token: (claims?: object) => string } {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 }) as {
    publicKey: KeyObject;
    privateKey: KeyObject;
  };
  return {
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' },
    token(claims = {}) {
      const exp = Math.floor(Date.now() / 1000) + 600;
      const text = `${encode({ alg: 'RS256', kid })}.${encode({ iss: 'issuer', sub: 'ann', exp, ...claims })}`;
      return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`;
    },
  };
}
const ISTIOD = (...verb: string[]): string[] => [...verb, 'deploy/istiod', '-n', 'istio-system'];
const publish = (...keys: object[]): Promise<Answered> =>
  world.client.ask({ url: 'http://keys:8080/', method: 'PUT', body: JSON.stringify({ keys }) });

test('keys of a server, tokens in headers, parameters and cookies; new keys are fetched; claims choose routes', async () => {
  const [first, second] = [key('first'), key('second')];
  await publish(first.jwk);
  await using _objects = await world.apply(
    `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: keys, namespace: ${NAMESPACE} }
spec:
  targetRefs: [${SERVICE}]
  jwtRules:
    - issuer: issuer
      jwksUri: http://keys.${NAMESPACE}.svc.cluster.local:8080/jwks
      fromHeaders: [{ name: x-token, prefix: "Token " }]
      fromParams: [token]
      fromCookies: [session]
---${policy('need', 'action: DENY, rules: [{ from: [{ source: { notRequestPrincipals: ["*"] } }] }]')}`,
  );
  await soon('a token is needed', async () => (await ask('/')).status === 403);
  const token = first.token();
  await soon(
    'the keys are there',
    async () => (await ask('/', { headers: { 'x-token': `Token ${token}` } })).status === 200,
  );
  assert.equal((await ask(`/?token=${token}`)).status, 200);
  assert.equal((await ask('/', { headers: { cookie: `a=b; session=${token}` } })).status, 200);
  assert.equal(
    (await ask('/', { headers: { authorization: `Bearer ${token}` } })).status,
    403,
    'not a place for tokens',
  );
  assert.equal((await ask(`/?token=${second.token()}`)).status, 401);
  await world.mesh.kubectlOk([...ISTIOD('set', 'env'), 'PILOT_JWT_PUB_KEY_REFRESH_INTERVAL=1s']);
  await world.mesh.kubectlOk([...ISTIOD('rollout', 'status'), '--timeout=60s']);
  await publish(first.jwk, second.jwk);
  await soon('the new key is known', async () => (await ask(`/?token=${second.token()}`)).status === 200);
  await using _route = await world.apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: gold, namespace: ${NAMESPACE} }
spec:
  hosts: [echo]
  http:
    - { match: [{ headers: { "@request.auth.claims.group": { exact: gold } } }], directResponse: { status: 299 } }
    - { route: [{ destination: { host: echo } }] }
`);
  await soon(
    'claims choose the route',
    async () => (await ask(`/?token=${first.token({ group: 'gold' })}`)).status === 299,
  );
  assert.equal((await ask(`/?token=${first.token({ group: 'tin' })}`)).status, 200);
});

test('at the edge: the client’s address counts behind a trusted proxy, an EnvoyFilter limits', async () => {
  const url = await listenerUrl(world.mesh, 'http');
  const get = async (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${url}${path}`, { headers });
  await soon('the route is in force', async () => (await get('/')).status === 200);
  await using _objects = await world.apply(
    `
${policy('remote', 'action: DENY, rules: [{ from: [{ source: { remoteIpBlocks: [203.0.113.0/24] } }] }]', '{}', GATEWAY)}
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: limit, namespace: ${NAMESPACE} }
spec:
  workloadSelector: { labels: { gateway.networking.k8s.io/gateway-name: edge } }
  configPatches:
    - applyTo: HTTP_FILTER
      match: { context: GATEWAY, listener: { filterChain: { filter: { name: envoy.filters.network.http_connection_manager } } } }
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            value:
              stat_prefix: limit
              token_bucket: { max_tokens: 60, tokens_per_fill: 60, fill_interval: 600s }
              filter_enabled: { runtime_key: enabled, default_value: { numerator: 100, denominator: HUNDRED } }
              filter_enforced: { runtime_key: enforced, default_value: { numerator: 100, denominator: HUNDRED } }
              response_headers_to_add: [{ append: false, header: { key: x-limited, value: "true" } }]
`,
  );
  await soon(
    'the policy is in force',
    async () => (await get('/', { 'x-forwarded-for': '203.0.113.9' })).status === 403,
  );
  assert.equal((await get('/', { 'x-forwarded-for': '198.51.100.9' })).status, 200);
  assert.equal(
    (await get('/', { 'x-forwarded-for': '203.0.113.9, 198.51.100.9' })).status,
    200,
    'only the last is trusted',
  );
  const limited = await eventually(
    'the bucket is empty',
    async () => {
      const answer = await get('/');
      return answer.status === 429 ? answer : undefined;
    },
    15_000,
    1,
  );
  assert.equal(limited.headers.get('x-limited'), 'true');
});
