// The proxy of one pod: its listeners inside the pod's network namespace, its connections, its pool. It knows nothing of
// other pods, and nothing outside knows its sockets: it is started, drained or stopped as a whole.
//
//   new ── start ──> listening ── drain ──> draining ── idle or deadline ──> closed
//                        └────────── stop (pod left the mesh) ──────────────────┘

import { closeSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { Deadlines } from '../dataplane/deadlines.ts';
import { CLOSED_BY_DRAIN, POLICY_CHANGE } from '../dataplane/failure.ts';
import type { SpiffeId } from '../model/identity.ts';
import type { Ip } from '../model/ip.ts';
import { HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT } from '../model/ports.ts';
import { hasCode } from '../platform/linux/errors.ts';
import { setSysctl } from '../platform/linux/links.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { listenTcp, serve, setKeepalive } from '../platform/linux/sockets.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { listenStreams } from '../platform/tcp/streams.ts';
import { ConnectionTable } from './connections.ts';
import {
  ANSWER_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  keepaliveOf,
  type PodContext,
  type Services,
} from './context.ts';
import type { PodInfo, PodState, StartPodDns } from './contracts.ts';
import { InboundHbone } from './inbound-hbone.ts';
import { InboundPlaintext } from './inbound-plaintext.ts';
import { Outbound } from './outbound.ts';

const BACKLOG = 128;

export interface PodProxyOptions {
  /** Kubernetes uid of the pod. */
  readonly uid: string;
  readonly pod: PodInfo;
  /** Owned by the proxy from now on: closed when it stops. */
  readonly netns: Netns;
  /** Undefined: no DNS listeners. */
  readonly startDns: StartPodDns | undefined;
  /** The proxy's own pod: only the tunnel port, with this identity, never with the client's address. */
  readonly own?: SpiffeId | undefined;
}

export class PodProxy {
  readonly uid: string;
  readonly pod: PodInfo;
  readonly #netns: Netns;
  readonly #startDns: StartPodDns | undefined;
  readonly #own: SpiffeId | undefined;
  readonly #context: PodContext;
  readonly #outbound: Outbound;
  readonly #plaintext: InboundPlaintext;
  readonly #hbone: InboundHbone;
  readonly #listeners: { close(): void }[] = [];
  #dns: { close(): void } | undefined = undefined;
  #stopped = false;

  constructor(services: Services, options: PodProxyOptions) {
    const { clock } = services;
    this.uid = options.uid;
    this.pod = options.pod;
    this.#netns = options.netns;
    this.#startDns = options.startDns;
    this.#own = options.own;
    this.#context = {
      ...services,
      pod: options.pod,
      netns: options.netns,
      table: new ConnectionTable(),
      connecting: new Deadlines(clock, CONNECT_TIMEOUT_MS),
      handshakes: new Deadlines(clock, HANDSHAKE_TIMEOUT_MS),
      answers: new Deadlines(clock, ANSWER_TIMEOUT_MS),
    };
    this.#outbound = new Outbound(this.#context);
    this.#plaintext = new InboundPlaintext(this.#context);
    this.#hbone = new InboundHbone(
      this.#context,
      options.own === undefined ? { keepSource: true } : { keepSource: false, identity: options.own },
    );
  }

  get netns(): Netns {
    return this.#netns;
  }

  /**
   * Binds every listener; certificates and XDS are not waited for.
   * @throws SystemError when a port is taken, or the namespace has gone; nothing stays open then but the namespace
   */
  async start(): Promise<void> {
    this.#prepareHandOver();
    try {
      if (this.#own === undefined) {
        await this.#listenStreams(OUTBOUND_PORT, this.#outbound.accept);
        await this.#listenStreams(INBOUND_PLAINTEXT_PORT, this.#plaintext.accept);
      }
      await this.#listenSockets(HBONE_PORT, this.#hbone.accept);
      if (this.#startDns !== undefined) this.#dns = await this.#startDns(this.pod, this.#netns);
    } catch (error) {
      this.#closeListeners();
      throw error;
    }
    if (this.#stopped) this.#closeListeners();
  }

  /**
   * Connections that wait to be accepted would be reset when a listener closes. With this the kernel moves them to the
   * listener of the proxy that takes over (Linux 5.14). Where /proc/sys is read-only, a hand-over may lose the few
   * connections of that instant.
   */
  #prepareHandOver(): void {
    if (!this.#context.settings.listen.reusePort) return;
    try {
      setSysctl(this.#netns, 'net.ipv4.tcp_migrate_req', 1);
    } catch (error) {
      this.#context.log.debug('waiting connections are not moved at a hand-over', { error: error as Error });
    }
  }

  /** Where bytes are only copied: the lean kind of connection. */
  async #listenStreams(port: number, accept: (stream: TcpStream) => void): Promise<void> {
    const fd = this.#bind(port);
    const keep = keepaliveOf(this.#context.settings);
    if (keep !== undefined) {
      try {
        setKeepalive(fd, keep); // accepted sockets inherit it
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    }
    this.#listeners.push(await listenStreams(fd, BACKLOG, accept, (error) => this.#failed(port, error)));
  }

  /** Where TLS comes first. */
  async #listenSockets(port: number, accept: (socket: Socket) => void): Promise<void> {
    const fd = this.#bind(port);
    const server = createServer({ pauseOnConnect: true, noDelay: true }, accept);
    server.on('error', (error) => this.#failed(port, error));
    this.#listeners.push(server);
    await serve(server, fd, BACKLOG);
  }

  #failed(port: number, error: Error): void {
    this.#context.log.error('listener failed', { port, error });
  }

  /** The v6 wildcard serves IPv4 too; a kernel without IPv6 falls back to IPv4 alone. */
  #bind(port: number): number {
    const { ipv6, reusePort, originalSource, packetMark } = this.#context.settings.listen;
    const options = { port, backlog: BACKLOG, reusePort, transparent: originalSource, mark: packetMark };
    const bind = (ip: string): number => listenTcp(this.#netns, { ...options, ip: ip as Ip });
    try {
      return bind(ipv6 ? '::' : '0.0.0.0');
    } catch (error) {
      if (!ipv6 || !hasCode(error, 'EAFNOSUPPORT')) throw error;
      return bind('0.0.0.0');
    }
  }

  /** Policies, or the pod's workload, have changed: what is no longer allowed is closed. */
  recheck(): void {
    if (this.#own !== undefined) return;
    const ended = this.#context.table.recheck(POLICY_CHANGE);
    if (ended > 0)
      this.#context.log.info('connections closed: policy or identity changed', {
        pod: `${this.pod.namespace}/${this.pod.name}`,
        connections: ended,
      });
  }

  rotated(identity: SpiffeId): void {
    this.#outbound.rotated(identity);
  }

  /**
   * Accepts no more; live connections finish, until `deadline` is aborted; then the rest is cut.
   * @returns how many had to be cut
   */
  async drain(deadline: AbortSignal): Promise<number> {
    this.#closeListeners();
    this.#hbone.drain();
    const { table } = this.#context;
    const over = Promise.withResolvers<void>();
    const onAbort = (): void => over.resolve();
    if (deadline.aborted) over.resolve();
    else deadline.addEventListener('abort', onAbort, { once: true });
    // Peers are told first and answered for as long as they cannot know: only then is an idle connection really idle.
    await Promise.race([Promise.all([table.idle(), this.#hbone.idle()]), over.promise]);
    deadline.removeEventListener('abort', onAbort);
    const left = table.size;
    this.stop();
    return left;
  }

  /** At once: listeners, connections, tunnels. Harmless when repeated. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#closeListeners();
    this.#context.table.endAll(CLOSED_BY_DRAIN);
    this.#hbone.close();
    this.#outbound.close();
    this.#context.connecting.expireAll();
    this.#context.handshakes.close();
    this.#context.answers.close();
    this.#netns.close();
  }

  state(): PodState {
    const { table } = this.#context;
    return {
      uid: this.uid,
      state: 'Up',
      info: this.pod,
      inbound: table.infos('inbound'),
      outbound: table.infos('outbound'),
    };
  }

  #closeListeners(): void {
    for (const listener of this.#listeners.splice(0)) listener.close();
    this.#dns?.close();
    this.#dns = undefined;
  }
}
