// Says on the pod what became of it: the annotation that the control plane goes by, and events for people.
// Istio: the annotation is written by merge patch through the pod's status subresource.

import { randomBytes } from 'node:crypto';
import type { IEvent } from 'kubernetes-models/v1/Event';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { ANNOTATION } from '../derive/names.ts';
import { EVENTS, PODS } from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../telemetry/log.ts';

/** `enabled`: captured, and a proxy serves it. `pending`: captured, no proxy yet, so its traffic stands still. */
export type RedirectionState = 'enabled' | 'pending' | undefined;

export type EventReason =
  | 'AmbientEnrolled'
  | 'AmbientEnrolmentPending'
  | 'AmbientEnrolmentFailed'
  | 'AmbientUnenrolled'
  | 'AmbientUnenrolmentFailed'
  | 'AmbientProxyRefused'
  | 'AmbientAnnotationIgnored';

const COMPONENT = 'istio-cni-node';
/** The API refuses longer ones. */
const MAX_MESSAGE_CHARS = 1024;

export class PodReporter {
  readonly #client: KubeClient;
  readonly #node: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** pod uid -> what was last said, so that retries do not say it again */
  readonly #said = new Map<string, string>();
  /** pod uid -> the annotation we wrote and the version of the pod that has it: an informer may lag behind */
  readonly #written = new Map<string, { readonly state: RedirectionState; readonly version: bigint }>();

  constructor(client: KubeClient, nodeName: string, clock: Clock, log: Logger) {
    this.#client = client;
    this.#node = nodeName;
    this.#clock = clock;
    this.#log = log;
  }

  /** Writes the annotation unless the pod has it. A pod that is gone is not an error. @throws KubeError and network errors */
  async annotate(pod: IPod, state: RedirectionState): Promise<void> {
    const { name = '', namespace = '', uid = '', resourceVersion } = pod.metadata ?? {};
    const written = this.#written.get(uid);
    const current =
      written !== undefined && versionOf(resourceVersion) < written.version ? written.state : redirectionState(pod);
    if (current === state) return;
    const body = { metadata: { uid, annotations: { [ANNOTATION.redirection]: state ?? null } } };
    try {
      const after = await this.#client.patch(PODS, name, namespace, 'merge', body, { subresource: 'status' });
      this.#written.set(uid, { state, version: versionOf(after.metadata?.resourceVersion) });
    } catch (error) {
      // 409: another pod has the name by now, since the patch tells the uid.
      if (error instanceof KubeError && (error.code === 404 || error.code === 409)) return;
      throw error;
    }
  }

  /** Leaves an event on the pod. Never throws: an event that cannot be written is logged. */
  async event(pod: IPod, type: 'Normal' | 'Warning', reason: EventReason, message: string): Promise<void> {
    const { name = '', namespace = '', uid = '', resourceVersion } = pod.metadata ?? {};
    const line = `${reason} ${message}`;
    if (this.#said.get(uid) === line) return;
    this.#said.set(uid, line);
    const now = new Date(this.#clock.nowMs()).toISOString().replace(/\.\d+Z$/, 'Z');
    const event: IEvent = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name}.${randomBytes(8).toString('hex')}`, namespace },
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        name,
        namespace,
        uid,
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      type,
      reason,
      message: message.slice(0, MAX_MESSAGE_CHARS),
      source: { component: COMPONENT, host: this.#node },
      reportingComponent: COMPONENT,
      reportingInstance: this.#node,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    try {
      await this.#client.create(EVENTS, event);
    } catch (error) {
      this.#log.warn('event not written', { pod: `${namespace}/${name}`, reason, error: error as Error });
    }
  }

  /** The pod is gone. */
  forget(uid: string): void {
    this.#said.delete(uid);
    this.#written.delete(uid);
  }
}

export function redirectionState(pod: IPod): RedirectionState {
  const value = pod.metadata?.annotations?.[ANNOTATION.redirection];
  return value === 'enabled' || value === 'pending' ? value : undefined;
}

/** Versions are opaque in principle, and numbers in every API server there is; what is no number counts as newest. */
function versionOf(text: string | undefined): bigint {
  return text !== undefined && /^\d{1,30}$/.test(text) ? BigInt(text) : 1n << 127n;
}
