// The controllers over the real embedded API in this process; the test plays the kubelet, which makes pods ready and
// lets deleted ones go.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { startInformer } from '../client/informer.ts';
import {
  CONFIG_MAPS,
  DAEMON_SETS,
  DEPLOYMENTS,
  ENDPOINT_SLICES,
  NAMESPACES,
  NODES,
  PODS,
  REPLICA_SETS,
  SERVICES,
} from '../client/resources.ts';
import type { Informer, KubeClient, KubeObject, Resource } from '../client/types.ts';
import { EmbeddedApi } from '../server/embedded.ts';
import { startControllers } from './index.ts';

let api: EmbeddedApi;
let client: KubeClient;
let stop: AbortController;
/** Pods that the kubelet leaves unready. */
let broken: (pod: IPod) => boolean;
let nextIp: number;

beforeEach(async () => {
  api = new EmbeddedApi({ path: ':memory:' });
  client = api.client('controllers');
  stop = new AbortController();
  broken = () => false;
  nextIp = 2;
  const informers = new Map<string, Informer<KubeObject>>();
  startControllers({
    client,
    informer: <T extends KubeObject>(resource: Resource<T>): Informer<T> => {
      const id = `${resource.group}/${resource.plural}`;
      const known = informers.get(id) ?? startInformer(client, resource as Resource, { signal: stop.signal });
      informers.set(id, known);
      return known as Informer<T>;
    },
    resources: () => api.resources(),
    onResourcesChange: (handler) => api.onResourcesChange(handler),
    clusterCaPem: 'the CA',
    now: () => new Date(),
    log: (level, message, fields) => {
      if (level === 'error') throw new Error(`${message} ${JSON.stringify(fields)}`);
    },
  });
  for (const name of ['node-1', 'node-2'])
    await client.create(NODES, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { 'topology.kubernetes.io/zone': name } },
    });
  playKubelet();
});
afterEach(() => {
  stop.abort();
  api.close();
});

function playKubelet(): void {
  startInformer(client, PODS, { signal: stop.signal }).onChange((_key, pod) => {
    if (!pod?.spec?.nodeName || !pod.metadata?.name) return;
    const { name, namespace } = pod.metadata;
    if (pod.metadata.deletionTimestamp !== undefined)
      void client.delete(PODS, name, namespace, { gracePeriodSeconds: 0 });
    else if (pod.status?.podIP === undefined) {
      const ip = `10.244.1.${nextIp++}`;
      const ready = broken(pod) ? 'False' : 'True';
      const conditions = [{ type: 'Ready', status: ready, lastTransitionTime: '2026-01-01T00:00:00Z' }];
      void client.patch(
        PODS,
        name,
        namespace,
        'merge',
        { status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions } },
        { subresource: 'status' },
      );
    }
  });
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (let turn = 0; turn < 2000; turn++) {
    const value = await look();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`never: ${what}`);
}

const deployment = (name: string, replicas: number, image = 'a', extra: object = {}): IDeployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'default' },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image }] } },
    ...extra,
  },
});
const daemonSet = (image: string, maxSurge: number): IDaemonSet => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'agent', namespace: 'default' },
  spec: {
    selector: { matchLabels: { app: 'agent' } },
    updateStrategy: {
      type: 'RollingUpdate',
      rollingUpdate: maxSurge ? { maxSurge, maxUnavailable: 0 } : { maxUnavailable: 1 },
    },
    template: { metadata: { labels: { app: 'agent' } }, spec: { containers: [{ name: 'c', image }] } },
  },
});
const podsOf = async (app: string): Promise<IPod[]> =>
  (await client.list(PODS, { namespace: 'default', labelSelector: `app=${app}` })).items;
const statusOf = async (name: string) => (await client.get(DEPLOYMENTS, name, 'default'))?.status;

test('a deployment becomes ready pods, spread over the nodes, and says so', async () => {
  await client.create(DEPLOYMENTS, deployment('web', 4));
  await until('4 available', async () => (await statusOf('web'))?.availableReplicas === 4);
  const pods = await podsOf('web');
  assert.deepEqual(pods.map((p) => p.spec?.nodeName).sort(), ['node-1', 'node-1', 'node-2', 'node-2']);
  const status = await statusOf('web');
  assert.deepEqual(
    status?.conditions?.map((c) => [c.type, c.status, c.reason]),
    [
      ['Available', 'True', 'MinimumReplicasAvailable'],
      ['Progressing', 'True', 'NewReplicaSetAvailable'],
    ],
  );
  await client.patch(DEPLOYMENTS, 'web', 'default', 'merge', { spec: { replicas: 1 } });
  await until('1 pod left', async () => (await podsOf('web')).length === 1);
});

test('a changed template rolls over without ever having fewer available than promised', async () => {
  await client.create(
    DEPLOYMENTS,
    deployment('web', 4, 'a', {
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    }),
  );
  await until('4 available', async () => (await statusOf('web'))?.availableReplicas === 4);
  let fewest = 4;
  let most = 0;
  startInformer(client, PODS, { labelSelector: 'app=web', signal: stop.signal }).onChange(() => {
    void podsOf('web').then((pods) => {
      const live = pods.filter((p) => p.metadata?.deletionTimestamp === undefined);
      fewest = Math.min(
        fewest,
        live.filter((p) => p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')).length,
      );
      most = Math.max(most, live.length);
    });
  });
  await client.patch(DEPLOYMENTS, 'web', 'default', 'merge', {
    spec: { template: { metadata: { annotations: { turn: '2' } } } },
  });
  await until('all updated', async () => {
    const status = await statusOf('web');
    return (
      status?.updatedReplicas === 4 &&
      status.replicas === 4 &&
      status.availableReplicas === 4 &&
      (await podsOf('web')).every((p) => p.metadata?.annotations?.turn === '2')
    );
  });
  assert.equal(fewest, 4);
  assert.ok(most <= 5, `${most} pods at once`);
  const sets = (await client.list(REPLICA_SETS, { namespace: 'default' })).items;
  assert.deepEqual(sets.map((s) => s.metadata?.annotations?.['deployment.kubernetes.io/revision']).sort(), ['1', '2']);
});

test('an update that never becomes ready keeps the old pods serving', async () => {
  await client.create(DEPLOYMENTS, deployment('web', 3, 'good'));
  await until('3 available', async () => (await statusOf('web'))?.availableReplicas === 3);
  broken = (pod) => pod.spec?.containers[0]?.image === 'bad';
  await client.patch(DEPLOYMENTS, 'web', 'default', 'strategic', {
    spec: { template: { spec: { containers: [{ name: 'c', image: 'bad' }] } } },
  });
  await until('a bad pod', async () => (await podsOf('web')).some((p) => p.spec?.containers[0]?.image === 'bad'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const good = (await podsOf('web')).filter(
    (p) => p.spec?.containers[0]?.image === 'good' && p.metadata?.deletionTimestamp === undefined,
  );
  assert.equal(good.length, 3, 'a quarter of three may go, rounded down: none');
});

test('recreation ends every old pod before the first new one', async () => {
  await client.create(DEPLOYMENTS, deployment('web', 2, 'a', { strategy: { type: 'Recreate' } }));
  await until('2 available', async () => (await statusOf('web'))?.availableReplicas === 2);
  let mixed = false;
  startInformer(client, PODS, { labelSelector: 'app=web', signal: stop.signal }).onChange(() => {
    void podsOf('web').then((pods) => {
      mixed ||= new Set(pods.map((p) => p.spec?.containers[0]?.image)).size > 1;
    });
  });
  await client.patch(DEPLOYMENTS, 'web', 'default', 'strategic', {
    spec: { template: { spec: { containers: [{ name: 'c', image: 'b' }] } } },
  });
  await until(
    '2 new',
    async () => (await podsOf('web')).filter((p) => p.spec?.containers[0]?.image === 'b').length === 2,
  );
  assert.equal(mixed, false);
});

test('deleting a deployment takes its replica sets and pods along', async () => {
  await client.create(DEPLOYMENTS, deployment('web', 2));
  await until('2 pods', async () => (await podsOf('web')).length === 2);
  await client.delete(DEPLOYMENTS, 'web', 'default', { propagationPolicy: 'Background' });
  await until(
    'nothing left',
    async () =>
      (await podsOf('web')).length === 0 &&
      (await client.list(REPLICA_SETS, { namespace: 'default' })).items.length === 0,
  );
});

test('a daemon set has one pod a node, also on nodes that come later', async () => {
  await client.create(DAEMON_SETS, daemonSet('a', 0));
  await until('2 pods', async () => (await podsOf('agent')).length === 2);
  await client.create(NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-3' } });
  await until('3 ready', async () => (await client.get(DAEMON_SETS, 'agent', 'default'))?.status?.numberReady === 3);
});

test('a daemon set that surges has the new pod ready on a node before the old one goes', async () => {
  await client.create(DAEMON_SETS, daemonSet('a', 1));
  await until('2 ready', async () => (await client.get(DAEMON_SETS, 'agent', 'default'))?.status?.numberReady === 2);
  let gap = false;
  startInformer(client, PODS, { labelSelector: 'app=agent', signal: stop.signal }).onChange(() => {
    void podsOf('agent').then((pods) => {
      for (const node of ['node-1', 'node-2'])
        gap ||= !pods.some(
          (p) =>
            p.spec?.nodeName === node &&
            p.metadata?.deletionTimestamp === undefined &&
            p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
        );
    });
  });
  await client.patch(DAEMON_SETS, 'agent', 'default', 'strategic', {
    spec: { template: { spec: { containers: [{ name: 'c', image: 'b' }] } } },
  });
  await until('2 updated', async () => {
    const pods = await podsOf('agent');
    return (
      pods.length === 2 &&
      pods.every((p) => p.spec?.containers[0]?.image === 'b') &&
      (await client.get(DAEMON_SETS, 'agent', 'default'))?.status?.updatedNumberScheduled === 2
    );
  });
  assert.equal(gap, false);
});

test('endpoints follow readiness, named ports and deletion', async () => {
  const ports = [{ name: 'http', containerPort: 8080 }];
  await client.create(SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  });
  broken = (pod) => pod.metadata?.name === 'sick';
  for (const name of ['fine', 'sick'])
    await client.create<IPod>(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels: { app: 'web' } },
      spec: { containers: [{ name: 'c', image: 'a', ports }] },
    });
  const slices = async () =>
    (await client.list(ENDPOINT_SLICES, { namespace: 'default', labelSelector: 'kubernetes.io/service-name=web' }))
      .items;
  const [slice] = await until('both endpoints', async () => {
    const found = await slices();
    return (found[0]?.endpoints ?? []).length === 2 && found;
  });
  assert.deepEqual(slice?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
  assert.deepEqual(
    slice?.endpoints?.map((e) => [e.targetRef?.name, e.conditions?.ready]),
    [
      ['fine', true],
      ['sick', false],
    ],
  );
  await client.delete(PODS, 'fine', 'default');
  await until('one endpoint', async () => ((await slices())[0]?.endpoints ?? []).length === 1);
  await client.delete(SERVICES, 'web', 'default');
  await until('no slice', async () => (await slices()).length === 0);
});

test('a namespace has its account and the cluster certificate, and takes everything along when it goes', async () => {
  await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await until(
    'the certificate',
    async () => (await client.get(CONFIG_MAPS, 'kube-root-ca.crt', 'shop'))?.data?.['ca.crt'] === 'the CA',
  );
  await client.create<IPod>(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { containers: [{ name: 'c', image: 'a' }] },
  });
  await client.delete(NAMESPACES, 'shop');
  await until('gone', async () => (await client.get(NAMESPACES, 'shop')) === undefined);
  assert.equal((await client.list(PODS, { namespace: 'shop' })).items.length, 0);
});

test('a pod that no node admits says why', async () => {
  await client.create<IPod>(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'picky', namespace: 'default' },
    spec: { nodeSelector: { disk: 'fast' }, containers: [{ name: 'c', image: 'a' }] },
  });
  const condition = await until('the reason', async () =>
    (await client.get(PODS, 'picky', 'default'))?.status?.conditions?.find((c) => c.type === 'PodScheduled'),
  );
  assert.equal(condition.reason, 'Unschedulable');
  assert.match(
    condition.message ?? '',
    /0\/2 nodes are available: 2 node\(s\) didn't match Pod's node affinity\/selector/,
  );
});
