// What the leader writes into the cluster: conditions, root certificates, virtual addresses. A whole control
// plane over the in-memory API.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  GATEWAY_CLASSES,
  GATEWAYS,
  HTTP_ROUTES,
  NAMESPACES,
  SERVICE_ENTRIES,
  SERVICES,
} from '../kube/client/resources.ts';
import { KubeError, type KubeObject } from '../kube/client/types.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import { systemClock } from '../platform/clock.ts';
import { addPod, SYSTEM, startTestControl, type TestControl, until } from './testing/control.ts';

const running: AsyncDisposable[] = [];
after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
});
async function start(prepare?: (kube: MemoryKubeClient) => void): Promise<TestControl> {
  const test = await startTestControl(prepare === undefined ? {} : { prepare });
  running.push(test);
  return test;
}
interface Found {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number;
}
const conditionsOf = (object: KubeObject | undefined): readonly Found[] =>
  (object as { status?: { conditions?: Found[] } } | undefined)?.status?.conditions ?? [];

const USE = { 'istio.io/use-waypoint': 'wp' };
const service = (labels: Record<string, string>) => ({
  metadata: { name: 'web', namespace: 'shop', labels },
  spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
});

test('a condition comes, changes and goes with what it says', async () => {
  const test = await start();
  const { kube } = test;
  kube.put(NAMESPACES, { metadata: { name: 'shop' } });
  kube.put(SERVICES, service(USE));
  const reason = (wanted: string | undefined) =>
    until(async () => {
      const found = conditionsOf(await kube.get(SERVICES, 'web', 'shop'));
      return found[0]?.reason === wanted ? { found } : undefined;
    });
  const first = await reason('WaypointIsNotReady');
  assert.equal(first.found[0]?.status, 'False');
  kube.put(GATEWAYS, {
    metadata: { name: 'wp', namespace: 'shop' },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
    status: { addresses: [{ type: 'IPAddress', value: '10.96.0.50' }] },
  });
  await reason('WaypointAccepted');
  const writes = kube.requests.filter(
    ({ plural, verb, options }) => plural === 'services' && verb === 'patch' && options.subresource === 'status',
  );
  assert.deepEqual(
    writes.map(({ options }) => [options.subresource, options.fieldManager, options.force]),
    writes.map(() => ['status', 'istio-ambient-service', true]),
  );
  assert.equal(writes.length, 2, 'one write a change');
  kube.put(SERVICES, { ...((await kube.get(SERVICES, 'web', 'shop')) as object), ...service({}) } as never);
  await reason(undefined);
});

test('of the parents of a route only ours are written; those of others stay', async () => {
  const test = await start();
  const { kube } = test;
  const theirs = { parentRef: { name: 'other' }, controllerName: 'example.com/x', conditions: [] };
  kube.put(GATEWAYS, {
    metadata: { name: 'edge', namespace: 'shop' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }] },
  });
  kube.put(HTTP_ROUTES, {
    metadata: { name: 'r', namespace: 'shop', generation: 2 },
    spec: { parentRefs: [{ name: 'edge' }, { name: 'other' }], rules: [] },
    status: { parents: [theirs] },
  } as never);
  const parents = await until(async () => {
    const found = (await kube.get(HTTP_ROUTES, 'r', 'shop')) as { status?: { parents?: { controllerName: string }[] } };
    return (found.status?.parents?.length ?? 0) > 1 ? found.status?.parents : undefined;
  });
  assert.deepEqual(parents[0], theirs);
  assert.equal(parents[1]?.controllerName, 'istio.io/gateway-controller');
  const writes = kube.requests.filter(({ plural, verb }) => plural === 'httproutes' && verb === 'patch');
  assert.deepEqual(
    writes.map(({ options }) => [options.subresource, options.fieldManager]),
    [['status', 'istio-gateway']],
  );
});

test('a policy is answered for, with its generation, and the time of the change is kept', async () => {
  const test = await start();
  const { kube } = test;
  const policy = (generation: number, methods: string[]) => ({
    metadata: { name: 'p', namespace: 'shop', generation },
    spec: { rules: [{ to: [{ operation: { methods } }] }] },
  });
  kube.put(AUTHORIZATION_POLICIES, policy(1, ['GET']));
  const at = (generation: number) =>
    until(async () => {
      const [found] = conditionsOf(await kube.get(AUTHORIZATION_POLICIES, 'p', 'shop'));
      return found?.observedGeneration === generation ? found : undefined;
    });
  const first = await at(1);
  assert.deepEqual([first.type, first.status, first.reason], ['ZtunnelAccepted', 'True', 'UnsupportedValue']);
  const now = (await kube.get(AUTHORIZATION_POLICIES, 'p', 'shop')) as KubeObject & { status: { conditions: Found[] } };
  const old = { ...first, lastTransitionTime: '2020-01-01T00:00:00Z' };
  kube.put(AUTHORIZATION_POLICIES, { ...now, ...policy(2, ['PUT']), status: { conditions: [old] } } as never);
  assert.equal((await at(2)).lastTransitionTime, '2020-01-01T00:00:00Z', 'still True, since then');
});

test('a write that fails is tried again', async () => {
  const test = await start();
  const { kube } = test;
  let failures = 0;
  kube.onRequest = ({ verb, plural }) => {
    if (verb === 'patch' && plural === 'services' && failures++ === 0) throw new KubeError(500, 'InternalError', 'no');
  };
  kube.put(SERVICES, service(USE));
  await until(async () => conditionsOf(await kube.get(SERVICES, 'web', 'shop')).length > 0 || undefined);
  assert.equal(failures, 2);
});

test('every namespace gets the root certificate, Kubernetes own ones do not, and it is mended', async () => {
  const test = await start((kube) => {
    kube.put(NAMESPACES, { metadata: { name: 'shop' } });
    kube.put(NAMESPACES, { metadata: { name: 'kube-system' } });
  });
  const { kube } = test;
  const roots = await test.roots();
  const at = (namespace: string, wanted = roots) =>
    until(async () => {
      const found = await kube.get(CONFIG_MAPS, 'istio-ca-root-cert', namespace);
      return found?.data?.['root-cert.pem'] === wanted ? found : undefined;
    });
  assert.equal((await at('shop')).metadata?.labels?.['istio.io/config'], 'true');
  kube.put(NAMESPACES, { metadata: { name: 'late' } });
  await at('late');
  kube.put(CONFIG_MAPS, {
    metadata: { name: 'istio-ca-root-cert', namespace: 'shop' },
    data: { 'root-cert.pem': 'x' },
  });
  await at('shop');
  kube.remove(CONFIG_MAPS, 'istio-ca-root-cert', 'late');
  await at('late');
  assert.equal(await kube.get(CONFIG_MAPS, 'istio-ca-root-cert', 'kube-system'), undefined);
});

test('a ServiceEntry gets addresses of its own, once', async () => {
  const test = await start();
  const { kube } = test;
  const entry = (name: string) => ({
    metadata: { name, namespace: 'shop' },
    spec: {
      hosts: [`${name}.example`],
      resolution: 'DNS' as const,
      ports: [{ number: 443, name: 'tls', protocol: 'TLS' }],
    },
  });
  kube.put(SERVICE_ENTRIES, entry('bank'));
  const given = (name: string) =>
    until(async () => {
      const found = (await kube.get(SERVICE_ENTRIES, name, 'shop')) as { status?: { addresses?: { value: string }[] } };
      return found.status?.addresses?.map(({ value }) => value);
    });
  const first = await given('bank');
  assert.match(first[0] ?? '', /^240\.240\./);
  kube.put(SERVICE_ENTRIES, entry('shop'));
  assert.notDeepEqual(await given('shop'), first);
  assert.deepEqual(await given('bank'), first);
});

test('a class of our controllers is accepted, one of others is left alone', async () => {
  const test = await start();
  const { kube } = test;
  kube.put(GATEWAY_CLASSES, { metadata: { name: 'other' }, spec: { controllerName: 'somebody.else/controller' } });
  kube.put(GATEWAY_CLASSES, {
    metadata: { name: 'istio-waypoint' },
    spec: { controllerName: 'istio.io/mesh-controller' },
  });
  await until(
    async () => conditionsOf(await kube.get(GATEWAY_CLASSES, 'istio-waypoint'))[0]?.type === 'Accepted' || undefined,
  );
  assert.deepEqual(conditionsOf(await kube.get(GATEWAY_CLASSES, 'other')), []);
});

test('kinds that are not installed count as empty, and are picked up when they are', async () => {
  const kube = new MemoryKubeClient();
  for (const resource of [GATEWAYS, GATEWAY_CLASSES, SERVICE_ENTRIES, AUTHORIZATION_POLICIES])
    kube.setInstalled(resource, false);
  const test = await startTestControl({ kube });
  running.push(test);
  assert.equal((await test.get('/ready')).status, 200);
  for (const resource of [GATEWAYS, GATEWAY_CLASSES, SERVICE_ENTRIES, AUTHORIZATION_POLICIES])
    kube.setInstalled(resource, true);
  kube.put(AUTHORIZATION_POLICIES, { metadata: { name: 'p', namespace: 'shop' }, spec: { rules: [{}] } });
  await until(async () => conditionsOf(await kube.get(AUTHORIZATION_POLICIES, 'p', 'shop')).length > 0 || undefined);
});

test('the mesh configuration is read from its ConfigMap, and a broken one changes nothing', async () => {
  const mesh = (text: string) => ({ metadata: { name: 'istio', namespace: SYSTEM }, data: { mesh: text } });
  const test = await start((kube) => kube.put(CONFIG_MAPS, mesh('trustDomain: td.example\n')));
  test.tokens.set('app', { namespace: 'shop', serviceAccount: 'web' });
  addPod(test, { name: 'web-0', ip: '10.244.1.2' });
  const { certificates } = await import('./testing/control.ts');
  const { x509 } = await import('./ca/x509.ts');
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const csr = (await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm })).toString('pem');
  const identity = async (): Promise<string> => {
    const { certChain } = await (await certificates(test, 'app')).createCertificate({ csr });
    return (
      new x509.X509Certificate(certChain[0] ?? '').getExtension(x509.SubjectAlternativeNameExtension)?.names.items[0]
        ?.value ?? ''
    );
  };
  assert.equal(await identity(), 'spiffe://td.example/ns/shop/sa/web');
  test.kube.put(CONFIG_MAPS, mesh('trustDomain: [unclosed\n'));
  test.kube.put(NAMESPACES, { metadata: { name: 'marker' } });
  await until(() => test.kube.get(CONFIG_MAPS, 'istio-ca-root-cert', 'marker'));
  assert.equal(await identity(), 'spiffe://td.example/ns/shop/sa/web');
});

test('readiness, metrics, and debugging for callers on this host', async () => {
  const test = await start();
  assert.deepEqual(await test.get('/ready'), { status: 200, body: 'ok\n' });
  assert.equal((await test.get('/nothing')).status, 404);
  assert.equal((await fetch(`http://127.0.0.1:${test.control.ports.http}/ready`, { method: 'POST' })).status, 405);
  const report = JSON.parse((await test.get('/debug/syncz')).body);
  assert.deepEqual([report.controlPlane, report.proxies], ['istiod-test', []]);
  const { body } = await test.get('/metrics', 'metrics');
  for (const name of ['pilot_info{version="test"} 1', 'pilot_services 0', 'citadel_server_root_cert_expiry_timestamp '])
    assert.ok(body.includes(name), name);
});

test('an API server that is not there yet is waited for', async () => {
  const kube = new MemoryKubeClient();
  let refusals = 3;
  kube.onRequest = ({ plural }) => {
    if (plural === 'secrets' && refusals-- > 0)
      throw Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:6443'), { code: 'ECONNREFUSED' });
  };
  const test = await startTestControl({
    kube,
    clock: { ...systemClock, after: (_ms, action) => systemClock.after(0, action) },
  });
  running.push(test);
  assert.ok(refusals < 0);
});
