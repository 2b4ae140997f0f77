import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { IPod } from 'kubernetes-models/v1/Pod';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  HTTP_ROUTES,
  NAMESPACES,
  PEER_AUTHENTICATIONS,
  POD_EVICTIONS,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../client/resources.ts';
import type { KubeClient, KubeObject, Resource, WatchEvent } from '../../client/types.ts';
import { EmbeddedApi } from '../embedded.ts';
import { patch, update } from './write.ts';

interface Fixture {
  readonly api: EmbeddedApi;
  readonly client: KubeClient;
}

async function cluster(t: TestContext): Promise<Fixture> {
  let tick = Date.parse('2026-05-04T09:00:00Z');
  let seed = 0;
  const api = new EmbeddedApi({
    path: ':memory:',
    now: () => {
      tick += 1000;
      return new Date(tick);
    },
    random: () => {
      seed = (seed + 0.37) % 1;
      return seed;
    },
  });
  t.after(() => api.close());
  const client = api.client('test');
  await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  return { api, client };
}

const meta = (name: string) => ({ name, namespace: 'shop' });
const configMap = (name: string, data: Record<string, string> = {}) =>
  ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: meta(name), data }) as const;
const template = (labels: Record<string, string> = { app: 'web' }) => ({
  metadata: { labels },
  spec: { containers: [{ name: 'app', image: 'echo:1' }] },
});
const deployment = (name = 'web', labels?: Record<string, string>) =>
  ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: meta(name),
    spec: { selector: { matchLabels: { app: 'web' } }, template: template(labels) },
  }) as const;
const pod = (name: string, spec: object = {}) =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: meta(name), spec: { ...template().spec, ...spec } }) as const;

const fails = (work: Promise<unknown>, code: number, message: RegExp) =>
  assert.rejects(work, (error: Error & { code: number }) => {
    assert.match(error.message, message);
    assert.equal(error.code, code);
    return true;
  });

test('create fills in metadata and defaults; the copy that was passed stays as it was', async (t) => {
  const { client } = await cluster(t);
  const given = deployment();
  const before = structuredClone(given);
  const made = await client.create(DEPLOYMENTS, given);
  assert.deepEqual(given, before);
  assert.match(made.metadata?.uid ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(made.metadata?.generation, 1);
  assert.equal(made.spec?.replicas, 1);
  assert.equal(made.spec?.strategy?.rollingUpdate?.maxSurge, '25%');
  assert.equal(made.spec?.template.spec?.terminationGracePeriodSeconds, 30);
  assert.equal(made.spec?.template.spec?.containers[0]?.imagePullPolicy, 'IfNotPresent');
});

test('generateName makes a free name', async (t) => {
  const { client } = await cluster(t);
  const made = await client.create(CONFIG_MAPS, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { generateName: 'a-', namespace: 'shop' },
  });
  assert.match(made.metadata?.name ?? '', /^a-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
});

test('a second object of the name, a namespace that is not there, a wrong version', async (t) => {
  const { client } = await cluster(t);
  await client.create(CONFIG_MAPS, configMap('a'));
  await fails(client.create(CONFIG_MAPS, configMap('a')), 409, /^configmaps "a" already exists$/);
  await fails(
    client.create(CONFIG_MAPS, { ...configMap('a'), metadata: { name: 'a', namespace: 'none' } }),
    404,
    /^namespaces "none" not found$/,
  );
  await fails(
    client.create(DEPLOYMENTS, { ...deployment(), apiVersion: 'apps/v2' as 'apps/v1' }),
    400,
    /does not match the expected API version/,
  );
});

const invalid: [name: string, resource: Resource, object: KubeObject, message: RegExp][] = [
  [
    'a name that is no DNS name',
    CONFIG_MAPS,
    configMap('A_b'),
    /ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain/,
  ],
  [
    'a selector that does not match',
    DEPLOYMENTS,
    deployment('web', { app: 'x' }),
    /Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`/,
  ],
  ['no containers', PODS, pod('p', { containers: [] }), /spec.containers: Required value/],
  [
    'a container without an image',
    PODS,
    pod('p', { containers: [{ name: 'a' }] }),
    /spec.containers\[0\].image: Required value/,
  ],
  [
    'two containers of a name',
    PODS,
    pod('p', {
      containers: [
        { name: 'a', image: 'i' },
        { name: 'a', image: 'i' },
      ],
    }),
    /spec.containers\[1\].name: Duplicate value: "a"/,
  ],
  [
    'a mount of a volume that is not there',
    PODS,
    pod('p', { containers: [{ name: 'a', image: 'i', volumeMounts: [{ name: 'v', mountPath: '/v' }] }] }),
    /volumeMounts\[0\].name: Not found: "v"/,
  ],
  [
    'a word that is not offered',
    PODS,
    pod('p', { restartPolicy: 'Sometimes' }),
    /spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"/,
  ],
  ['a service without ports', SERVICES, { metadata: meta('s'), spec: {} } as KubeObject, /spec.ports: Required value/],
  [
    'two ports of a name',
    SERVICES,
    {
      metadata: meta('s'),
      spec: {
        ports: [
          { name: 'a', port: 1 },
          { name: 'a', port: 2 },
        ],
      },
    } as KubeObject,
    /spec.ports\[1\].name: Duplicate value: "a"/,
  ],
  [
    'a service name that begins with a digit',
    SERVICES,
    { metadata: meta('1s'), spec: { ports: [{ port: 1 }] } } as KubeObject,
    /a DNS-1035 label/,
  ],
  [
    'a secret that is not base64',
    SECRETS,
    { metadata: meta('s'), data: { a: '?' } } as KubeObject,
    /data\[a\]: Invalid value: illegal base64 data/,
  ],
  [
    'an Istio mode that is not offered',
    PEER_AUTHENTICATIONS,
    { metadata: meta('p'), spec: { mtls: { mode: 'MAYBE' } } } as KubeObject,
    /PeerAuthentication.security.istio.io "p" is invalid: spec.mtls.mode: Unsupported value: "MAYBE"/,
  ],
  [
    'a Gateway API hostname',
    HTTP_ROUTES,
    { metadata: meta('r'), spec: { hostnames: ['A'] } } as KubeObject,
    /spec.hostnames\[0\]: Invalid value: "A"/,
  ],
];
for (const [name, resource, object, message] of invalid)
  test(`refused with the field's path: ${name}`, async (t) => {
    const { client } = await cluster(t);
    await fails(client.create(resource, object), 422, message);
  });

test('a value of the wrong type is a bad request that names the field', async (t) => {
  const { client } = await cluster(t);
  await fails(
    client.create(DEPLOYMENTS, { ...deployment(), spec: { replicas: 'two' } } as never),
    400,
    /Deployment in version "v1" cannot be handled as a Deployment: spec.replicas: must be an integer, not a string/,
  );
});

test('update: optimistic locking, generation, status is left alone, nothing changed is nothing written', async (t) => {
  const { client } = await cluster(t);
  const made = await client.create(DEPLOYMENTS, deployment());
  const scaled = await client.update(DEPLOYMENTS, {
    ...made,
    spec: { ...made.spec!, replicas: 3 },
    status: { replicas: 9 },
  });
  assert.equal(scaled.metadata?.generation, 2);
  assert.equal(scaled.status?.replicas, undefined);
  await fails(
    client.update(DEPLOYMENTS, { ...made, metadata: { ...made.metadata, labels: { a: 'b' } } }),
    409,
    /the object has been modified/,
  );
  const again = await client.update(DEPLOYMENTS, scaled);
  assert.equal(again.metadata?.resourceVersion, scaled.metadata?.resourceVersion);
  const status = await client.update(
    DEPLOYMENTS,
    { ...scaled, spec: made.spec!, status: { replicas: 3 } },
    { subresource: 'status' },
  );
  assert.deepEqual([status.status?.replicas, status.spec?.replicas, status.metadata?.generation], [3, 3, 2]);
});

test('fields that do not change: selectors, cluster addresses, pods', async (t) => {
  const { client } = await cluster(t);
  const made = await client.create(DEPLOYMENTS, deployment());
  const selector = { matchLabels: { app: 'web', more: 'x' } };
  await fails(
    client.update(DEPLOYMENTS, {
      ...made,
      spec: { ...made.spec!, selector, template: template({ app: 'web', more: 'x' }) },
    }),
    422,
    /spec.selector: Invalid value: .*: field is immutable/,
  );
  const service = await client.create(SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta('s'),
    spec: { ports: [{ port: 80 }] },
  });
  await fails(
    client.patch(SERVICES, 's', 'shop', 'merge', { spec: { clusterIP: '10.96.9.9', clusterIPs: ['10.96.9.9'] } }),
    422,
    /field is immutable/,
  );
  const replaced = await client.update(SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta('s'),
    spec: { ports: [{ port: 81 }] },
  });
  assert.equal(replaced.spec?.clusterIP, service.spec?.clusterIP, 'an update that names none keeps the address');
  const running = await client.create(PODS, pod('p'));
  await fails(
    client.update(PODS, { ...running, spec: { ...running.spec!, hostNetwork: true } }),
    422,
    /pod updates may not change fields other than/,
  );
  const containers = [{ ...running.spec!.containers[0]!, image: 'echo:2' }];
  assert.equal(
    (await client.update(PODS, { ...running, spec: { ...running.spec!, containers } })).spec?.containers[0]?.image,
    'echo:2',
  );
});

test('patches of each type; strategic is for built-in kinds', async (t) => {
  const { client } = await cluster(t);
  await client.create(DEPLOYMENTS, deployment());
  const side = { spec: { template: { spec: { containers: [{ name: 'side', image: 's:1' }] } } } };
  const names = (d: { spec?: { template: { spec?: { containers: { name: string }[] } } } }) =>
    d.spec?.template.spec?.containers.map(({ name }) => name);
  assert.deepEqual(names(await client.patch(DEPLOYMENTS, 'web', 'shop', 'strategic', side)), ['app', 'side']);
  assert.deepEqual(
    names(
      await client.patch(DEPLOYMENTS, 'web', 'shop', 'json', [
        { op: 'remove', path: '/spec/template/spec/containers/1' },
      ]),
    ),
    ['app'],
  );
  assert.deepEqual(names(await client.patch(DEPLOYMENTS, 'web', 'shop', 'merge', side)), ['side']);
  await client.create(PEER_AUTHENTICATIONS, {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: meta('p'),
    spec: { mtls: { mode: 'STRICT' } },
  });
  await fails(client.patch(PEER_AUTHENTICATIONS, 'p', 'shop', 'strategic', {}), 415, /unknown format/);
});

test('containers are added to a running pod, and nothing else of it changes', async (t) => {
  const { api, client } = await cluster(t);
  await client.create(PODS, pod('p'));
  const target = {
    kind: api.context.registry.findKind('v1', 'Pod')!.kind,
    version: 'v1',
    namespace: 'shop',
    name: 'p',
    subresource: 'ephemeralcontainers',
  };
  const params = { manager: 'test', dryRun: false, fieldValidation: 'Strict' } as const;
  const add = (...ephemeralContainers: object[]) =>
    patch(
      api.context,
      target,
      'strategic',
      { metadata: { labels: { no: 'no' } }, spec: { ephemeralContainers } },
      params,
    );
  const { object } = await add({ name: 'debugger', image: 'busybox', stdin: true, tty: true });
  const { metadata, spec } = object as IPod;
  assert.deepEqual(
    spec?.ephemeralContainers?.map(({ name, imagePullPolicy, stdin }) => [name, imagePullPolicy, stdin]),
    [['debugger', 'Always', true]],
  );
  assert.deepEqual([metadata?.labels?.no, spec?.containers.length], [undefined, 1]);
  await add({ name: 'second', image: 'busybox', targetContainerName: spec?.containers[0]?.name });
  const refused: [object, RegExp][] = [
    [{ name: 'debugger', image: 'other' }, /"debugger" may not be changed/],
    [{ name: spec?.containers[0]?.name, image: 'x' }, /Duplicate value/],
    [{ name: 'a' }, /image: Required/],
    [{ name: 'a', image: 'x', ports: [{ containerPort: 1 }] }, /ports: Forbidden: cannot be set/],
    [{ name: 'a', image: 'x', targetContainerName: 'none' }, /targetContainerName: Invalid/],
  ];
  for (const [container, message] of refused) await assert.rejects(add(container), { code: 422, message });
  const without = update(api.context, target, { ...object, spec: { ...spec, ephemeralContainers: [] } }, params);
  await assert.rejects(without, { code: 409 }); // of an older resourceVersion
  const now = (await client.get(PODS, 'p', 'shop'))!;
  const bare = { ...now, spec: { ...now.spec, ephemeralContainers: [] } };
  await assert.rejects(update(api.context, target, bare, params), { code: 422, message: /may not be removed/ });
});

test('whoever writes the status of a custom kind need not send the rest', async (t) => {
  const { client } = await cluster(t);
  const kind = { group: 'gateway.networking.k8s.io', version: 'v1', plural: 'gatewayclasses', kind: 'GatewayClass' };
  const classes = { ...kind, namespaced: false };
  const spec = { controllerName: 'istio.io/gateway-controller' };
  const name = { metadata: { name: 'istio' } };
  const of = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GatewayClass' };
  const made = await client.create(classes, { ...of, ...name, spec } as KubeObject);
  const empty = { ...of, metadata: made.metadata!, spec: { controllerName: '' }, status: { conditions: [] } };
  const written = await client.update(classes, empty as KubeObject, { subresource: 'status' });
  assert.deepEqual(
    [(written as { spec?: unknown }).spec, (written as { status?: unknown }).status],
    [spec, { conditions: [] }],
  );
  await assert.rejects(client.update(classes, { ...empty, metadata: written.metadata! } as KubeObject), { code: 422 });
});

test('a status patch of a pod may set annotations, of a custom kind not', async (t) => {
  const { client } = await cluster(t);
  await client.create(PODS, pod('p'));
  const annotations = { 'ambient.istio.io/redirection': 'enabled' };
  const patched = await client.patch(
    PODS,
    'p',
    'shop',
    'merge',
    { metadata: { annotations } },
    { subresource: 'status' },
  );
  assert.deepEqual(patched.metadata?.annotations, annotations);
  await client.create(HTTP_ROUTES, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: meta('r'),
    spec: {},
  });
  const route = await client.patch(
    HTTP_ROUTES,
    'r',
    'shop',
    'merge',
    { metadata: { annotations }, status: { parents: [] } },
    { subresource: 'status' },
  );
  assert.deepEqual([route.metadata?.annotations, route.status], [undefined, { parents: [] }]);
});

test('a pod gets its service account, its token volume and nothing twice', async (t) => {
  const { client } = await cluster(t);
  await fails(client.create(PODS, pod('p', { serviceAccountName: 'cart' })), 403, /serviceaccount "cart" not found/);
  await client.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: meta('cart'),
    automountServiceAccountToken: false,
  });
  const without = await client.create(PODS, pod('q', { serviceAccountName: 'cart' }));
  assert.equal(without.spec?.volumes, undefined);
  const made = await client.create(PODS, pod('p'));
  assert.equal(made.spec?.serviceAccountName, 'default');
  assert.equal(made.spec?.volumes?.length, 1);
  assert.equal(made.spec?.containers[0]?.volumeMounts?.[0]?.mountPath, '/var/run/secrets/kubernetes.io/serviceaccount');
  const copy = await client.create(PODS, { ...made, metadata: meta('copy') });
  assert.equal(copy.spec?.volumes?.length, 1);
});

test('cluster addresses: given, asked for, refused when taken or outside, free again after deletion', async (t) => {
  const { client } = await cluster(t);
  const service = (name: string, clusterIP?: string) =>
    client.create(SERVICES, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: meta(name),
      spec: { ports: [{ port: 80 }], ...(clusterIP && { clusterIP }) },
    });
  assert.match((await service('a')).spec?.clusterIP ?? '', /^10\.96\./);
  assert.equal((await service('b', '10.96.7.7')).spec?.clusterIP, '10.96.7.7');
  assert.equal((await service('c', 'None')).spec?.clusterIP, 'None');
  await fails(service('d', '10.96.7.7'), 422, /provided IP is already allocated/);
  await fails(service('d', '10.97.0.1'), 422, /not in 10\.96\.0\.0\/16/);
  await client.delete(SERVICES, 'b', 'shop');
  assert.equal((await service('d', '10.96.7.7')).spec?.clusterIP, '10.96.7.7');
});

test('deleting: pods wait for their kubelet, finalizers are waited for, a namespace for its contents', async (t) => {
  const { client } = await cluster(t);
  await client.create(PODS, pod('unscheduled'));
  await client.delete(PODS, 'unscheduled', 'shop');
  assert.equal(await client.get(PODS, 'unscheduled', 'shop'), undefined);

  await client.create(PODS, pod('p', { nodeName: 'node-1' }));
  await client.delete(PODS, 'p', 'shop');
  const waiting = await client.get(PODS, 'p', 'shop');
  assert.equal(waiting?.metadata?.deletionGracePeriodSeconds, 30);
  assert.ok(waiting?.metadata?.deletionTimestamp);
  await client.delete(PODS, 'p', 'shop', { gracePeriodSeconds: 0 });
  assert.equal(await client.get(PODS, 'p', 'shop'), undefined);

  const held = await client.create(CONFIG_MAPS, {
    ...configMap('a'),
    metadata: { ...meta('a'), finalizers: ['example.com/hold'] },
  });
  await client.delete(CONFIG_MAPS, 'a', 'shop');
  await fails(
    client.patch(CONFIG_MAPS, 'a', 'shop', 'merge', {
      metadata: { finalizers: ['example.com/hold', 'example.com/new'] },
    }),
    422,
    /no new finalizers can be added/,
  );
  assert.equal((await client.get(CONFIG_MAPS, 'a', 'shop'))?.metadata?.uid, held.metadata?.uid);
  await client.patch(CONFIG_MAPS, 'a', 'shop', 'merge', { metadata: { finalizers: null } });
  assert.equal(await client.get(CONFIG_MAPS, 'a', 'shop'), undefined);

  await client.delete(NAMESPACES, 'shop');
  const namespace = await client.get(NAMESPACES, 'shop');
  assert.equal(namespace?.status?.phase, 'Terminating');
  await fails(client.create(CONFIG_MAPS, configMap('late')), 403, /because it is being terminated/);
  await client.update(NAMESPACES, { ...namespace!, spec: { finalizers: [] } }, { subresource: 'finalize' });
  assert.equal(await client.get(NAMESPACES, 'shop'), undefined);
  await fails(client.delete(NAMESPACES, 'default'), 403, /may not be deleted/);
});

test('propagation: Foreground and Orphan leave a finalizer for the garbage collector', async (t) => {
  const { client } = await cluster(t);
  for (const [policy, finalizer] of [
    ['Foreground', 'foregroundDeletion'],
    ['Orphan', 'orphan'],
  ] as const) {
    await client.create(DEPLOYMENTS, deployment(policy.toLowerCase()));
    await client.delete(DEPLOYMENTS, policy.toLowerCase(), 'shop', { propagationPolicy: policy });
    assert.deepEqual((await client.get(DEPLOYMENTS, policy.toLowerCase(), 'shop'))?.metadata?.finalizers, [finalizer]);
  }
});

test('scale and eviction subresources', async (t) => {
  const { client } = await cluster(t);
  await client.create(DEPLOYMENTS, deployment());
  const scale = (await client.patch(
    DEPLOYMENTS,
    'web',
    'shop',
    'merge',
    { spec: { replicas: 5 } },
    { subresource: 'scale' },
  )) as KubeObject as { spec: unknown; status: unknown };
  assert.deepEqual([scale.spec, scale.status], [{ replicas: 5 }, { replicas: 0, selector: 'app=web' }]);
  assert.equal((await client.get(DEPLOYMENTS, 'web', 'shop'))?.spec?.replicas, 5);
  await fails(
    client.patch(DEPLOYMENTS, 'web', 'shop', 'merge', { spec: { replicas: -1 } }, { subresource: 'scale' }),
    422,
    /must be a whole number/,
  );
  await client.create(PODS, pod('p'));
  await client.create(
    POD_EVICTIONS,
    { apiVersion: 'policy/v1', kind: 'Eviction', metadata: meta('p') },
    { subresource: 'eviction' },
  );
  assert.equal(await client.get(PODS, 'p', 'shop'), undefined);
});

test('dry runs change nothing', async (t) => {
  const { api, client } = await cluster(t);
  await client.create(CONFIG_MAPS, configMap('a'));
  const version = api.context.store.resourceVersion;
  assert.equal((await client.create(DEPLOYMENTS, deployment(), { dryRun: true })).spec?.replicas, 1);
  assert.deepEqual(
    (await client.patch(CONFIG_MAPS, 'a', 'shop', 'merge', { data: { x: 'y' } }, { dryRun: true })).data,
    { x: 'y' },
  );
  assert.equal(api.context.store.resourceVersion, version);
});

test('a watch tells a selection what enters, changes and leaves it', async (t) => {
  const { client } = await cluster(t);
  const { resourceVersion } = await client.list(CONFIG_MAPS, { namespace: 'shop' });
  const stop = new AbortController();
  const seen: string[] = [];
  const done = (async () => {
    const options = { namespace: 'shop', labelSelector: 'on=yes', resourceVersion, signal: stop.signal };
    for await (const { type, object } of client.watch(CONFIG_MAPS, options) as AsyncIterable<WatchEvent<KubeObject>>) {
      seen.push(`${type} ${object.metadata?.name}`);
      if (seen.length === 4) stop.abort();
    }
  })();
  const on = (name: string, value: string) =>
    client.patch(CONFIG_MAPS, name, 'shop', 'merge', { metadata: { labels: { on: value } } });
  await client.create(CONFIG_MAPS, configMap('a'));
  await on('a', 'yes');
  await client.patch(CONFIG_MAPS, 'a', 'shop', 'merge', { data: { x: '1' } });
  await on('a', 'no');
  await client.create(CONFIG_MAPS, { ...configMap('b'), metadata: { ...meta('b'), labels: { on: 'yes' } } });
  await done;
  assert.deepEqual(seen, ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED b']);
});

test('versions of one kind share their storage', async (t) => {
  const { client } = await cluster(t);
  const old: Resource = { ...PEER_AUTHENTICATIONS, version: 'v1beta1' };
  await client.create(old, {
    apiVersion: 'security.istio.io/v1beta1',
    kind: 'PeerAuthentication',
    metadata: meta('p'),
  });
  assert.equal((await client.get(PEER_AUTHENTICATIONS, 'p', 'shop'))?.apiVersion, 'security.istio.io/v1');
  assert.equal((await client.get(old, 'p', 'shop'))?.apiVersion, 'security.istio.io/v1beta1');
});
