// Who is at both ends of an exchange, as metrics, logs and spans name them. At a gateway the source is the gateway itself;
// at a waypoint or sidecar server side it is whoever came by the tunnel.

import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { formatHostPort } from '../../model/ip.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import { type Peer, peerOf } from '../../model/traffic.ts';
import { identityOf } from '../../model/workload.ts';
import type { Exchange, UpstreamInfo } from '../contracts.ts';

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

export const sourceOf = (proxy: ReportingProxy, exchange: Exchange): Peer | undefined =>
  proxy.reporter === 'source' ? proxy.peer : exchange.client.peer;

export const sourceIdentityOf = (proxy: ReportingProxy, exchange: Exchange): SpiffeId | undefined =>
  proxy.reporter === 'source' ? proxy.identity : exchange.client.identity;

export function destinationOf(exchange: Exchange): Peer | undefined {
  const workload = exchange.upstream?.endpoint.workload;
  return workload === undefined ? undefined : peerOf(workload);
}

/** Whom mutual TLS of the mesh proved, or ztunnel proves on this proxy's behalf. */
export function destinationIdentityOf(upstream: UpstreamInfo | undefined): SpiffeId | undefined {
  if (upstream === undefined || !upstream.meshed) return undefined;
  const { workload, tunnel } = upstream.endpoint;
  return workload === undefined ? tunnel?.expected[0] : identityOf(workload);
}

export interface ServiceNames {
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
}

const names = new WeakMap<ServiceConfig, ServiceNames>();

/** Of a Kubernetes service its own name, of a ServiceEntry the host (Istio: destination_service_name). */
export function serviceNamesOf(service: ServiceConfig): ServiceNames {
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
export function clusterName(proxy: ReportingProxy, exchange: Exchange): string | undefined {
  const { upstream } = exchange;
  if (upstream === undefined) return undefined;
  const { service, port, subset = '' } = upstream;
  if (proxy.reporter === 'source') return `outbound|${port}|${subset}|${service.hostname}`;
  const part = subset === '' ? 'http' : `http/${subset}`;
  return `inbound-vip|${port}|${part}|${service.hostname}`;
}

/** `-` for none; the order is that in which they came. */
export function flagsText(exchange: Exchange): string {
  const { flags } = exchange;
  if (flags.size === 0) return '-';
  let text = '';
  for (const flag of flags) text += text === '' ? flag : `,${flag}`;
  return text;
}

/** 0-16; undefined: not gRPC, or no status came. What is no known status reads as 2 (unknown). */
export function grpcStatusOf(exchange: Exchange): number | undefined {
  if (!exchange.isGrpc) return undefined;
  const text = exchange.responseTrailers?.get('grpc-status') ?? exchange.responseFields?.get('grpc-status');
  if (text === undefined) return undefined;
  return /^(?:[0-9]|1[0-6])$/.test(text) ? Number(text) : 2;
}

/** The client's address with its port; behind trusted proxies theirs is not it, and the port is unknown. */
export function downstreamRemote({ client, request }: Exchange): string {
  const { remoteIp } = request;
  if (remoteIp === undefined || remoteIp === client.source.ip) return formatHostPort(client.source);
  return formatHostPort({ ip: remoteIp, port: 0 });
}
