// Which waypoint serves what: one of another namespace, one for pods, none, one that is scaled to nothing, one that is
// required; routes of the service's owner and of its clients; and what a gateway may send to another namespace.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ClientPod } from './support/client-pod.ts';
import { listenerUrl } from './support/gateway-url.ts';
import { eventually, TestMesh } from './support/mesh.ts';

const app = (namespace: string, name: string, container: string): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: ${namespace} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec: { serviceAccountName: ${name}, terminationGracePeriodSeconds: 0, containers: [${container}] }
---`;
const ECHO =
  '{ name: echo, image: ambit/echo, env: [{ name: PORT, value: "8080" }], readinessProbe: { tcpSocket: { port: 8080 } } }';
const CLIENT = '{ name: client, image: "node:24", command: [sleep, infinity] }';
const namespace = (name: string, labels = '{ istio.io/dataplane-mode: ambient }'): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: ${labels} }
---`;
const service = (inside: string): string => `
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: ${inside} }
spec: { selector: { app: echo }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---`;
const waypoint = (inside: string, name: string, serves: string, from: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: ${inside}, labels: { istio.io/waypoint-for: ${serves} } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE, allowedRoutes: { namespaces: { from: ${from} } } }]
---`;
/** A route of a service that leaves its mark on answers. */
const mark = (inside: string, name: string, parent: string, value: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${inside} }
spec:
  parentRefs: [${parent}]
  rules:
    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-mark, value: ${value} }] } }]
      backendRefs: [{ name: echo, namespace: shop, port: 80 }]
---`;
const SERVICE = '{ group: "", kind: Service, name: echo, namespace: shop }';

const WORLD = `${namespace('shop')}${namespace('infra')}${namespace('visitors')}
${app('shop', 'echo', ECHO)}${app('shop', 'client', CLIENT)}${app('visitors', 'client', CLIENT)}${service('shop')}
${waypoint('infra', 'shared', 'service', 'All')}${waypoint('infra', 'private', 'service', 'Same')}
${waypoint('shop', 'pods', 'workload', 'Same')}${mark('shop', 'echo', SERVICE, 'producer')}
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: infra }
spec:
  gatewayClassName: istio
  listeners: [{ name: http, port: 8087, protocol: HTTP }]
---${mark('infra', 'edge', '{ name: edge }', 'edge')}`;

let mesh: TestMesh;
let client: ClientPod;
let visitor: ClientPod;
before(async () => {
  mesh = await TestMesh.up({ up: ['--wait', '90s', '-f', '-'], input: WORLD });
  for (const gateway of ['infra/shared', 'infra/private', 'shop/pods', 'infra/edge']) {
    const [inside = '', name = ''] = gateway.split('/');
    await mesh.kubectlOk(['wait', '-n', inside, `gateway/${name}`, '--for=condition=Programmed', '--timeout=60s']);
  }
  client = new ClientPod(mesh, 'shop', 'deploy/client');
  visitor = new ClientPod(mesh, 'visitors', 'deploy/client');
});
after(async () => {
  client?.close();
  visitor?.close();
  await mesh?.[Symbol.asyncDispose]();
});

const URL_OF_ECHO = 'http://echo.shop/';
const soon = (what: string, holds: () => Promise<boolean>): Promise<unknown> =>
  eventually(what, async () => ((await holds()) ? true : undefined), 15_000, 100);
const kubectl = (...args: string[]): Promise<string> => mesh.kubectlOk(args);
const apply = (input: string): Promise<string> => mesh.kubectlOk(['apply', '-f', '-'], { input });
const marked = async (by = client): Promise<unknown> => {
  const { status, headers } = await by.get(URL_OF_ECHO);
  return status === 200 ? (headers['x-mark'] ?? 'none') : status;
};
const use = (name: string, inside = 'infra'): Promise<string> =>
  kubectl(
    'label',
    '--overwrite',
    'service/echo',
    '-n',
    'shop',
    `istio.io/use-waypoint=${name}`,
    `istio.io/use-waypoint-namespace=${inside}`,
  );

test('a waypoint of another namespace, where its listener lets the namespace in', async () => {
  assert.equal(await marked(), 'none', 'no waypoint, no route');
  await use('shared');
  await soon('the shared one serves it', async () => (await marked()) === 'producer');
  await use('private');
  await soon('the private one does not', async () => (await marked()) === 'none');
  const bound = await kubectl(
    'get',
    'service/echo',
    '-n',
    'shop',
    '-o',
    'jsonpath={.status.conditions[?(@.type=="istio.io/WaypointBound")].status}',
  );
  assert.equal(bound, 'False');
  await use('shared');
  await soon('and back', async () => (await marked()) === 'producer');
});

test('routes of clients’ namespaces are no routes of a waypoint', async () => {
  await apply(mark('visitors', 'mine', SERVICE, 'consumer'));
  await soon(
    'it is looked at',
    async () =>
      (await kubectl(
        'get',
        'httproute/mine',
        '-n',
        'visitors',
        '-o',
        'jsonpath={.status.parents[*].controllerName}',
      )) !== '',
  );
  assert.equal(await marked(visitor), 'producer');
  await kubectl('delete', 'httproute/mine', '-n', 'visitors');
});

test('a gateway sends to another namespace only with its grant', async () => {
  const url = await listenerUrl(mesh, 'http');
  const status = async (): Promise<number> => (await fetch(url)).status;
  await soon('it is refused', async () => (await status()) === 500);
  await apply(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: edge, namespace: shop }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: infra }]
  to: [{ group: "", kind: Service, name: echo }]
`);
  await soon('it is granted', async () => (await status()) === 200);
  await kubectl('delete', 'referencegrant/edge', '-n', 'shop');
  await soon('it is refused again', async () => (await status()) === 500);
});

test('a waypoint without pods refuses; with pods it serves again', async () => {
  await kubectl('scale', 'deploy/shared', '-n', 'infra', '--replicas=0');
  await soon('it is refused', async () => typeof (await marked()) === 'number');
  await kubectl('scale', 'deploy/shared', '-n', 'infra', '--replicas=1');
  await soon('it is served', async () => (await marked()) === 'producer');
});

test('a waypoint for pods: who dials a pod’s address passes it, and its policy', async () => {
  const pod = async (): Promise<number> => {
    const ip = await kubectl('get', 'pods', '-n', 'shop', '-l', 'app=echo', '-o', 'jsonpath={.items[0].status.podIP}');
    return (await client.get(`http://${ip.trim()}:8080/pod`)).status;
  };
  assert.equal(await pod(), 200);
  await apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: pods, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: pods }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/pod] } }] }]
`);
  const name = await kubectl('get', 'pods', '-n', 'shop', '-l', 'app=echo', '-o', 'jsonpath={.items[0].metadata.name}');
  await kubectl('label', `pod/${name.trim()}`, '-n', 'shop', 'istio.io/use-waypoint=pods');
  await soon('it is refused', async () => (await pod()) === 403);
  assert.equal(await marked(), 'producer', 'the service goes its own way');
});

test('without its waypoint a service is reached directly, unless one is required', async () => {
  await kubectl('delete', 'gateway/shared', '-n', 'infra');
  await soon('it goes direct', async () => (await marked()) === 'none');
  await kubectl('annotate', 'service/echo', '-n', 'shop', 'ambit.dev/waypoint-policy=required');
  await soon('it is refused', async () => (await marked()) === 0);
  await apply(waypoint('infra', 'shared', 'service', 'All'));
  await soon('the waypoint serves it', async () => (await marked()) === 'producer');
});
