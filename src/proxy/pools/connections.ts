// Upstream connections of the proxy: HTTP ones in pools by service port and endpoint, plain ones for TCP.

import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import type { ClientInfo, Endpoint } from '../contracts.ts';
import type { Target } from '../engine.ts';
import type { ClientConnection, UpstreamFailure } from '../streams/http-stream.ts';
import type { Sweeper, Swept } from '../streams/sweeper.ts';
import type { UpstreamPick } from '../upstream/index.ts';
import type { DialOrder, DialOwner } from './dialer.ts';
import { HopPool, type HopPoolParts } from './hop-pool.ts';

export interface ConnectOrder {
  readonly target: Target;
  readonly service: ServiceConfig;
  readonly pick: UpstreamPick;
  readonly http2: boolean;
  /** Authority of the request. */
  readonly host: string;
  readonly client: ClientInfo;
  /** None that has served before. */
  readonly fresh: boolean;
}

/** Exactly one of the two is called, unless the waiter was cancelled. */
export interface ConnectWaiter {
  connected(connection: ClientConnection): void;
  unconnected(failure: UpstreamFailure | 'overflow'): void;
}

/** Pools that nobody has used for so long, and that hold nothing, are forgotten. */
const FORGET_AFTER_MS = 60_000;

/** Of one endpoint: names of servers and clients make pools of their own, and clients choose both. */
const MAX_POOLS = 64;

/** Takes it out of the list: its connections end with what they carry. */
function leastUsed(pools: HopPool[]): HopPool {
  let least = 0;
  for (let i = 1; i < pools.length; i++) if ((pools[i]?.usedMs ?? 0) < (pools[least]?.usedMs ?? 0)) least = i;
  return pools.splice(least, 1)[0] as HopPool;
}

export class Connections implements Swept {
  readonly #parts: HopPoolParts;
  readonly #sweeper: Sweeper;
  readonly #pools = new Map<string, HopPool[]>();
  /** The way without building a key; endpoints are the same objects while nothing changes. */
  readonly #byEndpoint = new WeakMap<Endpoint, HopPool[]>();

  constructor(parts: HopPoolParts, sweeper: Sweeper) {
    this.#parts = parts;
    this.#sweeper = sweeper;
    sweeper.add(this);
  }

  /** @returns a connection with room for one request, or undefined: `waiter` will hear */
  take(order: ConnectOrder, waiter: ConnectWaiter): ClientConnection | undefined {
    return this.#poolFor(order).take(order, waiter);
  }

  cancel(waiter: ConnectWaiter): void {
    for (const pools of this.#pools.values()) for (const pool of pools) if (pool.cancel(waiter)) return;
  }

  /** A connection of its own. @returns cancels */
  dial(order: DialOrder, owner: DialOwner): () => void {
    return this.#parts.dialer.dial(order, owner);
  }

  #poolFor(order: ConnectOrder): HopPool {
    const { endpoint } = order.pick;
    let pools = this.#byEndpoint.get(endpoint);
    // One that was emptied may have been forgotten.
    if (pools === undefined || pools.length === 0) {
      const key = keyOf(endpoint);
      pools = this.#pools.get(key);
      if (pools === undefined) {
        pools = [];
        this.#pools.set(key, pools);
      }
      this.#byEndpoint.set(endpoint, pools);
    }
    for (const pool of pools) if (pool.serves(order)) return pool;
    if (pools.length >= MAX_POOLS) leastUsed(pools).drain();
    const pool = new HopPool(this.#parts, order);
    pools.push(pool);
    return pool;
  }

  sweep(nowMs: number): void {
    for (const pools of this.#pools.values())
      for (let i = pools.length - 1; i >= 0; i--)
        if (pools[i]?.sweep(nowMs, FORGET_AFTER_MS) === false) pools.splice(i, 1);
    for (const [key, pools] of this.#pools) if (pools.length === 0) this.#pools.delete(key);
  }

  drain(): void {
    for (const pools of this.#pools.values()) for (const pool of pools) pool.drain();
  }

  close(): void {
    this.#sweeper.delete(this);
    for (const pools of this.#pools.values()) for (const pool of pools) pool.close();
    this.#pools.clear();
  }

  /** Open HTTP connections, for tests and dumps. */
  get size(): number {
    let size = 0;
    for (const pools of this.#pools.values()) for (const pool of pools) size += pool.size;
    return size;
  }
}

function keyOf({ address, tunnel }: Endpoint): string {
  const expected = tunnel?.expected.map((id) => `${id.trustDomain}/${id.namespace}/${id.serviceAccount}`).join(' ');
  return `${address.ip} ${address.port} ${tunnel?.hop.ip} ${tunnel?.hop.port} ${expected}`;
}
