// A pod's row: the one word in STATUS says what stands in its way, container before phase.

import type { IContainerStatus } from 'kubernetes-models/v1/ContainerStatus';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { Column } from '../kinds/kind.ts';
import { ageSince, NONE } from './age.ts';

interface Summary {
  readonly ready: number;
  readonly total: number;
  readonly status: string;
  readonly restarts: number;
  readonly restartedAt: string | undefined;
}

export function podColumns(age: Column): Column[] {
  const of =
    (cell: (pod: IPod, nowMs: number) => string): Column['cell'] =>
    (object, nowMs) =>
      cell(object as IPod, nowMs);
  const wide = { wide: true } as const;
  return [
    {
      name: 'Ready',
      cell: of((pod) => {
        const { ready, total } = summarize(pod);
        return `${ready}/${total}`;
      }),
    },
    { name: 'Status', cell: of((pod) => summarize(pod).status) },
    { name: 'Restarts', cell: of(restartsText) },
    age,
    { name: 'IP', cell: of(({ status }) => status?.podIPs?.[0]?.ip || status?.podIP || NONE), ...wide },
    { name: 'Node', cell: of(({ spec }) => spec?.nodeName || NONE), ...wide },
    { name: 'Nominated Node', cell: of(({ status }) => status?.nominatedNodeName || NONE), ...wide },
    { name: 'Readiness Gates', cell: of(readinessGates), ...wide },
  ];
}

function restartsText(pod: IPod, nowMs: number): string {
  const { restarts, restartedAt } = summarize(pod);
  return restarts > 0 && restartedAt !== undefined
    ? `${restarts} (${ageSince(restartedAt, nowMs)} ago)`
    : String(restarts);
}

function readinessGates({ spec, status }: IPod): string {
  const gates = spec?.readinessGates ?? [];
  if (gates.length === 0) return NONE;
  const passed = gates.filter(({ conditionType }) =>
    status?.conditions?.some(({ type, status: is }) => type === conditionType && is === 'True'),
  );
  return `${passed.length}/${gates.length}`;
}

function summarize(pod: IPod): Summary {
  const { spec, status, metadata } = pod;
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const sidecarNames = new Set(sidecars.map(({ name }) => name));
  const states = status?.containerStatuses ?? [];
  const init = initSummary(pod, sidecarNames);
  const counted =
    init.status === undefined
      ? [...states, ...(status?.initContainerStatuses ?? [])]
      : (status?.initContainerStatuses ?? []);
  const restarts = counted.reduce((sum, { restartCount }) => sum + (restartCount ?? 0), 0);
  const readySidecars = (status?.initContainerStatuses ?? []).filter(
    ({ name, ready }) => sidecarNames.has(name) && ready,
  );
  return {
    total: (spec?.containers ?? []).length + sidecars.length,
    ready: states.filter(({ ready, state }) => ready && state?.running).length + readySidecars.length,
    status: terminating(metadata?.deletionTimestamp, status?.reason) ?? init.status ?? mainStatus(pod, states),
    restarts,
    restartedAt: latest(counted.map(({ lastState }) => lastState?.terminated?.finishedAt)),
  };
}

function terminating(deletedAt: string | undefined, reason: string | undefined): string | undefined {
  if (deletedAt === undefined) return undefined;
  return reason === 'NodeLost' ? 'Unknown' : 'Terminating';
}

function initSummary(pod: IPod, sidecars: ReadonlySet<string>): { status: string | undefined } {
  const total = pod.spec?.initContainers?.length ?? 0;
  for (const [i, { name, state, started }] of (pod.status?.initContainerStatuses ?? []).entries()) {
    if (state?.terminated?.exitCode === 0) continue;
    if (sidecars.has(name) && started) continue;
    if (state?.terminated) return { status: `Init:${endText(state.terminated)}` };
    const reason = state?.waiting?.reason;
    return { status: reason && reason !== 'PodInitializing' ? `Init:${reason}` : `Init:${i}/${total}` };
  }
  return { status: undefined };
}

function mainStatus({ status }: IPod, states: readonly IContainerStatus[]): string {
  let word = status?.reason || status?.phase || 'Unknown';
  let running = false;
  for (const { state, ready } of states.toReversed()) {
    if (state?.waiting?.reason) word = state.waiting.reason;
    else if (state?.terminated) word = endText(state.terminated);
    else if (ready && state?.running) running = true;
  }
  if (word !== 'Completed' || !running) return word;
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ? 'Running' : 'NotReady';
}

function endText({ reason, signal, exitCode }: { reason?: string; signal?: number; exitCode: number }): string {
  if (reason) return reason;
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}

function latest(times: readonly (string | undefined)[]): string | undefined {
  return times.reduce(
    (last, time) => (time !== undefined && (last === undefined || time > last) ? time : last),
    undefined,
  );
}
