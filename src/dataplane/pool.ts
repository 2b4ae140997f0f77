// Which HBONE connection carries a new tunnel. One pool per pod and listener; the key is everything that two tunnels must
// have in common to share a connection, so no identity ever travels on another's (Istio: ztunnel's pool).
// A connection that fills up is retired: it finishes its tunnels and is never chosen again, a new one takes its place.

import { principalOf, type SpiffeId } from '../model/identity.ts';
import { formatHostPort, type HostPort, type Ip } from '../model/ip.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import {
  type ClientSession,
  type ConnectRequest,
  HboneError,
  type TunnelSink,
  type TunnelStream,
} from '../wire/hbone/index.ts';

export interface PoolKey {
  /** Whose certificate the connection presents. */
  readonly source: SpiffeId;
  /** The application's address: never shared, so that a peer sees one client behind one connection. */
  readonly sourceIp: Ip;
  /** Any one of these must be proved by the peer; the order is part of the key. */
  readonly expected: readonly SpiffeId[];
  readonly destination: HostPort;
}

/** What the pool needs of a session. */
export type PooledSession = Pick<ClientSession, 'capacity' | 'activeStreams' | 'streamLimit' | 'open' | 'drain'>;

interface Slot<Session> {
  session: Session | undefined;
  dialing: Promise<Session> | undefined;
  /** Unix time of the last tunnel, for release. */
  usedMs: number;
  /** For `retire`. */
  readonly source: SpiffeId;
}

export interface PoolOptions<Session> {
  /** Opens a connection for the key; its errors reach everyone who waits for it, and are not remembered. */
  readonly dial: (key: PoolKey) => Promise<Session>;
  readonly clock: Clock;
  /** A connection leaves the pool this long after its last tunnel was opened, and closes when its tunnels are done. */
  readonly unusedReleaseMs: () => number;
}

/** Each round serves as many of those who wait as one connection takes; a peer that takes none must not spin us. */
const MAX_ROUNDS = 64;

export const poolKeyText = (key: PoolKey): string =>
  `${key.sourceIp} ${formatHostPort(key.destination)} ${principalOf(key.source)} ${key.expected.map(principalOf).join(' ')}`;

export class Pool<Session extends PooledSession> {
  readonly #options: PoolOptions<Session>;
  readonly #slots = new Map<string, Slot<Session>>();
  #sweep: Timer | undefined;
  #closed = false;

  constructor(options: PoolOptions<Session>) {
    this.#options = options;
  }

  /**
   * Opens a tunnel on a pooled connection at once; undefined when there is none for the key: then `openSoon`.
   * @param text  `poolKeyText` of the key
   */
  open(text: string, request: ConnectRequest, sink: TunnelSink): TunnelStream | undefined {
    const slot = this.#slots.get(text);
    const session = slot?.session;
    if (slot === undefined || session === undefined) return undefined;
    if (session.capacity === 0) {
      slot.session = undefined;
      session.drain();
      return undefined;
    }
    slot.usedMs = this.#options.clock.nowMs();
    const stream = session.open(request, sink);
    if (session.activeStreams >= session.streamLimit) {
      slot.session = undefined;
      session.drain();
    }
    return stream;
  }

  /**
   * As `open`, after dialling a new connection; one dial for all who want it at once.
   * @throws what `dial` throws
   */
  async openSoon(key: PoolKey, text: string, request: ConnectRequest, sink: TunnelSink): Promise<TunnelStream> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await this.#dial(key, text);
      const stream = this.open(text, request, sink);
      if (stream !== undefined) return stream;
    }
    throw new HboneError(
      'REFUSED_STREAM',
      'peer',
      `no connection to ${formatHostPort(key.destination)} takes a tunnel`,
    );
  }

  #dial(key: PoolKey, text: string): Promise<Session> {
    if (this.#closed) return Promise.reject(new Error('the pool is closed'));
    let slot = this.#slots.get(text);
    if (slot === undefined) {
      slot = { session: undefined, dialing: undefined, usedMs: this.#options.clock.nowMs(), source: key.source };
      this.#slots.set(text, slot);
    }
    const own = slot;
    own.dialing ??= this.#options.dial(key).then(
      (session) => {
        own.dialing = undefined;
        own.usedMs = this.#options.clock.nowMs();
        if (this.#closed) {
          session.drain();
          throw new Error('the pool is closed');
        }
        own.session = session;
        this.#slots.set(text, own);
        this.#armSweep();
        return session;
      },
      (error: unknown) => {
        own.dialing = undefined;
        if (own.session === undefined) this.#slots.delete(text);
        throw error;
      },
    );
    return own.dialing;
  }

  /** Connections made with this identity's certificate finish their tunnels and take no new ones. */
  retire(source: SpiffeId): void {
    const principal = principalOf(source);
    for (const [text, slot] of this.#slots) if (principalOf(slot.source) === principal) this.#release(text, slot);
  }

  /** No new connections; pooled ones end when their tunnels are done. */
  close(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    for (const [text, slot] of this.#slots) this.#release(text, slot);
  }

  /** Pooled connections, for tests and diagnostics. */
  get size(): number {
    let size = 0;
    for (const slot of this.#slots.values()) if (slot.session !== undefined) size += 1;
    return size;
  }

  #release(text: string, slot: Slot<Session>): void {
    slot.session?.drain();
    slot.session = undefined;
    if (slot.dialing === undefined) this.#slots.delete(text);
  }

  /** One coarse timer for the whole pool: a release may be late by at most a quarter of the time. */
  #armSweep(): void {
    if (this.#sweep !== undefined || this.#closed) return;
    this.#sweep = this.#options.clock.after(this.#options.unusedReleaseMs() / 4, () => {
      this.#sweep = undefined;
      const before = this.#options.clock.nowMs() - this.#options.unusedReleaseMs();
      for (const [text, slot] of this.#slots) if (slot.usedMs <= before) this.#release(text, slot);
      if (this.#slots.size > 0) this.#armSweep();
    });
  }
}
