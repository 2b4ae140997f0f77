// Scheduler: binds pods that name no node. Of the nodes that admit the pod, the one with the fewest pods of the same
// owner, then the fewest pods at all, so that replicas spread.

import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { EVENTS, NODES, POD_BINDINGS, PODS } from '../client/resources.ts';
import { type ControllerContext, splitKey } from './context.ts';
import { controllerOf, isActive } from './pods.ts';
import { WorkQueue } from './queue.ts';

type PodSpec = NonNullable<IPod['spec']>;

/** Why a node cannot take a pod, as kubectl users know the words; undefined when it can. */
export function whyNot(node: INode, spec: PodSpec, options: { daemon?: boolean } = {}): string | undefined {
  if (node.spec?.unschedulable && !options.daemon) return 'node(s) were unschedulable';
  const labels = node.metadata?.labels ?? {};
  if (Object.entries(spec.nodeSelector ?? {}).some(([key, value]) => labels[key] !== value))
    return "node(s) didn't match Pod's node affinity/selector";
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (terms && !terms.some((term) => matchesTerm(node, term)))
    return "node(s) didn't match Pod's node affinity/selector";
  for (const taint of node.spec?.taints ?? []) {
    if (taint.effect === 'PreferNoSchedule') continue;
    const tolerated = (spec.tolerations ?? []).some(
      (t) =>
        (!t.effect || t.effect === taint.effect) &&
        (t.operator === 'Exists'
          ? t.key === undefined || t.key === '' || t.key === taint.key
          : t.key === taint.key && (t.value ?? '') === (taint.value ?? '')),
    );
    const unschedulableByDaemon = options.daemon && taint.key === 'node.kubernetes.io/unschedulable';
    if (!tolerated && !unschedulableByDaemon)
      return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  }
  return undefined;
}

export const nodeAdmits = (node: INode, spec: PodSpec, options: { daemon?: boolean } = {}): boolean =>
  whyNot(node, spec, options) === undefined;

interface Expression {
  key: string;
  operator: string;
  values?: string[];
}

function matchesTerm(node: INode, term: { matchExpressions?: Expression[]; matchFields?: Expression[] }): boolean {
  const holds = (value: string | undefined, { operator, values = [] }: Expression): boolean => {
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      case 'Gt':
        return value !== undefined && Number(value) > Number(values[0]);
      case 'Lt':
        return value !== undefined && Number(value) < Number(values[0]);
      default:
        return false;
    }
  };
  const labels = node.metadata?.labels ?? {};
  return (
    (term.matchExpressions ?? []).every((e) => holds(labels[e.key], e)) &&
    (term.matchFields ?? []).every((e) => holds(e.key === 'metadata.name' ? node.metadata?.name : undefined, e))
  );
}

export function startScheduler(context: ControllerContext): void {
  const pods = context.informer(PODS);
  const nodes = context.informer(NODES);
  const queue = new WorkQueue({
    parallel: 1, // one after another, so that each choice sees the one before
    reconcile: (key) => bind(context, key),
    onError: (key, error) => context.log('warn', 'pod not scheduled', { key, error: String(error) }),
  });
  const waiting = (pod: IPod | undefined): boolean => pod !== undefined && !pod.spec?.nodeName && isActive(pod);
  pods.onChange((key, now) => {
    if (waiting(now)) queue.add(key);
  });
  nodes.onChange(() => {
    for (const [key, pod] of pods.items) if (waiting(pod)) queue.add(key);
  });
}

async function bind(context: ControllerContext, key: string): Promise<number | undefined> {
  const { namespace = '', name } = splitKey(key);
  const pod = await context.client.get(PODS, name, namespace);
  if (pod === undefined || pod.spec?.nodeName || !isActive(pod) || pod.spec === undefined) return undefined;
  if ((pod.spec.schedulingGates ?? []).length > 0) return undefined;
  const [{ items: nodes }, { items: all }] = await Promise.all([context.client.list(NODES), context.client.list(PODS)]);
  const reasons = new Map<string, number>();
  const fit = nodes.filter((node) => {
    const reason = whyNot(node, pod.spec as PodSpec);
    if (reason) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return reason === undefined;
  });
  if (fit.length === 0) return unschedulable(context, pod, nodes.length, reasons);
  const owner = controllerOf(pod)?.uid;
  const load = (node: INode): [number, number] => {
    const there = all.filter((p) => p.spec?.nodeName === node.metadata?.name && isActive(p));
    return [owner === undefined ? 0 : there.filter((p) => controllerOf(p)?.uid === owner).length, there.length];
  };
  const ranked = fit
    .map((node) => ({ node, load: load(node) }))
    .sort(
      (a, b) =>
        a.load[0] - b.load[0] ||
        a.load[1] - b.load[1] ||
        (a.node.metadata?.name ?? '').localeCompare(b.node.metadata?.name ?? ''),
    );
  await context.client.create(
    POD_BINDINGS,
    {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, namespace },
      target: { apiVersion: 'v1', kind: 'Node', name: ranked[0]?.node.metadata?.name ?? '' },
    },
    { subresource: 'binding' },
  );
  return undefined;
}

async function unschedulable(
  context: ControllerContext,
  pod: IPod,
  nodes: number,
  reasons: ReadonlyMap<string, number>,
): Promise<undefined> {
  const words = [...reasons].map(([reason, count]) => `${count} ${reason}`).join(', ');
  const message = `0/${nodes} nodes are available: ${words || 'no node has registered yet'}.`;
  const known = pod.status?.conditions?.find((c) => c.type === 'PodScheduled');
  if (known?.message === message) return undefined;
  const { name = '', namespace = '', uid = '' } = pod.metadata ?? {};
  const stamp = context
    .now()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z');
  await context.client.patch(
    PODS,
    name,
    namespace,
    'strategic',
    {
      status: {
        conditions: [
          { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message, lastTransitionTime: stamp },
        ],
      },
    },
    { subresource: 'status' },
  );
  if (nodes > 0)
    await context.client.create(EVENTS, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { generateName: `${name}.`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', name, namespace, uid },
      type: 'Warning',
      reason: 'FailedScheduling',
      message,
      source: { component: 'default-scheduler' },
      firstTimestamp: stamp,
      lastTimestamp: stamp,
      count: 1,
    });
  return undefined;
}
