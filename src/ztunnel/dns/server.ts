// The DNS listeners of a pod: UDP and TCP on its loopback, where the agent's rules send its questions. Everything that a
// pod controls is bounded: questions under way, TCP connections, replies that it does not read.

import type { Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { DnsOptions } from '../../model/dns.ts';
import type { HostPort, Ip } from '../../model/ip.ts';
import type { Workload } from '../../model/workload.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { hasIpv6Loopback, listenTcp, openUdp, serve } from '../../platform/linux/sockets.ts';
import { logger } from '../../telemetry/log.ts';
import type { Counter, Histogram, Registry } from '../../telemetry/registry.ts';
import { encodeMessage, MAX_MESSAGE_BYTES, MIN_UDP_BYTES } from '../../wire/dns/encode.ts';
import { type Message, RCODE, typeName } from '../../wire/dns/message.ts';
import { canonicalName } from '../../wire/dns/name.ts';
import type { MeshState, PodInfo, StartPodDns } from '../contracts.ts';
import { emptyReply, localReply, type Query, readQuery } from './answer.ts';
import { cutShort, type ForwardOptions, forward, type Preference, relayed } from './forward.ts';

export interface DnsSettings {
  readonly listen: { readonly v4: HostPort | undefined; readonly v6: HostPort | undefined };
  readonly reusePort: boolean;
  readonly lookup: DnsOptions;
  readonly nameservers: readonly Ip[];
  readonly mark: number | undefined;
  /** For tests: port of the nameservers. */
  readonly upstreamPort?: number;
}

export interface DnsParts {
  readonly settings: DnsSettings;
  readonly state: Pick<MeshState, 'world' | 'waitForWorkload'>;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random?: () => number;
}

type Protocol = 'udp' | 'tcp';

const WORKLOAD_WAIT_MS = 5_000;
const TCP_IDLE_MS = 5_000;
const MAX_TCP_CONNECTIONS = 64;
const MAX_TCP_QUEUED = 32;
/** Questions under way, per pod and in the whole proxy: each one that is forwarded takes a descriptor. */
const MAX_PENDING_OF_POD = 200;
const MAX_PENDING = 4_000;
const MAX_UNREAD_BYTES = 1024 * 1024;
/** No datagram is larger (IPv4). */
const MAX_UDP_BYTES = 65_507;

const LABELS = ['request_query_type', 'request_protocol', 'source_canonical_service', 'source_canonical_revision'];
const log = logger('dns');

interface Children {
  readonly requests: Counter;
  readonly upstream: Counter;
  readonly failures: Counter;
  readonly seconds: Histogram;
}

/** What the DNS servers of all pods share. */
class DnsProxy {
  readonly parts: DnsParts;
  readonly #preference: Preference = { index: 0 };
  readonly #requests;
  readonly #upstream;
  readonly #failures;
  readonly #seconds;
  /** By client, then query type and protocol. */
  readonly #children = new WeakMap<Workload, Map<string, Children>>();
  pending = 0;

  constructor(parts: DnsParts) {
    this.parts = parts;
    const { registry } = parts;
    this.#requests = registry.counters('istio_dns_requests', 'DNS questions of pods', LABELS);
    this.#upstream = registry.counters('istio_dns_upstream_requests', 'DNS questions forwarded to nameservers', LABELS);
    this.#failures = registry.counters(
      'istio_dns_upstream_failures',
      'DNS questions that no nameserver answered',
      LABELS,
    );
    this.#seconds = registry.histograms(
      'istio_dns_upstream_request_duration_seconds',
      'Time until a nameserver answered',
      'seconds',
      LABELS,
      [0.0005, 0.001, 0.01, 0.1, 1, 5],
    );
  }

  children(client: Workload, query: Query, protocol: Protocol): Children {
    let byKind = this.#children.get(client);
    if (byKind === undefined) {
      byKind = new Map();
      this.#children.set(client, byKind);
    }
    const type = typeName(query.question.type);
    const key = `${type} ${protocol}`;
    const known = byKind.get(key);
    if (known !== undefined) return known;
    const labels = [type, protocol, client.canonicalName || 'unknown', client.canonicalRevision || 'unknown'];
    const upstream = this.#upstream;
    const failures = this.#failures;
    const seconds = this.#seconds;
    const children: Children = {
      requests: this.#requests.labels(...labels),
      // Families without samples are not shown: made only when there is something to count.
      upstream: { inc: () => upstream.labels(...labels).inc() },
      failures: { inc: () => failures.labels(...labels).inc() },
      seconds: { observe: (s) => seconds.labels(...labels).observe(s) },
    };
    byKind.set(key, children);
    return children;
  }

  /** @param limit  bytes that the client takes. @returns the reply's bytes */
  async answer(
    netns: Netns,
    client: Workload | undefined,
    query: Query,
    protocol: Protocol,
    limit: number,
  ): Promise<Uint8Array> {
    if (client === undefined) return encodeMessage(emptyReply(query, RCODE.servFail), limit);
    const { settings, state, clock, random } = this.parts;
    const children = this.children(client, query, protocol);
    children.requests.inc();
    const local = localReply(query, state.world, client, settings.lookup, random ?? Math.random);
    logQuery(client, query, local);
    if (local !== undefined) return encodeMessage(local, limit);
    children.upstream.inc();
    const startMs = clock.nowMs();
    const options: ForwardOptions = {
      nameservers: settings.nameservers,
      mark: settings.mark,
      clock,
      ...(settings.upstreamPort !== undefined && { port: settings.upstreamPort }),
    };
    try {
      const answer = await forward(netns, query, protocol === 'tcp', options, this.#preference);
      children.seconds.observe((clock.nowMs() - startMs) / 1000);
      if (answer.bytes.length > limit) return encodeMessage(cutShort(answer, query), limit);
      return relayed(answer, query);
    } catch (error) {
      children.failures.inc();
      log.debug('no nameserver answered', { domain: query.question.name, error: error as Error });
      return encodeMessage(emptyReply(query, RCODE.servFail), limit);
    }
  }
}

function logQuery(client: Workload, query: Query, local: Message | undefined): void {
  if (!log.enabled('debug')) return;
  log.debug('query', {
    'src.workload': client.name,
    'src.namespace': client.namespace,
    query: typeName(query.question.type),
    domain: canonicalName(query.question.name),
    result: local === undefined ? 'forwarded' : 'local',
    endpoints: local?.answers.length,
  });
}

class PodDns {
  readonly #proxy: DnsProxy;
  readonly #pod: PodInfo;
  readonly #netns: Netns;
  readonly #udp: UdpSocket[] = [];
  readonly #tcp: Server[] = [];
  readonly #connections = new Set<Socket>();
  #pending = 0;
  #closed = false;

  constructor(proxy: DnsProxy, pod: PodInfo, netns: Netns) {
    this.#proxy = proxy;
    this.#pod = pod;
    this.#netns = netns;
  }

  async listen(): Promise<void> {
    const { listen, reusePort, mark } = this.#proxy.parts.settings;
    const addresses = [listen.v4, listen.v6 !== undefined && hasIpv6Loopback(this.#netns) ? listen.v6 : undefined];
    for (const at of addresses) {
      if (at === undefined) continue;
      const options = { ...at, reusePort, mark };
      const udp = await openUdp(this.#netns, options);
      this.#udp.push(udp);
      udp.on('message', (bytes, from) => void this.#datagram(udp, bytes, from.address, from.port));
      udp.on('error', (error) => log.warn('UDP listener failed', { pod: this.#pod.name, error }));
      const tcp = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
      this.#tcp.push(tcp);
      await serve(tcp, listenTcp(this.#netns, options));
      tcp.on('error', (error) => log.warn('TCP listener failed', { pod: this.#pod.name, error }));
    }
  }

  close(): void {
    this.#closed = true;
    for (const udp of this.#udp.splice(0)) udp.close();
    for (const tcp of this.#tcp.splice(0)) tcp.close();
    for (const socket of this.#connections) socket.destroy();
  }

  /** The reply to one message; undefined: none. Never rejects. */
  async #handle(bytes: Uint8Array, protocol: Protocol): Promise<Uint8Array | undefined> {
    const read = readQuery(bytes);
    if (read.kind === 'drop') return undefined;
    if (read.kind === 'refuse') return encodeMessage(read.reply, limitOf(read.reply.edns?.payloadBytes, protocol));
    const { query } = read;
    const limit = limitOf(query.message.edns?.payloadBytes, protocol);
    const proxy = this.#proxy;
    if (this.#pending >= MAX_PENDING_OF_POD || proxy.pending >= MAX_PENDING)
      return encodeMessage(emptyReply(query, RCODE.servFail), limit);
    this.#pending++;
    proxy.pending++;
    try {
      const client = await proxy.parts.state.waitForWorkload(this.#pod, WORKLOAD_WAIT_MS);
      if (this.#closed) return undefined;
      return await proxy.answer(this.#netns, client, query, protocol, limit);
    } catch (error) {
      log.error('query not answered', { domain: query.question.name, error: error as Error });
      return undefined;
    } finally {
      this.#pending--;
      proxy.pending--;
    }
  }

  async #datagram(socket: UdpSocket, bytes: Uint8Array, address: string, port: number): Promise<void> {
    const reply = await this.#handle(bytes, 'udp');
    if (reply !== undefined && !this.#closed) socket.send(reply, port, address, () => {}); // The client may have gone.
  }

  /** Messages with a length of two bytes before each (RFC 1035 §4.2.2), several may be under way. */
  #accept(socket: Socket): void {
    if (this.#connections.size >= MAX_TCP_CONNECTIONS) {
      socket.destroy();
      return;
    }
    this.#connections.add(socket);
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on('error', () => {}); // `close` follows.
    socket.on('close', () => this.#connections.delete(socket));
    let held: Buffer = Buffer.alloc(0);
    let queued = 0;
    let ended = false;
    const next = (): void => {
      while (queued < MAX_TCP_QUEUED && held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const message = held.subarray(2, 2 + held.readUInt16BE(0));
        held = held.subarray(2 + message.length);
        queued++;
        void this.#handle(message, 'tcp').then((reply) => {
          queued--;
          if (reply === undefined || socket.destroyed) {
            socket.destroy();
            return;
          }
          const length = Buffer.alloc(2);
          length.writeUInt16BE(reply.length);
          socket.write(Buffer.concat([length, reply]));
          if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
          else next();
        });
      }
      if (queued >= MAX_TCP_QUEUED) socket.pause();
      else socket.resume();
      if (ended && queued === 0) socket.end();
    };
    socket.on('end', () => {
      ended = true; // It may still wait for replies.
      if (queued === 0) socket.end();
    });
    socket.on('data', (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]); // one message and one chunk at most
      next();
    });
  }
}

const limitOf = (payloadBytes: number | undefined, protocol: Protocol): number =>
  protocol === 'tcp' ? MAX_MESSAGE_BYTES : Math.min(MAX_UDP_BYTES, Math.max(MIN_UDP_BYTES, payloadBytes ?? 0));

/** Makes what the data path calls for each pod. */
export function createPodDns(parts: DnsParts): StartPodDns {
  const proxy = new DnsProxy(parts);
  return async (pod, netns) => {
    const server = new PodDns(proxy, pod, netns);
    try {
      await server.listen();
    } catch (error) {
      server.close();
      throw error;
    }
    return { close: () => server.close() };
  };
}
