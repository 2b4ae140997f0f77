// The words that the parts of the kubelet share.

import type { IPod } from 'kubernetes-models/v1/Pod';

export type Pod = IPod;
export type PodSpec = NonNullable<IPod['spec']>;
export type PodStatus = NonNullable<IPod['status']>;
export type ContainerSpec = PodSpec['containers'][number];
export type ContainerStatus = NonNullable<PodStatus['containerStatuses']>[number];
export type VolumeSpec = NonNullable<PodSpec['volumes']>[number];
export type ProbeSpec = NonNullable<ContainerSpec['livenessProbe']>;
export type PodCondition = NonNullable<PodStatus['conditions']>[number];

/**
 * What a container is doing.
 *
 *   waiting ──start──> running ──exit──> terminated ──restart policy──> waiting (CrashLoopBackOff) ──> running …
 */
export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message?: string }
  | { readonly kind: 'running'; readonly startedAt: Date }
  | Terminated;

export interface Terminated {
  readonly kind: 'terminated';
  readonly exitCode: number;
  readonly signal?: number;
  readonly reason: string;
  readonly message?: string;
  readonly startedAt: Date;
  readonly finishedAt: Date;
}

/** Everything that a container's status shows. */
export interface ContainerRecord {
  readonly name: string;
  readonly state: ContainerState;
  readonly last: Terminated | undefined;
  readonly restarts: number;
  readonly started: boolean;
  readonly ready: boolean;
  readonly image: string;
  readonly imageId: string;
  readonly containerId: string;
}

/** Something a pod waits for or was refused, in the words of an event and of a waiting reason. */
export class PodProblem extends Error {
  /** `CreateContainerConfigError`, `FailedMount`, … */
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

export const podName = (pod: Pod): string => pod.metadata?.name ?? '';
export const podNamespace = (pod: Pod): string => pod.metadata?.namespace ?? 'default';
export const podUid = (pod: Pod): string => pod.metadata?.uid ?? '';
export const isHostNetwork = (pod: Pod): boolean => pod.spec?.hostNetwork === true;
export const isSidecar = (container: ContainerSpec): boolean => container.restartPolicy === 'Always';

/** Times of the API: seconds, UTC. */
export const timestamp = (at: Date): string => `${at.toISOString().slice(0, 19)}Z`;
