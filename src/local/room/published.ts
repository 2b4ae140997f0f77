// Publishes gateways on the host: each port of a gateway's Service has a listener on 127.0.0.1 of the host, whose
// connections are passed as they are to a ready pod. It is the load balancer of a room: the Service's status and an
// annotation say where. The annotation is also the memory that keeps a port the same over restarts of the mesh.
//
//   host client -> 127.0.0.1:port (the host's namespace, accepted in the room) -> pod of the gateway

import { connect, type Server, type Socket } from 'node:net';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { SERVICES } from '../../kube/client/resources.ts';
import type { Informer, KubeClient } from '../../kube/client/types.ts';
import { resetSocket } from '../../platform/linux/sockets.ts';
import { formatPublished, HOST, PUBLISHED_ANNOTATION, parsePublished } from '../published-ports.ts';
import { joinSockets } from './join.ts';

const GATEWAY_LABEL = 'gateway.istio.io/managed';
const GATEWAY_CONTROLLER = 'istio.io-gateway-controller';
const STATUS_PORT = 15021;
const MAX_LISTENERS = 256;
const MAX_CONNECTIONS = 4096;
const CONNECT_MS = 5_000;
const TRIES = 3;
const RETRY_MS = 1_000;

type Listen = (ports: readonly number[]) => Promise<{ readonly server: Server; readonly port: number }>;

export interface PublisherOptions {
  readonly client: KubeClient;
  readonly services: Informer<IService>;
  /** By `<namespace>/<name>` of the service. */
  readonly slicesOf: (key: string) => readonly IEndpointSlice[];
  /** Opens a listener on the host. */
  readonly listen: Listen;
  readonly log: (message: string) => void;
}

interface Published {
  readonly server: Server;
  readonly hostPort: number;
}

export interface Endpoint {
  readonly ip: string;
  readonly port: number;
}

const isGateway = (service: IService): boolean =>
  service.metadata?.labels?.[GATEWAY_LABEL] === GATEWAY_CONTROLLER && service.metadata.deletionTimestamp === undefined;

const wantedPorts = (service: IService): readonly number[] =>
  (service.spec?.ports ?? [])
    .filter(({ port, protocol }) => port !== STATUS_PORT && (protocol ?? 'TCP') === 'TCP')
    .map(({ port }) => port);

/** Ports to try on the host: the one before, the service's own, one that is easy to guess, any. */
export function candidates(port: number, before: number | undefined): readonly number[] {
  const guess = port < 1024 ? [8000 + port] : [];
  return [...new Set([...(before === undefined ? [] : [before]), port, ...guess, 0])];
}

/** Ready endpoints of one port of a service. */
export function endpointsOf(service: IService, slices: readonly IEndpointSlice[], port: number): readonly Endpoint[] {
  const name = service.spec?.ports?.find((each) => each.port === port)?.name ?? '';
  return slices.flatMap((slice) => {
    const target = slice.ports?.find((each) => (each.name ?? '') === name)?.port;
    if (target === undefined) return [];
    return (slice.endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready !== false)
      .flatMap(({ addresses }) => (addresses[0] === undefined ? [] : [{ ip: addresses[0], port: target }]));
  });
}

export class Publisher {
  readonly #options: PublisherOptions;
  /** `<namespace>/<name>` of the service -> its port -> what is open. */
  readonly #open = new Map<string, Map<number, Published>>();
  readonly #dirty = new Set<string>();
  #running = false;
  #turn = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    options.services.onChange((key, now, before) => {
      const concerns = (service: IService | undefined): boolean => service !== undefined && isGateway(service);
      if (!concerns(now) && !concerns(before) && !this.#open.has(key)) return;
      this.#dirty.add(key);
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (const key of this.#dirty) {
      this.#dirty.delete(key);
      try {
        await this.#publish(key);
      } catch (error) {
        this.#options.log(`gateway service \`${key}\` not published: ${(error as Error).message}`);
        setTimeout(() => {
          this.#dirty.add(key);
          void this.#run();
        }, RETRY_MS).unref();
      }
    }
    this.#running = false;
  }

  async #publish(key: string): Promise<void> {
    const service = this.#options.services.items.get(key);
    const wanted = service !== undefined && isGateway(service) ? wantedPorts(service) : [];
    const open = this.#open.get(key) ?? new Map<number, Published>();
    for (const [port, { server }] of open) {
      if (wanted.includes(port)) continue;
      server.close(); // connections that are open finish
      open.delete(port);
    }
    if (service === undefined || wanted.length === 0) return void this.#open.delete(key);
    this.#open.set(key, open);
    const before = parsePublished(service.metadata?.annotations?.[PUBLISHED_ANNOTATION]);
    for (const port of wanted) {
      if (open.has(port)) continue;
      if (this.#count() >= MAX_LISTENERS) throw new Error(`more than ${MAX_LISTENERS} listeners are not opened`);
      const { server, port: hostPort } = await this.#options.listen(candidates(port, before.get(port)));
      this.#serve(server, key, port);
      open.set(port, { server, hostPort });
      this.#options.log(`gateway service \`${key}\`: port ${port} is ${HOST}:${hostPort} on the host`);
    }
    await this.#tell(service, open);
  }

  #count(): number {
    let count = 0;
    for (const ports of this.#open.values()) count += ports.size;
    return count;
  }

  /** Writes down where the ports are, when the objects do not say so yet. */
  async #tell(service: IService, open: ReadonlyMap<number, Published>): Promise<void> {
    const { client } = this.#options;
    const { name = '', namespace } = service.metadata ?? {};
    const ports = [...open].sort(([a], [b]) => a - b);
    const text = formatPublished(ports.map(([port, { hostPort }]) => [port, hostPort]));
    if (service.metadata?.annotations?.[PUBLISHED_ANNOTATION] !== text)
      await client.patch(SERVICES, name, namespace, 'merge', {
        metadata: { annotations: { [PUBLISHED_ANNOTATION]: text } },
      });
    if (service.spec?.type !== 'LoadBalancer') return;
    const ingress = [{ ip: HOST, ports: ports.map(([port]) => ({ port, protocol: 'TCP' })) }];
    const found = service.status?.loadBalancer?.ingress ?? [];
    if (found.length === 1 && found[0]?.ip === HOST && found[0].ports?.length === ports.length) return;
    const status = { loadBalancer: { ingress } };
    await client.patch(SERVICES, name, namespace, 'merge', { status }, { subresource: 'status' });
  }

  #serve(server: Server, key: string, port: number): void {
    // A server that came over a channel is made by Node: what `createServer` would have been told is set here.
    Object.assign(server, { allowHalfOpen: true, pauseOnConnect: true });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('error', (error) => this.#options.log(`listener of \`${key}\` port ${port}: ${error.message}`));
    server.on('connection', (client: Socket) => {
      client.on('error', () => client.destroy());
      this.#connect(key, port).then(
        (pod) => joinSockets(client, pod),
        () => resetSocket(client),
      );
    });
  }

  /** One ready pod after another, beginning with the next in turn. */
  async #connect(key: string, port: number): Promise<Socket> {
    const { services, slicesOf } = this.#options;
    const service = services.items.get(key);
    const endpoints = service === undefined ? [] : endpointsOf(service, slicesOf(key), port);
    const first = this.#turn++;
    for (let i = 0; i < Math.min(TRIES, endpoints.length); i++) {
      const endpoint = endpoints[(first + i) % endpoints.length] as Endpoint;
      const socket = await dial(endpoint).catch(() => undefined);
      if (socket !== undefined) return socket;
    }
    throw new Error(`no pod of \`${key}\` takes connections`);
  }
}

function dial({ ip, port }: Endpoint): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: ip, port, allowHalfOpen: true, timeout: CONNECT_MS });
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeAllListeners('timeout').off('error', reject);
      resolve(socket);
    });
  });
}
