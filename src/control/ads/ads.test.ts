// Discovery over real TLS sockets, with proxies made from an independent gRPC library.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { AUTHORIZATION_POLICIES, PODS, SERVICES } from '../../kube/client/resources.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, WORKLOAD_TYPE } from '../../wire/xds/names.ts';
import { decodeAddresses, decodeAuthorizations } from '../../wire/xds/resources.ts';
import {
  addPod,
  addZtunnel,
  Code,
  ConnectError,
  openStream,
  SYSTEM,
  startTestControl,
  type TestControl,
  type TestStream,
  until,
  ztunnelNode,
} from '../testing/control.ts';

const running: AsyncDisposable[] = [];
after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});

async function start(env: Record<string, string> = {}): Promise<{ test: TestControl; token: string }> {
  const test = await startTestControl({
    env,
    prepare: (kube) => {
      kube.put(SERVICES, {
        metadata: { name: 'web', namespace: 'shop' },
        spec: {
          selector: { app: 'web' },
          clusterIP: '10.96.0.1',
          ports: [{ name: 'http', port: 80, targetPort: 8080 }],
        },
      });
    },
  });
  running.push(test);
  addPod(test, { name: 'web-0', ip: '10.244.1.2', labels: { app: 'web' } });
  const token = addZtunnel(test, 'n1');
  return { test, token };
}

const WEB0 = 'Kubernetes//Pod/shop/web-0';
const ZTUNNEL = 'Kubernetes//Pod/istio-system/ztunnel-n1';
const WEB = 'shop/web.shop.svc.cluster.local';
const names = ({ resources }: { resources: readonly { name: string }[] }): readonly string[] =>
  resources.map(({ name }) => name).sort();

/** Takes responses of a type until one satisfies; acknowledges each. */
async function take(
  stream: TestStream,
  typeUrl: string,
  wanted: (response: Awaited<ReturnType<TestStream['next']>>) => boolean,
) {
  for (;;) {
    const response = await stream.next();
    stream.send({ typeUrl: response.typeUrl, responseNonce: response.nonce });
    if (response.typeUrl === typeUrl && wanted(response)) return response;
  }
}

async function endOf(stream: TestStream): Promise<ConnectError> {
  try {
    for (;;) await stream.next();
  } catch (error) {
    assert.ok(error instanceof ConnectError, String(error));
    return error;
  }
}

test('a wildcard gets everything, then each change and each removal by itself', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  stream.send({ typeUrl: AUTHORIZATION_TYPE });
  const first = await take(stream, ADDRESS_TYPE, ({ resources }) => resources.length >= 2);
  assert.deepEqual(names(first), [ZTUNNEL, WEB0, WEB].sort());
  assert.deepEqual(decodeAddresses(first.resources).rejected, []);
  assert.match(first.nonce, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\/\d+[0-9a-f-]{36}$/);
  assert.ok(first.nonce.startsWith(first.systemVersionInfo));

  addPod(test, { name: 'web-1', ip: '10.244.1.3', labels: { app: 'web' } });
  const added = await take(stream, ADDRESS_TYPE, ({ resources }) => resources.length > 0);
  assert.deepEqual(names(added), ['Kubernetes//Pod/shop/web-1']);

  test.kube.put(AUTHORIZATION_POLICIES, {
    metadata: { name: 'deny', namespace: 'shop' },
    spec: { action: 'DENY', rules: [{ to: [{ operation: { ports: ['81'] } }] }] },
  });
  const policy = await take(stream, AUTHORIZATION_TYPE, ({ resources }) => resources.length > 0);
  assert.equal(decodeAuthorizations(policy.resources).accepted[0]?.value.key, 'shop/deny');
  assert.equal(policy.resources[0]?.version, '');

  test.kube.remove(PODS, 'web-1', 'shop');
  test.kube.remove(AUTHORIZATION_POLICIES, 'deny', 'shop');
  const gone = await take(stream, ADDRESS_TYPE, ({ removedResources }) => removedResources.length > 0);
  assert.deepEqual([gone.removedResources, gone.resources], [['Kubernetes//Pod/shop/web-1'], []]);
  stream.close();
});

test('a policy reaches the proxy before the workloads that refer to it', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  stream.send({ typeUrl: AUTHORIZATION_TYPE });
  for (const seen = new Set<string>(); seen.size < 2; ) seen.add((await stream.next()).typeUrl);
  test.kube.put(AUTHORIZATION_POLICIES, {
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'web' } }, rules: [] },
  });
  const [policy, workload] = [await stream.next(), await stream.next()];
  assert.deepEqual([policy.typeUrl, names(policy)], [AUTHORIZATION_TYPE, ['shop/web']]);
  assert.deepEqual([workload.typeUrl, names(workload)], [ADDRESS_TYPE, [WEB0]]);
  stream.close();
});

test('a reconnect gets only what differs from what it still holds', async () => {
  const { test, token } = await start();
  const before = await openStream(test, token);
  before.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  const { resources } = await take(before, ADDRESS_TYPE, (response) => response.resources.length >= 3);
  before.close();
  const held = Object.fromEntries(resources.map(({ name, version }) => [name, version]));
  const again = await openStream(test, token);
  again.send({
    node: ztunnelNode('n1'),
    typeUrl: ADDRESS_TYPE,
    initialResourceVersions: { ...held, [WEB0]: 'old', 'Kubernetes//Pod/shop/gone': '1' },
  });
  const answer = await again.next();
  assert.deepEqual([names(answer), answer.removedResources], [[WEB0], ['Kubernetes//Pod/shop/gone']]);
  again.close();
});

test('on demand: nothing until asked; by uid, by address, by service with what is behind it; own node unasked', async () => {
  const { test, token } = await start();
  addPod(test, { name: 'far', node: 'n2', ip: '10.244.2.2', labels: { app: 'far' } });
  addPod(test, { name: 'far-web', node: 'n2', ip: '10.244.2.3', labels: { app: 'web' } });
  const stream = await openStream(test, token);
  stream.send({
    node: ztunnelNode('n1'),
    typeUrl: ADDRESS_TYPE,
    resourceNamesSubscribe: ['*'],
    resourceNamesUnsubscribe: ['*'],
  });
  const first = await stream.next();
  assert.deepEqual(names(first), [ZTUNNEL, WEB0].sort(), 'the own node');

  stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/10.244.2.2'] });
  const byAddress = await stream.next();
  assert.deepEqual(names(byAddress), ['/10.244.2.2', 'Kubernetes//Pod/shop/far']);
  const primary = byAddress.resources.find(({ name }) => name.startsWith('Kubernetes'));
  assert.deepEqual(primary?.aliases, ['/10.244.2.2']);

  stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: [WEB] });
  assert.deepEqual(names(await stream.next()), [WEB, 'Kubernetes//Pod/shop/far-web'].sort());

  stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/10.99.99.99'] });
  const unknown = await stream.next();
  assert.deepEqual([unknown.resources, unknown.removedResources], [[], ['/10.99.99.99']]);

  addPod(test, { name: 'stranger', node: 'n2', ip: '10.244.2.9' });
  addPod(test, { name: 'new-web', node: 'n2', ip: '10.244.2.4', labels: { app: 'web' } });
  assert.deepEqual(names(await stream.next()), ['Kubernetes//Pod/shop/new-web'], 'behind a service that was asked for');
  addPod(test, { name: 'late', node: 'n2', ip: '10.99.99.99' });
  assert.deepEqual(names(await stream.next()), ['Kubernetes//Pod/shop/late'], 'asked for before it was there');
  test.kube.remove(PODS, 'stranger', 'shop');
  test.kube.remove(PODS, 'far', 'shop');
  assert.deepEqual((await stream.next()).removedResources, ['Kubernetes//Pod/shop/far']);
  stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: [WEB] });
  assert.ok(names(await stream.next()).includes(WEB), 'whoever asks again is answered');
  stream.close();
});

test('workloads alone are served to who asks for that type', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: WORKLOAD_TYPE });
  assert.deepEqual(names(await stream.next()), [ZTUNNEL, WEB0].sort());
  stream.close();
});

test('a rejection is counted and shown, a stale nonce is ignored, and neither stops later pushes', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  const first = await stream.next();
  stream.send({ typeUrl: ADDRESS_TYPE, responseNonce: first.nonce, errorDetail: { message: 'x: bad' } as never });
  const state = async (wanted: string) =>
    until(async () => {
      const { proxies } = JSON.parse((await test.get('/debug/syncz')).body);
      const found = proxies[0]?.types[ADDRESS_TYPE];
      return found?.state === wanted ? found : undefined;
    });
  assert.equal((await state('rejected')).rejection, 'x: bad');
  const { body } = await test.get('/metrics', 'metrics');
  assert.match(body, /pilot_total_xds_rejects\{type="wds"\} 1/);
  stream.send({ typeUrl: ADDRESS_TYPE, responseNonce: 'stale' });
  addPod(test, { name: 'web-1', ip: '10.244.1.3' });
  const next = await stream.next();
  assert.deepEqual(names(next), ['Kubernetes//Pod/shop/web-1']);
  stream.send({ typeUrl: ADDRESS_TYPE, responseNonce: next.nonce });
  assert.equal((await state('synced')).rejection, '');
  stream.close();
});

test('what is changed while a proxy reads is sent in its last state', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  await stream.next();
  for (let i = 0; i < 200; i++) addPod(test, { name: 'busy', ip: '10.244.1.7', labels: { version: String(i) } });
  const seen: string[] = [];
  while (seen.at(-1) !== '199') {
    const response = await stream.next();
    for (const { value } of decodeAddresses(response.resources).accepted)
      if (value.kind === 'workload') seen.push(value.workload.canonicalRevision);
  }
  assert.ok(seen.length < 50, `${seen.length} pushes for 200 changes`);
  stream.close();
});

const refusals: readonly [string, (test: TestControl, token: string) => Promise<TestStream>, Code, RegExp][] = [
  ['no token', (test) => openStream(test, undefined), Code.Unauthenticated, /no bearer token/],
  ['an unknown token', (test) => openStream(test, 'nonsense'), Code.Unauthenticated, /invalid bearer token/],
  [
    'a token for another audience',
    (test) => {
      test.tokens.set('other', { namespace: SYSTEM, serviceAccount: 'ztunnel', audience: 'kubernetes' });
      return openStream(test, 'other');
    },
    Code.Unauthenticated,
    /invalid bearer token/,
  ],
  [
    'no node',
    async (test, token) => {
      const stream = await openStream(test, token);
      stream.send({ typeUrl: ADDRESS_TYPE });
      return stream;
    },
    Code.InvalidArgument,
    /no node.id/,
  ],
  [
    'an id of another form',
    async (test, token) => {
      const stream = await openStream(test, token);
      stream.send({ typeUrl: ADDRESS_TYPE, node: { id: 'ztunnel~1.1.1.1~x', metadata: { NAMESPACE: SYSTEM } } });
      return stream;
    },
    Code.InvalidArgument,
    /not of the form/,
  ],
  [
    'a kind of proxy that does not exist',
    async (test, token) => {
      const stream = await openStream(test, token);
      stream.send({ typeUrl: ADDRESS_TYPE, node: { id: 'spy~1.1.1.1~x~y', metadata: { NAMESPACE: SYSTEM } } });
      return stream;
    },
    Code.InvalidArgument,
    /no kind of proxy/,
  ],
  [
    'no address',
    async (test, token) => {
      const stream = await openStream(test, token);
      stream.send({ typeUrl: ADDRESS_TYPE, node: { id: 'ztunnel~x~x~y', metadata: { NAMESPACE: SYSTEM } } });
      return stream;
    },
    Code.InvalidArgument,
    /no valid address/,
  ],
  [
    "a namespace that is not the token's",
    async (test, token) => {
      const stream = await openStream(test, token);
      stream.send({ typeUrl: ADDRESS_TYPE, node: ztunnelNode('n1', 'shop') });
      return stream;
    },
    Code.PermissionDenied,
    /its credential says/,
  ],
];
test('refused streams end with a status that says why; others go on', async (t) => {
  const { test, token } = await start();
  const witness = await openStream(test, token);
  witness.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  await witness.next();
  for (const [name, open, code, message] of refusals)
    await t.test(name, async () => {
      const error = await endOf(await open(test, token));
      assert.equal(Code[error.code], Code[code], error.rawMessage);
      assert.match(error.rawMessage, message);
    });
  addPod(test, { name: 'web-9', ip: '10.244.1.9' });
  assert.deepEqual(names(await witness.next()), ['Kubernetes//Pod/shop/web-9']);
  witness.close();
});

test('more new streams than are allowed in a second', async () => {
  const { test, token } = await start({ PILOT_MAX_REQUESTS_PER_SECOND: '2' });
  const streams = await Promise.all([1, 2, 3, 4].map(() => openStream(test, token)));
  for (const stream of streams) stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  const outcomes = await Promise.all(
    streams.map((stream) =>
      stream.next().then(
        () => 'served',
        (error: ConnectError) => Code[error.code] as string,
      ),
    ),
  );
  assert.deepEqual(outcomes.sort(), ['ResourceExhausted', 'ResourceExhausted', 'served', 'served']);
  for (const stream of streams) stream.close();
});

test('the API server out of reach is no refusal of the token', async () => {
  const { test } = await start();
  test.kube.onRequest = ({ plural }) => {
    if (plural === 'tokenreviews') throw new Error('connection refused');
  };
  assert.equal((await endOf(await openStream(test, 'fresh-token'))).code, Code.Unavailable);
});

test('several proxies at once, and their number in the metrics', async () => {
  const { test, token } = await start();
  const other = addZtunnel(test, 'n2');
  const streams = [await openStream(test, token), await openStream(test, other)];
  streams[0]?.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  streams[1]?.send({ node: ztunnelNode('n2'), typeUrl: ADDRESS_TYPE });
  for (const stream of streams) await stream.next();
  assert.match((await test.get('/metrics', 'metrics')).body, /pilot_xds\{version="1.30"\} 2/);
  for (const stream of streams) stream.close();
  await until(async () => /pilot_xds\{version="1.30"\} 0/.test((await test.get('/metrics', 'metrics')).body));
});

test('at the end every stream is told to go elsewhere', async () => {
  const { test, token } = await start();
  const stream = await openStream(test, token);
  stream.send({ node: ztunnelNode('n1'), typeUrl: ADDRESS_TYPE });
  await stream.next();
  await test.control.stop();
  assert.equal((await endOf(stream)).code, Code.Unavailable);
});
