// Tunnels to endpoints in the mesh, with the proxy's own certificate: that is how a destination sees that its traffic came
// through its waypoint. Pooled connections, one tunnel for each upstream connection.

import { connect } from 'node:net';
import { ignoreErrors } from '../../dataplane/endpoints.ts';
import { ConnectFailure, failureOf, statusFailure, TUNNEL_PORT_BLOCKED } from '../../dataplane/failure.ts';
import type { Certificates } from '../../dataplane/identity/workload-certificate.ts';
import { Pool, type PoolKey, poolKeyText } from '../../dataplane/pool.ts';
import { drive } from '../../dataplane/session-driver.ts';
import type { SpiffeId } from '../../model/identity.ts';
import { formatHostPort, type HostPort, type Ip } from '../../model/ip.ts';
import type { Clock } from '../../platform/clock.ts';
import { createMeshClientContext, type MeshClientContext, secureMeshClient } from '../../platform/tls/index.ts';
import {
  type ClientSession,
  type ConnectRequest,
  type HboneError,
  openClientSession,
  type SessionEnvironment,
  type TunnelStream,
} from '../../wire/hbone/index.ts';
import type { ByteStream } from '../streams/byte-stream.ts';
import { TunnelByteStream, TunnelEvents } from '../streams/tunnel-stream.ts';

/** Tries of one CONNECT on other connections, when a pooled one turned out to be closing: no byte was sent by then. */
const MAX_RETRIES = 2;
const CONNECT_TIMEOUT_MS = 10_000;

export interface TunnelsParts {
  readonly own: SpiffeId;
  readonly ip: Ip;
  readonly certificates: Certificates;
  readonly clock: Clock;
  readonly environment: SessionEnvironment;
  /** `meshConfig.hboneIdleTimeout`. */
  readonly idleMs: () => number;
  /** Describes this proxy to the other end; undefined while it is not known. */
  readonly baggage: () => string | undefined;
}

export interface TunnelOrder {
  readonly hop: HostPort;
  readonly expected: readonly SpiffeId[];
  readonly address: HostPort;
  readonly hostname: string;
  readonly client: HostPort;
}

export class Tunnels {
  readonly #parts: TunnelsParts;
  readonly #pool: Pool<ClientSession>;
  readonly #contexts = new WeakMap<object, MeshClientContext>();

  constructor(parts: TunnelsParts) {
    this.#parts = parts;
    this.#pool = new Pool({ dial: (key) => this.#dial(key), clock: parts.clock, unusedReleaseMs: parts.idleMs });
  }

  /** @returns cancels; one of the two is called unless it was called before */
  open(order: TunnelOrder, opened: (stream: ByteStream) => void, failed: (text: string) => void): () => void {
    const key: PoolKey = {
      source: this.#parts.own,
      sourceIp: this.#parts.ip,
      expected: order.expected,
      destination: order.hop,
    };
    const opening = new Opening(this.#pool, key, this.#request(order), order.address, this.#parts.ip, opened, failed);
    opening.begin();
    return () => opening.cancel();
  }

  #request({ address, hostname, client }: TunnelOrder): ConnectRequest {
    const headers: [string, string][] = [['forwarded', `for="${formatHostPort(client)}";host=${hostname}`]];
    const baggage = this.#parts.baggage();
    if (baggage !== undefined) headers.push(['baggage', baggage]);
    return { authority: formatHostPort(address), headers };
  }

  /** @throws ConnectFailure, CertificateError, MeshTlsError */
  async #dial(key: PoolKey): Promise<ClientSession> {
    const { certificates, environment } = this.#parts;
    const certificate = certificates.current(key.source) ?? (await certificates.forIdentity(key.source, 'realTime'));
    let context = this.#contexts.get(certificate);
    if (context === undefined) {
      context = createMeshClientContext(certificate);
      this.#contexts.set(certificate, context);
    }
    const { ip, port } = key.destination;
    const tcp = connect({ host: ip, port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      const timer = this.#parts.clock.after(CONNECT_TIMEOUT_MS, () => {
        tcp.destroy();
        reject(new ConnectFailure(TUNNEL_PORT_BLOCKED));
      });
      tcp.once('error', (error) => {
        timer.cancel();
        reject(error);
      });
      tcp.once('connect', () => {
        timer.cancel();
        resolve();
      });
      tcp.on('error', ignoreErrors);
    });
    const secured = await secureMeshClient(tcp, context, key.expected);
    if (!secured.ok) throw secured.error;
    const { socket } = secured.value;
    const session = openClientSession({ transport: socket, environment, events: { onClosed: () => {} } });
    drive(socket, session);
    return session;
  }

  /** Tunnels to come use connections made with the new certificate. */
  rotated(): void {
    this.#pool.retire(this.#parts.own);
  }

  /** Pooled connections end when their tunnels are done. */
  close(): void {
    this.#pool.close();
  }
}

/** One CONNECT, until it is answered. */
class Opening {
  readonly #pool: Pool<ClientSession>;
  readonly #key: PoolKey;
  readonly #text: string;
  readonly #request: ConnectRequest;
  readonly #address: HostPort;
  readonly #ip: Ip;
  readonly #opened: (stream: ByteStream) => void;
  readonly #failed: (text: string) => void;
  #retries = 0;
  #tunnel: TunnelStream | undefined = undefined;
  #over = false;

  constructor(
    pool: Pool<ClientSession>,
    key: PoolKey,
    request: ConnectRequest,
    address: HostPort,
    ip: Ip,
    opened: (stream: ByteStream) => void,
    failed: (text: string) => void,
  ) {
    this.#pool = pool;
    this.#key = key;
    this.#text = poolKeyText(key);
    this.#request = request;
    this.#address = address;
    this.#ip = ip;
    this.#opened = opened;
    this.#failed = failed;
  }

  begin(): void {
    const bytes = new TunnelByteStream({ ip: this.#ip, port: 0 }, this.#address);
    const events = new ClientTunnelEvents(this, bytes);
    const bound = (tunnel: TunnelStream): void => {
      bytes.bind(tunnel);
      if (this.#over) tunnel.reset('CANCEL');
      else this.#tunnel = tunnel;
    };
    const stream = this.#pool.open(this.#text, this.#request, events);
    if (stream !== undefined) bound(stream);
    else
      this.#pool
        .openSoon(this.#key, this.#text, this.#request, events)
        .then(bound, (error: unknown) => this.#fail(failureOf(error).error));
  }

  answered(bytes: TunnelByteStream, status: number): void {
    if (this.#over) return;
    if (status === 200) {
      this.#over = true;
      this.#opened(bytes);
    } else {
      this.#tunnel?.reset('CANCEL');
      this.#fail(statusFailure(status).error);
    }
  }

  /** Lost before it was answered. What cannot have been processed is tried on another connection. */
  lost(error: HboneError): void {
    if (this.#over) return;
    if ((!error.retriable && error.source !== 'transport') || this.#retries >= MAX_RETRIES) {
      this.#fail(failureOf(error).error);
      return;
    }
    this.#retries += 1;
    this.begin();
  }

  #fail(text: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#failed(text);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#tunnel?.reset('CANCEL');
  }
}

class ClientTunnelEvents extends TunnelEvents {
  readonly #opening: Opening;
  #answered = false;

  constructor(opening: Opening, owner: TunnelByteStream) {
    super(owner);
    this.#opening = opening;
  }

  response(status: number): void {
    this.#answered = status === 200;
    this.#opening.answered(this.owner, status);
  }

  override reset(error: HboneError): void {
    if (this.#answered) super.reset(error);
    else this.#opening.lost(error);
  }
}
