// Where one outbound connection goes. Pure and total: the caller opens the socket. Runs once a connection.
// The order of steps is ztunnel's, because it decides which waypoint counts: a service's for traffic addressed to the
// service, a workload's for traffic addressed to the workload, never both.

import { chooseAddress, chooseAnswer, chooseEndpoint, type Random } from './balance.ts';
import { type SpiffeId, sameSpiffeId } from './identity.ts';
import { formatHostPort, type HostPort, type Ip, isLoopback } from './ip.ts';
import { addresseeAt, gatewayAt, gatewayText, upstreamAt } from './lookup.ts';
import { HBONE_PORT, OWN_PORTS } from './ports.ts';
import { type NonEmpty, unreachable } from './result.ts';
import type { GatewayAddress, Service, Workload } from './workload.ts';
import { identityOf, serviceKey } from './workload.ts';
import type { Dial, World } from './world.ts';

export type OutboundRejectReason =
  | 'ownPort' // loopback and one of the proxy's own ports: would call itself for ever
  | 'noHealthyUpstream'
  | 'unknownWaypoint'
  | 'noAddress'
  | 'nameNotResolved'
  | 'otherNetwork';

/** TCP to `hop` as it is, without a tunnel. */
export interface PlainRoute {
  readonly kind: 'plain';
  readonly why: 'unknownDestination' | 'passthrough' | 'noTunnel';
  readonly hop: HostPort;
  /** For telemetry; both absent unless `why` is `noTunnel`. */
  readonly destination: Workload | undefined;
  readonly service: Service | undefined;
}

/** A CONNECT for `authority` through a tunnel to `hop`, whose certificate must bear one of `expect`. */
export interface HboneRoute {
  readonly kind: 'hbone';
  readonly via: 'workload' | 'waypoint';
  readonly hop: HostPort;
  /** Direct: the endpoint's address and target port. To a waypoint: what the application dialled. */
  readonly authority: HostPort;
  readonly expect: NonEmpty<SpiffeId>;
  /** The next hop: the endpoint or the waypoint. */
  readonly destination: Workload;
  /** The service that the application addressed, if any. */
  readonly service: Service | undefined;
}

/** The endpoint has a name instead of an address: resolve it, then ask `resolveOutbound`. */
export interface UnresolvedRoute {
  readonly kind: 'resolve';
  readonly hostname: string;
  readonly next: NextHop;
}

export interface RejectedRoute {
  readonly kind: 'reject';
  readonly why: OutboundRejectReason;
  /** For the access log and for people. */
  readonly text: string;
  readonly service: Service | undefined;
}

export type OutboundRoute = PlainRoute | HboneRoute | UnresolvedRoute | RejectedRoute;

/** A hop that is decided but for its address. Plain data, to be handed back to `resolveOutbound`. */
export interface NextHop {
  readonly dial: Dial;
  readonly via: 'workload' | 'waypoint';
  readonly workload: Workload;
  /** The endpoint's target port, or the waypoint's HBONE port. */
  readonly port: number;
  /** The service that the workload was chosen from: its families and subject names count. */
  readonly chosenFrom: Service | undefined;
  /** What the application addressed, for telemetry. */
  readonly service: Service | undefined;
}

/**
 * Decides one outbound connection.
 * @param source the workload whose application dialled
 * @param dial   what it dialled, before any translation
 * @returns a route; an unroutable destination is `reject`, nothing is thrown
 */
export function decideOutbound(world: World, source: Workload, dial: Dial, random: Random): OutboundRoute {
  const { ip, port } = dial.destination;
  if (isLoopback(ip) && OWN_PORTS.has(port))
    return reject('ownPort', `${formatHostPort(dial.destination)} is a port of the proxy itself`, undefined);

  const addressed = addresseeAt(world, world.network, ip, source);
  const service = addressed?.kind === 'service' ? addressed.service : undefined;
  const waypoint = service && waypointOf(service, random);
  if (waypoint !== undefined) return toWaypoint(world, source, dial, waypoint, service, random);

  const upstream = chooseUpstream(world, source, dial, random);
  if (upstream === undefined) {
    const passthrough = service?.loadBalancing.mode === 'passthrough';
    if (service !== undefined && !passthrough)
      return reject('noHealthyUpstream', `no healthy upstream: ${formatHostPort(dial.destination)}`, service);
    const why = passthrough ? 'passthrough' : 'unknownDestination';
    return { kind: 'plain', why, hop: dial.destination, destination: undefined, service: undefined };
  }
  const { workload } = upstream;
  if (workload.network !== source.network) return otherNetwork(source, workload, service);
  if (
    service === undefined &&
    workload.waypoint !== undefined &&
    !isWaypoint(world, source, dial.client.ip, workload.waypoint)
  )
    return toWaypoint(world, source, dial, workload.waypoint, undefined, random);
  return toHop(upstream);
}

/**
 * Completes a route whose endpoint had to be resolved.
 * @param answers addresses of `route.hostname`; none: rejected
 */
export function resolveOutbound(route: UnresolvedRoute, answers: readonly Ip[], random: Random): OutboundRoute {
  const { next, hostname } = route;
  const ip = chooseAnswer(answers, next.dial.destination.ip, random);
  return ip === undefined
    ? reject('nameNotResolved', `\`${hostname}\` of workload \`${next.workload.uid}\` has no address`, next.service)
    : atAddress(next, ip);
}

/** A service's waypoint: sampled by weight if there are weights, else the single one. */
function waypointOf(service: Service, random: Random): GatewayAddress | undefined {
  let total = 0;
  for (const { weight } of service.weightedWaypoints) total += weight;
  if (total === 0) return service.waypoint;
  let rest = random() * total;
  for (const { waypoint, weight } of service.weightedWaypoints) {
    rest -= weight;
    if (rest < 0) return waypoint;
  }
  return service.waypoint;
}

/** A waypoint that is named but cannot be reached refuses the connection: it is never bypassed. */
function toWaypoint(
  world: World,
  source: Workload,
  dial: Dial,
  gateway: GatewayAddress,
  service: Service | undefined,
  random: Random,
): OutboundRoute {
  const unknown = (): RejectedRoute => reject('unknownWaypoint', `unknown waypoint: ${gatewayText(gateway)}`, service);
  const target = gatewayAt(world, gateway);
  if (target === undefined) return unknown();
  const chosen =
    target.kind === 'workload'
      ? { workload: target.workload, port: gateway.hbonePort }
      : chooseEndpoint(world, source, target.service, gateway.hbonePort, 'waypoint', random);
  if (chosen === undefined) return unknown();
  const { workload, port } = chosen;
  if (workload.network !== source.network) return otherNetwork(source, workload, service);
  const chosenFrom = target.kind === 'service' ? target.service : undefined;
  return toHop({ dial, via: 'waypoint', workload, port, chosenFrom, service });
}

/** The upstream of the dialled address: a service's endpoint, else the workload that has it. */
function chooseUpstream(world: World, source: Workload, dial: Dial, random: Random): NextHop | undefined {
  const { ip, port } = dial.destination;
  const upstream = upstreamAt(world, source.network, ip, source);
  if (upstream === undefined) return undefined;
  if (upstream.kind === 'workload')
    return { dial, via: 'workload', workload: upstream.workload, port, chosenFrom: undefined, service: undefined };
  const { service } = upstream;
  if (service.loadBalancing.mode === 'passthrough') return undefined;
  const chosen = chooseEndpoint(world, source, service, port, 'standard', random);
  return chosen && { dial, via: 'workload', ...chosen, chosenFrom: service, service };
}

/** Whether `source`, dialling from `client`, is the waypoint itself, which then goes to the workload directly. */
function isWaypoint(world: World, source: Workload, client: Ip, gateway: GatewayAddress): boolean {
  const target = gatewayAt(world, gateway);
  if (target === undefined) return false;
  const isSource = (workload: Workload): boolean =>
    sameSpiffeId(identityOf(workload), identityOf(source)) && workload.addresses.includes(client);
  if (target.kind === 'workload') return isSource(target.workload);
  return world.endpoints(serviceKey(target.service)).some((endpoint) => isSource(endpoint.workload));
}

function toHop(next: NextHop): OutboundRoute {
  const { workload, dial, chosenFrom } = next;
  const address = chooseAddress(workload, dial.destination.ip, chosenFrom?.ipFamilies ?? 'automatic');
  switch (address.kind) {
    case 'ip':
      return atAddress(next, address.ip);
    case 'hostname':
      return { kind: 'resolve', hostname: address.hostname, next };
    case 'none':
      return reject('noAddress', `no usable address of workload \`${workload.uid}\``, next.service);
    default:
      return unreachable(address);
  }
}

function atAddress(next: NextHop, ip: Ip): PlainRoute | HboneRoute {
  const { workload, port, via, service, dial, chosenFrom } = next;
  const at: HostPort = { ip, port };
  if (via === 'workload' && workload.tunnelProtocol === 'none')
    return { kind: 'plain', why: 'noTunnel', hop: at, destination: workload, service };
  const own = identityOf(workload);
  const expect: NonEmpty<SpiffeId> = chosenFrom === undefined ? [own] : [own, ...chosenFrom.subjectAltNames];
  return via === 'waypoint'
    ? { kind: 'hbone', via, hop: at, authority: dial.destination, expect, destination: workload, service }
    : { kind: 'hbone', via, hop: { ip, port: HBONE_PORT }, authority: at, expect, destination: workload, service };
}

const otherNetwork = (source: Workload, workload: Workload, service: Service | undefined): RejectedRoute =>
  reject(
    'otherNetwork',
    `workload \`${workload.uid}\` is on network \`${workload.network}\`, not on \`${source.network}\`: ` +
      'tunnels between networks are not supported',
    service,
  );

const reject = (why: OutboundRejectReason, text: string, service: Service | undefined): RejectedRoute => ({
  kind: 'reject',
  why,
  text,
  service,
});
