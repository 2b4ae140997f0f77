// Gateway API routes at a waypoint, through the real path: client pod, two node proxies, waypoint, echo pod. What is applied
// is what a user would apply; what is asserted is what the client gets and the server saw.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answered, type Asked, echoed } from './support/client-pod.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';

let world: L7World;
before(async () => {
  world = await L7World.up();
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const ECHO = 'http://echo';
const ask = (path: string, more: Omit<Asked, 'url'> = {}): Promise<Answered> =>
  world.client.ask({ url: `${ECHO}${path}`, ...more });
const version = ({ headers }: Answered): string | undefined => /^echo-(v\d)/.exec(String(headers['x-pod']))?.[1];

/** An HTTPRoute of the service `echo` with these rules, in YAML flow style. */
const httpRoute = (rules: string, name = 'echo'): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  parentRefs: [{ group: "", kind: Service, name: echo, port: 80 }]
  rules: ${rules}
`;
const backend = (v: string, more = ''): string => `{ name: echo-${v}, port: 80${more} }`;

/** Asks until it holds: configuration takes a moment to arrive. */
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 10_000, 50);

test('without a route the waypoint forwards', async () => {
  const answer = await ask('/hello?a=b');
  assert.equal(answer.status, 200, answer.error);
  const echo = echoed(answer);
  assert.equal(echo.path, '/hello');
  assert.deepEqual(echo.query, { a: 'b' });
  assert.ok(echo.headers['x-request-id'], 'a request id is given');
});

test('matches: path, header, query, method, in the Gateway API’s precedence; what matches nothing is 404', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - { matches: [{ path: { type: PathPrefix, value: /shop } }], backendRefs: [${backend('v1')}] }
    - { matches: [{ path: { type: Exact, value: /shop/exact } }], backendRefs: [${backend('v2')}] }
    - { matches: [{ path: { type: RegularExpression, value: "/re[0-9]+" } }], backendRefs: [${backend('v2')}] }
    - { matches: [{ path: { type: PathPrefix, value: /shop }, headers: [{ name: X-Beta, value: "yes" }] }], backendRefs: [${backend('v2')}] }
    - { matches: [{ path: { type: PathPrefix, value: /q }, queryParams: [{ name: v, value: "2" }] }], backendRefs: [${backend('v2')}] }
    - { matches: [{ path: { type: PathPrefix, value: /m }, method: POST }], backendRefs: [${backend('v2')}] }`),
  );
  await soon('the route is in force', async () => (await ask('/nothing')).status === 404);
  const cases: readonly (readonly [string, Omit<Asked, 'url'>, string | 404])[] = [
    ['/shop', {}, 'v1'],
    ['/shop/', {}, 'v1'],
    ['/shop/deep', {}, 'v1'],
    ['/shopping', {}, 404],
    ['/shop/exact', {}, 'v2'],
    ['/shop/exact/', {}, 'v1'],
    ['/re12', {}, 'v2'],
    ['/re', {}, 404],
    ['/shop', { headers: { 'x-beta': 'yes' } }, 'v2'],
    ['/q?v=2', {}, 'v2'],
    ['/q?v=3', {}, 404],
    ['/m', { method: 'POST', body: 'x' }, 'v2'],
    ['/m', {}, 404],
  ];
  for (const [path, more, expected] of cases) {
    const answer = await ask(path, more);
    if (expected === 404) assert.equal(answer.status, 404, path);
    else assert.equal(version(answer), expected, `${path} ${JSON.stringify(more)} -> ${answer.status}`);
  }
});

test('a weighted canary, and weight 0', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - { matches: [{ path: { value: /canary } }], backendRefs: [${backend('v1', ', weight: 80')}, ${backend('v2', ', weight: 20')}] }
    - { matches: [{ path: { value: /zero } }], backendRefs: [${backend('v1', ', weight: 0')}, ${backend('v2', ', weight: 1')}] }
    - { matches: [{ path: { value: /none } }], backendRefs: [${backend('v1', ', weight: 0')}] }`),
  );
  await soon('the route is in force', async () => (await ask('/else')).status === 404);
  let second = 0;
  for (let i = 0; i < 200; i++) if (version(await ask('/canary')) === 'v2') second++;
  assert.ok(second > 15 && second < 75, `${second} of 200 went to v2, 40 are expected`);
  for (let i = 0; i < 10; i++) assert.equal(version(await ask('/zero')), 'v2');
  assert.equal((await ask('/none')).status, 500);
});

test('filters: headers of both directions, redirect, rewrite', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - matches: [{ path: { value: /headers } }]
      filters:
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-set, value: new }], add: [{ name: x-add, value: more }], remove: [x-remove] } }
        - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-answer, value: "42" }], remove: [x-pod] } }
      backendRefs: [${backend('v1')}]
    - matches: [{ path: { value: /moved } }]
      filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, hostname: new.example, statusCode: 301, path: { type: ReplacePrefixMatch, replacePrefixMatch: /here } } }]
    - matches: [{ path: { value: /old } }]
      filters: [{ type: URLRewrite, urlRewrite: { hostname: inner.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]
      backendRefs: [${backend('v1')}]
    - matches: [{ path: { value: /strip } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }]
      backendRefs: [${backend('v1')}]
    - matches: [{ path: { value: /full } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /whole } } }]
      backendRefs: [${backend('v1')}]`),
  );
  await soon('the route is in force', async () => (await ask('/else')).status === 404);
  const headers = await ask('/headers', { headers: { 'x-set': 'old', 'x-add': 'one', 'x-remove': 'gone' } });
  assert.equal(headers.headers['x-answer'], '42');
  assert.equal(headers.headers['x-pod'], undefined);
  const seen = echoed(headers).headers;
  assert.equal(seen['x-set'], 'new');
  assert.match(String(seen['x-add']), /one.*more/);
  assert.equal(seen['x-remove'], undefined);
  const moved = await ask('/moved/a?b=c');
  assert.equal(moved.status, 301);
  assert.equal(moved.headers.location, 'https://new.example/here/a?b=c');
  const old = echoed(await ask('/old/thing?x=1'));
  assert.deepEqual([old.path, old.query.x, old.host], ['/new/thing', '1', 'inner.example']);
  assert.equal(echoed(await ask('/strip/a/b')).path, '/a/b');
  assert.equal(echoed(await ask('/full/a?q=1')).path, '/whole');
});

test('timeouts, and retries of what an endpoint answers', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - { matches: [{ path: { value: /delay } }], timeouts: { request: 500ms }, backendRefs: [${backend('v1')}] }
    - { matches: [{ path: { value: /status/503 } }], retry: { codes: [503], attempts: 3, backoff: 10ms }, backendRefs: [${backend('v1')}] }`),
  );
  await soon('the route is in force', async () => (await ask('/else')).status === 404);
  const slow = await ask('/delay/5');
  assert.equal(slow.status, 504);
  assert.ok(slow.tookMs < 3_000, `${slow.tookMs} ms`);
  assert.equal((await ask('/delay/0')).status, 200);
  assert.equal((await ask('/status/503')).status, 503);
});

test('backends that lead nowhere: 500 for the wrong, 503 for the empty, the valid share goes on', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - { matches: [{ path: { value: /missing } }], backendRefs: [{ name: nowhere, port: 80 }] }
    - { matches: [{ path: { value: /half } }], backendRefs: [{ name: nowhere, port: 80 }, ${backend('v1')}] }
    - { matches: [{ path: { value: /port } }], backendRefs: [{ name: echo-v1, port: 81 }] }`),
  );
  await soon('the route is in force', async () => (await ask('/else')).status === 404);
  assert.equal((await ask('/missing')).status, 500);
  assert.equal((await ask('/port')).status, 500);
  const statuses = new Set<number>();
  for (let i = 0; i < 40; i++) statuses.add((await ask('/half')).status);
  assert.deepEqual([...statuses].sort(), [200, 500]);
  const status = JSON.parse(
    await world.mesh.kubectlOk(['get', 'httproute', 'echo', '-n', NAMESPACE, '-o', 'json']),
  ) as {
    status: { parents: { controllerName: string; conditions: { type: string; status: string; reason: string }[] }[] };
  };
  const [parent] = status.status.parents;
  assert.equal(parent?.controllerName, 'istio.io/mesh-controller');
  assert.deepEqual(
    parent.conditions
      .filter(({ type }) => type === 'Accepted' || type === 'ResolvedRefs')
      .map((c) => [c.type, c.status, c.reason])
      .sort(),
    [
      ['Accepted', 'True', 'Accepted'],
      ['ResolvedRefs', 'False', 'BackendNotFound'],
    ],
  );
});

test('mirrors get a copy and never harm the request', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - matches: [{ path: { value: /mirrored } }]
      filters: [{ type: RequestMirror, requestMirror: { backendRef: ${backend('v2')} } }]
      backendRefs: [${backend('v1')}]`),
  );
  await soon('the route is in force', async () => (await ask('/else')).status === 404);
  for (let i = 0; i < 5; i++) assert.equal(version(await ask('/mirrored', { method: 'POST', body: 'copy' })), 'v1');
});

test('session persistence keeps a client at one endpoint', async () => {
  await using _route = await world.apply(
    httpRoute(`
    - { sessionPersistence: { sessionName: kept }, backendRefs: [{ name: echo, port: 80 }] }`),
  );
  const first = await eventually('a cookie is given', async () => {
    const answer = await ask('/session');
    return answer.headers['set-cookie'] === undefined ? undefined : answer;
  });
  const cookie = /^kept=[^;]+/.exec(String(first.headers['set-cookie']))?.[0] ?? '';
  for (let i = 0; i < 12; i++) {
    const answer = await ask('/session', { headers: { cookie } });
    assert.equal(answer.headers['x-pod'], first.headers['x-pod']);
    assert.equal(answer.headers['set-cookie'], undefined);
  }
  assert.equal(
    (await ask('/session', { headers: { cookie: 'kept=MTI3LjAuMC4xOjIy' } })).status,
    200,
    'another address',
  );
});

test('a change of routes under load gives no failed request', async () => {
  const rules = (v: string): string => `\n    - { backendRefs: [${backend(v)}] }`;
  await using _route = await world.apply(httpRoute(rules('v1')));
  let over = false;
  const failures: string[] = [];
  let asked = 0;
  const load = (async () => {
    while (!over) {
      const answer = await ask('/load');
      asked++;
      if (answer.status !== 200) failures.push(`${answer.status} ${answer.error ?? ''}`);
    }
  })();
  for (const v of ['v2', 'v1', 'v2', 'v1']) {
    await world.mesh.kubectlOk(['apply', '-f', '-'], { input: httpRoute(rules(v)) });
    await soon(`${v} takes over`, async () => version(await ask('/load')) === v);
  }
  over = true;
  await load;
  assert.deepEqual(failures, []);
  assert.ok(asked > 20);
});

const virtualService = (http: string, name = 'echo'): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  hosts: [echo]
  http: ${http}
`;
const subsets = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo, namespace: ${NAMESPACE} }
spec:
  host: echo
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
---`;
const subset = (v: string): string => `{ destination: { host: echo, subset: ${v} } }`;

test('VirtualService: subsets, matches, direct responses, faults, rewrites, headers', async () => {
  await using _objects = await world.apply(
    subsets +
      virtualService(`
    - { match: [{ uri: { prefix: /two } }, { headers: { x-user: { regex: "ad.*" } } }], route: [${subset('v2')}] }
    - { match: [{ uri: { exact: /direct } }], directResponse: { status: 418, body: { string: tea } } }
    - { match: [{ uri: { exact: /abort } }], fault: { abort: { httpStatus: 555, percentage: { value: 100 } } }, route: [${subset('v1')}] }
    - { match: [{ uri: { exact: /slow } }], fault: { delay: { fixedDelay: 300ms, percentage: { value: 100 } } }, route: [${subset('v1')}] }
    - { match: [{ uri: { prefix: /api } }], rewrite: { uri: /v1 }, route: [${subset('v1')}] }
    - { match: [{ uri: { exact: /go } }], redirect: { uri: /gone, authority: else.example } }
    - { match: [{ withoutHeaders: { x-token: {} }, uri: { exact: /needs } }], directResponse: { status: 401 } }
    - { headers: { request: { add: { x-vs: "1" } }, response: { set: { x-vs: "2" } } }, route: [${subset('v1')}] }`),
  );
  await soon('the rules are in force', async () => (await ask('/direct')).status === 418);
  assert.equal((await ask('/direct')).body, 'tea');
  assert.equal(version(await ask('/two')), 'v2');
  assert.equal(version(await ask('/x', { headers: { 'x-user': 'admin' } })), 'v2');
  assert.equal((await ask('/abort')).status, 555);
  const slow = await ask('/slow');
  assert.equal(slow.status, 200);
  assert.ok(slow.tookMs >= 300, `${slow.tookMs} ms`);
  assert.equal(echoed(await ask('/apiary')).path, '/v1ary', 'a prefix of characters');
  const gone = await ask('/go');
  assert.deepEqual([gone.status, gone.headers.location], [301, 'http://else.example/gone']);
  assert.equal((await ask('/needs')).status, 401);
  const rest = await ask('/needs', { headers: { 'x-token': 'a' } });
  assert.equal(rest.headers['x-vs'], '2');
  assert.equal(echoed(rest).headers['x-vs'], '1');
});

test('DestinationRule: consistent hashing by header keeps to one endpoint', async () => {
  await using _rule = await world.apply(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo, namespace: ${NAMESPACE} }
spec:
  host: echo
  trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: x-user } } }
`);
  const pods = async (user: string): Promise<Set<string | undefined>> => {
    const seen = new Set<string | undefined>();
    for (let i = 0; i < 8; i++) seen.add(version(await ask('/h', { headers: { 'x-user': user } })));
    return seen;
  };
  await soon('the rule is in force', async () => {
    for (const user of ['a', 'b', 'c', 'd']) if ((await pods(user)).size !== 1) return false;
    return true;
  });
});
