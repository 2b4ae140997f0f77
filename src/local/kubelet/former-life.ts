// Pods that were running when the room ended, found again in the API by the next one. As after a node's restart: what
// ran has ended without anybody knowing how, and the restart policy says whether it runs again. Pure.

import type { FormerLife } from './container-runner.ts';
import type { ContainerStatus, Pod, Terminated } from './types.ts';

type TerminatedStatus = NonNullable<NonNullable<ContainerStatus['state']>['terminated']>;

function ended(status: TerminatedStatus): Terminated {
  return {
    kind: 'terminated',
    exitCode: status.exitCode,
    ...(status.signal !== undefined && { signal: status.signal }),
    reason: status.reason ?? 'Error',
    ...(status.message !== undefined && { message: status.message }),
    startedAt: new Date(status.startedAt ?? 0),
    finishedAt: new Date(status.finishedAt ?? 0),
  };
}

/** What is known of a container from an earlier room; undefined when it never ran. */
export function formerLifeOf(
  pod: Pod,
  name: string,
  kind: 'main' | 'ephemeral' | 'other',
  now: Date,
): FormerLife | undefined {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = pod.status ?? {};
  const all = [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses];
  const status = all.find((each) => each.name === name);
  if (status === undefined) return undefined;
  const policy = pod.spec?.restartPolicy ?? 'Always';
  const { running, terminated } = status.state ?? {};
  if (terminated !== undefined) {
    const last = ended(terminated);
    const forGood = kind === 'main' && (policy === 'Never' || (policy === 'OnFailure' && last.exitCode === 0));
    return { restarts: status.restartCount, last, finished: forGood || kind === 'ephemeral' };
  }
  if (running !== undefined) {
    // Nobody starts an ephemeral container again.
    const forGood = kind === 'ephemeral' || policy === 'Never';
    const last: Terminated = {
      kind: 'terminated',
      exitCode: forGood ? 137 : 255,
      reason: forGood ? 'ContainerStatusUnknown' : 'Unknown',
      message: 'The container could not be located when the pod was started again: the room had ended',
      startedAt: new Date(running.startedAt ?? 0),
      finishedAt: now,
    };
    return { restarts: status.restartCount, last, finished: kind !== 'other' && forGood };
  }
  const before = status.lastState?.terminated;
  if (before === undefined) return undefined;
  return { restarts: status.restartCount, last: ended(before), finished: false };
}
