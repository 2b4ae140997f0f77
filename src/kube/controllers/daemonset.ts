// DaemonSet: one pod on every node that it may run on; rolling update by surge (new first) or by removal (old first).

import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { DAEMON_SETS, NODES, PODS } from '../client/resources.ts';
import type { OwnerReference } from '../client/types.ts';
import { type ControllerContext, splitKey } from './context.ts';
import { share } from './deployment.ts';
import {
  availableInMs,
  controlledPods,
  controllerOf,
  createPod,
  deletePod,
  isActive,
  isReady,
  isTerminal,
} from './pods.ts';
import { WorkQueue } from './queue.ts';
import { nodeAdmits } from './scheduler.ts';
import { canonicalJson, templateHash } from './template-hash.ts';

const HASH_LABEL = 'controller-revision-hash';
/** On a pod: replace this one as if its template were old (`ambit restart ztunnel --node`). */
const REPLACE = 'ambit.dev/replace';

export function startDaemonSets(context: ControllerContext): void {
  const queue = new WorkQueue({
    reconcile: (key) => reconcile(context, key),
    onError: (key, error) => context.log('warn', 'daemonset not reconciled', { key, error: String(error) }),
  });
  const sets = context.informer(DAEMON_SETS);
  sets.onChange((key) => queue.add(key));
  context.informer(NODES).onChange((_key, now, before) => {
    // Heartbeats touch only the status: what a DaemonSet asks about is labels, taints and existence.
    const shape = (node: INode | undefined): string => canonicalJson([node?.metadata?.labels, node?.spec]);
    if (shape(now) !== shape(before)) for (const key of sets.items.keys()) queue.add(key);
  });
  context.informer(PODS).onChange((_key, now, before) => {
    const pod = now ?? before;
    const owner = pod && controllerOf(pod);
    if (owner?.kind === 'DaemonSet') queue.add(`${pod?.metadata?.namespace}/${owner.name}`);
  });
}

async function reconcile(context: ControllerContext, key: string): Promise<number | undefined> {
  const { namespace = '', name } = splitKey(key);
  const set = await context.client.get(DAEMON_SETS, name, namespace);
  if (set === undefined || set.metadata?.deletionTimestamp !== undefined) return undefined;
  const owner: OwnerReference = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    name,
    uid: set.metadata?.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
  const hash = templateHash(set.spec?.template);
  const { items: nodes } = await context.client.list(NODES);
  const eligible = nodes.filter((node) =>
    nodeAdmits(node, set.spec?.template?.spec ?? { containers: [] }, { daemon: true }),
  );
  const pods = await controlledPods(context, owner, namespace, set.spec?.selector);
  for (const pod of pods.filter((p) => isTerminal(p) && p.metadata?.deletionTimestamp === undefined))
    await deletePod(context, pod);

  const byNode = new Map<string, IPod[]>(eligible.map((node) => [node.metadata?.name ?? '', []]));
  for (const pod of pods.filter(isActive)) {
    const there = byNode.get(pod.spec?.nodeName ?? '');
    if (there) there.push(pod);
    else await deletePod(context, pod); // its node is gone, or no longer admits it
  }
  const create = (nodeName: string): Promise<IPod> =>
    createPod(context, owner, namespace, set.spec?.template ?? {}, { labels: { [HASH_LABEL]: hash }, nodeName });
  const isNew = (pod: IPod): boolean =>
    pod.metadata?.labels?.[HASH_LABEL] === hash && pod.metadata.annotations?.[REPLACE] === undefined;
  const isAvailable = (pod: IPod): boolean => availableInMs(pod, set.spec?.minReadySeconds ?? 0, context.now()) === 0;
  const onDelete = set.spec?.updateStrategy?.type === 'OnDelete';
  const rolling = set.spec?.updateStrategy?.rollingUpdate;
  const maxSurge = onDelete ? 0 : share(rolling?.maxSurge ?? 0, byNode.size, Math.ceil);
  const maxUnavailable = onDelete
    ? 0
    : share(rolling?.maxUnavailable ?? (maxSurge > 0 ? 0 : 1), byNode.size, Math.ceil);
  let surging = [...byNode.values()].filter((there) => there.some(isNew) && there.some((pod) => !isNew(pod))).length;
  let unavailable = [...byNode.values()].filter((there) => !there.some(isAvailable)).length;

  for (const [nodeName, there] of byNode) {
    const fresh = there.filter(isNew);
    const old = there.filter((pod) => !isNew(pod));
    for (const pod of fresh.slice(1)) await deletePod(context, pod); // never two of one template
    if (there.length === 0) await create(nodeName);
    else if (onDelete || old.length === 0) continue;
    else if (fresh.length > 0) {
      if (fresh.some(isAvailable)) for (const pod of old) await deletePod(context, pod);
    } else if (maxSurge > 0) {
      if (surging < maxSurge) {
        surging++;
        await create(nodeName);
      }
    } else if (!there.some(isAvailable) || unavailable < maxUnavailable) {
      if (there.some(isAvailable)) unavailable++;
      for (const pod of old) await deletePod(context, pod);
    }
  }
  await writeStatus(context, set, owner, namespace, eligible, hash);
  const waits = pods
    .map((pod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, context.now()))
    .filter((w): w is number => !!w);
  return waits.length > 0 ? Math.min(...waits) : undefined;
}

async function writeStatus(
  context: ControllerContext,
  set: IDaemonSet,
  owner: OwnerReference,
  namespace: string,
  eligible: readonly INode[],
  hash: string,
): Promise<void> {
  const pods = (await controlledPods(context, owner, namespace, set.spec?.selector)).filter(isActive);
  const on = (node: INode): IPod[] => pods.filter((pod) => pod.spec?.nodeName === node.metadata?.name);
  const count = (test: (there: IPod[]) => boolean): number => eligible.filter((node) => test(on(node))).length;
  const available = (pod: IPod): boolean => availableInMs(pod, set.spec?.minReadySeconds ?? 0, context.now()) === 0;
  const numberAvailable = count((there) => there.some(available));
  const status: NonNullable<IDaemonSet['status']> = {
    currentNumberScheduled: count((there) => there.length > 0),
    desiredNumberScheduled: eligible.length,
    numberAvailable,
    numberMisscheduled: pods.filter((pod) => !eligible.some((node) => node.metadata?.name === pod.spec?.nodeName))
      .length,
    numberReady: count((there) => there.some(isReady)),
    numberUnavailable: eligible.length - numberAvailable,
    observedGeneration: set.metadata?.generation ?? 0,
    updatedNumberScheduled: count((there) => there.some((pod) => pod.metadata?.labels?.[HASH_LABEL] === hash)),
  };
  if (canonicalJson(status) !== canonicalJson(set.status))
    await context.client.update(DAEMON_SETS, { ...set, status }, { subresource: 'status' });
}
