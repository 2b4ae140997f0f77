// Discovery for L7 proxies over real TLS sockets: each gets what is its Gateway's own, in an order in which nothing refers
// to what is not there.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { GATEWAYS, HTTP_ROUTES, SECRETS, SERVICES } from '../../kube/client/resources.ts';
import type { KubeObject, Resource } from '../../kube/client/types.ts';
import { CERTIFICATE_TYPE, PROXY_TYPE, ROUTE_TYPE, SERVICE_TYPE } from '../../wire/l7/names.ts';
import { decodeCertificate, decodeProxy, decodeRoute, decodeServiceConfig } from '../../wire/l7/resources.ts';
import {
  openStream,
  startTestControl,
  type TestControl,
  type TestNode,
  type TestStream,
  until,
} from '../testing/control.ts';

const running: AsyncDisposable[] = [];
after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});

const put = (test: TestControl, resource: Resource, object: object): void =>
  void test.kube.put(resource, object as KubeObject);

const service = (name: string): object => ({
  metadata: { name, namespace: 'shop' },
  spec: { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] },
});

const route = (name: string, path: string, parent: object, backend = 'order'): object => ({
  metadata: { name, namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z', generation: 1 },
  spec: {
    parentRefs: [parent],
    rules: [{ matches: [{ path: { value: path } }], backendRefs: [{ name: backend, port: 80 }] }],
  },
});
const EDGE = { name: 'edge' };

const pem = (label: string): string =>
  Buffer.from(`-----BEGIN ${label}-----\nMIIB\n-----END ${label}-----\n`).toString('base64');

async function start(): Promise<TestControl> {
  const test = await startTestControl();
  running.push(test);
  put(test, SERVICES as Resource, service('order'));
  put(test, SECRETS as Resource, {
    metadata: { name: 'cert', namespace: 'shop' },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': pem('CERTIFICATE'), 'tls.key': pem('PRIVATE KEY') },
  });
  put(test, GATEWAYS as Resource, {
    metadata: { name: 'edge', namespace: 'shop' },
    spec: {
      gatewayClassName: 'istio',
      listeners: [
        { name: 'web', port: 80, protocol: 'HTTP' },
        { name: 'tls', port: 443, protocol: 'HTTPS', tls: { certificateRefs: [{ name: 'cert' }] } },
      ],
    },
  });
  put(test, HTTP_ROUTES as Resource, route('orders', '/orders', EDGE));
  test.tokens.set('edge', { namespace: 'shop', serviceAccount: 'edge-istio' });
  test.tokens.set('other', { namespace: 'shop', serviceAccount: 'default' });
  test.tokens.set('foreign', { namespace: 'bank', serviceAccount: 'edge-istio' });
  return test;
}

const node = (gateway: string, namespace = 'shop'): TestNode => ({
  id: `router~10.244.1.9~edge-1.${namespace}~${namespace}.svc.cluster.local`,
  metadata: { NAME: 'edge-1', NAMESPACE: namespace, GATEWAY_NAME: gateway, ISTIO_VERSION: '1.30' },
});

const TYPES = [CERTIFICATE_TYPE, SERVICE_TYPE, ROUTE_TYPE, PROXY_TYPE];
async function open(test: TestControl, token: string, self = node('edge')): Promise<TestStream> {
  const stream = await openStream(test, token);
  for (const [at, typeUrl] of TYPES.entries()) stream.send({ ...(at === 0 && { node: self }), typeUrl });
  return stream;
}

/** Responses of all types until `wanted`, acknowledged, as `<type> <names> -<removed>`. */
async function linesUntil(stream: TestStream, wanted: (line: string) => boolean): Promise<readonly string[]> {
  const lines: string[] = [];
  for (;;) {
    const response = await stream.next();
    stream.send({ typeUrl: response.typeUrl, responseNonce: response.nonce });
    const type = response.typeUrl.slice(response.typeUrl.lastIndexOf('.') + 1);
    const names = response.resources.map(({ name }) => name).sort();
    const line = [type, ...names, ...response.removedResources.map((name) => `-${name}`)].join(' ');
    lines.push(line);
    if (wanted(line)) return lines;
  }
}

test('a proxy gets its own Gateway, and what that refers to comes first', async () => {
  const test = await start();
  const stream = await open(test, 'edge');
  assert.deepEqual(await linesUntil(stream, (line) => line.startsWith('Proxy')), [
    'Certificate shop/cert',
    'Service shop/order.shop.svc.cluster.local',
    'Route HTTPRoute/shop/orders',
    'Proxy shop/edge',
  ]);
  stream.close();
});

test('every resource that is sent can be read', async () => {
  const test = await start();
  const stream = await open(test, 'edge');
  const decoders: Readonly<Record<string, (name: string, bytes: Uint8Array) => { ok: boolean }>> = {
    [PROXY_TYPE]: decodeProxy,
    [ROUTE_TYPE]: decodeRoute,
    [SERVICE_TYPE]: decodeServiceConfig,
    [CERTIFICATE_TYPE]: decodeCertificate,
  };
  for (let left = 4; left > 0; left--) {
    const { typeUrl, resources } = await stream.next();
    for (const { name, resource } of resources) {
      const decoded = decoders[typeUrl]?.(name, resource?.value ?? new Uint8Array());
      assert.ok(decoded?.ok, JSON.stringify(decoded));
    }
    assert.equal(resources.length, 1, typeUrl);
  }
  stream.close();
});

test('one changed route is one small response; a service comes before it, and goes after it', async () => {
  const test = await start();
  const stream = await open(test, 'edge');
  await linesUntil(stream, (line) => line.startsWith('Proxy'));
  put(test, HTTP_ROUTES as Resource, route('orders', '/changed', EDGE));
  assert.deepEqual(await linesUntil(stream, () => true), ['Route HTTPRoute/shop/orders']);

  put(test, SERVICES as Resource, service('payment'));
  put(test, HTTP_ROUTES as Resource, route('payments', '/pay', EDGE, 'payment'));
  assert.deepEqual(await linesUntil(stream, (line) => line.startsWith('Route HTTPRoute/shop/payments')), [
    'Service shop/payment.shop.svc.cluster.local',
    'Route HTTPRoute/shop/payments',
  ]);
  test.kube.remove(HTTP_ROUTES as Resource, 'payments', 'shop');
  assert.deepEqual(await linesUntil(stream, (line) => line.startsWith('Service')), [
    'Route -HTTPRoute/shop/payments',
    'Service -shop/payment.shop.svc.cluster.local',
  ]);
  stream.close();
});

test('3,000 changed routes come in a few responses, not in thousands', async () => {
  const test = await start();
  const stream = await open(test, 'edge');
  await linesUntil(stream, (line) => line.startsWith('Proxy'));
  for (let i = 0; i < 3000; i++) put(test, HTTP_ROUTES as Resource, route(`r${i}`, `/r${i}`, EDGE));
  let seen = 0;
  let responses = 0;
  while (seen < 3000) {
    const { typeUrl, resources, nonce } = await stream.next();
    stream.send({ typeUrl, responseNonce: nonce });
    seen += resources.length;
    responses++;
  }
  // One, unless a busy machine spreads the changes over several pushes.
  assert.ok(responses <= 10, `${responses} responses`);
  stream.close();
});

for (const [name, token, self] of [
  ['another account', 'other', node('edge')],
  ['another namespace', 'foreign', node('edge', 'bank')],
  ['a Gateway that there is not', 'edge', node('nowhere')],
  ['no Gateway named', 'edge', node('')],
  ['a node proxy', 'edge', { ...node('edge'), id: 'ztunnel~10.244.1.9~edge-1.shop~shop.svc.cluster.local' }],
] as const)
  test(`nothing for ${name}, though it asks`, async () => {
    const test = await start();
    const stranger = await open(test, token, self);
    const own = await open(test, 'edge');
    await linesUntil(own, (line) => line.startsWith('Proxy'));
    put(test, HTTP_ROUTES as Resource, route('orders', '/changed', EDGE));
    await linesUntil(own, (line) => line.startsWith('Route'));
    assert.equal(stranger.waiting, 0);
    stranger.close();
    own.close();
  });

test('a proxy that is there before its Gateway gets everything when that comes', async () => {
  const test = await start();
  test.tokens.set('late', { namespace: 'shop', serviceAccount: 'late-istio' });
  const stream = await open(test, 'late', node('late'));
  put(test, GATEWAYS as Resource, {
    metadata: { name: 'late', namespace: 'shop' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }] },
  });
  const lines = await linesUntil(stream, (line) => line.startsWith('Proxy'));
  assert.equal(lines.at(-1), 'Proxy shop/late');
  stream.close();
});

test('proxy-status shows the four types', async () => {
  const test = await start();
  const stream = await open(test, 'edge');
  await linesUntil(stream, (line) => line.startsWith('Proxy'));
  const types = await until(async () => {
    const { proxies } = JSON.parse((await test.get('/debug/syncz')).body);
    const states = Object.entries(proxies[0].types as Record<string, { state: string }>);
    return states.every(([, { state }]) => state === 'synced') ? states.map(([type]) => type) : undefined;
  });
  assert.deepEqual(types, TYPES);
  stream.close();
});
