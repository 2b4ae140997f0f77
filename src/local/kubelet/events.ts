// Events of pods (`kubectl describe pod`): written in the background, the same thing again counted up instead of written
// anew, never holding up what they tell about.

import { randomBytes } from 'node:crypto';
import { EVENTS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import { type Pod, podName, podNamespace, podUid, timestamp } from './types.ts';

const MAX_WAITING = 1000;
const MAX_REMEMBERED = 1000;
/** What goes well is told a little later: the first moments of a pod belong to its start. */
const DELAY_MS = { Normal: 500, Warning: 20 } as const;

interface Occurrence {
  readonly pod: Pod;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly container: string | undefined;
  readonly at: Date;
}

export class EventRecorder {
  readonly #client: KubeClient;
  readonly #node: string;
  readonly #waiting: Record<Occurrence['type'], Occurrence[]> = { Normal: [], Warning: [] };
  /** What was written before: key → name and count. */
  readonly #known = new Map<string, { name: string; count: number }>();
  readonly #working = { Normal: false, Warning: false };

  constructor(client: KubeClient, node: string) {
    this.#client = client;
    this.#node = node;
  }

  record(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string, container?: string): void {
    if (this.#waiting[type].length >= MAX_WAITING) return;
    this.#waiting[type].push({ pod, type, reason, message: message.slice(0, 1024), container, at: new Date() });
    if (this.#working[type]) return;
    this.#working[type] = true;
    setTimeout(() => void this.#work(type), DELAY_MS[type]).unref();
  }

  async #work(type: Occurrence['type']): Promise<void> {
    const waiting = this.#waiting[type];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        await this.#write(next);
      } catch {
        // Lost: the API is away, or the namespace is being deleted.
      }
    }
    this.#working[type] = false;
  }

  async #write({ pod, type, reason, message, container, at }: Occurrence): Promise<void> {
    const key = [podUid(pod), container, type, reason, message].join('\0');
    const known = this.#known.get(key);
    if (known !== undefined) {
      known.count++;
      await this.#client.patch(EVENTS, known.name, podNamespace(pod), 'merge', {
        count: known.count,
        lastTimestamp: timestamp(at),
      });
      return;
    }
    const name = `${podName(pod)}.${randomBytes(8).toString('hex')}`;
    this.#remember(key, name);
    const spec = pod.spec;
    const kind = spec?.initContainers?.some((each) => each.name === container) ? 'initContainers' : 'containers';
    await this.#client.create(EVENTS, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: podNamespace(pod) },
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        name: podName(pod),
        namespace: podNamespace(pod),
        uid: podUid(pod),
        ...(container !== undefined && { fieldPath: `spec.${kind}{${container}}` }),
      },
      type,
      reason,
      message,
      source: { component: 'kubelet', host: this.#node },
      reportingComponent: 'kubelet',
      reportingInstance: this.#node,
      firstTimestamp: timestamp(at),
      lastTimestamp: timestamp(at),
      count: 1,
    });
  }

  #remember(key: string, name: string): void {
    if (this.#known.size >= MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? '');
    this.#known.set(key, { name, count: 1 });
  }
}
