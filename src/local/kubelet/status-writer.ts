// Writes a pod's status to the API: the latest one, one write at a time, again with back-off while the API is away.
// A burst of changes is one write.

import { PODS } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import { RetryBackoff } from './backoff.ts';
import { type Pod, type PodStatus, podName, podNamespace, podUid } from './types.ts';

const SETTLE_MS = 5;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 5_000;

/** JSON with keys in order, so that equal statuses are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

export class StatusWriter {
  readonly #client: KubeClient;
  readonly #look: () => { pod: Pod; status: PodStatus };
  #written = '';
  #dirty = false;
  #closed = false;
  #work: Promise<void> = Promise.resolve();
  #working = false;

  constructor(client: KubeClient, look: () => { pod: Pod; status: PodStatus }) {
    this.#client = client;
    this.#look = look;
  }

  changed(): void {
    if (this.#closed) return;
    this.#dirty = true;
    if (this.#working) return;
    this.#working = true;
    this.#work = this.#run();
  }

  /** Resolves when everything that changed before has been written, or given up. */
  get settled(): Promise<void> {
    return this.#work;
  }

  close(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    // A moment later, so that what changes together is written together.
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const retry = new RetryBackoff(RETRY_FIRST_MS, RETRY_MAX_MS);
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      const { pod, status } = this.#look();
      const text = canonical(status);
      if (text === this.#written) continue;
      try {
        await this.#write(pod, status);
        this.#written = text;
      } catch (error) {
        // Gone, or another pod of the same name: nobody is interested any more.
        if (error instanceof KubeError && (error.code === 404 || error.code === 409)) break;
        this.#dirty = true;
        await new Promise((resolve) => setTimeout(resolve, retry.next()));
      }
    }
    this.#working = false;
  }

  async #write(pod: Pod, status: PodStatus): Promise<void> {
    // A merge patch takes away only what it names.
    const before = pod.status ?? {};
    const gone = Object.keys(before).filter((key) => OWN.has(key) && !(key in status));
    const body = {
      metadata: { uid: podUid(pod) },
      status: { ...Object.fromEntries(gone.map((key) => [key, null])), ...status },
    };
    await this.#client.patch(PODS, podName(pod), podNamespace(pod), 'merge', body, {
      subresource: 'status',
      fieldManager: 'kubelet',
    });
  }
}

const OWN = new Set(['reason', 'message', 'podIP', 'podIPs']);
