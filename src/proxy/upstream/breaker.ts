// Circuit breakers: how much may be under way at once to one service port (or subset). Counters of this proxy process;
// the connection pool counts its connections and waiting requests here too, so that one place knows them all.

import type { TrafficPolicy } from '../../model/proxy/service-config.ts';

/** What may be asked for; each that was granted is given back once. */
export type Limited = 'request' | 'retry' | 'connection' | 'pending';

export class CircuitBreaker {
  #policy: TrafficPolicy;
  #requests = 0;
  #retries = 0;
  #connections = 0;
  #pending = 0;

  constructor(policy: TrafficPolicy) {
    this.#policy = policy;
  }

  /** What is under way stays counted. */
  set policy(policy: TrafficPolicy) {
    this.#policy = policy;
  }

  /** @returns false: there is too much already, nothing was counted */
  take(what: Limited): boolean {
    const { pool } = this.#policy;
    switch (what) {
      case 'request':
        if (this.#requests >= pool.maxRequests) return false;
        this.#requests++;
        return true;
      case 'retry':
        if (this.#retries >= this.#retryLimit()) return false;
        this.#retries++;
        return true;
      case 'connection':
        if (this.#connections >= pool.maxConnections) return false;
        this.#connections++;
        return true;
      case 'pending':
        if (this.#pending >= pool.maxPendingRequests) return false;
        this.#pending++;
        return true;
    }
  }

  release(what: Limited): void {
    switch (what) {
      case 'request':
        this.#requests--;
        break;
      case 'retry':
        this.#retries--;
        break;
      case 'connection':
        this.#connections--;
        break;
      case 'pending':
        this.#pending--;
        break;
    }
  }

  count(what: Limited): number {
    switch (what) {
      case 'request':
        return this.#requests;
      case 'retry':
        return this.#retries;
      case 'connection':
        return this.#connections;
      case 'pending':
        return this.#pending;
    }
  }

  /** A budget takes the place of the fixed limit (Envoy: retry_budget). */
  #retryLimit(): number {
    const { pool, retryBudget } = this.#policy;
    if (retryBudget === undefined) return pool.maxRetries;
    const active = this.#requests + this.#pending;
    return Math.max(retryBudget.minRetries, Math.floor((retryBudget.percent / 100) * active));
  }
}
