// Opens connections to endpoints, as byte streams: TCP, or a tunnel with the proxy's own certificate, then what the traffic
// policy asks for: PROXY protocol, TLS. One deadline for all of it.

import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ignoreErrors, localEnd } from '../../dataplane/endpoints.ts';
import { failureOf } from '../../dataplane/failure.ts';
import type { HostPort } from '../../model/ip.ts';
import type { TrafficPolicy } from '../../model/proxy/service-config.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { resetSocket, setKeepalive } from '../../platform/linux/sockets.ts';
import { encodeProxyHeader } from '../../wire/proxy-protocol.ts';
import type { ClientInfo, Endpoint } from '../contracts.ts';
import type { ByteStream } from '../streams/byte-stream.ts';
import type { UpstreamFailure } from '../streams/http-stream.ts';
import { plainStream } from '../streams/plain-stream.ts';
import { SocketStream } from '../streams/socket-stream.ts';
import { StreamDuplex } from '../streams/stream-duplex.ts';
import { type CertificateOf, secureUpstream } from '../upstream/index.ts';
import type { Tunnels } from './tunnels.ts';

export interface DialOrder {
  readonly endpoint: Endpoint;
  readonly policy: TrafficPolicy;
  /** Name of the service, told to the tunnel's other end. */
  readonly hostname: string;
  /** Host of the request, for TLS that names no server. */
  readonly host: string | undefined;
  readonly alpn: readonly string[];
  /** For whom: told by PROXY protocol and by the tunnel's `forwarded`. */
  readonly client: ClientInfo;
}

export interface DialOwner {
  opened(stream: ByteStream): void;
  failed(failure: UpstreamFailure): void;
}

export interface DialerParts {
  readonly clock: Clock;
  readonly tunnels: Tunnels;
  readonly certificateOf: CertificateOf;
}

export class Dialer {
  readonly #parts: DialerParts;

  constructor(parts: DialerParts) {
    this.#parts = parts;
  }

  /** Exactly one of the owner's two is called, later, unless the result is called first. */
  dial(order: DialOrder, owner: DialOwner): () => void {
    const dialing = new Dialing(this.#parts, order, owner);
    dialing.begin();
    return () => dialing.cancel();
  }
}

class Dialing {
  readonly #parts: DialerParts;
  readonly #order: DialOrder;
  readonly #owner: DialOwner;
  readonly #timer: Timer;
  #socket: Socket | undefined = undefined;
  #stream: ByteStream | undefined = undefined;
  #cancelTunnel: (() => void) | undefined = undefined;
  #over = false;

  constructor(parts: DialerParts, order: DialOrder, owner: DialOwner) {
    this.#parts = parts;
    this.#order = order;
    this.#owner = owner;
    const { connectTimeoutMs } = order.policy.pool;
    this.#timer = parts.clock.after(connectTimeoutMs, () =>
      this.#fail('timeout', `no connection in ${connectTimeoutMs} ms`),
    );
  }

  begin(): void {
    const { endpoint, hostname, client } = this.#order;
    if (endpoint.tunnel === undefined) {
      this.#tcp(endpoint.address);
      return;
    }
    this.#cancelTunnel = this.#parts.tunnels.open(
      { ...endpoint.tunnel, address: endpoint.address, hostname, client: client.source },
      (stream) => this.#connected(stream, undefined),
      (text) => this.#fail('connect', text),
    );
  }

  #tcp({ ip, port }: HostPort): void {
    const socket = connect({ host: ip, port, allowHalfOpen: true, noDelay: true });
    this.#socket = socket;
    socket.on('error', this.#onError);
    socket.once('connect', () => {
      if (this.#over) return;
      socket.off('error', this.#onError);
      socket.on('error', ignoreErrors);
      const { tcpKeepalive } = this.#order.policy.pool;
      if (tcpKeepalive !== undefined) {
        const { probes, idleSeconds, intervalSeconds } = tcpKeepalive;
        setKeepalive(socket, { idleSeconds, intervalSeconds, retries: probes });
      }
      this.#connected(undefined, socket);
    });
  }

  readonly #onError = (error: Error): void => this.#fail('connect', failureOf(error).error);

  /** One of the two: a tunnel's stream, or a socket. */
  #connected(stream: ByteStream | undefined, socket: Socket | undefined): void {
    if (this.#over) {
      stream?.reset();
      return;
    }
    this.#stream = stream;
    const { policy, client, host, alpn, endpoint } = this.#order;
    const header = proxyHeader(policy, client);
    if (policy.tls === undefined) {
      const plain = stream ?? plainStream(socket as Socket, localOf(socket as Socket), endpoint.address);
      if (header !== undefined) plain.write(header);
      this.#opened(plain);
      return;
    }
    if (header !== undefined) {
      stream?.write(header);
      socket?.write(header);
    }
    const raw = socket ?? new StreamDuplex(stream as ByteStream);
    const { certificateOf } = this.#parts;
    secureUpstream(raw, { tls: policy.tls, certificateOf, host, alpn, timeoutMs: undefined }).then(
      (secured) => {
        this.#socket = secured;
        if (this.#over) secured.destroy();
        else this.#opened(new SocketStream(secured, localOf(secured), endpoint.address));
      },
      (error: Error) => this.#fail('connect', error.message),
    );
  }

  #opened(stream: ByteStream): void {
    this.#over = true;
    this.#timer.cancel();
    this.#owner.opened(stream);
  }

  #fail(kind: 'connect' | 'timeout', text: string): void {
    if (this.#over) return;
    this.cancel();
    this.#owner.failed({ kind, answered: false, text });
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.#cancelTunnel?.();
    this.#stream?.reset();
    const socket = this.#socket;
    if (socket instanceof TLSSocket) socket.destroy();
    else if (socket !== undefined) resetSocket(socket);
  }
}

const NOWHERE = { ip: '0.0.0.0', port: 0 } as HostPort;

const localOf = (socket: Socket): HostPort => localEnd(socket) ?? NOWHERE;

function proxyHeader(
  { proxyProtocol }: TrafficPolicy,
  { source, destination, identity }: ClientInfo,
): Buffer | undefined {
  if (proxyProtocol === undefined) return undefined;
  if (proxyProtocol === 'v2') return Buffer.from(encodeProxyHeader({ source, destination, identity }));
  const family = source.ip.includes(':') ? 'TCP6' : 'TCP4';
  const same = source.ip.includes(':') === destination.ip.includes(':');
  const text = same
    ? `PROXY ${family} ${source.ip} ${destination.ip} ${source.port} ${destination.port}`
    : 'PROXY UNKNOWN';
  return Buffer.from(`${text}\r\n`);
}
