// The proxy's end of ZDS: connects to the node agent, takes pods over with their network namespaces, gives them up again.
// The agent decides, this obeys; running pods outlive a lost connection. Istio's protocol to the letter, the places where
// a broken agent ends the process included.
//
//   connecting ── hello sent ──> snapshot ── snapshot_sent ──> live ── end or unreadable packet ──> connecting
//                                (add, keep, del)              (add, del)

import { closeSync } from 'node:fs';
import type { Clock, Timer } from '../platform/clock.ts';
import { sleep } from '../platform/clock.ts';
import { Netns, sameNetns } from '../platform/linux/netns.ts';
import { type Packet, type SeqpacketConnection, SeqpacketError } from '../platform/linux/seqpacket.ts';
import { errorText, type Logger } from '../telemetry/log.ts';
import { decodeRequest, encodeAck, encodeHello, type ZdsRequest } from '../wire/zds/messages.ts';
import type { PodInfo, PodState, PodStates, ReadinessTask, Telemetry } from './contracts.ts';
import type { Pods } from './pods.ts';

const CONNECT_BACKOFF = { firstMs: 20, maxMs: 15_000 };
const HELLO_BACKOFF = { firstMs: 5, maxMs: 15_000, jitter: 0.2 };
const RETRY_MS = 5_000;
/** The agent reads acknowledgements at once; one that does not is gone. */
const SEND_TIMEOUT_MS = 5_000;

export type ZdsConnection = Pick<SeqpacketConnection, 'receive' | 'send' | 'close'>;

export interface WorkloadManagerOptions {
  /** @throws while the agent is not there */
  readonly connect: () => ZdsConnection;
  readonly pods: Pods;
  readonly readiness: ReadinessTask;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** The agent broke the protocol in a way that cannot be mended by reconnecting: the process ends with status 1. */
export class ZdsProtocolError extends Error {}

/** A pause that doubles. `due`: the next try has to wait for it. */
class Backoff {
  readonly #shape: { readonly firstMs: number; readonly maxMs: number; readonly jitter?: number };
  readonly #random: () => number;
  waitMs: number;
  due = false;

  constructor(
    shape: { readonly firstMs: number; readonly maxMs: number; readonly jitter?: number },
    random: () => number,
  ) {
    this.#shape = shape;
    this.#random = random;
    this.waitMs = shape.firstMs;
  }

  next(): number {
    const waitMs = this.waitMs * (1 + (this.#shape.jitter ?? 0) * (2 * this.#random() - 1));
    this.waitMs = Math.min(this.waitMs * 2, this.#shape.maxMs);
    this.due = false;
    return waitMs;
  }

  reset(): void {
    this.waitMs = this.#shape.firstMs;
    this.due = false;
  }
}

/** A pod whose listeners could not be opened yet. */
interface Pending {
  readonly pod: PodInfo;
  readonly netns: Netns;
}

export class WorkloadManager implements PodStates {
  readonly #options: WorkloadManagerOptions;
  readonly #pending = new Map<string, Pending>();
  #retry: Timer | undefined;
  #snapshotDone = false;
  /** INVARIANT (turns): pods start and stop one after the other, so that a late retry never meets a newer request. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: WorkloadManagerOptions) {
    this.#options = options;
  }

  /**
   * Serves the agent until `signal` is aborted; pods are left running then.
   * @throws ZdsProtocolError
   */
  async run(signal: AbortSignal): Promise<void> {
    const hello = new Backoff(HELLO_BACKOFF, this.#options.random);
    while (!signal.aborted) {
      const connection = await this.#connect(signal, hello);
      if (connection === undefined) return;
      const onAbort = (): void => connection.close();
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        if (await this.#session(connection)) hello.reset();
        else hello.due = true; // an agent that takes the greeting and hangs up is as good as none
      } finally {
        signal.removeEventListener('abort', onAbort);
        connection.close();
        await this.#inTurn(async () => this.#disconnected());
      }
    }
  }

  pods(): readonly PodState[] {
    const pending = [...this.#pending].map(
      ([uid, { pod }]): PodState => ({ uid, state: 'Pending', info: pod, inbound: [], outbound: [] }),
    );
    return [...this.#options.pods.states(), ...pending];
  }

  /** Connected and greeted; undefined when aborted. */
  async #connect(signal: AbortSignal, hello: Backoff): Promise<ZdsConnection | undefined> {
    const { clock, log, random, connect } = this.#options;
    const dial = new Backoff(CONNECT_BACKOFF, random);
    for (;;) {
      if (dial.due || hello.due) {
        try {
          await sleep(clock, dial.due ? dial.next() : hello.next(), signal);
        } catch {
          return undefined;
        }
      }
      let connection: ZdsConnection | undefined;
      try {
        connection = connect();
        await connection.send(encodeHello(), { timeoutMs: SEND_TIMEOUT_MS });
        log.info('connected to the node agent');
        return connection;
      } catch (error) {
        connection?.close();
        const failed = connection === undefined ? dial : hello;
        failed.due = true;
        const level = failed.waitMs > 1000 ? log.warn : log.debug;
        level('no connection to the node agent', { error: error as Error, retryMs: failed.waitMs });
      }
    }
  }

  /** One connection, until it ends. @returns whether the agent ever said anything */
  async #session(connection: ZdsConnection): Promise<boolean> {
    const { log } = this.#options;
    const named = new Set<string>();
    let heard = false;
    for (;;) {
      let packet: Packet | undefined;
      try {
        packet = await connection.receive();
      } catch (error) {
        if (error instanceof SeqpacketError && error.code === 'closed') return heard;
        log.warn('packet of the node agent not read', { error: error as Error });
        await this.#acknowledge(connection, errorText(error as Error));
        return true;
      }
      if (packet === undefined) {
        log.info('the node agent has gone; pods go on');
        return heard;
      }
      heard = true;
      const request = readRequest(packet);
      if (typeof request === 'string') {
        log.warn('packet of the node agent not understood', { error: request });
        await this.#acknowledge(connection, request);
        return heard;
      }
      let error: string | undefined;
      try {
        error = await this.#inTurn(() => this.#obey(request, packet.fd, named));
      } catch (thrown) {
        if (thrown instanceof ZdsProtocolError) await this.#acknowledge(connection, thrown.message);
        throw thrown;
      }
      if (!(await this.#acknowledge(connection, error))) return heard;
    }
  }

  /** @returns false when the agent does not listen any more */
  async #acknowledge(connection: ZdsConnection, error: string | undefined): Promise<boolean> {
    try {
      await connection.send(encodeAck({ error }), { timeoutMs: SEND_TIMEOUT_MS });
      return true;
    } catch (failure) {
      this.#options.log.warn('acknowledgement not sent', { error: failure as Error });
      return false;
    }
  }

  /** @returns why it was not done, for the agent */
  async #obey(request: ZdsRequest, fd: number | undefined, named: Set<string>): Promise<string | undefined> {
    switch (request.kind) {
      case 'add':
        if (request.pod === undefined) {
          if (fd !== undefined) closeSync(fd);
          throw new ZdsProtocolError(`pod ${request.uid} was added without its name`);
        }
        named.add(request.uid);
        return this.#add(request.uid, request.pod, fd as number);
      case 'keep':
        if (this.#snapshotDone) throw new ZdsProtocolError('a pod was kept after the snapshot');
        named.add(request.uid);
        return undefined;
      case 'del':
        named.delete(request.uid);
        this.#forgetPending(request.uid);
        if (this.#snapshotDone) {
          this.#options.pods.stop(request.uid);
          this.#options.log.info('pod removed', { uid: request.uid });
        }
        this.#tellReadiness();
        return undefined;
      case 'snapshotSent':
        if (this.#snapshotDone) throw new ZdsProtocolError('a second snapshot was sent');
        this.#reconcile(named);
        return undefined;
      default:
        return request satisfies never;
    }
  }

  async #add(uid: string, pod: PodInfo, fd: number): Promise<string | undefined> {
    const { pods, log } = this.#options;
    const of = { uid, pod: `${pod.namespace}/${pod.name}` };
    let netns: Netns;
    try {
      netns = Netns.fromFd(fd, `network namespace of ${of.pod}`);
    } catch (error) {
      log.error('pod not added', { ...of, error: error as Error });
      return errorText(error as Error);
    }
    const running = pods.get(uid);
    if (running !== undefined) {
      if (sameNetns(running.netns.identity, netns.identity)) {
        netns.close();
        return undefined;
      }
      log.info('pod has a new network namespace', of);
      pods.stop(uid);
    }
    this.#forgetPending(uid);
    try {
      await pods.start(uid, pod, netns);
      log.info('pod added', of);
      return undefined;
    } catch (error) {
      log.error('listeners of a pod not opened; will be tried again', { ...of, error: error as Error });
      this.#pending.set(uid, { pod, netns });
      this.#pendingChanged();
      return errorText(error as Error);
    }
  }

  /** The snapshot is complete: what it did not name has left. */
  #reconcile(named: ReadonlySet<string>): void {
    const { pods, log } = this.#options;
    for (const uid of pods.uids()) {
      if (named.has(uid)) continue;
      pods.stop(uid);
      log.info('pod removed: the node agent does not name it any more', { uid });
    }
    this.#snapshotDone = true;
    this.#tellReadiness();
  }

  #disconnected(): void {
    this.#snapshotDone = false;
    for (const uid of [...this.#pending.keys()]) this.#forgetPending(uid);
    this.#tellReadiness();
  }

  #tellReadiness(): void {
    if (this.#snapshotDone && this.#pending.size === 0) this.#options.readiness.ready();
    else this.#options.readiness.pending();
  }

  #forgetPending(uid: string): void {
    const pending = this.#pending.get(uid);
    if (pending === undefined) return;
    this.#pending.delete(uid);
    pending.netns.close();
    this.#pendingChanged();
  }

  #pendingChanged(): void {
    this.#options.telemetry.pendingProxies(this.#pending.size);
    this.#tellReadiness();
    if (this.#pending.size === 0) {
      this.#retry?.cancel();
      this.#retry = undefined;
    } else this.#retry ??= this.#options.clock.after(RETRY_MS, () => void this.#inTurn(() => this.#retryPending()));
  }

  async #retryPending(): Promise<void> {
    this.#retry = undefined;
    const { pods, log } = this.#options;
    for (const [uid, pending] of [...this.#pending]) {
      const of = { uid, pod: `${pending.pod.namespace}/${pending.pod.name}` };
      try {
        await pods.start(uid, pending.pod, pending.netns);
        this.#pending.delete(uid);
        log.info('pod added at a later try', of);
      } catch (error) {
        log.warn('listeners of a pod still not opened', { ...of, error: error as Error });
      }
    }
    this.#pendingChanged();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** The request, or what is wrong with the packet. Exactly one descriptor belongs to `add`, none to anything else. */
function readRequest(packet: Packet): ZdsRequest | string {
  const request = decodeRequest(packet.data);
  const refuse = (why: string): string => {
    if (packet.fd !== undefined) closeSync(packet.fd);
    return why;
  };
  if (!request.ok) return refuse(request.error);
  if (request.value.kind === 'add')
    return packet.fd === undefined ? 'a pod was added without a descriptor' : request.value;
  return packet.fd === undefined ? request.value : refuse(`a descriptor came with \`${request.value.kind}\``);
}
