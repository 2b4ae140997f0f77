// Who is at both ends of an exchange, as metrics, logs and spans name them. At a gateway the source is the gateway itself;
// at a waypoint or sidecar server side it is whoever came by the tunnel.

import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { formatHostPort, type HostPort } from '../../model/ip.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import { type Peer, peerOf } from '../../model/traffic.ts';
import { identityOf } from '../../model/workload.ts';
import type { Endpoint, Exchange, HttpProtocol, ResponseFlag } from '../contracts.ts';

/** This proxy, as its reports name it. */
export interface ReportingProxy {
  /** Label `reporter`: `waypoint`, `source` at gateways and sidecars' client side, `destination` at their server side. */
  readonly reporter: 'source' | 'destination' | 'waypoint';
  readonly peer: Peer;
  /** A gateway, whose clients are strangers: request ids that they send are not kept. */
  readonly edge: boolean;
  readonly identity: SpiffeId | undefined;
  /** `waypoint~10.244.1.7~waypoint-5d4-abcde.shop~shop.svc.cluster.local` */
  readonly nodeId: string;
  /** Usually the trust domain. */
  readonly meshId: string;
  /** Where `%HOSTNAME%` comes from: the pod's name. */
  readonly hostname: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** What is reported: an exchange, or a connection that was passed on, which has no protocol and an empty request. */
export interface Reported extends Omit<Exchange, 'protocol' | 'service' | 'upstream'> {
  readonly protocol: HttpProtocol | undefined;
  readonly service: ServiceReference | undefined;
  readonly upstream: ReportedUpstream | undefined;
}

type ServiceReference = Pick<ServiceConfig, 'key' | 'hostname'>;

interface ReportedUpstream {
  readonly service: ServiceReference;
  readonly port: number;
  readonly subset: string | undefined;
  readonly endpoint: Endpoint;
  readonly localAddress: HostPort | undefined;
  readonly meshed: boolean;
  /** Where the workload is not at hand. */
  readonly peer?: Peer | undefined;
}

export const sourceOf = (proxy: ReportingProxy, exchange: Reported): Peer | undefined =>
  proxy.reporter === 'source' ? proxy.peer : exchange.client.peer;

export const sourceIdentityOf = (proxy: ReportingProxy, exchange: Reported): SpiffeId | undefined =>
  proxy.reporter === 'source' ? proxy.identity : exchange.client.identity;

export function destinationOf(exchange: Reported): Peer | undefined {
  const { upstream } = exchange;
  const workload = upstream?.endpoint.workload;
  return workload === undefined ? upstream?.peer : peerOf(workload);
}

/** Whom mutual TLS of the mesh proved, or ztunnel proves on this proxy's behalf. */
export function destinationIdentityOf(upstream: Reported['upstream']): SpiffeId | undefined {
  if (upstream === undefined || !upstream.meshed) return undefined;
  const { workload, tunnel } = upstream.endpoint;
  return workload === undefined ? tunnel?.expected[0] : identityOf(workload);
}

export interface ServiceNames {
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
}

const names = new WeakMap<ServiceReference, ServiceNames>();

/** Of a Kubernetes service its own name, of a ServiceEntry the host (Istio: destination_service_name). */
export function serviceNamesOf(service: ServiceReference): ServiceNames {
  let known = names.get(service);
  if (known === undefined) {
    const namespace = service.key.slice(0, service.key.indexOf('/'));
    const { hostname } = service;
    const own = hostname.split('.', 3);
    const name = own[1] === namespace && own[2] === 'svc' ? (own[0] ?? hostname) : hostname;
    known = { hostname, name, namespace };
    names.set(service, known);
  }
  return known;
}

const principals = new WeakMap<SpiffeId, string>();

/** The SPIFFE URI; made once for each identity object, of which there is one a connection or workload version. */
export function spiffeText(identity: SpiffeId): string {
  let text = principals.get(identity);
  if (text === undefined) {
    text = formatSpiffeId(identity);
    principals.set(identity, text);
  }
  return text;
}

/** Istio's name of where a request went: `outbound|80|v1|host`, at a waypoint `inbound-vip|80|http/v1|host`. */
export function clusterName(proxy: ReportingProxy, exchange: Reported): string | undefined {
  const { upstream } = exchange;
  if (upstream === undefined) return undefined;
  const { service, port, subset = '' } = upstream;
  if (proxy.reporter === 'source') return `outbound|${port}|${subset}|${service.hostname}`;
  const kind = exchange.protocol === undefined ? 'tcp' : 'http';
  const part = subset === '' ? kind : `${kind}/${subset}`;
  return `inbound-vip|${port}|${part}|${service.hostname}`;
}

/** Long names, in the order in which Envoy writes the flags. */
export const FLAG_NAMES: Readonly<Record<ResponseFlag, string>> = {
  UH: 'NoHealthyUpstream',
  UT: 'UpstreamRequestTimeout',
  LR: 'LocalReset',
  UR: 'UpstreamRemoteReset',
  UF: 'UpstreamConnectionFailure',
  UC: 'UpstreamConnectionTermination',
  UO: 'UpstreamOverflow',
  NR: 'NoRouteFound',
  DI: 'DelayInjected',
  FI: 'FaultInjected',
  RL: 'RateLimited',
  UAEX: 'UnauthorizedExternalService',
  RLSE: 'RateLimitServiceError',
  DC: 'DownstreamConnectionTermination',
  URX: 'UpstreamRetryLimitExceeded',
  SI: 'StreamIdleTimeout',
  DPE: 'DownstreamProtocolError',
  DT: 'DurationTimeout',
  UPE: 'UpstreamProtocolError',
  NC: 'NoClusterFound',
  OM: 'OverloadManagerTerminated',
};
const FLAGS = Object.keys(FLAG_NAMES) as ResponseFlag[];

/** What a response's flags are, in order. */
export const flagsOf = ({ flags }: Pick<Reported, 'flags'>): readonly ResponseFlag[] =>
  flags.size < 2 ? [...flags] : FLAGS.filter((flag) => flags.has(flag));

/** `-` for none. */
export function flagsText(exchange: Reported): string {
  const { flags } = exchange;
  return flags.size === 0 ? '-' : flagsOf(exchange).join(',');
}

/** 0-16; undefined: not gRPC, or no status came. What is no known status reads as 2 (unknown). */
export function grpcStatusOf(exchange: Reported): number | undefined {
  if (!exchange.isGrpc) return undefined;
  const text = exchange.responseTrailers?.get('grpc-status') ?? exchange.responseFields?.get('grpc-status');
  if (text === undefined) return undefined;
  return /^(?:[0-9]|1[0-6])$/.test(text) ? Number(text) : 2;
}

/** The client's address with its port; behind trusted proxies theirs is not it, and the port is unknown. */
export function downstreamRemote({ client, request }: Reported): string {
  const { remoteIp } = request;
  if (remoteIp === undefined || remoteIp === client.source.ip) return formatHostPort(client.source);
  return formatHostPort({ ip: remoteIp, port: 0 });
}
