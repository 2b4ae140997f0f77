// HTTP connections to one endpoint for one service port: kept ones are used again, newest first; who finds none waits for
// one to be opened or to come free. Connections and waiting requests are counted by the service's circuit breaker.

import type { HostPort } from '../../model/ip.ts';
import type { ByteStream } from '../streams/byte-stream.ts';
import type { ClientConnection, ClientConnectionOwner, ConnectHttp, UpstreamFailure } from '../streams/http-stream.ts';
import type { CircuitBreaker } from '../upstream/breaker.ts';
import type { ConnectOrder, ConnectWaiter } from './connections.ts';
import type { Dialer } from './dialer.ts';

export interface HopPoolParts {
  readonly dialer: Dialer;
  readonly http1: ConnectHttp;
  readonly http2: ConnectHttp;
  readonly nowMs: () => number;
}

/** A connection, and what decides how long it is kept. */
class Kept implements ClientConnectionOwner {
  readonly pool: HopPool;
  connection!: ClientConnection;
  readonly bornMs: number;
  /** Whether the breaker counts it. */
  readonly counted: boolean;
  idleSinceMs: number;

  constructor(pool: HopPool, counted: boolean, nowMs: number) {
    this.pool = pool;
    this.counted = counted;
    this.bornMs = nowMs;
    this.idleSinceMs = nowMs;
  }
  available(): void {
    this.pool.available(this);
  }
  closed(): void {
    this.pool.closed(this);
  }
}

export class HopPool {
  readonly #parts: HopPoolParts;
  readonly http2: boolean;
  readonly #breaker: CircuitBreaker;
  /** The newest: its policy holds. */
  #order: ConnectOrder;
  /** With room for a request; the newest last. */
  #ready: Kept[] = [];
  readonly #all = new Set<Kept>();
  readonly #waiting: ConnectWaiter[] = [];
  readonly #dialing = new Set<() => void>();
  usedMs = 0;

  constructor(parts: HopPoolParts, order: ConnectOrder) {
    this.#parts = parts;
    this.#order = order;
    this.http2 = order.http2;
    this.#breaker = order.pick.breaker;
  }

  /** Whether connections made for one order serve the other. */
  serves({ target, http2, host, pick, client }: ConnectOrder): boolean {
    const own = this.#order;
    const { tls, proxyProtocol } = pick.policy;
    return (
      http2 === this.http2 &&
      pick.breaker === this.#breaker &&
      target.port === own.target.port &&
      target.service === own.target.service &&
      target.subset === own.target.subset &&
      tls === own.pick.policy.tls &&
      // A name that the policy leaves open is the request's; a connection that names its client is that client's alone.
      (tls === undefined || tls.serverName !== '' || host === own.host) &&
      proxyProtocol === own.pick.policy.proxyProtocol &&
      (proxyProtocol === undefined || sameAddress(client.source, own.client.source))
    );
  }

  /** @returns a connection with room; undefined: the waiter will hear, unless it is cancelled */
  take(order: ConnectOrder, waiter: ConnectWaiter): ClientConnection | undefined {
    this.#order = order;
    this.usedMs = this.#parts.nowMs();
    if (!order.fresh)
      for (let kept = this.#ready.at(-1); kept !== undefined; kept = this.#ready.at(-1)) {
        const { connection } = kept;
        if (connection.capacity > 0) {
          if (connection.capacity === 1) this.#ready.pop();
          return connection;
        }
        this.#ready.pop();
      }
    if (!this.#breaker.take('pending')) {
      queueMicrotask(() => waiter.unconnected('overflow'));
      return undefined;
    }
    this.#waiting.push(waiter);
    // One connection under way serves many that wait in HTTP/2.
    if (!this.http2 || this.#dialing.size === 0) this.#dial(order);
    return undefined;
  }

  /** @returns whether it waited here */
  cancel(waiter: ConnectWaiter): boolean {
    const at = this.#waiting.indexOf(waiter);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    this.#breaker.release('pending');
    return true;
  }

  #dial(order: ConnectOrder): void {
    const { pick, service, client, host } = order;
    const counted = this.#breaker.take('connection');
    // It waits for one to come free; but each endpoint may have one (Envoy), or it could wait for ever.
    if (!counted && this.#all.size + this.#dialing.size > 0) return;
    const stop = this.#parts.dialer.dial(
      {
        endpoint: pick.endpoint,
        policy: pick.policy,
        hostname: service.hostname,
        host: hostOnly(host),
        alpn: this.http2 ? ['h2'] : ['http/1.1'],
        client,
      },
      {
        opened: (stream) => {
          this.#dialing.delete(stop);
          this.#opened(stream, counted);
        },
        failed: (failure) => {
          this.#dialing.delete(stop);
          if (counted) this.#breaker.release('connection');
          this.#failed(failure);
        },
      },
    );
    this.#dialing.add(stop);
  }

  #opened(stream: ByteStream, counted: boolean): void {
    const kept = new Kept(this, counted, this.#parts.nowMs());
    this.#all.add(kept);
    const { maxConcurrentStreams, http2Keepalive: keepalive } = this.#order.pick.policy.pool;
    const connect = this.http2 ? this.#parts.http2 : this.#parts.http1;
    kept.connection = connect(stream, kept, { maxConcurrentStreams, keepalive });
    this.available(kept);
  }

  /** Who waits longest is told; the others as long as connections are under way, or live ones may come free. */
  #failed(failure: UpstreamFailure): void {
    const hopeless = this.#dialing.size === 0 && this.#all.size === 0;
    do {
      const waiter = this.#nextWaiter();
      if (waiter === undefined) return;
      waiter.unconnected(failure);
    } while (hopeless);
  }

  #nextWaiter(): ConnectWaiter | undefined {
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.#breaker.release('pending');
    return waiter;
  }

  available(kept: Kept): void {
    const { connection } = kept;
    if (this.#isSpent(kept)) {
      connection.drain();
      return;
    }
    while (connection.capacity > 0) {
      const waiter = this.#nextWaiter();
      if (waiter === undefined) break;
      waiter.connected(connection);
    }
    if (connection.capacity === 0) return;
    kept.idleSinceMs = this.#parts.nowMs();
    if (this.#ready.at(-1) !== kept && !(this.http2 && this.#ready.includes(kept))) this.#ready.push(kept);
  }

  #isSpent({ connection, bornMs }: Kept): boolean {
    const { maxRequestsPerConnection, maxConnectionMs } = this.#order.pick.policy.pool;
    return (
      (maxRequestsPerConnection > 0 && connection.begun >= maxRequestsPerConnection) ||
      (maxConnectionMs !== undefined && this.#parts.nowMs() - bornMs > maxConnectionMs)
    );
  }

  closed(kept: Kept): void {
    if (!this.#all.delete(kept)) return;
    const at = this.#ready.indexOf(kept);
    if (at >= 0) this.#ready.splice(at, 1);
    if (kept.counted) this.#breaker.release('connection');
    // Who waits for this one to come free needs another.
    if (this.#waiting.length > this.#dialing.size) this.#dial(this.#order);
  }

  /** Closes what was idle for too long. @returns false: nothing is left here, and nobody came for a while */
  sweep(nowMs: number, forgetAfterMs: number): boolean {
    const { pool, proxyProtocol } = this.#order.pick.policy;
    const idleMs = proxyProtocol === undefined ? pool.idleMs : Math.min(pool.idleMs, ONE_CLIENT_IDLE_MS);
    for (const kept of [...this.#all])
      if (kept.connection.exchanges === 0 && nowMs - kept.idleSinceMs > idleMs) kept.connection.drain();
    return this.#all.size + this.#dialing.size + this.#waiting.length > 0 || nowMs - this.usedMs < forgetAfterMs;
  }

  /** No more requests: connections end when those under way are over. */
  drain(): void {
    for (const kept of [...this.#all]) kept.connection.drain();
  }

  close(): void {
    for (const stop of [...this.#dialing]) stop();
    this.#dialing.clear();
    for (const kept of [...this.#all]) kept.connection.abort();
  }

  get size(): number {
    return this.#all.size;
  }
}

/** Connections that name their client are of no use to others. */
const ONE_CLIENT_IDLE_MS = 60_000;

const sameAddress = (a: HostPort, b: HostPort): boolean => a.ip === b.ip && a.port === b.port;

const hostOnly = (authority: string): string =>
  authority.startsWith('[') ? authority.slice(1, authority.indexOf(']')) : authority.replace(/:\d*$/, '');
