// Waypoints, and which of them an object is bound to.
//
// Two questions are asked apart: traffic addressed to a service obeys the service's binding, traffic addressed to a pod
// the pod's. An object's own label wins over its namespace's; a waypoint that is not ready is never replaced by another.

import { HBONE_PORT } from '../model/ports.ts';
import type { GatewayAddress, WeightedWaypoint } from '../model/workload.ts';
import type { Collection, Reader } from './graph/graph.ts';
import { selects } from './labels.ts';
import { ANNOTATION, LABEL, MANAGED_GATEWAYS } from './names.ts';
import type { Namespace } from './objects/cluster.ts';
import type { AllowedNamespaces, Gateway, GatewayClass } from './objects/gateway.ts';
import type { Meta } from './objects/meta.ts';
import { type Labels, looseBoolean } from './read.ts';

export type TrafficKind = 'service' | 'workload' | 'all' | 'none';

export interface ApplicationTunnel {
  readonly protocol: 'none' | 'proxy';
  readonly port: number;
}

/** A Gateway that can be bound to: it has an address. */
export interface Waypoint {
  readonly namespace: string;
  readonly name: string;
  readonly address: GatewayAddress;
  readonly traffic: TrafficKind;
  readonly allowed: AllowedNamespaces;
  /** How its instances take tunnelled traffic, when not by HBONE itself. */
  readonly inbound: ApplicationTunnel | undefined;
}

export const waypointKey = (waypoint: { readonly namespace: string; readonly name: string }): string =>
  `${waypoint.namespace}/${waypoint.name}`;

export type RefusedReason =
  | 'WaypointIsNotReady'
  | 'AttachmentDenied'
  | 'UnsupportedTrafficType'
  | 'CrossNamespaceWaypointForbidden';

/** Outcome of asking which waypoint an object is bound to. */
export type Binding =
  | { readonly kind: 'unbound' }
  | { readonly kind: 'bound'; readonly waypoint: Waypoint }
  | {
      readonly kind: 'refused';
      readonly reason: RefusedReason;
      readonly message: string;
      /** `<namespace>/<name>` of what was asked for. */
      readonly wanted: string;
      /** The object insists on its waypoint: connections are refused. Otherwise they go direct, as in Istio. */
      readonly failsClosed: boolean;
    };

const UNBOUND: Binding = { kind: 'unbound' };

const parseTraffic = (value: string | undefined): TrafficKind | undefined =>
  value === undefined ? undefined : value === 'service' || value === 'workload' || value === 'all' ? value : 'none';

/** `PROTOCOL` or `PROTOCOL/port`; anything else is no binding. */
function parseInbound(written: string | undefined): ApplicationTunnel | undefined {
  const match = /^(NONE|PROXY)(?:\/([0-9]{1,5}))?$/.exec(written ?? '');
  if (match === null) return undefined;
  return { protocol: match[1] === 'PROXY' ? 'proxy' : 'none', port: Math.min(Number(match[2] ?? 0), 65535) };
}

/** The rules of the listener through which traffic enters: the one bound inbound, else HBONE, else "own namespace". */
function entryRules(gateway: Gateway, inbound: ApplicationTunnel | undefined): AllowedNamespaces {
  const bound =
    inbound &&
    gateway.listeners.find((listener) =>
      inbound.port !== 0
        ? listener.port === inbound.port
        : inbound.protocol === 'proxy' && listener.protocol === 'istio.io/PROXY',
    );
  const hbone = gateway.listeners.find((listener) => listener.protocol === 'HBONE' && listener.port === HBONE_PORT);
  return (bound ?? hbone)?.allowed ?? { from: 'Same' };
}

/** The status' host name before its address: it stays the same when the address is allocated anew. */
function addressOf(gateway: Gateway, network: string): GatewayAddress | undefined {
  const named = gateway.addresses.find((address) => address.kind === 'hostname');
  if (named !== undefined)
    return {
      destination: { kind: 'hostname', namespace: gateway.namespace, hostname: named.hostname },
      hbonePort: HBONE_PORT,
    };
  const plain = gateway.addresses.find((address) => address.kind === 'ip');
  if (plain === undefined) return undefined;
  return { destination: { kind: 'address', network, ip: plain.ip }, hbonePort: HBONE_PORT };
}

/** @returns undefined while the Gateway has no address; any class may serve as a waypoint once it has one */
export function toWaypoint(gateway: Gateway, cls: GatewayClass | undefined, network: string): Waypoint | undefined {
  const address = addressOf(gateway, network);
  if (address === undefined) return undefined;
  const inbound = parseInbound(
    gateway.annotations[ANNOTATION.inboundBinding] ?? cls?.annotations[ANNOTATION.inboundBinding],
  );
  return {
    namespace: gateway.namespace,
    name: gateway.name,
    address,
    traffic:
      parseTraffic(gateway.labels[LABEL.waypointFor]) ?? parseTraffic(cls?.labels[LABEL.waypointFor]) ?? 'service',
    allowed: entryRules(gateway, inbound),
    inbound,
  };
}

/** What the questions below look at. */
export interface WaypointWorld {
  readonly waypoints: Collection<Waypoint>;
  readonly namespaces: Collection<Namespace>;
}

/** A reference by label: to nothing said, to nothing on purpose, or to a Gateway. */
type Reference =
  | { readonly kind: 'unsaid' }
  | { readonly kind: 'none' }
  | { readonly kind: 'named'; readonly key: string };

function referenceIn(labels: Labels, name: string, namespaceLabel: string, fallbackNamespace: string): Reference {
  const value = labels[name];
  if (value === undefined || value === '') return { kind: 'unsaid' };
  if (value === 'none') return { kind: 'none' };
  return { kind: 'named', key: `${labels[namespaceLabel] ?? fallbackNamespace}/${value}` };
}

const primaryIn = (labels: Labels, namespace: string): Reference =>
  referenceIn(labels, LABEL.useWaypoint, LABEL.useWaypointNamespace, namespace);

function admits(get: Reader, world: WaypointWorld, waypoint: Waypoint, namespace: string): boolean {
  switch (waypoint.allowed.from) {
    case 'All':
      return true;
    case 'Same':
      return waypoint.namespace === namespace;
    default: {
      const labels = get.one(world.namespaces, namespace)?.labels;
      const { selector } = waypoint.allowed;
      return labels !== undefined && selector !== undefined && selects(selector, labels);
    }
  }
}

const refused = (wanted: string, reason: RefusedReason, message: string): Binding => ({
  kind: 'refused',
  reason,
  message,
  wanted,
  failsClosed: false,
});

/** Whether the annotation of an object, else of its namespace, insists on the waypoint. Any other word does not. */
export const insistsOnWaypoint = (get: Reader, world: WaypointWorld, object: Labelled): boolean =>
  (object.annotations?.[ANNOTATION.waypointPolicy] ??
    get.one(world.namespaces, object.namespace)?.annotations[ANNOTATION.waypointPolicy]) === 'required';

const closedIf = (closed: boolean, binding: Binding): Binding =>
  closed && binding.kind === 'refused' ? { ...binding, failsClosed: true } : binding;

/**
 * Where a node proxy is sent. An object that insists on a waypoint that it cannot have is sent to a name that never
 * exists (RFC 2606): a proxy that knows no such waypoint refuses the connection, whoever made the proxy.
 */
export function waypointAddress(binding: Binding): GatewayAddress | undefined {
  if (binding.kind === 'bound') return binding.waypoint.address;
  if (binding.kind === 'unbound' || !binding.failsClosed) return undefined;
  const [namespace = '', name = ''] = binding.wanted.split('/');
  const hostname = `${name}.${namespace}.unavailable-waypoint.invalid`;
  return { destination: { kind: 'hostname', namespace, hostname }, hbonePort: HBONE_PORT };
}

function attach(get: Reader, world: WaypointWorld, key: string, namespace: string): Binding {
  const waypoint = get.one(world.waypoints, key);
  if (waypoint === undefined)
    return refused(key, 'WaypointIsNotReady', `waypoint ${key} does not exist or has no address yet`);
  if (!admits(get, world, waypoint, namespace))
    return refused(
      key,
      'AttachmentDenied',
      `waypoint ${key} does not admit namespace ${namespace}: see allowedRoutes of its HBONE listener`,
    );
  return { kind: 'bound', waypoint };
}

type Labelled = Pick<Meta, 'namespace' | 'labels'> & Partial<Pick<Meta, 'annotations'>>;

function target(get: Reader, world: WaypointWorld, object: Labelled): { own: boolean; binding: Binding } {
  const own = primaryIn(object.labels, object.namespace);
  if (own.kind === 'none') return { own: true, binding: UNBOUND };
  if (own.kind === 'named') return { own: true, binding: attach(get, world, own.key, object.namespace) };
  const inherited = primaryIn(get.one(world.namespaces, object.namespace)?.labels ?? {}, object.namespace);
  if (inherited.kind !== 'named') return { own: false, binding: UNBOUND };
  return { own: false, binding: attach(get, world, inherited.key, object.namespace) };
}

const unsupported = (waypoint: Waypoint, kind: 'service' | 'workload'): Binding =>
  refused(
    waypointKey(waypoint),
    'UnsupportedTrafficType',
    `waypoint ${waypointKey(waypoint)} takes ${waypoint.traffic} traffic, not ${kind} traffic: see its label ${LABEL.waypointFor}`,
  );

const takes = (waypoint: Waypoint, kind: 'service' | 'workload'): boolean =>
  waypoint.traffic === kind || waypoint.traffic === 'all';

/** @param confined  the object is visible to its own namespace alone, and so must its waypoint be */
export function bindService(get: Reader, world: WaypointWorld, object: Labelled, confined = false): Binding {
  const binding = tryService(get, world, object, confined);
  return binding.kind === 'refused' ? closedIf(insistsOnWaypoint(get, world, object), binding) : binding;
}

function tryService(get: Reader, world: WaypointWorld, object: Labelled, confined: boolean): Binding {
  if (MANAGED_GATEWAYS.has(object.labels[LABEL.gatewayManaged] ?? '')) return UNBOUND;
  const { binding } = target(get, world, object);
  if (binding.kind !== 'bound') return binding;
  const { waypoint } = binding;
  if (!takes(waypoint, 'service')) return unsupported(waypoint, 'service');
  if (confined && waypoint.namespace !== object.namespace)
    return refused(
      waypointKey(waypoint),
      'CrossNamespaceWaypointForbidden',
      `waypoint ${waypointKey(waypoint)} is in another namespace, but this ServiceEntry is visible to its own only`,
    );
  return binding;
}

/**
 * A namespace-wide waypoint for services is no error for its pods: they are simply not bound. That is also why only a
 * pod with a label of its own can insist: of a waypoint that is not there nobody knows what it would take.
 */
export function bindWorkload(get: Reader, world: WaypointWorld, object: Labelled): Binding {
  if (MANAGED_GATEWAYS.has(object.labels[LABEL.gatewayManaged] ?? '')) return UNBOUND;
  const { own, binding } = target(get, world, object);
  const closed = own && binding.kind !== 'unbound' && insistsOnWaypoint(get, world, object);
  if (binding.kind !== 'bound' || takes(binding.waypoint, 'workload')) return closedIf(closed, binding);
  return own ? closedIf(closed, unsupported(binding.waypoint, 'workload')) : UNBOUND;
}

/** The waypoint that a pod is an instance of, if any. */
export function instanceOf(get: Reader, world: WaypointWorld, object: Labelled): Waypoint | undefined {
  const name = object.labels[LABEL.gatewayName];
  return name === undefined || name === '' ? undefined : get.one(world.waypoints, `${object.namespace}/${name}`);
}

export interface Canary {
  readonly weighted: readonly WeightedWaypoint[];
  /** Key of the second waypoint; undefined: there is none. */
  readonly waypoint: string | undefined;
  /** Why a second waypoint that was asked for is not used. */
  readonly problem: string | undefined;
}

const NO_CANARY: Canary = { weighted: [], waypoint: undefined, problem: undefined };

/** The second waypoint and its share. Whatever is wrong with it leaves the primary alone, with the reason. */
export function canaryOf(
  get: Reader,
  world: WaypointWorld,
  object: Pick<Meta, 'namespace' | 'labels' | 'annotations'>,
  primary: Waypoint,
): Canary {
  const inherits = primaryIn(object.labels, object.namespace).kind === 'unsaid';
  const namespace = inherits ? get.one(world.namespaces, object.namespace) : undefined;
  const labels = LABEL.canary in object.labels ? object.labels : (namespace?.labels ?? object.labels);
  const reference = referenceIn(labels, LABEL.canary, LABEL.canaryNamespace, object.namespace);
  if (reference.kind !== 'named') return NO_CANARY;
  const without = (problem: string): Canary => ({ ...NO_CANARY, problem });
  if (reference.key === waypointKey(primary))
    return without(`CanarySameAsPrimary: canary ${reference.key} is the waypoint itself`);
  const written = object.annotations[ANNOTATION.canaryWeight] ?? namespace?.annotations[ANNOTATION.canaryWeight] ?? '0';
  const weight = /^[0-9]{1,3}$/.test(written) ? Number(written) : 101;
  if (weight > 100)
    return without(`CanaryInvalidWeight: weight \`${written}\` of canary ${reference.key} is no integer from 0 to 100`);
  const binding = attach(get, world, reference.key, object.namespace);
  if (binding.kind !== 'bound') return without(binding.kind === 'refused' ? binding.message : '');
  const canary = binding.waypoint;
  if (!takes(canary, 'service')) return without(`canary ${reference.key} takes no service traffic`);
  return {
    weighted: [
      { waypoint: primary.address, weight: 100 - weight },
      { waypoint: canary.address, weight },
    ],
    waypoint: waypointKey(canary),
    problem: undefined,
  };
}

/** Whether ingress gateways should send a service's traffic through its waypoint; undefined: nobody said. */
export function ingressUsesWaypoint(object: Labelled, namespace: Namespace | undefined): boolean | undefined {
  const value = object.labels[LABEL.ingressUseWaypoint] ?? namespace?.labels[LABEL.ingressUseWaypoint];
  return value === undefined ? undefined : (looseBoolean(value) ?? false);
}
