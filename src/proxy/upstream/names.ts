// Names of endpoints, resolved and kept up to date: asked for at every pick, so an answer that is known costs a look-up.
// An answer holds for its time to live; while a new one is fetched the old one serves, and when that fails it goes on
// serving (Envoy: strict DNS keeps its hosts). Only a name that nobody has asked for in a while, or never, is waited for.

import type { Ip } from '../../model/ip.ts';

export interface Answer {
  readonly addresses: readonly Ip[];
  /** Undefined: the resolver does not say. */
  readonly ttlMs: number | undefined;
}

/** Asks a name server. An unknown name is an empty answer; it throws when there is none. */
export type Resolve = (hostname: string) => Promise<Answer>;

export interface NameSettings {
  readonly resolve: Resolve;
  readonly nowMs: () => number;
  /** dnsRefreshRate of the mesh: how long an answer holds whose time to live is not known. */
  readonly refreshMs: number;
}

/** Names kept; the one that was unused longest goes. Clients choose names where a service has a wildcard. */
const MAX_NAMES = 1024;
/** An answer holds at least so long, whatever it says of itself (Envoy: dns_min_refresh_rate). */
const MIN_HOLD_MS = 1_000;
/** Time before a failed or empty answer is asked for again. */
const RETRY_MS = 5_000;

const NONE: readonly Ip[] = [];

interface Entry {
  /** The same list until the addresses change. */
  addresses: readonly Ip[];
  validUntilMs: number;
  /** Old answers are served no longer without asking first. */
  staleUntilMs: number;
  pending: Promise<void> | undefined;
}

export class Names {
  readonly #settings: NameSettings;
  readonly #entries = new Map<string, Entry>();

  constructor(settings: NameSettings) {
    this.#settings = settings;
  }

  /** The addresses at hand: the same list as before while they have not changed. Asks for new ones when it is time. */
  known(hostname: string): readonly Ip[] {
    return this.#current(hostname).addresses;
  }

  /** @returns undefined when `known` is fresh enough; otherwise what to wait for, which never rejects */
  wait(hostname: string): Promise<void> | undefined {
    const entry = this.#current(hostname);
    return this.#settings.nowMs() < entry.staleUntilMs ? undefined : entry.pending;
  }

  #current(hostname: string): Entry {
    let entry = this.#entries.get(hostname);
    if (entry === undefined) {
      entry = { addresses: NONE, validUntilMs: -1, staleUntilMs: -1, pending: undefined };
      this.#makeRoom();
      this.#entries.set(hostname, entry);
    }
    if (entry.pending === undefined && this.#settings.nowMs() >= entry.validUntilMs) {
      // Those in use are asked for again and again: they move to the end of the map.
      this.#entries.delete(hostname);
      this.#entries.set(hostname, entry);
      entry.pending = this.#refresh(hostname, entry);
    }
    return entry;
  }

  #makeRoom(): void {
    if (this.#entries.size < MAX_NAMES) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  async #refresh(hostname: string, entry: Entry): Promise<void> {
    const { resolve, nowMs, refreshMs } = this.#settings;
    let holdMs = RETRY_MS;
    try {
      const answer = await resolve(hostname);
      if (answer.addresses.length > 0) holdMs = Math.max(MIN_HOLD_MS, answer.ttlMs ?? refreshMs);
      if (!sameList(answer.addresses, entry.addresses)) entry.addresses = answer.addresses;
    } catch {
      // The name server does not answer: what is known goes on serving.
    }
    const now = nowMs();
    entry.validUntilMs = now + holdMs;
    entry.staleUntilMs = entry.validUntilMs + refreshMs;
    entry.pending = undefined;
  }
}

const sameList = (a: readonly Ip[], b: readonly Ip[]): boolean =>
  a.length === b.length && a.every((ip, i) => ip === b[i]);
