// A pod's status from what its containers are doing: phase, conditions, container statuses, as the kubelet reports them
// and kubectl shows them. Pure.

import {
  type ContainerRecord,
  type ContainerSpec,
  type ContainerState,
  type ContainerStatus,
  isHostNetwork,
  isSidecar,
  type Pod,
  type PodCondition,
  type PodStatus,
  timestamp,
} from './types.ts';

export interface PodPicture {
  readonly pod: Pod;
  readonly containers: ReadonlyMap<string, ContainerRecord>;
  readonly hostIp: string;
  /** Undefined while the pod has no sandbox. */
  readonly podIp: string | undefined;
  readonly startTime: Date;
  /** The pod was ended for a reason of its own (`DeadlineExceeded`, `Evicted`); it is Failed whatever its containers did. */
  readonly failed: { readonly reason: string; readonly message: string } | undefined;
  /** The pod is being deleted: what has ended does not run again. */
  readonly ending: boolean;
  readonly now: Date;
}

type StateStatus = NonNullable<ContainerStatus['state']>;

function stateStatus(state: ContainerState, containerId: string): StateStatus {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason, ...(state.message !== undefined && { message: state.message }) } };
    case 'running':
      return { running: { startedAt: timestamp(state.startedAt) } };
    case 'terminated':
      return {
        terminated: {
          exitCode: state.exitCode,
          ...(state.signal !== undefined && { signal: state.signal }),
          reason: state.reason,
          ...(state.message !== undefined && { message: state.message }),
          startedAt: timestamp(state.startedAt),
          finishedAt: timestamp(state.finishedAt),
          ...(containerId !== '' && { containerID: containerId }),
        },
      };
  }
}

/** A container that has not been looked at yet: what it waits for is the pod's own progress. */
function untouched(spec: ContainerSpec, reason: string): ContainerRecord {
  return {
    name: spec.name,
    state: { kind: 'waiting', reason },
    last: undefined,
    restarts: 0,
    started: false,
    ready: false,
    image: spec.image ?? '',
    imageId: '',
    containerId: '',
  };
}

function containerStatus(spec: ContainerSpec, record: ContainerRecord): ContainerStatus {
  return {
    name: spec.name,
    state: stateStatus(record.state, record.containerId),
    lastState: record.last === undefined ? {} : stateStatus(record.last, record.containerId),
    ready: record.ready,
    restartCount: record.restarts,
    image: record.image,
    imageID: record.imageId,
    ...(record.containerId !== '' && { containerID: record.containerId }),
    started: record.started,
  };
}

const exitCodeOf = (record: ContainerRecord | undefined): number | undefined =>
  record?.state.kind === 'terminated' ? record.state.exitCode : undefined;

/** Whether the init container no longer holds up what comes after it. */
export function initDone(spec: ContainerSpec, record: ContainerRecord | undefined): boolean {
  return isSidecar(spec) ? record?.started === true : exitCodeOf(record) === 0;
}

/** Kubernetes: pod lifecycle, phases. */
export function phaseOf(picture: PodPicture): 'Pending' | 'Running' | 'Succeeded' | 'Failed' {
  const { pod, containers, failed } = picture;
  if (failed !== undefined) return 'Failed';
  const policy = picture.ending ? 'Never' : (pod.spec?.restartPolicy ?? 'Always');
  const inits = pod.spec?.initContainers ?? [];
  const mains = pod.spec?.containers ?? [];
  for (const spec of inits) {
    const code = exitCodeOf(containers.get(spec.name));
    if (!isSidecar(spec) && code !== undefined && code !== 0 && policy === 'Never') return 'Failed';
  }
  if (!inits.every((spec) => initDone(spec, containers.get(spec.name)) || mainsBegan(picture))) return 'Pending';
  const records = mains.map(({ name }) => containers.get(name));
  if (records.some((record) => record === undefined || (record.state.kind === 'waiting' && record.last === undefined)))
    return 'Pending';
  const codes = records.map(exitCodeOf);
  const allEnded = codes.every((code) => code !== undefined);
  if (!allEnded || policy === 'Always') return 'Running';
  if (codes.every((code) => code === 0)) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

/** A sidecar that restarts later does not make its pod Pending again. */
const mainsBegan = ({ pod, containers }: PodPicture): boolean =>
  (pod.spec?.containers ?? []).some(({ name }) => {
    const record = containers.get(name);
    return record !== undefined && (record.state.kind !== 'waiting' || record.last !== undefined);
  });

const OWN_CONDITIONS = new Set([
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
]);

/** The whole status; conditions of others stay, and a condition's time of change moves only when it changes. */
export function podStatus(picture: PodPicture): PodStatus {
  const { pod, containers, hostIp, podIp } = picture;
  const inits = pod.spec?.initContainers ?? [];
  const mains = pod.spec?.containers ?? [];
  const ephemerals = (pod.spec?.ephemeralContainers ?? []) as unknown as ContainerSpec[];
  const waitingFor = inits.length > 0 ? 'PodInitializing' : 'ContainerCreating';
  const statusesOf = (specs: readonly ContainerSpec[]): ContainerStatus[] =>
    specs.map((spec) => containerStatus(spec, containers.get(spec.name) ?? untouched(spec, waitingFor)));
  const phase = phaseOf(picture);
  const ended = phase === 'Succeeded' || phase === 'Failed';
  const ip = isHostNetwork(pod) ? hostIp : podIp;
  const status: PodStatus = {
    phase,
    conditions: conditionsOf(picture, phase),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }] }),
    startTime: timestamp(picture.startTime),
    containerStatuses: statusesOf(mains),
    ...(inits.length > 0 && { initContainerStatuses: statusesOf(inits) }),
    ...(ephemerals.length > 0 && { ephemeralContainerStatuses: statusesOf(ephemerals) }),
    ...(picture.failed ?? {}),
  };
  if (ended) for (const each of status.containerStatuses ?? []) each.ready = false;
  if (pod.status?.qosClass !== undefined) status.qosClass = pod.status.qosClass;
  return status;
}

function conditionsOf(picture: PodPicture, phase: string): PodCondition[] {
  const { pod, containers, now } = picture;
  const before = pod.status?.conditions ?? [];
  const condition = (type: string, holds: boolean, why?: { reason: string; message?: string }): PodCondition => {
    const status = holds ? 'True' : 'False';
    const known = before.find((each) => each.type === type);
    return {
      type,
      status,
      lastTransitionTime:
        known?.status === status && known.lastTransitionTime ? known.lastTransitionTime : timestamp(now),
      ...(why !== undefined && !holds && why),
    };
  };
  const inits = pod.spec?.initContainers ?? [];
  const mains = pod.spec?.containers ?? [];
  const begun = mainsBegan(picture);
  const pendingInits = inits.filter(
    (spec) => !initDone(spec, containers.get(spec.name)) && !(begun && isSidecar(spec)),
  );
  const counted = [...inits.filter(isSidecar), ...mains];
  const unready = counted.filter(({ name }) => containers.get(name)?.ready !== true).map(({ name }) => name);
  const ended = phase === 'Succeeded' || phase === 'Failed';
  const names = (list: readonly string[]): string => `[${list.join(' ')}]`;
  const notReady = ended
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: ${names(unready)}` };
  const containersReady = !ended && unready.length === 0;
  const missing = (pod.spec?.readinessGates ?? []).filter(
    ({ conditionType }) => before.find((each) => each.type === conditionType)?.status !== 'True',
  );
  const gates = missing.map(
    ({ conditionType }) => `corresponding condition of pod readiness gate "${conditionType}" does not exist.`,
  );
  const notInitialized = {
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: ${names(pendingInits.map(({ name }) => name))}`,
  };
  return [
    condition('PodReadyToStartContainers', picture.podIp !== undefined && !ended),
    condition('Initialized', pendingInits.length === 0, notInitialized),
    condition(
      'Ready',
      containersReady && missing.length === 0,
      containersReady ? { reason: 'ReadinessGatesNotReady', message: gates.join(' ') } : notReady,
    ),
    condition('ContainersReady', containersReady, notReady),
    condition('PodScheduled', true),
    ...before.filter(({ type }) => !OWN_CONDITIONS.has(type)),
  ];
}
