// The service-account tokens of one pod: asked for through the API (TokenRequest), bound to the pod, and asked for again
// when most of their life is over. Never written to a log.

import { SERVICE_ACCOUNT_TOKENS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { type Pod, podName, podNamespace, podUid } from './types.ts';
import type { TokenWish } from './volume-files.ts';

/** Kubernetes: a new one after four fifths of its life, and within a day. */
const RENEW_AFTER = 0.8;
const RENEW_WITHIN_MS = 24 * 3_600_000;
const RETRY_MS = 10_000;

const keyOf = (wish: TokenWish): string => `${wish.audience}\0${wish.expirationSeconds}`;

export class PodTokens {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #pod: () => Pod;
  readonly #onRenewed: () => void;
  readonly #tokens = new Map<string, string>();
  readonly #timers = new Map<string, Timer>();
  #closed = false;

  constructor(options: { client: KubeClient; clock: Clock; pod: () => Pod; onRenewed: () => void }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#pod = options.pod;
    this.#onRenewed = options.onRenewed;
  }

  get(wish: TokenWish): string | undefined {
    return this.#tokens.get(keyOf(wish));
  }

  /** Asks for those that are not there yet. @throws KubeError */
  async fetch(wishes: readonly TokenWish[]): Promise<void> {
    await Promise.all(wishes.map((wish) => (this.#tokens.has(keyOf(wish)) ? undefined : this.#request(wish))));
  }

  async #request(wish: TokenWish): Promise<void> {
    const pod = this.#pod();
    const answer = await this.#client.create(
      SERVICE_ACCOUNT_TOKENS,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { name: pod.spec?.serviceAccountName ?? 'default', namespace: podNamespace(pod) },
        spec: {
          audiences: wish.audience === '' ? [] : [wish.audience],
          expirationSeconds: wish.expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: podName(pod), uid: podUid(pod) },
        },
      },
      { subresource: 'token' },
    );
    const token = answer.status?.token;
    if (token === undefined) throw new Error('the API answered a TokenRequest without a token');
    if (this.#closed) return;
    this.#tokens.set(keyOf(wish), token);
    const lifeMs = Date.parse(answer.status?.expirationTimestamp ?? '') - this.#clock.nowMs();
    this.#renewAfter(
      wish,
      Math.min(RENEW_WITHIN_MS, (Number.isNaN(lifeMs) ? wish.expirationSeconds * 1000 : lifeMs) * RENEW_AFTER),
    );
  }

  #renewAfter(wish: TokenWish, delayMs: number): void {
    this.#timers.get(keyOf(wish))?.cancel();
    const renew = (): void => {
      this.#request(wish).then(this.#onRenewed, () => {
        if (!this.#closed) this.#renewAfter(wish, RETRY_MS);
      });
    };
    this.#timers.set(keyOf(wish), this.#clock.after(Math.max(RETRY_MS, delayMs), renew));
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#tokens.clear();
  }
}
