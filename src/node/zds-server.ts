// The agent's end of ZDS: node proxies connect, get every enrolled pod with its network namespace, then what changes.
// Istio: strictly one message, one acknowledgement; `add` goes to the newest proxy only, `del` to all of them, so that an
// old proxy can finish while its successor takes over. A proxy that breaks the protocol loses its connection, not its
// pods: it keeps running them, and hears everything again when it comes back.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { sleep } from '../platform/clock.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { type SeqpacketConnection, SeqpacketError, SeqpacketListener } from '../platform/linux/seqpacket.ts';
import type { Logger } from '../telemetry/log.ts';
import type { PodInfo } from '../wire/zds/messages.ts';
import { ZdsSession, ZdsSessionError } from './zds-session.ts';

const MAX_CONNECTIONS_PER_SECOND = 5;
const SECOND_MS = 1000;
const ACCEPT_RETRY_MS = 100;

export interface ZdsPod {
  /** The pod's Kubernetes uid. */
  readonly uid: string;
  readonly info: PodInfo;
  /** Undefined: not found; a proxy that runs the pod already is told to keep it. */
  readonly netns: Netns | undefined;
}

export interface ZdsServerOptions {
  readonly path: string;
  /** Every enrolled pod, as it is now; asked once for each connection. */
  readonly snapshot: () => Iterable<ZdsPod>;
  /** A proxy's refusal of a pod of the snapshot. The session goes on. */
  readonly onRefused: (uid: string, error: string) => void;
  readonly onConnections: (count: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Why a pod is not with a proxy: none is connected, it said no, or its connection ended. */
export class ZdsError extends Error {
  readonly code: 'noProxy' | 'refused' | 'disconnected';
  constructor(code: 'noProxy' | 'refused' | 'disconnected', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export class ZdsServer {
  readonly #options: ZdsServerOptions;
  readonly #stop = new AbortController();
  /** In the order of their greetings: the last one is the newest. */
  readonly #sessions: ZdsSession[] = [];
  /** Those that have not greeted yet. */
  readonly #greeting = new Set<SeqpacketConnection>();
  readonly #waiting = new Set<() => void>();
  #listener: SeqpacketListener | undefined;
  #nextId = 1;

  constructor(options: ZdsServerOptions) {
    this.#options = options;
  }

  /** @throws SystemError when the path cannot be listened at; a stale socket is replaced */
  listen(): void {
    mkdirSync(dirname(this.#options.path), { recursive: true });
    this.#listener = SeqpacketListener.listen(this.#options.path);
    void this.#accept(this.#listener);
  }

  get connections(): number {
    return this.#sessions.length;
  }

  /**
   * Gives a pod to the newest proxy, and waits for its acknowledgement.
   * @param waitMs how long to wait for a proxy to connect when none is
   * @throws ZdsError
   */
  async add(pod: ZdsPod & { readonly netns: Netns }, waitMs = 0): Promise<void> {
    if (this.#sessions.length === 0 && waitMs > 0) await this.#proxyConnected(waitMs);
    const session = this.#sessions.at(-1);
    if (session === undefined)
      throw new ZdsError('noProxy', 'no node proxy is connected; is the ztunnel pod of this node running?');
    try {
      const ack = await session.request({ kind: 'add', uid: pod.uid, pod: pod.info }, pod.netns);
      if (ack.error !== undefined) throw new ZdsError('refused', `the node proxy refused the pod: ${ack.error}`);
    } catch (cause) {
      if (!(cause instanceof ZdsSessionError)) throw cause;
      throw new ZdsError('disconnected', `the node proxy did not take the pod: ${cause.message}`, { cause });
    }
  }

  /** Tells every proxy that the pod is none of theirs any more. Never throws: a lost proxy hears it in its next snapshot. */
  async del(uid: string): Promise<void> {
    const { log } = this.#options;
    await Promise.all(
      this.#sessions.map(async (session) => {
        try {
          const ack = await session.request({ kind: 'del', uid });
          if (ack.error !== undefined) log.warn('a node proxy did not let go of a pod', { uid, error: ack.error });
        } catch (error) {
          log.debug('a node proxy went before it was told of a removed pod', { uid, error: error as Error });
        }
      }),
    );
  }

  /** Pods keep running in their proxies. */
  close(): void {
    this.#stop.abort();
    this.#listener?.close();
    for (const connection of this.#greeting) connection.close();
    for (const session of [...this.#sessions]) session.close('the agent stops');
    for (const wake of [...this.#waiting]) wake();
  }

  #proxyConnected(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const timer = this.#options.clock.after(waitMs, done);
      this.#waiting.add(done);
    });
  }

  /** Istio: at most five new connections a second, so that a proxy in a crash loop does not keep the agent busy. */
  async #accept(listener: SeqpacketListener): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stop;
    const recent: number[] = [];
    while (!signal.aborted) {
      try {
        const connection = await listener.accept();
        void this.#serve(connection);
        recent.push(clock.nowMs());
        if (recent.length < MAX_CONNECTIONS_PER_SECOND) continue;
        const waitMs = (recent.shift() as number) + SECOND_MS - clock.nowMs();
        if (waitMs > 0) await sleep(clock, waitMs, signal);
      } catch (error) {
        if (signal.aborted || (error instanceof SeqpacketError && error.code === 'closed')) return;
        log.error('no ZDS connection accepted', { error: error as Error });
        await sleep(clock, ACCEPT_RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #serve(connection: SeqpacketConnection): Promise<void> {
    const { log, onConnections } = this.#options;
    const id = this.#nextId++;
    this.#greeting.add(connection);
    const session = await ZdsSession.greet(connection, id).catch((error: unknown) => {
      log.warn('a ZDS connection was refused', { connection: id, error: error as Error });
      return undefined;
    });
    this.#greeting.delete(connection);
    if (session === undefined) return;
    // One turn: what is enrolled from here on goes into this session's queue behind the snapshot.
    this.#sessions.push(session);
    const sent = this.#sendSnapshot(session);
    onConnections(this.#sessions.length);
    log.info('node proxy connected', { connection: id, connections: this.#sessions.length });
    for (const wake of [...this.#waiting]) wake();
    await sent;
    const why = await session.ended;
    this.#sessions.splice(this.#sessions.indexOf(session), 1);
    onConnections(this.#sessions.length);
    log.info('node proxy disconnected', { connection: id, connections: this.#sessions.length, why });
  }

  async #sendSnapshot(session: ZdsSession): Promise<void> {
    const { log, onRefused } = this.#options;
    const pods = [...this.#options.snapshot()];
    const answers = pods.map(async ({ uid, info, netns }) => {
      const ack = await session.request(netns ? { kind: 'add', uid, pod: info } : { kind: 'keep', uid }, netns);
      if (ack.error === undefined) return;
      log.warn('the node proxy refused a pod of the snapshot', { uid, pod: info.name, error: ack.error });
      onRefused(uid, ack.error);
    });
    answers.push(session.request({ kind: 'snapshotSent' }).then(() => {}));
    try {
      await Promise.all(answers);
      log.info('snapshot acknowledged', { connection: session.id, pods: pods.length });
    } catch (error) {
      log.warn('snapshot not completed', { connection: session.id, error: error as Error });
    }
  }
}
