// Keeps the key sets of RequestAuthentications fresh: fetched when first wanted, again every 20 minutes (Istio) or as configured, sooner
// after a failure. A set that was had stays in force while later tries fail; proxies get the keys, never the address.

import { type FetchedKeys, type KeySource, keySourceName } from '../../derive/l7-security/tokens.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';

const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 5 * 60_000;
/** Addresses at once; a mesh has a handful of issuers. */
const MAX_SOURCES = 1_000;
const DISCOVERY_PATH = '/.well-known/openid-configuration';

const log = logger('jwks');

export interface WantedKeys {
  readonly source: KeySource;
  readonly timeoutMs: number;
}

export interface KeyFetcherParts {
  readonly clock: Clock;
  /** Between two fetches that went well. */
  readonly refreshMs: number;
  /** `fetchJson` with its limits. */
  readonly fetch: (url: string, timeoutMs: number, signal: AbortSignal) => Promise<unknown>;
  /** `undefined`: nobody wants them any more. */
  readonly publish: (name: string, keys: FetchedKeys | undefined) => void;
}

interface Followed {
  wanted: WantedKeys;
  readonly over: AbortController;
  timer: Timer | undefined;
  published: string | undefined;
  retryMs: number;
}

export class KeyFetcher {
  readonly #parts: KeyFetcherParts;
  readonly #followed = new Map<string, Followed>();

  constructor(parts: KeyFetcherParts) {
    this.#parts = parts;
  }

  /** What is wanted now; others are forgotten. Returns at once. */
  want(all: Iterable<WantedKeys>): void {
    const wanted = new Map<string, WantedKeys>();
    for (const one of all) wanted.set(keySourceName(one.source), one);
    for (const [name, { over, timer }] of this.#followed)
      if (!wanted.has(name)) {
        over.abort();
        timer?.cancel();
        this.#followed.delete(name);
        this.#parts.publish(name, undefined);
      }
    for (const [name, one] of wanted) {
      const known = this.#followed.get(name);
      if (known !== undefined) known.wanted = one;
      else if (this.#followed.size >= MAX_SOURCES) {
        this.#parts.publish(name, { kind: 'missing', why: `more than ${MAX_SOURCES} key addresses are in use` });
      } else {
        const followed: Followed = {
          wanted: one,
          over: new AbortController(),
          timer: undefined,
          published: undefined,
          retryMs: FIRST_RETRY_MS,
        };
        this.#followed.set(name, followed);
        void this.#refresh(name, followed);
      }
    }
  }

  stop(): void {
    for (const { over, timer } of this.#followed.values()) {
      over.abort();
      timer?.cancel();
    }
    this.#followed.clear();
  }

  async #refresh(name: string, followed: Followed): Promise<void> {
    const { signal } = followed.over;
    let nextMs = this.#parts.refreshMs;
    try {
      const json = await this.#load(followed.wanted, signal);
      followed.retryMs = FIRST_RETRY_MS;
      if (!signal.aborted && json !== followed.published) {
        followed.published = json;
        this.#parts.publish(name, { kind: 'set', json });
        log.info('keys fetched', { source: name });
      }
    } catch (error) {
      if (signal.aborted) return;
      const why = error instanceof Error ? error.message : String(error);
      nextMs = followed.retryMs;
      followed.retryMs = Math.min(MAX_RETRY_MS, followed.retryMs * 2);
      log.warn('keys not fetched; trying again', { source: name, error: why, retry_ms: nextMs });
      if (followed.published === undefined) this.#parts.publish(name, { kind: 'missing', why });
    }
    if (signal.aborted) return;
    followed.timer = this.#parts.clock.after(nextMs, () => void this.#refresh(name, followed));
  }

  async #load({ source, timeoutMs }: WantedKeys, signal: AbortSignal): Promise<string> {
    const { fetch } = this.#parts;
    let { url } = source;
    if (source.kind === 'discovery') {
      const found = await fetch(`${url.replace(/\/$/, '')}${DISCOVERY_PATH}`, timeoutMs, signal);
      const uri = typeof found === 'object' && found !== null && 'jwks_uri' in found ? found.jwks_uri : undefined;
      if (typeof uri !== 'string') throw new Error(`${url} names no jwks_uri in its OpenID configuration`);
      url = uri;
    }
    const set = await fetch(url, timeoutMs, signal);
    if (typeof set !== 'object' || set === null || !('keys' in set) || !Array.isArray(set.keys))
      throw new Error(`${url} is no JSON Web Key Set`);
    return JSON.stringify(set);
  }
}
