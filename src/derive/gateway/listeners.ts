// What becomes of each listener of a Gateway: which can be served, which contradict others, which routes they take.
// Source: Gateway API, ListenerConditionType and "Distinct listeners".

import { HBONE_PORT, METRICS_PORT, READINESS_PORT, ZTUNNEL_ADMIN_PORT } from '../../model/ports.ts';
import type { Reader } from '../graph/graph.ts';
import { ANNOTATION } from '../names.ts';
import type { Gateway, GatewayClass, Listener, RouteGroupKind } from '../objects/gateway.ts';
import { type CertificateWorld, type TlsFault, tlsFault } from './certificates.ts';
import type { GatewayRole } from './role.ts';

type Outcome<Reason extends string> = { readonly reason: Reason; readonly message: string };

export interface ListenerVerdict {
  readonly listener: Listener;
  /** Kinds of routes that may attach. */
  readonly supportedKinds: readonly RouteGroupKind[];
  /** Undefined: it is accepted. */
  readonly refused:
    | Outcome<
        'UnsupportedProtocol' | 'PortUnavailable' | 'NoValidCACertificate' | 'ProtocolConflict' | 'HostnameConflict'
      >
    | undefined;
  /** Undefined: it stands beside the others. */
  readonly conflict: Outcome<'ProtocolConflict' | 'HostnameConflict'> | undefined;
  /** Undefined: all that it refers to is there. */
  readonly unresolved: Outcome<TlsFault['reason'] | 'InvalidRouteKinds'> | undefined;
  /** Traffic may be served by it. */
  readonly usable: boolean;
}

const GROUP = 'gateway.networking.k8s.io';
const kinds = (...names: string[]): readonly RouteGroupKind[] => names.map((kind) => ({ group: GROUP, kind }));

/** What fits a protocol; the first part of Istio's table of listeners. */
function kindsOf({ protocol, tls }: Listener): readonly RouteGroupKind[] {
  switch (protocol) {
    case 'HTTP':
    case 'HTTPS':
      return kinds('HTTPRoute', 'GRPCRoute');
    case 'TLS':
      return tls?.mode === 'Passthrough' ? kinds('TLSRoute') : kinds('TLSRoute', 'TCPRoute');
    case 'TCP':
      return kinds('TCPRoute');
    case 'HBONE':
      return kinds('HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute');
    default:
      return [];
  }
}

/** Administration, metrics and readiness of the proxy, in every pod. */
const PROXY_PORTS: ReadonlySet<number> = new Set([ZTUNNEL_ADMIN_PORT, METRICS_PORT, READINESS_PORT]);
const ROUTER_PROTOCOLS: ReadonlySet<string> = new Set(['HTTP', 'HTTPS', 'TLS', 'TCP']);

function unsupported(
  role: GatewayRole,
  { protocol, port }: Listener,
  hasInboundBinding: boolean,
): ListenerVerdict['refused'] {
  const refuse = (message: string): ListenerVerdict['refused'] => ({ reason: 'UnsupportedProtocol', message });
  if (role.kind === 'waypoint') {
    if (protocol === 'HBONE' && port === HBONE_PORT) return undefined;
    if (hasInboundBinding && (protocol === 'istio.io/PROXY' || ROUTER_PROTOCOLS.has(protocol))) return undefined;
    return refuse(`a waypoint takes protocol HBONE on port ${HBONE_PORT}, not ${protocol} on ${port}`);
  }
  if (PROXY_PORTS.has(port))
    return { reason: 'PortUnavailable', message: `port ${port} is the proxy's own: choose another` };
  if (ROUTER_PROTOCOLS.has(protocol)) return undefined;
  return refuse(
    protocol === 'HBONE'
      ? 'protocol HBONE is for waypoints: use gatewayClassName istio-waypoint'
      : `protocol ${protocol} is not supported: use ${[...ROUTER_PROTOCOLS].join(', ')}`,
  );
}

/** Among those that came before and count. */
function conflictWith(
  others: readonly Listener[],
  { port, protocol, hostname }: Listener,
): ListenerVerdict['conflict'] {
  const beside = others.filter((other) => other.port === port);
  const different = beside.find((other) => other.protocol !== protocol);
  if (different !== undefined)
    return {
      reason: 'ProtocolConflict',
      message: `listener ${different.name} has port ${port} for ${different.protocol} already`,
    };
  const same = beside.find((other) => other.hostname === hostname);
  if (same === undefined) return undefined;
  return protocol === 'TCP'
    ? {
        reason: 'ProtocolConflict',
        message: `listener ${same.name} has port ${port} already, and TCP knows no host names`,
      }
    : {
        reason: 'HostnameConflict',
        message: `listener ${same.name} has port ${port} for host name \`${hostname || '*'}\` already`,
      };
}

/** @returns one verdict a listener, in their order */
export function judgeListeners(
  get: Reader,
  world: CertificateWorld,
  gateway: Gateway,
  cls: GatewayClass | undefined,
  role: GatewayRole,
): readonly ListenerVerdict[] {
  const binding = gateway.annotations[ANNOTATION.inboundBinding] ?? cls?.annotations[ANNOTATION.inboundBinding];
  const counted: Listener[] = [];
  return gateway.listeners.map((listener) => {
    const possible = kindsOf(listener);
    const asked = listener.kinds;
    const supportedKinds =
      asked.length === 0
        ? possible
        : possible.filter(({ group, kind }) => asked.some((each) => each.group === group && each.kind === kind));
    const wrongKinds = asked.filter(
      ({ group, kind }) => !possible.some((each) => each.group === group && each.kind === kind),
    );
    const protocolFault = unsupported(role, listener, binding !== undefined);
    const conflict = protocolFault === undefined ? conflictWith(counted, listener) : undefined;
    const tls = protocolFault === undefined ? tlsFault(get, world, gateway, listener) : undefined;
    const noAuthority: ListenerVerdict['refused'] =
      tls !== undefined && /^InvalidCACertificate/.test(tls.reason)
        ? { reason: 'NoValidCACertificate', message: tls.message }
        : undefined;
    const refused = protocolFault ?? conflict ?? noAuthority;
    if (protocolFault === undefined && conflict === undefined) counted.push(listener);
    const kindFault: ListenerVerdict['unresolved'] =
      wrongKinds.length === 0
        ? undefined
        : {
            reason: 'InvalidRouteKinds',
            message: `${wrongKinds.map(({ kind }) => kind).join(', ')} cannot attach to protocol ${listener.protocol}`,
          };
    const usable = refused === undefined && tls === undefined && (kindFault === undefined || supportedKinds.length > 0);
    return { listener, supportedKinds, refused, conflict, unresolved: tls ?? kindFault, usable };
  });
}
