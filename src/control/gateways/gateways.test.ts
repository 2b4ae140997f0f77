// Gateways against the embedded API: its server-side apply, defaults and schemas, and a whole control plane.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import {
  AUTOSCALERS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  ENDPOINT_SLICES,
  GATEWAY_CLASSES,
  GATEWAYS,
  NAMESPACES,
  PODS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import { EmbeddedApi } from '../../kube/server/embedded.ts';
import { systemClock } from '../../platform/clock.ts';
import { readConfig } from '../config.ts';
import { startControl } from '../control.ts';
import { SYSTEM, until } from '../testing/control.ts';

async function start(
  t: TestContext,
  prepare: (kube: KubeClient) => Promise<unknown> = async () => {},
  denied: ReadonlySet<string> = new Set(),
) {
  const api = new EmbeddedApi({ path: ':memory:' });
  const kube = api.client('test');
  for (const name of [SYSTEM, 'shop'])
    await kube.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await prepare(kube);
  const address = '127.0.0.1:0';
  const config = readConfig(
    { secureGRPCAddr: address, httpAddr: address, monitoringAddr: address },
    { POD_NAME: 'istiod', PROXY_IMAGE: 'example.com/proxy:1' },
    2,
    'host',
  );
  assert.ok(config.ok);
  const control = await startControl({
    config: config.value,
    kube: without(api.client('istiod'), denied),
    clock: systemClock,
    version: 't',
  });
  t.after(async () => {
    await control.stop();
    api.close();
  });
  return kube;
}

/** The API as a role sees it that may not list some kinds across namespaces. */
function without(kube: KubeClient, denied: ReadonlySet<string>): KubeClient {
  const refuse = (plural: string, namespace: string | undefined): void => {
    if (denied.has(plural) && namespace === undefined) throw new KubeError(403, 'Forbidden', `cannot list ${plural}`);
  };
  return {
    get: (...all) => kube.get(...all),
    list: async (resource, options) => {
      refuse(resource.plural, options?.namespace);
      return kube.list(resource, options);
    },
    watch: (resource, options) => {
      refuse(resource.plural, options.namespace);
      return kube.watch(resource, options);
    },
    create: (...all) => kube.create(...all),
    update: (...all) => kube.update(...all),
    patch: (...all) => kube.patch(...all),
    delete: (...all) => kube.delete(...all),
  };
}

const waypoint = (spec: Partial<IGateway['spec']> = {}, annotations: Record<string, string> = {}): IGateway => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'wp', namespace: 'shop', annotations },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    ...spec,
  },
});
const condition = async (kube: KubeClient, type: string) =>
  (await kube.get(GATEWAYS, 'wp', 'shop'))?.status?.conditions?.find((each) => each.type === type);
const deployed = (kube: KubeClient, name = 'wp') => until(() => kube.get(DEPLOYMENTS, name, 'shop'));

test('the built-in classes are made, with status, and come back when deleted', async (t) => {
  const kube = await start(t);
  for (const name of ['istio', 'istio-waypoint', 'istio-remote']) {
    const made = await until(async () => {
      const cls = await kube.get(GATEWAY_CLASSES, name);
      return cls?.status?.conditions?.some(({ type, status }) => type === 'Accepted' && status === 'True')
        ? cls
        : undefined;
    });
    assert.ok((made.status?.supportedFeatures ?? []).some((feature) => feature.name === 'HTTPRoute'));
  }
  await kube.delete(GATEWAY_CLASSES, 'istio');
  await until(() => kube.get(GATEWAY_CLASSES, 'istio'));
});

test('a class that is there already is not changed', async (t) => {
  const kube = await start(t, (api) =>
    api.create(GATEWAY_CLASSES, {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GatewayClass',
      metadata: { name: 'istio' },
      spec: { controllerName: 'example.com/mine' },
    }),
  );
  await until(() => kube.get(GATEWAY_CLASSES, 'istio-waypoint'));
  assert.equal((await kube.get(GATEWAY_CLASSES, 'istio'))?.spec.controllerName, 'example.com/mine');
});

test('a waypoint gets its parts, an address once a pod is ready, and binds services', async (t) => {
  const kube = await start(t);
  await kube.create(GATEWAYS, waypoint());
  const deployment = await deployed(kube);
  assert.equal(deployment.spec?.template.spec?.containers[0]?.image, 'example.com/proxy:1');
  assert.equal(deployment.metadata?.ownerReferences?.[0]?.kind, 'Gateway');
  assert.ok(await kube.get(SERVICE_ACCOUNTS, 'wp', 'shop'));
  const service = await until(() => kube.get(SERVICES, 'wp', 'shop'));
  const pending = await until(async () => {
    const found = await condition(kube, 'Programmed');
    return found?.status === 'False' && /no pod/.test(found.message) ? found : undefined;
  });
  assert.equal(pending.reason, 'AddressNotAssigned');
  const pod = await kube.create(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'wp-1', namespace: 'shop', labels: { 'gateway.networking.k8s.io/gateway-name': 'wp' } },
    spec: { containers: [{ name: 'istio-proxy', image: 'x' }] },
  });
  await kube.update(
    PODS,
    { ...pod, status: { phase: 'Running', podIP: '10.244.1.2', conditions: [{ type: 'Ready', status: 'True' }] } },
    { subresource: 'status' },
  );
  await kube.create(ENDPOINT_SLICES, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: { name: 'wp-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'wp' } },
    endpoints: [
      {
        addresses: ['10.244.1.2'],
        targetRef: { kind: 'Pod', namespace: 'shop', name: 'wp-1', uid: pod.metadata?.uid ?? '' },
      },
    ],
    ports: [{ name: 'mesh', port: 15008 }],
  });
  await until(async () => ((await condition(kube, 'Programmed'))?.status === 'True' ? true : undefined));
  const { status } = (await kube.get(GATEWAYS, 'wp', 'shop')) as IGateway;
  assert.deepEqual(status?.addresses, [
    { type: 'IPAddress', value: service.spec?.clusterIP },
    { type: 'Hostname', value: 'wp.shop.svc.cluster.local' },
  ]);
  assert.equal(status?.listeners?.[0]?.attachedRoutes, 0);
  await kube.create(SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop', labels: { 'istio.io/use-waypoint': 'wp' } },
    spec: { ports: [{ port: 80 }] },
  });
  await until(async () => {
    const conditions = (await kube.get(SERVICES, 'web', 'shop'))?.status?.conditions ?? [];
    return conditions.some(({ type, status }) => type === 'istio.io/WaypointBound' && status === 'True') || undefined;
  });
});

test('what somebody removes or changes comes back; scaling stays', async (t) => {
  const kube = await start(t);
  await kube.create(GATEWAYS, waypoint());
  await deployed(kube);
  await until(() => kube.get(SERVICES, 'wp', 'shop'));
  await kube.delete(SERVICES, 'wp', 'shop');
  await until(() => kube.get(SERVICES, 'wp', 'shop'));
  const image = {
    spec: { replicas: 4, template: { spec: { containers: [{ name: 'istio-proxy', image: 'other' }] } } },
  };
  await kube.patch(DEPLOYMENTS, 'wp', 'shop', 'strategic', image);
  const repaired = await until(async () => {
    const found = await kube.get(DEPLOYMENTS, 'wp', 'shop');
    return found?.spec?.template.spec?.containers[0]?.image === 'example.com/proxy:1' ? found : undefined;
  });
  assert.equal(repaired.spec?.replicas, 4);
});

test('parameters are applied, taken back, and bad ones change nothing', async (t) => {
  const kube = await start(t);
  const params = (data: Record<string, string>) => ({
    apiVersion: 'v1' as const,
    kind: 'ConfigMap' as const,
    metadata: { name: 'params', namespace: 'shop' },
    data,
  });
  const autoscaler = 'spec: {minReplicas: 2, maxReplicas: 5}';
  await kube.create(CONFIG_MAPS, params({ deployment: 'spec: {replicas: 3}', horizontalPodAutoscaler: autoscaler }));
  const infrastructure = { parametersRef: { group: '' as never, kind: 'ConfigMap', name: 'params' } };
  await kube.create(GATEWAYS, waypoint({ infrastructure }));
  assert.equal((await deployed(kube)).spec?.replicas, 3);
  const made = await until(() => kube.get(AUTOSCALERS, 'wp', 'shop'));
  assert.equal(made.spec?.maxReplicas, 5);
  await kube.update(CONFIG_MAPS, params({ deployment: 'spec: {replicas: 2}' }));
  await until(async () => ((await kube.get(AUTOSCALERS, 'wp', 'shop')) === undefined ? true : undefined));
  await kube.update(CONFIG_MAPS, params({ deployment: 'spec: [' }));
  await until(async () => ((await condition(kube, 'Accepted'))?.reason === 'InvalidParameters' ? true : undefined));
  assert.equal((await kube.get(DEPLOYMENTS, 'wp', 'shop'))?.spec?.replicas, 2);
});

test('another name takes the old parts away; foreign objects of the name stay as they are', async (t) => {
  const kube = await start(t, (api) =>
    api.create(SERVICES, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'front', namespace: 'shop' },
      spec: { ports: [{ port: 80 }] },
    }),
  );
  const gateway = await kube.create(GATEWAYS, waypoint());
  await deployed(kube);
  const annotations = { 'gateway.istio.io/name-override': 'front' };
  await kube.patch(GATEWAYS, 'wp', 'shop', 'merge', { metadata: { annotations } });
  await deployed(kube, 'front');
  await until(async () => ((await kube.get(DEPLOYMENTS, 'wp', 'shop')) === undefined ? true : undefined));
  assert.deepEqual(
    (await kube.get(SERVICES, 'front', 'shop'))?.spec?.ports?.map(({ port }) => port),
    [80],
  );
  assert.notEqual(gateway.metadata?.uid, undefined);
});

test('what the API refuses stands in the status, until it is mended', async (t) => {
  const kube = await start(t);
  await kube.create(GATEWAYS, waypoint({}, { 'gateway.istio.io/name-override': 'Not_A_Name' }));
  const refused = await until(async () => {
    const found = await condition(kube, 'Programmed');
    return found?.reason === 'Invalid' ? found : undefined;
  });
  assert.match(refused.message, /ServiceAccount Not_A_Name was refused/);
  await kube.patch(GATEWAYS, 'wp', 'shop', 'merge', {
    metadata: { annotations: { 'gateway.istio.io/name-override': null } },
  });
  await deployed(kube);
  await until(async () => ((await condition(kube, 'Programmed'))?.reason === 'AddressNotAssigned' ? true : undefined));
  const marked = await kube.get(GATEWAYS, 'wp', 'shop');
  assert.equal(marked?.metadata?.annotations?.['gateway.istio.io/controller-version'], '5');
});

test('kinds that the role may not read hold up nothing that does without them', async (t) => {
  const denied = new Set(['secrets', 'referencegrants', 'horizontalpodautoscalers', 'poddisruptionbudgets']);
  const kube = await start(t, async () => {}, denied);
  await kube.create(GATEWAYS, waypoint());
  await deployed(kube);
});
