// Waits until what was applied runs: every wanted replica of Deployments, ReplicaSets and DaemonSets ready, every other
// pod ready. When it does not come to that, says for each pod why.

import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { startInformer } from '../kube/client/informer.ts';
import { DAEMON_SETS, DEPLOYMENTS, PODS } from '../kube/client/resources.ts';
import type { Informer, KubeClient } from '../kube/client/types.ts';

export interface Progress {
  readonly ready: number;
  readonly wanted: number;
}

export interface Rollout {
  readonly complete: boolean;
  readonly progress: Progress;
  /** `namespace/pod`: why it is not ready. */
  readonly waiting: readonly { readonly pod: string; readonly reason: string }[];
}

/**
 * @param namespaces  whose workloads count
 * @param timeoutMs   how long to wait at most
 * @param hopeless    ends the wait early when nothing can change by waiting (an image that nobody can resolve)
 */
export async function waitForRollout(
  client: KubeClient,
  options: {
    namespaces: ReadonlySet<string>;
    timeoutMs: number;
    signal?: AbortSignal;
    onProgress?: (progress: Progress) => void;
  },
): Promise<Rollout> {
  const deployments = startInformer(client, DEPLOYMENTS);
  const daemonSets = startInformer(client, DAEMON_SETS);
  const pods = startInformer(client, PODS);
  const informers: Informer<never>[] = [deployments, daemonSets, pods] as unknown as Informer<never>[];
  try {
    await Promise.all(informers.map((informer) => informer.synced));
    return await new Promise<Rollout>((resolve) => {
      let last = '';
      let scheduled = false;
      const look = (final: boolean): void => {
        const rollout = judge(
          deployments.items.values(),
          daemonSets.items.values(),
          pods.items.values(),
          options.namespaces,
        );
        const text = `${rollout.progress.ready}/${rollout.progress.wanted}`;
        if (text !== last) options.onProgress?.(rollout.progress);
        last = text;
        const stuck = rollout.waiting.length > 0 && rollout.waiting.every(({ reason }) => HOPELESS.test(reason));
        if (!final && !rollout.complete && !stuck) return;
        clearTimeout(timer);
        resolve(rollout);
      };
      const timer = setTimeout(() => look(true), options.timeoutMs);
      options.signal?.addEventListener('abort', () => look(true), { once: true });
      for (const informer of informers)
        informer.onChange(() => {
          if (scheduled) return;
          scheduled = true;
          setImmediate(() => {
            scheduled = false;
            look(false);
          });
        });
      look(false);
    });
  } finally {
    for (const informer of informers) informer.stop();
  }
}

const HOPELESS = /^(ImagePullBackOff|ErrImagePull|InvalidImageName|CreateContainerConfigError)\b/;

function judge(
  deployments: Iterable<IDeployment>,
  daemonSets: Iterable<IDaemonSet>,
  pods: Iterable<IPod>,
  namespaces: ReadonlySet<string>,
): Rollout {
  const counts = (object: { metadata?: { namespace?: string } }): boolean =>
    namespaces.has(object.metadata?.namespace ?? '');
  let ready = 0;
  let wanted = 0;
  let settled = true;
  for (const d of deployments) {
    if (!counts(d)) continue;
    const replicas = d.spec?.replicas ?? 1;
    wanted += replicas;
    ready += Math.min(replicas, d.status?.readyReplicas ?? 0);
    settled &&=
      (d.status?.observedGeneration ?? 0) >= (d.metadata?.generation ?? 0) &&
      (d.status?.updatedReplicas ?? 0) === replicas &&
      (d.status?.replicas ?? 0) === replicas;
  }
  for (const d of daemonSets) {
    if (!counts(d)) continue;
    const desired = d.status?.desiredNumberScheduled ?? 0;
    wanted += desired;
    ready += d.status?.numberReady ?? 0;
    settled &&= (d.status?.observedGeneration ?? 0) >= (d.metadata?.generation ?? 0) && desired > 0;
  }
  const waiting: { pod: string; reason: string }[] = [];
  for (const pod of pods) {
    if (!counts(pod) || pod.metadata?.deletionTimestamp !== undefined || pod.status?.phase === 'Succeeded') continue;
    const owned = (pod.metadata?.ownerReferences ?? []).some((ref) => ref.controller);
    const isReady = pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
    if (!owned) {
      wanted++;
      if (isReady) ready++;
    }
    if (!isReady) waiting.push({ pod: `${pod.metadata?.namespace}/${pod.metadata?.name}`, reason: reasonOf(pod) });
  }
  return { complete: settled && ready >= wanted && waiting.length === 0, progress: { ready, wanted }, waiting };
}

function reasonOf(pod: IPod): string {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const { name, state } of statuses) {
    if (state?.waiting?.reason && state.waiting.reason !== 'PodInitializing')
      return `${state.waiting.reason}${state.waiting.message ? `: ${state.waiting.message}` : ''}`;
    if (state?.terminated && state.terminated.exitCode !== 0)
      return `container \`${name}\` ended with exit code ${state.terminated.exitCode}`;
  }
  const unscheduled = pod.status?.conditions?.find((c) => c.type === 'PodScheduled' && c.status === 'False');
  if (unscheduled) return unscheduled.message ?? 'not scheduled';
  return pod.status?.phase === 'Running'
    ? 'its containers are not ready yet'
    : (pod.status?.phase ?? 'not started yet');
}
