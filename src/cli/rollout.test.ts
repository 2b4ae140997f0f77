import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { DAEMON_SETS, DEPLOYMENTS, PODS } from '../kube/client/resources.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import { type Progress, type Rollout, waitForRollout } from './rollout.ts';

const SOON_MS = 40;
const LATE_MS = 20_000;
const namespaces = new Set(['shop']);

const deployment = (
  ready: number,
  set: { replicas?: number; updated?: number; total?: number; observed?: number } = {},
) => ({
  metadata: { name: 'api', namespace: 'shop', generation: 2 },
  spec: { replicas: set.replicas ?? 2, selector: { matchLabels: { app: 'api' } }, template: {} },
  status: {
    readyReplicas: ready,
    updatedReplicas: set.updated ?? 2,
    replicas: set.total ?? 2,
    observedGeneration: set.observed ?? 2,
  },
});

function pod(name: string, status: IPod['status'] | 'ready', set: { owned?: boolean; namespace?: string } = {}): IPod {
  const { owned = true, namespace = 'shop' } = set;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      ...(owned
        ? { ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'u', controller: true }] }
        : {}),
    },
    ...(status === 'ready'
      ? { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' as const }] } }
      : status === undefined
        ? {}
        : { status }),
  };
}

const waiting = (reason: string, message?: string): IPod['status'] => ({
  phase: 'Pending',
  containerStatuses: [
    {
      name: 'c',
      image: 'i',
      imageID: '',
      ready: false,
      restartCount: 0,
      state: { waiting: { reason, ...(message === undefined ? {} : { message }) } },
    },
  ],
});

const wait = (client: MemoryKubeClient, timeoutMs: number, onProgress?: (p: Progress) => void): Promise<Rollout> =>
  waitForRollout(client, { namespaces, timeoutMs, ...(onProgress === undefined ? {} : { onProgress }) });

test('complete as soon as every replica and every single pod is ready', async () => {
  const client = new MemoryKubeClient();
  client.put(DEPLOYMENTS, deployment(1));
  client.put(PODS, pod('api-1', 'ready'));
  client.put(PODS, pod('api-2', waiting('ContainerCreating')));
  client.put(PODS, pod('lone', { phase: 'Running' }, { owned: false }));
  client.put(PODS, pod('other', waiting('ImagePullBackOff'), { namespace: 'bank' }));
  const seen: string[] = [];
  const rollout = wait(client, LATE_MS, ({ ready, wanted }) => {
    seen.push(`${ready}/${wanted}`);
    if (seen.length === 1) {
      client.put(PODS, pod('api-2', 'ready'));
      client.put(PODS, pod('lone', 'ready', { owned: false }));
      client.put(DEPLOYMENTS, deployment(2));
    }
  });
  assert.deepEqual(await rollout, { complete: true, progress: { ready: 3, wanted: 3 }, waiting: [] });
  assert.equal(seen[0], '1/3');
  assert.equal(seen.at(-1), '3/3');
});

const unsettled: [string, ReturnType<typeof deployment>][] = [
  ['its controller has not seen the change', deployment(2, { observed: 1 })],
  ['old replicas are still updated', deployment(2, { updated: 1 })],
  ['old replicas are still there', deployment(2, { total: 3 })],
];
for (const [name, object] of unsettled)
  test(`ready is not complete: ${name}`, async () => {
    const client = new MemoryKubeClient();
    client.put(DEPLOYMENTS, object);
    assert.equal((await wait(client, SOON_MS)).complete, false);
  });

test('a daemon set that no node wants yet is not complete', async () => {
  const client = new MemoryKubeClient();
  const daemonSet = (desired: number) => ({
    metadata: { name: 'agent', namespace: 'shop', generation: 1 },
    spec: { selector: {}, template: {} },
    status: {
      desiredNumberScheduled: desired,
      numberReady: desired,
      currentNumberScheduled: desired,
      numberMisscheduled: 0,
      observedGeneration: 1,
    },
  });
  client.put(DAEMON_SETS, daemonSet(0));
  assert.equal((await wait(client, SOON_MS)).complete, false);
  client.put(DAEMON_SETS, daemonSet(2));
  assert.deepEqual(await wait(client, LATE_MS), {
    complete: true,
    progress: { ready: 2, wanted: 2 },
    waiting: [],
  });
});

const reasons: [string, IPod['status'], string][] = [
  ['a waiting container', waiting('CrashLoopBackOff', 'back-off 10s'), 'CrashLoopBackOff: back-off 10s'],
  ['a waiting one without message', waiting('ContainerCreating'), 'ContainerCreating'],
  [
    'an ended container',
    {
      containerStatuses: [
        {
          name: 'c',
          image: 'i',
          imageID: '',
          ready: false,
          restartCount: 0,
          state: { terminated: { exitCode: 3 } },
        },
      ],
    },
    'container `c` ended with exit code 3',
  ],
  [
    'no node for it',
    { phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', message: '0/2 nodes are available' }] },
    '0/2 nodes are available',
  ],
  ['a probe that fails', { phase: 'Running' }, 'its containers are not ready yet'],
  ['nothing known', undefined, 'not started yet'],
];
for (const [name, status, reason] of reasons)
  test(`why a pod waits: ${name}`, async () => {
    const client = new MemoryKubeClient();
    client.put(PODS, pod('api-1', status));
    const rollout = await wait(client, SOON_MS);
    assert.deepEqual(rollout.waiting, [{ pod: 'shop/api-1', reason }]);
    assert.equal(rollout.complete, false);
  });

test('what cannot change by waiting ends the wait', async () => {
  const client = new MemoryKubeClient();
  client.put(DEPLOYMENTS, deployment(1));
  client.put(PODS, pod('api-1', 'ready'));
  client.put(PODS, pod('api-2', waiting('ImagePullBackOff', 'nobody knows `x`')));
  const rollout = await wait(client, LATE_MS);
  assert.equal(rollout.complete, false);
  assert.match(rollout.waiting[0]?.reason ?? '', /^ImagePullBackOff: nobody knows/);
});

test('pods that leave or are done are not waited for', async () => {
  const client = new MemoryKubeClient();
  const leaving = pod('old', { phase: 'Running' });
  client.put(PODS, { ...leaving, metadata: { ...leaving.metadata, deletionTimestamp: '2026-11-21T08:00:00Z' } });
  client.put(PODS, pod('job', { phase: 'Succeeded' }, { owned: false }));
  assert.equal((await wait(client, LATE_MS)).complete, true);
});

test('an interrupted wait tells how far it came', async () => {
  const client = new MemoryKubeClient();
  client.put(DEPLOYMENTS, deployment(0));
  const interrupt = new AbortController();
  const rollout = waitForRollout(client, {
    namespaces,
    timeoutMs: LATE_MS,
    signal: interrupt.signal,
    onProgress: () => interrupt.abort(),
  });
  assert.deepEqual(await rollout, { complete: false, progress: { ready: 0, wanted: 2 }, waiting: [] });
});
