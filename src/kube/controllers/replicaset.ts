// ReplicaSet: as many pods as asked for.

import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import { PODS, REPLICA_SETS } from '../client/resources.ts';
import type { OwnerReference } from '../client/types.ts';
import { type ControllerContext, splitKey } from './context.ts';
import {
  availableInMs,
  cheapestFirst,
  controlledPods,
  controllerOf,
  createPod,
  deletePod,
  isActive,
  isReady,
} from './pods.ts';
import { WorkQueue } from './queue.ts';

const BURST = 100; // pods made or removed at once, so that one typo does not flood the node

export function startReplicaSets(context: ControllerContext): void {
  const queue = new WorkQueue({
    reconcile: (key) => reconcile(context, key),
    onError: (key, error) => context.log('warn', 'replicaset not reconciled', { key, error: String(error) }),
  });
  context.informer(REPLICA_SETS).onChange((key) => queue.add(key));
  context.informer(PODS).onChange((_key, now, before) => {
    for (const pod of [now, before]) {
      const owner = pod && controllerOf(pod);
      if (owner?.kind === 'ReplicaSet') queue.add(`${pod?.metadata?.namespace}/${owner.name}`);
    }
  });
}

async function reconcile(context: ControllerContext, key: string): Promise<number | undefined> {
  const { namespace = '', name } = splitKey(key);
  const set = await context.client.get(REPLICA_SETS, name, namespace);
  if (set === undefined) return undefined;
  const owner = ownerOf(set);
  const pods = (await controlledPods(context, owner, namespace, set.spec?.selector)).filter(isActive);
  const wanted = set.spec?.replicas ?? 1;
  if (set.metadata?.deletionTimestamp === undefined) {
    if (pods.length < wanted) {
      const missing = Math.min(BURST, wanted - pods.length);
      for (let i = 0; i < missing; i++) pods.push(await createPod(context, owner, namespace, set.spec?.template ?? {}));
    } else if (pods.length > wanted) {
      const extra = cheapestFirst(pods).slice(0, Math.min(BURST, pods.length - wanted));
      for (const pod of extra) await deletePod(context, pod);
      for (const pod of extra) pods.splice(pods.indexOf(pod), 1);
    }
  }
  const waits = pods.map((pod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, context.now()));
  const status: NonNullable<IReplicaSet['status']> = {
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: pods.filter(isReady).length,
    availableReplicas: waits.filter((wait) => wait === 0).length,
    ...(set.metadata?.generation !== undefined && { observedGeneration: set.metadata.generation }),
  };
  const before = set.status;
  if (
    before?.replicas !== status.replicas ||
    (before.readyReplicas ?? 0) !== status.readyReplicas ||
    (before.availableReplicas ?? 0) !== status.availableReplicas ||
    before.observedGeneration !== status.observedGeneration
  )
    await context.client.update(REPLICA_SETS, { ...set, status }, { subresource: 'status' });
  const soon = waits.filter((wait): wait is number => wait !== undefined && wait > 0);
  return pods.length !== wanted && set.metadata?.deletionTimestamp === undefined
    ? 0
    : soon.length > 0
      ? Math.min(...soon)
      : undefined;
}

const ownerOf = (set: IReplicaSet): OwnerReference => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  name: set.metadata?.name ?? '',
  uid: set.metadata?.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
});
