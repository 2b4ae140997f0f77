// Deployment: one ReplicaSet a template, moved over by rolling update or recreation.

import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import { DEPLOYMENTS, PODS, REPLICA_SETS } from '../client/resources.ts';
import { type ControllerContext, splitKey } from './context.ts';
import { controllerOf, formatSelector, isTerminal } from './pods.ts';
import { WorkQueue } from './queue.ts';
import { canonicalJson, templateHash } from './template-hash.ts';

const HASH_LABEL = 'pod-template-hash';
const REVISION = 'deployment.kubernetes.io/revision';
const DESIRED = 'deployment.kubernetes.io/desired-replicas';
const MAX = 'deployment.kubernetes.io/max-replicas';

export function startDeployments(context: ControllerContext): void {
  const queue = new WorkQueue({
    reconcile: (key) => reconcile(context, key),
    onError: (key, error) => context.log('warn', 'deployment not reconciled', { key, error: String(error) }),
  });
  context.informer(DEPLOYMENTS).onChange((key) => queue.add(key));
  context.informer(REPLICA_SETS).onChange((_key, now, before) => {
    const set = now ?? before;
    const owner = set && controllerOf(set);
    if (owner?.kind === 'Deployment') queue.add(`${set?.metadata?.namespace}/${owner.name}`);
  });
}

async function reconcile(context: ControllerContext, key: string): Promise<number | undefined> {
  const { namespace = '', name } = splitKey(key);
  const deployment = await context.client.get(DEPLOYMENTS, name, namespace);
  if (deployment === undefined || deployment.metadata?.deletionTimestamp !== undefined) return undefined;
  const owned = await ownReplicaSets(context, deployment, namespace);
  let current = owned.find((set) => sameTemplate(set, deployment));
  const old = owned.filter((set) => set !== current);
  if (deployment.spec?.paused !== true) {
    if (current === undefined) {
      current = await createReplicaSet(context, deployment, namespace, owned);
    } else current = await markRevision(context, deployment, current, old);
    if (deployment.spec?.strategy?.type === 'Recreate') await recreate(context, deployment, current, old);
    else await roll(context, deployment, current, old);
    await cleanUp(context, deployment, old);
  } else if (current !== undefined) await scaleTo(context, current, deployment.spec.replicas ?? 1, deployment);
  return writeStatus(context, namespace, name);
}

async function ownReplicaSets(
  context: ControllerContext,
  deployment: IDeployment,
  namespace: string,
): Promise<IReplicaSet[]> {
  const { items } = await context.client.list(REPLICA_SETS, {
    namespace,
    labelSelector: formatSelector(deployment.spec?.selector),
  });
  return items
    .filter((set) => controllerOf(set)?.uid === deployment.metadata?.uid)
    .sort((a, b) => revisionOf(a) - revisionOf(b));
}

const revisionOf = (object: { metadata?: { annotations?: Record<string, string> } }): number =>
  Number(object.metadata?.annotations?.[REVISION] ?? 0);

/** Equal but for the hash label, which only the ReplicaSet's template carries. */
function sameTemplate(set: IReplicaSet, deployment: IDeployment): boolean {
  const { [HASH_LABEL]: _hash, ...labels } = set.spec?.template?.metadata?.labels ?? {};
  const bare = { ...set.spec?.template, metadata: { ...set.spec?.template?.metadata, labels } };
  const wanted = deployment.spec?.template;
  return (
    canonicalJson(bare) ===
    canonicalJson({ ...wanted, metadata: { ...wanted?.metadata, labels: wanted?.metadata?.labels ?? {} } })
  );
}

async function createReplicaSet(
  context: ControllerContext,
  deployment: IDeployment,
  namespace: string,
  owned: readonly IReplicaSet[],
): Promise<IReplicaSet> {
  const template = deployment.spec?.template;
  const hash = templateHash(template);
  const revision = Math.max(0, ...owned.map(revisionOf)) + 1;
  const labels = { ...template?.metadata?.labels, [HASH_LABEL]: hash };
  const total = owned.reduce((sum, set) => sum + (set.spec?.replicas ?? 0), 0);
  const replicas = deployment.spec?.replicas ?? 1;
  const room =
    deployment.spec?.strategy?.type === 'Recreate'
      ? total > 0
        ? 0
        : replicas
      : Math.max(0, replicas + maxSurge(deployment) - total);
  const { 'kubectl.kubernetes.io/last-applied-configuration': _applied, ...annotations } =
    deployment.metadata?.annotations ?? {};
  const set = await context.client.create<IReplicaSet>(REPLICA_SETS, {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata?.name}-${hash}`,
      namespace,
      labels,
      annotations: {
        ...annotations,
        [REVISION]: String(revision),
        [DESIRED]: String(replicas),
        [MAX]: String(replicas + maxSurge(deployment)),
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          name: deployment.metadata?.name ?? '',
          uid: deployment.metadata?.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      replicas: Math.min(replicas, room),
      ...(deployment.spec?.minReadySeconds !== undefined && { minReadySeconds: deployment.spec.minReadySeconds }),
      selector: {
        ...deployment.spec?.selector,
        matchLabels: { ...deployment.spec?.selector?.matchLabels, [HASH_LABEL]: hash },
      },
      template: { ...template, metadata: { ...template?.metadata, labels } },
    },
  });
  await setRevision(context, deployment, revision);
  return set;
}

/** A rollback brings an old ReplicaSet back: it becomes the newest revision. */
async function markRevision(
  context: ControllerContext,
  deployment: IDeployment,
  current: IReplicaSet,
  old: readonly IReplicaSet[],
): Promise<IReplicaSet> {
  const newest = Math.max(0, ...old.map(revisionOf));
  if (revisionOf(current) > newest) {
    if (revisionOf(deployment) !== revisionOf(current)) await setRevision(context, deployment, revisionOf(current));
    return current;
  }
  await setRevision(context, deployment, newest + 1);
  return context.client.patch(REPLICA_SETS, current.metadata?.name ?? '', current.metadata?.namespace, 'merge', {
    metadata: { annotations: { [REVISION]: String(newest + 1) } },
  });
}

const setRevision = (context: ControllerContext, deployment: IDeployment, revision: number) =>
  context.client.patch(DEPLOYMENTS, deployment.metadata?.name ?? '', deployment.metadata?.namespace, 'merge', {
    metadata: { annotations: { [REVISION]: String(revision) } },
  });

/** @returns the replicas that the set has now */
async function scaleTo(
  context: ControllerContext,
  set: IReplicaSet,
  replicas: number,
  deployment: IDeployment,
): Promise<number> {
  const desired = deployment.spec?.replicas ?? 1;
  const annotations = set.metadata?.annotations ?? {};
  const wanted = { [DESIRED]: String(desired), [MAX]: String(desired + maxSurge(deployment)) };
  if (set.spec?.replicas !== replicas || annotations[DESIRED] !== wanted[DESIRED] || annotations[MAX] !== wanted[MAX])
    await context.client.patch(REPLICA_SETS, set.metadata?.name ?? '', set.metadata?.namespace, 'merge', {
      metadata: { annotations: wanted },
      spec: { replicas },
    });
  return replicas;
}

async function recreate(
  context: ControllerContext,
  deployment: IDeployment,
  current: IReplicaSet,
  old: readonly IReplicaSet[],
): Promise<void> {
  for (const set of old) if ((set.spec?.replicas ?? 0) > 0) await scaleTo(context, set, 0, deployment);
  const { items } = await context.client.list(PODS, {
    namespace: deployment.metadata?.namespace ?? '',
    labelSelector: formatSelector(deployment.spec?.selector),
  });
  const left = items.some((pod) => !isTerminal(pod) && old.some((set) => controllerOf(pod)?.uid === set.metadata?.uid));
  if (!left) await scaleTo(context, current, deployment.spec?.replicas ?? 1, deployment);
}

const sizeOf = (set: IReplicaSet): number => set.spec?.replicas ?? 0;
const availableOf = (set: IReplicaSet): number => set.status?.availableReplicas ?? 0;
const sum = (sets: readonly IReplicaSet[], pick: (set: IReplicaSet) => number): number =>
  sets.reduce((total, set) => total + pick(set), 0);

async function roll(
  context: ControllerContext,
  deployment: IDeployment,
  current: IReplicaSet,
  old: readonly IReplicaSet[],
): Promise<void> {
  const replicas = deployment.spec?.replicas ?? 1;
  const room = Math.max(0, replicas + maxSurge(deployment) - sizeOf(current) - sum(old, sizeOf));
  const size = await scaleTo(context, current, Math.min(replicas, sizeOf(current) + room), deployment);

  // Old pods go as far as the promise of available ones allows; those that are not available anyway go first.
  const promised = replicas - maxUnavailable(deployment);
  const available = availableOf(current) + sum(old, availableOf);
  let mayGo = size + sum(old, sizeOf) - promised - Math.max(0, size - availableOf(current));
  const left = new Map<IReplicaSet, number>();
  for (const set of old) {
    const broken = Math.max(0, Math.min(sizeOf(set) - availableOf(set), mayGo));
    left.set(set, sizeOf(set) - broken);
    mayGo -= broken;
  }
  let spare = Math.min(mayGo, available - promised);
  for (const [set, there] of left) {
    const gone = Math.max(0, Math.min(there, spare));
    spare -= gone;
    if (there - gone !== sizeOf(set)) await scaleTo(context, set, there - gone, deployment);
  }
}

async function cleanUp(
  context: ControllerContext,
  deployment: IDeployment,
  old: readonly IReplicaSet[],
): Promise<void> {
  const empty = old.filter((set) => (set.spec?.replicas ?? 0) === 0 && (set.status?.replicas ?? 0) === 0);
  const excess = empty.length - (deployment.spec?.revisionHistoryLimit ?? 10);
  for (const set of empty.slice(0, Math.max(0, excess)))
    await context.client.delete(REPLICA_SETS, set.metadata?.name ?? '', set.metadata?.namespace);
}

async function writeStatus(context: ControllerContext, namespace: string, name: string): Promise<number | undefined> {
  const deployment = await context.client.get(DEPLOYMENTS, name, namespace);
  if (deployment === undefined) return undefined;
  const owned = await ownReplicaSets(context, deployment, namespace);
  const current = owned.find((set) => sameTemplate(set, deployment));
  const replicas = deployment.spec?.replicas ?? 1;
  const available = sum(owned, availableOf);
  const counts = {
    observedGeneration: deployment.metadata?.generation ?? 0,
    replicas: sum(owned, (set) => set.status?.replicas ?? 0),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum(owned, (set) => set.status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, replicas - available),
  };
  const done = counts.updatedReplicas === replicas && counts.replicas === replicas && available === replicas;
  const before = deployment.status;
  const moved =
    before?.updatedReplicas !== counts.updatedReplicas ||
    before.replicas !== counts.replicas ||
    before.availableReplicas !== counts.availableReplicas;
  const progressing = before?.conditions?.find((c) => c.type === 'Progressing');
  const deadlineMs = (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000;
  const idleMs = context.now().getTime() - Date.parse(progressing?.lastUpdateTime ?? context.now().toISOString());
  const setName = current?.metadata?.name ?? '';
  const late = !done && !moved && idleMs >= deadlineMs;
  const conditions = mergeConditions(
    before?.conditions ?? [],
    [
      available >= replicas - maxUnavailable(deployment)
        ? {
            type: 'Available',
            status: 'True',
            reason: 'MinimumReplicasAvailable',
            message: 'Deployment has minimum availability.',
          }
        : {
            type: 'Available',
            status: 'False',
            reason: 'MinimumReplicasUnavailable',
            message: 'Deployment does not have minimum availability.',
          },
      deployment.spec?.paused === true
        ? { type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' }
        : done
          ? {
              type: 'Progressing',
              status: 'True',
              reason: 'NewReplicaSetAvailable',
              message: `ReplicaSet "${setName}" has successfully progressed.`,
            }
          : late
            ? {
                type: 'Progressing',
                status: 'False',
                reason: 'ProgressDeadlineExceeded',
                message: `ReplicaSet "${setName}" has timed out progressing.`,
              }
            : {
                type: 'Progressing',
                status: 'True',
                reason: 'ReplicaSetUpdated',
                message: `ReplicaSet "${setName}" is progressing.`,
              },
    ],
    moved,
    context.now(),
  );
  const status: NonNullable<IDeployment['status']> = { ...counts, conditions };
  if (canonicalJson(status) !== canonicalJson(before))
    await context.client.update(DEPLOYMENTS, { ...deployment, status }, { subresource: 'status' });
  return done || late ? undefined : Math.max(1000, deadlineMs - idleMs);
}

type Condition = NonNullable<NonNullable<IDeployment['status']>['conditions']>[number];

/** Keeps a condition's times unless it changed: lastTransitionTime with its status, lastUpdateTime with anything else or progress. */
function mergeConditions(
  before: readonly Condition[],
  wanted: readonly Omit<Condition, 'lastTransitionTime'>[],
  moved: boolean,
  now: Date,
): Condition[] {
  const stamp = now.toISOString().replace(/\.\d+Z$/, 'Z');
  return wanted.map((next) => {
    const old = before.find((c) => c.type === next.type);
    const same = old?.status === next.status && old.reason === next.reason && old.message === next.message;
    if (old && same && !(moved && next.type === 'Progressing')) return old;
    return {
      ...next,
      lastTransitionTime: old?.status === next.status && old.lastTransitionTime ? old.lastTransitionTime : stamp,
      lastUpdateTime: stamp,
    };
  });
}

const maxSurge = (deployment: IDeployment): number =>
  deployment.spec?.strategy?.type === 'Recreate'
    ? 0
    : share(deployment.spec?.strategy?.rollingUpdate?.maxSurge ?? '25%', deployment.spec?.replicas ?? 1, Math.ceil);

function maxUnavailable(deployment: IDeployment): number {
  if (deployment.spec?.strategy?.type === 'Recreate') return 0;
  const value = share(
    deployment.spec?.strategy?.rollingUpdate?.maxUnavailable ?? '25%',
    deployment.spec?.replicas ?? 1,
    Math.floor,
  );
  return value === 0 && maxSurge(deployment) === 0 ? 1 : value; // both zero would never move
}

/** A count, or a percentage of `of` rounded as told. */
export const share = (value: number | string, of: number, round: (n: number) => number): number =>
  typeof value === 'number'
    ? value
    : value.endsWith('%')
      ? round((Number.parseInt(value, 10) * of) / 100)
      : Number(value);
