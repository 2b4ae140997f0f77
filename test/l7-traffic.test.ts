// What a DestinationRule, and retries and timeouts of a VirtualService, do at a waypoint, before servers that fail, hang and
// do not listen.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Answered } from './support/client-pod.ts';
import { L7World, NAMESPACE } from './support/l7-world.ts';
import { eventually } from './support/mesh.ts';
import { nodeServer } from './support/node-server.ts';

/**
 * `/first/N/WHAT`: the first N requests for this very target are answered with that status, `reset` or left to `hang`;
 * `/hold/MS` answers late. With BROKEN every answer is a 500, with SLOW it takes that many milliseconds.
 */
const SERVER = `
import http from 'node:http';
import { hostname } from 'node:os';
const counts = new Map();
http.createServer((request, response) => {
  const count = (counts.get(request.url) ?? 0) + 1;
  counts.set(request.url, count);
  response.setHeader('x-pod', hostname());
  response.setHeader('x-count', String(count));
  const [, word, number, what] = request.url.split(/[/?]/);
  if (process.env.BROKEN) response.statusCode = 500;
  if (word === 'first' && count <= Number(number)) {
    if (what === 'reset') return request.socket.destroy();
    if (what === 'hang') return;
    response.statusCode = Number(what);
  }
  setTimeout(() => response.end(), word === 'hold' ? Number(number) : Number(process.env.SLOW ?? 0));
}).listen(Number(process.env.PORT));
`;
const server = (
  name: string,
  env: Readonly<Record<string, string>>,
  group: string,
  port = 8080,
  node?: string,
): string =>
  nodeServer({
    ...(node === undefined ? {} : { node }),
    name,
    port,
    program: { text: SERVER },
    podLabels: { group, version: name },
    env,
    ports: '[{ name: http, port: 80, targetPort: 8080 }]',
  });
const group = (name: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec: { selector: { group: ${name} }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---`;
const MESH = `
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "accessLogFile: /dev/stdout" }
---`;

let world: L7World;
before(async () => {
  world = await L7World.up(
    MESH +
      server('flaky', {}, 'hearing') +
      server('deaf', {}, 'hearing', 9999) +
      server('good', {}, 'pair') +
      server('bad', { BROKEN: '1' }, 'pair') +
      server('quick', {}, 'mixed') +
      server('slow', { SLOW: '600' }, 'mixed') +
      server('first', {}, 'spread', 8080, 'node-1') +
      server('second', {}, 'spread', 8080, 'node-2') +
      group('spread') +
      group('hearing') +
      group('pair') +
      group('mixed'),
  );
});
after(async () => {
  await world?.[Symbol.asyncDispose]();
});

const ask = (service: string, path: string, headers: Record<string, string> = {}): Promise<Answered> =>
  world.client.get(`http://${service}${path}`, headers);
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 50);
const podOf = ({ headers }: Answered): string => /^[a-z]+/.exec(String(headers['x-pod'] ?? ''))?.[0] ?? '';
const rule = (host: string, trafficPolicy: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${host}, namespace: ${NAMESPACE} }
spec: { host: ${host}, trafficPolicy: ${trafficPolicy} }
`;

test('retries by retryOn, by the mesh’s default, none where attempts is 0; times per try', async () => {
  const retries: Readonly<Record<string, string>> = {
    '5xx': '{ attempts: 3, retryOn: 5xx, backoff: 5ms }',
    gateway: '{ attempts: 1, retryOn: gateway-error }',
    'retriable-4xx': '{ attempts: 1, retryOn: retriable-4xx }',
    status: '{ attempts: 1, retryOn: "418" }',
    reset: '{ attempts: 1, retryOn: reset }',
    'per-try': '{ attempts: 1, retryOn: 5xx, perTryTimeout: 400ms }',
    none: '{ attempts: 0 }',
  };
  const rules = Object.entries(retries).map(
    ([name, retry]) => `
    - { match: [{ headers: { x-case: { exact: ${name} } } }], retries: ${retry}, route: [{ destination: { host: flaky } }] }`,
  );
  await using _service = await world.apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: flaky, namespace: ${NAMESPACE} }
spec:
  hosts: [flaky]
  http: ${rules.join('')}
    - { match: [{ uri: { exact: /in-force } }], directResponse: { status: 299 } }
    - { match: [{ headers: { x-case: { exact: timeout } } }], timeout: 400ms, route: [{ destination: { host: flaky } }] }
    - { route: [{ destination: { host: flaky } }] }
`);
  await soon('the rules are in force', async () => (await ask('flaky', '/in-force')).status === 299);
  /** Case, what fails how often, status, and which try it is. */
  const cases: readonly (readonly [string, string, number, string | undefined])[] = [
    ['5xx', '/first/2/500', 200, '3'],
    ['5xx', '/first/9/500', 500, '4'],
    ['5xx', '/first/1/reset', 200, '2'],
    ['gateway', '/first/1/502', 200, '2'],
    ['gateway', '/first/1/500', 500, '1'],
    ['retriable-4xx', '/first/1/409', 200, '2'],
    ['retriable-4xx', '/first/1/404', 404, '1'],
    ['status', '/first/1/418', 200, '2'],
    ['reset', '/first/1/reset', 200, '2'],
    ['reset', '/first/1/500', 500, '1'],
    ['per-try', '/first/1/hang', 200, '2'],
    ['none', '/first/1/503', 503, '1'],
    ['default', '/first/1/503', 503, '1'], // the server may have done it
    ['default', '/first/1/500', 500, '1'],
    ['timeout', '/hold/3000', 504, undefined],
  ];
  const answers = await Promise.all(cases.map(([name, path]) => ask('flaky', `${path}?${name}`, { 'x-case': name })));
  assert.deepEqual(
    cases.map(([name, path], i) => [name, path, answers[i]?.status, answers[i]?.headers['x-count']]),
    cases,
  );
});

test('an endpoint that does not listen costs a try, not the request', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask('hearing', '/')));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
});

test('outlier detection takes the endpoint out that answers 5xx', async () => {
  const statuses = async (): Promise<Set<number>> =>
    new Set((await Promise.all(Array.from({ length: 12 }, () => ask('pair', '/')))).map(({ status }) => status));
  assert.deepEqual([...(await statuses())].sort(), [200, 500], 'without a rule both answer');
  await using _rule = await world.apply(
    rule(
      'pair',
      '{ outlierDetection: { consecutive5xxErrors: 3, interval: 300ms, baseEjectionTime: 300s, maxEjectionPercent: 100 } }',
    ),
  );
  await soon('only the good one answers', async () => (await statuses()).size === 1);
  assert.deepEqual([...(await statuses())], [200]);
});

test('a full connection pool answers 503 at once, with flag UO', async () => {
  await using _rule = await world.apply(
    rule(
      'flaky',
      '{ connectionPool: { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1, http2MaxRequests: 1 } } }',
    ),
  );
  const burst = (): Promise<Answered[]> =>
    Promise.all(Array.from({ length: 8 }, () => ask('flaky', '/hold/300?overflow')));
  const answers = await eventually('the limit is in force', async () => {
    const all = await burst();
    return all.some(({ status }) => status === 503) ? all : undefined;
  });
  assert.ok(
    answers.some(({ status }) => status === 200),
    'what has a place is served',
  );
  assert.equal(answers.find(({ status }) => status === 503)?.headers['x-envoy-overloaded'], 'true');
  await soon('the log says why', async () =>
    /\/hold\/300\?overflow HTTP\/1\.1" 503 UO /.test(
      await world.mesh.kubectlOk(['logs', '-n', NAMESPACE, 'deploy/waypoint', '--tail=100']),
    ),
  );
});

test('least request prefers who is idle; round robin does not', async () => {
  const share = async (): Promise<number> => {
    let quick = 0;
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) if (podOf(await ask('mixed', '/')) === 'quick') quick++;
    };
    await Promise.all(Array.from({ length: 6 }, worker));
    return quick;
  };
  const least = await share(); // the default
  assert.ok(least >= 18, `${least} of 30 went to the quick one`);
  await using _rule = await world.apply(rule('mixed', '{ loadBalancer: { simple: ROUND_ROBIN } }'));
  await soon('they take turns', async () => Math.abs((await share()) - 15) <= 1);
});

test('consistent hashing at the level of a port, by a cookie that is given to who has none', async () => {
  await using _rule = await world.apply(
    rule(
      'mixed',
      '{ portLevelSettings: [{ port: { number: 80 }, loadBalancer: { consistentHash: { httpCookie: { name: stick, ttl: 60s } } } }] }',
    ),
  );
  const first = await eventually('a cookie is given', async () => {
    const answer = await ask('mixed', '/');
    return answer.headers['set-cookie'] === undefined ? undefined : answer;
  });
  const [cookie = ''] = String(first.headers['set-cookie']).split(';');
  assert.match(cookie, /^stick=/);
  const pods = new Set<string>();
  for (let i = 0; i < 6; i++) pods.add(podOf(await ask('mixed', '/', { cookie })));
  assert.deepEqual([...pods], [podOf(first)]);
});

test('subsets with settings of their own', async () => {
  await using _objects = await world.apply(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: pair, namespace: ${NAMESPACE} }
spec:
  host: pair
  subsets:
    - { name: good, labels: { version: good } }
    - { name: bad, labels: { version: bad }, trafficPolicy: { connectionPool: { http: { maxRetries: 1 } } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: pair, namespace: ${NAMESPACE} }
spec:
  hosts: [pair]
  http:
    - { match: [{ uri: { prefix: /bad } }], route: [{ destination: { host: pair, subset: bad } }] }
    - { match: [{ uri: { prefix: /nobody } }], route: [{ destination: { host: pair, subset: nobody } }] }
    - { route: [{ destination: { host: pair, subset: good } }] }
`);
  await soon('the subsets are in force', async () => (await ask('pair', '/nobody')).status === 503);
  for (let i = 0; i < 6; i++) {
    assert.equal(podOf(await ask('pair', '/')), 'good');
    assert.equal(podOf(await ask('pair', '/bad')), 'bad');
  }
});

test('locality: the near endpoint while there is one, then the far one', async () => {
  // A pod that is killed answers nothing at all for a moment: such a request is given up, not waited for.
  const look = (): Promise<Answered> => world.client.ask({ url: 'http://spread/', timeoutMs: 2_000 });
  const pods = async (): Promise<string> =>
    [...new Set((await Promise.all(Array.from({ length: 12 }, look))).map(podOf))].sort().join();
  assert.equal(await pods(), 'first,second', 'without a rule both answer');
  await using _rule = await world.apply(
    rule(
      'spread',
      '{ outlierDetection: { consecutive5xxErrors: 3 }, loadBalancer: { localityLbSetting: { enabled: true } } }',
    ),
  );
  const selector = 'gateway.networking.k8s.io/gateway-name=waypoint';
  const node = await world.mesh.kubectlOk([
    'get',
    'pods',
    '-n',
    NAMESPACE,
    '-l',
    selector,
    '-o',
    'jsonpath={.items[0].spec.nodeName}',
  ]);
  const [near, far] = node.trim() === 'node-1' ? ['first', 'second'] : ['second', 'first'];
  await soon('only the near one answers', async () => (await pods()) === near);
  await world.mesh.kubectlOk(['scale', `deploy/${near}`, '-n', NAMESPACE, '--replicas=0']);
  await soon('the far one takes over', async () => (await pods()) === far);
});
