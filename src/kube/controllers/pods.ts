// What controllers ask about pods, and how they make and remove them.

import type { IPod } from 'kubernetes-models/v1/Pod';
import { PODS } from '../client/resources.ts';
import type { OwnerReference } from '../client/types.ts';
import type { ControllerContext } from './context.ts';

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec?: NonNullable<IPod['spec']>;
}

export const controllerOf = (object: {
  metadata?: { ownerReferences?: OwnerReference[] };
}): OwnerReference | undefined => object.metadata?.ownerReferences?.find((ref) => ref.controller === true);

export const isTerminal = (pod: IPod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
export const isActive = (pod: IPod): boolean => !isTerminal(pod) && pod.metadata?.deletionTimestamp === undefined;

const readyCondition = (pod: IPod) => pod.status?.conditions?.find((c) => c.type === 'Ready');
export const isReady = (pod: IPod): boolean => readyCondition(pod)?.status === 'True';

/** Milliseconds until the pod counts as available (0: now), or undefined while it is not ready. */
export function availableInMs(pod: IPod, minReadySeconds: number, now: Date): number | undefined {
  if (!isReady(pod)) return undefined;
  if (minReadySeconds === 0) return 0;
  const since = Date.parse(readyCondition(pod)?.lastTransitionTime ?? '');
  return Number.isNaN(since) ? undefined : Math.max(0, since + minReadySeconds * 1000 - now.getTime());
}

/** Pods of the namespace that this object controls, orphans that match adopted on the way. */
export async function controlledPods(
  context: ControllerContext,
  owner: OwnerReference,
  namespace: string,
  selector: LabelSelectorLike | undefined,
): Promise<IPod[]> {
  const { items } = await context.client.list(PODS, { namespace, labelSelector: formatSelector(selector) });
  const mine: IPod[] = [];
  for (const pod of items) {
    const controller = controllerOf(pod);
    if (controller?.uid === owner.uid) mine.push(pod);
    else if (controller === undefined && isActive(pod))
      mine.push(
        await context.client.patch(PODS, pod.metadata?.name ?? '', namespace, 'merge', {
          metadata: {
            ownerReferences: [...(pod.metadata?.ownerReferences ?? []), owner],
            resourceVersion: pod.metadata?.resourceVersion,
          },
        }),
      );
  }
  return mine;
}

export async function createPod(
  context: ControllerContext,
  owner: OwnerReference,
  namespace: string,
  template: PodTemplate,
  extra: { labels?: Record<string, string>; nodeName?: string } = {},
): Promise<IPod> {
  const spec = structuredClone(template.spec) ?? { containers: [] };
  if (extra.nodeName !== undefined) spec.nodeName = extra.nodeName;
  return context.client.create<IPod>(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${owner.name.slice(0, 57)}-`,
      namespace,
      labels: { ...template.metadata?.labels, ...extra.labels },
      ...(template.metadata?.annotations && { annotations: template.metadata.annotations }),
      ownerReferences: [owner],
    },
    spec,
  });
}

export const deletePod = (context: ControllerContext, pod: IPod): Promise<void> =>
  context.client.delete(PODS, pod.metadata?.name ?? '', pod.metadata?.namespace);

/**
 * The order in which to give pods up: unscheduled, then not ready, then the youngest first.
 * (Kubernetes: the less a pod has done, the sooner it goes.)
 */
export function cheapestFirst(pods: readonly IPod[]): IPod[] {
  const cost = (pod: IPod): number =>
    (pod.spec?.nodeName ? 1 : 0) + (pod.status?.phase === 'Running' ? 1 : 0) + (isReady(pod) ? 2 : 0);
  const age = (pod: IPod): string => pod.metadata?.creationTimestamp ?? '';
  return [...pods].sort(
    (a, b) =>
      cost(a) - cost(b) ||
      age(b).localeCompare(age(a)) ||
      (b.metadata?.name ?? '').localeCompare(a.metadata?.name ?? ''),
  );
}

export interface LabelSelectorLike {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** A LabelSelector as the query text of `labelSelector=`. */
export function formatSelector(selector: LabelSelectorLike | undefined): string {
  const parts = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    if (operator === 'Exists') parts.push(key);
    else if (operator === 'DoesNotExist') parts.push(`!${key}`);
    else parts.push(`${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`);
  }
  return parts.join(',');
}
