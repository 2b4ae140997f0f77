// What becomes of one inbound connection or tunnel request at the pod that it reached, before policy: where in the pod
// it goes, and the facts that policy then judges. Pure and total. Runs once a connection.

import { parseAuthority } from './authority.ts';
import type { Connection } from './connection.ts';
import type { SpiffeId } from './identity.ts';
import { formatHostPort, type HostPort, type Ip, isV4 } from './ip.ts';
import { ANYBODY, addresseeAt, gatewayAt, serviceNamed } from './lookup.ts';
import { OWN_PORTS } from './ports.ts';
import type { GatewayAddress, PortMapping, Service, Workload } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { World } from './world.ts';

/** One CONNECT request as it came. */
export interface TunnelRequest {
  /** `:authority`, as text. */
  readonly authority: string;
  /** The tunnel connection's own address on this side: one of the pod's. */
  readonly localIp: Ip;
  readonly peer: HostPort;
  /** The peer's identity from its certificate. */
  readonly identity: SpiffeId | undefined;
  /** Header `x-forwarded-network`. */
  readonly forwardedNetwork: string | undefined;
  /** `host=` of the header `forwarded`: a hint of the client, for telemetry. */
  readonly forwardedHost: string | undefined;
}

export interface InboundOptions {
  /** LOCALHOST_APP_TUNNEL: an application tunnel of protocol PROXY is dialled at loopback instead of the pod's address. */
  readonly localhostApplicationTunnel: boolean;
}

export type InboundRefusal = 'authority' | 'ipMismatch' | 'unknownService' | 'noPort' | 'ownPort' | 'noVip';

/** Where an accepted request goes, once policy allows `connection`. */
export interface InboundForward {
  readonly kind: 'forward';
  /** What to dial in the pod. */
  readonly dial: HostPort;
  /** Whether to keep the client's address toward the application. */
  readonly keepSource: boolean;
  /** A PROXY protocol v2 header to write first. */
  readonly proxyHeader:
    | { readonly source: HostPort; readonly destination: HostPort; readonly identity: SpiffeId | undefined }
    | undefined;
  /** What policy judges: the pod's address and the port really dialled. */
  readonly connection: Connection;
  /** Source workload as state knows it by address; undefined: baggage alone tells. */
  readonly source: Workload | undefined;
  /** For telemetry. */
  readonly service: Service | undefined;
}

export type InboundHbone =
  | InboundForward
  | { readonly kind: 'refuse'; readonly status: 400 | 503; readonly why: InboundRefusal; readonly text: string };

/**
 * Decides one tunnel request at `destination`, the pod's own workload.
 *
 * That the request came through the workload's waypoint is not demanded: only policy does that (Istio: ztunnel).
 */
export function decideInboundHbone(
  world: World,
  destination: Workload,
  request: TunnelRequest,
  options: InboundOptions,
): InboundHbone {
  const authority = parseAuthority(request.authority);
  if (authority === undefined) return refuse(400, 'authority', `\`${request.authority}\` is not <address>:<port>`);
  const { localIp, peer, identity } = request;
  if (authority.kind === 'ip' && !mayAsk(world, destination, localIp, authority.at.ip))
    return refuse(400, 'ipMismatch', `ip mismatch: asked for ${authority.at.ip} at ${localIp}`);

  let named: Service | undefined;
  let asked: number;
  if (authority.kind === 'ip') {
    asked = authority.at.port;
  } else {
    named = serviceNamed(world, authority.hostname.toLowerCase(), destination);
    if (named === undefined)
      return refuse(503, 'unknownService', `no service has the hostname \`${authority.hostname}\``);
    const port = portFor(destination, named, authority.port);
    if (port === undefined)
      return refuse(503, 'noPort', `\`${authority.hostname}\` has no port ${authority.port} here`);
    asked = port;
  }
  if (OWN_PORTS.has(asked)) return refuse(503, 'ownPort', `port ${asked} is one of the proxy itself`);

  const tunnel = destination.applicationTunnel;
  const port = tunnel?.port || asked;
  const local = tunnel?.protocol === 'proxy' && options.localhostApplicationTunnel;
  let proxyHeader: InboundForward['proxyHeader'];
  if (tunnel?.protocol === 'proxy') {
    const target = authority.kind === 'ip' ? authority.at : named && vipOf(world, named, authority.port);
    if (target === undefined) return refuse(503, 'noVip', `\`${request.authority}\` has no virtual address`);
    proxyHeader = { source: peer, destination: target, identity };
  }
  const fromGateway =
    request.forwardedNetwork !== undefined && request.forwardedNetwork.toLowerCase() !== world.network.toLowerCase();
  return {
    kind: 'forward',
    dial: { ip: local ? loopbackLike(localIp) : localIp, port },
    keepSource: !local,
    proxyHeader,
    connection: { source: peer, identity, destination: { ip: localIp, port } },
    source: fromGateway ? undefined : world.workloadAt(world.network, peer.ip),
    service: inboundService(world, destination, port, request.forwardedHost),
  };
}

export type InboundPlaintext =
  | {
      readonly kind: 'forward';
      readonly dial: HostPort;
      readonly connection: Connection;
      readonly source: Workload | undefined;
      readonly service: Service | undefined;
    }
  | { readonly kind: 'refuse'; readonly why: 'ownPort'; readonly text: string };

/**
 * Decides one plaintext connection that was captured on its way into the pod of `destination`.
 * @param dialled what the peer dialled: an address of the pod
 */
export function decideInboundPlaintext(
  world: World,
  destination: Workload,
  peer: HostPort,
  dialled: HostPort,
): InboundPlaintext {
  if (OWN_PORTS.has(dialled.port))
    return { kind: 'refuse', why: 'ownPort', text: `${formatHostPort(dialled)} is a port of the proxy itself` };
  return {
    kind: 'forward',
    dial: dialled,
    connection: { source: peer, identity: undefined, destination: dialled },
    source: world.workloadAt(world.network, peer.ip),
    service: inboundService(world, destination, dialled.port, undefined),
  };
}

/** An address may be asked for if it is this pod's, or one that this pod stands in for. */
function mayAsk(world: World, destination: Workload, localIp: Ip, asked: Ip): boolean {
  if (asked === localIp || destination.applicationTunnel !== undefined) return true;
  const target = addresseeAt(world, world.network, asked, ANYBODY);
  const waypoint = target?.kind === 'service' ? target.service.waypoint : target?.workload.waypoint;
  return waypoint !== undefined && isUs(world, destination, localIp, waypoint);
}

function isUs(world: World, destination: Workload, localIp: Ip, gateway: GatewayAddress): boolean {
  const target = gatewayAt(world, gateway);
  if (target === undefined) return false;
  if (target.kind === 'workload') return target.workload.addresses.includes(localIp);
  return world.endpoints(serviceKey(target.service)).some(({ workload }) => workload.uid === destination.uid);
}

/** The port of this pod behind a service port: its own mapping, else the service's target port. */
function portFor(destination: Workload, service: Service, servicePort: number): number | undefined {
  const own = mapped(destination.services.get(serviceKey(service)) ?? [], servicePort);
  return own || mapped(service.ports, servicePort) || undefined;
}

const mapped = (ports: readonly PortMapping[], servicePort: number): number | undefined =>
  ports.find((port) => port.servicePort === servicePort)?.targetPort;

/** A virtual address of a service: of the own network, IPv4 before IPv6, else any. */
function vipOf(world: World, service: Service, port: number): HostPort | undefined {
  const rank = (vip: Service['vips'][number]): number =>
    (vip.network === world.network ? 2 : 0) + (isV4(vip.ip) ? 1 : 0);
  const best = [...service.vips].sort((a, b) => rank(b) - rank(a))[0];
  return best && { ip: best.ip, port };
}

const loopbackLike = (ip: Ip): Ip => (isV4(ip) ? '127.0.0.1' : '::1') as Ip;

/**
 * The service to name in metrics of an inbound connection: the one that the client named, if this pod is behind it;
 * else the first of the pod's services with the port.
 */
export function inboundService(
  world: World,
  destination: Workload,
  port: number,
  forwardedHost: string | undefined,
): Service | undefined {
  let byPort: Service | undefined;
  for (const [key, ports] of destination.services) {
    const service = world.service(key);
    if (service === undefined) continue;
    if (forwardedHost !== undefined && service.hostname === forwardedHost) return service;
    if (byPort === undefined && (targets(ports, port) || targets(service.ports, port))) byPort = service;
  }
  return byPort;
}

const targets = (ports: readonly PortMapping[], port: number): boolean => ports.some((p) => p.targetPort === port);

const refuse = (status: 400 | 503, why: InboundRefusal, text: string): InboundHbone => ({
  kind: 'refuse',
  status,
  why,
  text,
});
