// Waypoints and gateways as objects, in a room, with real kubectl: classes, parts, status, publishing on the host, the
// verbs of `ambit waypoint`, and what happens to requests when a waypoint is scaled, replaced, or missing.

import assert from 'node:assert/strict';
import { get as httpGet } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { eventually, type Ran, TestMesh } from './support/mesh.ts';

let mesh: TestMesh;
const NAMESPACE = 'shop';

const app = (name: string, image: string, more = ''): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: ${NAMESPACE} }
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  replicas: 1
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      serviceAccountName: ${name}
      terminationGracePeriodSeconds: 1
      containers: [{ name: app, image: ${image}${more} }]
---`;
const APPS = `
apiVersion: v1
kind: Namespace
metadata: { name: ${NAMESPACE}, labels: { istio.io/dataplane-mode: ambient } }
---${app('web', 'ambit/echo', ', env: [{ name: PORT, value: "8080" }]')}${app('client', 'node', ', command: [node, -e, "setInterval(() => {}, 1e9)"]')}`;

before(async () => {
  mesh = await TestMesh.up({ up: ['--empty', '--wait', '60s'] });
  await mesh.kubectlOk(['apply', '-f', '-'], { input: APPS });
  await mesh.kubectlOk(['rollout', 'status', 'deploy/web', 'deploy/client', '-n', NAMESPACE, '--timeout=60s']);
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const waypoint = (...args: string[]): Promise<Ran> =>
  mesh.ambit(['waypoint', ...args, '-n', NAMESPACE, '--kubeconfig', mesh.kubeconfig]);
const jsonpath = (kind: string, name: string, path: string): Promise<string> =>
  mesh.kubectlOk(['get', kind, name, '-n', NAMESPACE, '-o', `jsonpath=${path}`]);
const condition = (kind: string, name: string, type: string): Promise<string> =>
  jsonpath(kind, name, `{.status.conditions[?(@.type=="${type}")].status}`);
/** One request from the client's pod; the status, or the error. */
const fromClient = async (url: string): Promise<string> => {
  const script = `require('http').get(${JSON.stringify(url)}, { agent: false, timeout: 5000 }, (r) => { r.resume(); r.on('end', () => console.log(r.statusCode)); }).on('error', (e) => console.log(e.code))`;
  return (await mesh.kubectl(['exec', '-n', NAMESPACE, 'deploy/client', '--', 'node', '-e', script])).stdout.trim();
};

interface StatusGateway {
  readonly name: string;
  readonly programmed: boolean;
  readonly listeners: readonly { readonly name: string; readonly url?: string }[];
}
async function urlOf(gateway: string, listener: string): Promise<string | undefined> {
  const ran = await mesh.ambit(['status', '-o', 'json']);
  const { gateways } = JSON.parse(ran.stdout) as { gateways: StatusGateway[] };
  return gateways.find(({ name }) => name === gateway)?.listeners.find(({ name }) => name === listener)?.url;
}
const fetched = (url: string, path = '/'): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    httpGet(`${url}${path}`, { agent: false, timeout: 5000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    }).on('error', reject);
  });

test('the built-in classes are there soon after the start', async () => {
  await eventually('three accepted classes', async () => {
    const list = await mesh.kubectlOk([
      'get',
      'gatewayclass',
      '-o',
      'jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Accepted")].status} {end}',
    ]);
    return list.trim() === 'istio=True istio-remote=True istio-waypoint=True' || undefined;
  });
});

// What is published is told apart from the proxy by a gateway whose pods are echo servers, as parameters can have it.
const ECHO_GATEWAY = `
apiVersion: v1
kind: ConfigMap
metadata: { name: as-echo, namespace: ${NAMESPACE} }
data:
  deployment: |
    spec:
      replicas: 2
      template:
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: istio-proxy
            image: ambit/echo
            args: null
            readinessProbe: null
            startupProbe: null
            env: [{ name: PORT, value: "18088" }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: front, namespace: ${NAMESPACE} }
spec:
  gatewayClassName: istio
  infrastructure: { parametersRef: { group: "", kind: ConfigMap, name: as-echo } }
  listeners: [{ name: http, port: 18088, protocol: HTTP }]
`;

test('a gateway is published on the host, on the same port after a restart, and goes with its object', async () => {
  await mesh.kubectlOk(['apply', '-f', '-'], { input: ECHO_GATEWAY });
  await eventually(
    'programmed',
    async () => (await condition('gateway', 'front', 'Programmed')) === 'True' || undefined,
  );
  assert.equal(await jsonpath('deploy', 'front-istio', '{.spec.replicas}'), '2');
  assert.equal(await jsonpath('gateway', 'front', '{.status.addresses[0].value}'), '127.0.0.1');
  const url = await eventually('its URL', () => urlOf('front', 'http'));
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  const answer = await eventually('an answer', () => fetched(url, '/hello'));
  assert.equal(answer.status, 200);
  assert.match(answer.body, /"path": "\/hello"/);

  assert.equal((await mesh.ambit(['down'])).code, 0);
  const up = await mesh.ambit(['up', '--empty', '--detach', '--wait', '60s']);
  assert.equal(up.code, 0, up.stderr);
  assert.equal(await urlOf('front', 'http'), url);
  await eventually('an answer after the restart', async () => (await fetched(url)).status === 200 || undefined);

  await mesh.kubectlOk(['delete', 'gateway', 'front', '-n', NAMESPACE]);
  const port = Number(new URL(url).port);
  await eventually(
    'nobody listens any more',
    () =>
      new Promise<true | undefined>((resolve) => {
        const socket = connect({ host: '127.0.0.1', port }, () => {
          socket.destroy();
          resolve(undefined);
        });
        socket.on('error', () => resolve(true));
      }),
  );
  await eventually('its parts are gone', async () => {
    const left = await mesh.kubectlOk(['get', 'deploy,svc,sa', '-n', NAMESPACE, '-o', 'name']);
    return !left.includes('front') || undefined;
  });
});

test('a listener that cannot be served says why', async () => {
  const listeners = '[{ name: tls, port: 18443, protocol: HTTPS, tls: { certificateRefs: [{ name: nowhere }] } }]';
  const input = ECHO_GATEWAY.replace(/listeners: .*/, `listeners: ${listeners}`).replaceAll('front', 'locked');
  await mesh.kubectlOk(['apply', '-f', '-'], { input });
  const reason = '{.status.listeners[0].conditions[?(@.type=="ResolvedRefs")].reason}';
  await eventually(
    'the missing certificate',
    async () => (await jsonpath('gateway', 'locked', reason)) === 'InvalidCertificateRef' || undefined,
  );
  await mesh.kubectlOk(['delete', 'gateway', 'locked', '-n', NAMESPACE]);
});

test('a service that insists on its waypoint refuses before it is there, and is reached through it afterwards', async () => {
  const policy = 'ambit.dev/waypoint-policy';
  await mesh.kubectlOk(['label', 'service', 'web', '-n', NAMESPACE, 'istio.io/use-waypoint=waypoint']);
  const message = '{.status.conditions[?(@.type=="istio.io/WaypointBound")].message}';
  await eventually(
    'open by default',
    async () => /traffic goes direct/.test(await jsonpath('service', 'web', message)) || undefined,
  );
  await eventually('a direct answer', async () => (await fromClient('http://web/')) === '200' || undefined);
  await mesh.kubectlOk(['annotate', 'service', 'web', '-n', NAMESPACE, `${policy}=required`]);
  await eventually('refused', async () => /^E/.test(await fromClient('http://web/')) || undefined);
  assert.match(await jsonpath('service', 'web', message), /connections are refused/);

  const applied = await waypoint('apply', '--name', 'waypoint', '--wait', '--waypoint-timeout', '60s');
  assert.equal(applied.code, 0, applied.stderr);
  assert.match(applied.stdout, /waypoint shop\/waypoint applied/);
  await eventually(
    'bound',
    async () => (await condition('service', 'web', 'istio.io/WaypointBound')) === 'True' || undefined,
  );
  await eventually('an answer through it', async () => (await fromClient('http://web/')) === '200' || undefined);
  const logs = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=400']);
  assert.match(logs, /dst\.workload="waypoint-[^"]+"/, 'a tunnel to the waypoint');
  await mesh.kubectlOk(['annotate', 'service', 'web', '-n', NAMESPACE, `${policy}-`]);
});

test('the verbs show it as istioctl does, and refuse what is none', async () => {
  const listed = await waypoint('list', '--name', 'waypoint');
  assert.match(listed.stdout, /^NAME +REVISION +TRAFFIC TYPE +PROGRAMMED\nwaypoint +default +none +True\n$/);
  const status = await waypoint('status', '--name', 'waypoint');
  assert.match(status.stdout, /^NAME +STATUS +TYPE +REASON +MESSAGE\nwaypoint +True +Programmed +Programmed +\S/);
  const refused = await waypoint('delete', 'web');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /there is no waypoint shop\/web/);
  const bad = await waypoint('generate', '--name', 'wp', '--for', 'service/web');
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /invalid traffic type: service\/web/);
});

test('scaling a waypoint up and down and replacing it loses no request', async () => {
  const script = `
    import { existsSync } from 'node:fs';
    import http from 'node:http';
    let ok = 0; const bad = [];
    const one = () => new Promise((r) => http.get('http://web/', { agent: false, timeout: 8000 }, (s) => { s.resume(); s.on('end', () => { s.statusCode === 200 ? ok++ : bad.push(s.statusCode); r(); }); s.on('error', (e) => { bad.push(e.message); r(); }); }).on('error', (e) => { bad.push(e.message); r(); }));
    while (!existsSync('/tmp/over')) await one();
    console.log(JSON.stringify({ ok, bad }));`;
  const inClient = ['exec', '-n', NAMESPACE, 'deploy/client', '--'];
  const load = mesh.kubectl([...inClient, 'node', '--input-type=module', '-e', script], { timeoutMs: 240_000 });
  const rollout = (): Promise<string> =>
    mesh.kubectlOk(['rollout', 'status', 'deploy/waypoint', '-n', NAMESPACE, '--timeout=60s'], { timeoutMs: 70_000 });
  const replicas = async (count: number): Promise<void> => {
    await mesh.kubectlOk(['scale', 'deploy/waypoint', '-n', NAMESPACE, `--replicas=${count}`]);
    await rollout();
    await eventually(
      `${count} pods`,
      async () => {
        const names = await mesh.kubectlOk([
          ...['get', 'pods', '-n', NAMESPACE, '-o', 'name', '-l', 'gateway.networking.k8s.io/gateway-name=waypoint'],
        ]);
        return names.trim().split('\n').length === count || undefined;
      },
      60_000,
    );
  };
  await replicas(3);
  await replicas(1);
  await mesh.kubectlOk(['rollout', 'restart', 'deploy/waypoint', '-n', NAMESPACE]);
  await rollout();
  await mesh.kubectlOk([...inClient, 'touch', '/tmp/over']);
  const { stdout, stderr } = await load;
  const { ok, bad } = JSON.parse(stdout || JSON.stringify({ ok: 0, bad: [stderr] })) as { ok: number; bad: unknown[] };
  assert.ok(ok > 100, `only ${ok} requests`);
  assert.deepEqual(bad, []);
});

test('deleting a waypoint takes its parts, and the service is reached directly again', async () => {
  const deleted = await waypoint('delete', 'waypoint');
  assert.equal(deleted.stdout, 'waypoint shop/waypoint deleted\n');
  await eventually('its parts are gone', async () => {
    const left = await mesh.kubectlOk(['get', 'deploy,svc,sa', '-n', NAMESPACE, '-o', 'name']);
    return !left.includes('waypoint') || undefined;
  });
  await eventually('a direct answer', async () => (await fromClient('http://web/')) === '200' || undefined);
});
