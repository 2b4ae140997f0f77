// Bearer tokens: asked of the API server by TokenReview, with the audience that proxies' projected tokens are made for.
// Answers are kept for seconds only: a proxy makes a burst of certificate requests with one token.

import { createHash } from 'node:crypto';
import type { ITokenReview } from 'kubernetes-models/authentication.k8s.io/v1/TokenReview';
import { TOKEN_REVIEWS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Caller } from './caller.ts';

/** `refused`: the token is no good. `unavailable`: nobody could say; trying again may help. */
export interface TokenFailure {
  readonly kind: 'refused' | 'unavailable';
  readonly message: string;
}

export type TokenVerdict = Result<Caller, TokenFailure>;

const KEPT_MS = 10_000;
const REFUSAL_KEPT_MS = 2_000;
const MAX_KEPT = 10_000;
const MAX_TOKEN_CHARS = 16_384;
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const NODE_NAME = 'authentication.kubernetes.io/node-name';

const refused = (message: string): TokenVerdict => fail({ kind: 'refused', message });

export class TokenAuthenticator {
  readonly #kube: KubeClient;
  readonly #audiences: readonly string[];
  readonly #clock: Clock;
  /** Hash of a token -> the verdict; the token itself is not kept. */
  readonly #kept = new Map<string, { readonly untilMs: number; readonly verdict: TokenVerdict }>();
  readonly #underWay = new Map<string, Promise<TokenVerdict>>();

  constructor(kube: KubeClient, audiences: readonly string[], clock: Clock) {
    this.#kube = kube;
    this.#audiences = audiences;
    this.#clock = clock;
  }

  /** Never throws. */
  async authenticate(token: string): Promise<TokenVerdict> {
    if (token === '' || token.length > MAX_TOKEN_CHARS) return refused('the token is empty or too long');
    const hash = createHash('sha256').update(token).digest('base64');
    const kept = this.#kept.get(hash);
    if (kept !== undefined && kept.untilMs > this.#clock.nowMs()) return kept.verdict;
    const running = this.#underWay.get(hash);
    if (running !== undefined) return running;
    const review = this.#review(token).finally(() => this.#underWay.delete(hash));
    this.#underWay.set(hash, review);
    const verdict = await review;
    if (verdict.ok) this.#keep(hash, verdict, KEPT_MS);
    else if (verdict.error.kind === 'refused') this.#keep(hash, verdict, REFUSAL_KEPT_MS);
    return verdict;
  }

  #keep(hash: string, verdict: TokenVerdict, forMs: number): void {
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#kept.set(hash, { untilMs: this.#clock.nowMs() + forMs, verdict });
  }

  async #review(token: string): Promise<TokenVerdict> {
    let status: ITokenReview['status'];
    try {
      status = await this.#ask(token);
    } catch (error) {
      return fail({ kind: 'unavailable', message: `token review failed: ${(error as Error).message}` });
    }
    if (status?.authenticated !== true) return refused(status?.error || 'the API server does not know the token');
    // An API server that does not understand audiences leaves them out: such an answer is for any token, so it does not count.
    const audiences = status.audiences ?? [];
    if (!audiences.some((audience) => this.#audiences.includes(audience)))
      return refused(`the token is not for audience ${this.#audiences.join(' or ')}`);
    const [, namespace, serviceAccount] =
      /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '') ?? [];
    if (namespace === undefined || serviceAccount === undefined)
      return refused('the token is not of a service account');
    const extra = status.user?.extra ?? {};
    const name = extra[POD_NAME]?.[0];
    const uid = extra[POD_UID]?.[0];
    return ok({
      namespace,
      serviceAccount,
      via: 'token',
      pod: name === undefined || uid === undefined ? undefined : { name, uid },
      node: extra[NODE_NAME]?.[0],
    });
  }

  async #ask(token: string): Promise<ITokenReview['status']> {
    const review = await this.#kube.create(TOKEN_REVIEWS, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [...this.#audiences] },
    });
    return review.status;
  }
}
