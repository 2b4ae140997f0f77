// Who is at each end of a connection, and the metric labels that follow: Istio's names, in Istio's order.

import { formatSpiffeId, type SpiffeId } from './identity.ts';
import type { Service, Workload } from './workload.ts';
import { identityOf } from './workload.ts';

/** One end of a connection, from state or from baggage. Empty text means unknown. */
export interface Peer {
  /** Pod name; empty when it came by baggage. */
  readonly name: string;
  /** Name of the Deployment (or the like) behind it. */
  readonly workload: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly namespace: string;
  readonly cluster: string;
  readonly region: string;
  readonly zone: string;
  /** Labels `*_app`: the canonical name from state, the workload's name from baggage. */
  readonly app: string;
  /** What state ascribes to it; undefined when it came by baggage. */
  readonly identity: SpiffeId | undefined;
}

/** What a peer says of itself in a baggage header. */
export interface BaggageClaims {
  readonly clusterId: string | undefined;
  readonly namespace: string | undefined;
  readonly workloadName: string | undefined;
  readonly canonicalName: string | undefined;
  readonly canonicalRevision: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
}

const peers = new WeakMap<Workload, Peer>();

/** The peer of a workload: one object for each version of it, so that label caches can go by the object. */
export function peerOf(workload: Workload): Peer {
  let peer = peers.get(workload);
  if (peer === undefined) {
    peer = {
      name: workload.name,
      workload: workload.workloadName,
      canonicalName: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      namespace: workload.namespace,
      cluster: workload.clusterId,
      region: workload.locality.region,
      zone: workload.locality.zone,
      app: workload.canonicalName,
      identity: identityOf(workload),
    };
    peers.set(workload, peer);
  }
  return peer;
}

/**
 * The source of a tunnelled connection: what state knows, baggage only filling the gaps.
 * @returns the very peer of `known` if it has no gap that the claims fill; undefined if nothing is known at all
 */
export function sourcePeer(known: Workload | undefined, claims: BaggageClaims): Peer | undefined {
  const base = known && peerOf(known);
  const filled: Peer = {
    name: base?.name ?? '',
    workload: base?.workload || (claims.workloadName ?? ''),
    canonicalName: base?.canonicalName || (claims.canonicalName ?? ''),
    canonicalRevision: base?.canonicalRevision || (claims.canonicalRevision ?? ''),
    namespace: base?.namespace || (claims.namespace ?? ''),
    cluster: base?.cluster || (claims.clusterId ?? ''),
    region: base?.region || (claims.region ?? ''),
    zone: base?.zone || (claims.zone ?? ''),
    app: base?.app || (claims.workloadName ?? ''),
    identity: base?.identity,
  };
  const texts = [
    'workload',
    'canonicalName',
    'canonicalRevision',
    'namespace',
    'cluster',
    'region',
    'zone',
    'app',
  ] as const;
  if (base !== undefined) return texts.every((key) => base[key] === filled[key]) ? base : filled;
  return texts.some((key) => filled[key] !== '') ? filled : undefined;
}

export interface Traffic {
  /** `source`: told by the outbound side. */
  readonly reporter: 'source' | 'destination';
  readonly source: Peer | undefined;
  /** Proved by mutual TLS only. */
  readonly sourceIdentity: SpiffeId | undefined;
  readonly destination: Peer | undefined;
  readonly destinationService: Pick<Service, 'hostname' | 'name' | 'namespace'> | undefined;
  readonly mutualTls: boolean;
  /** `-` while there is nothing to report. */
  readonly responseFlags: string;
}

/** Label names and values of the `istio_tcp_*` metrics. What is not known reads `unknown`, never empty. */
export function trafficLabels(traffic: Traffic): readonly (readonly [name: string, value: string])[] {
  const { source, destination, destinationService: service } = traffic;
  const labels: (readonly [string, string])[] = [
    ['reporter', traffic.reporter],
    ...peerLabels('source', source, traffic.sourceIdentity),
    ['destination_service', known(service?.hostname)],
    ['destination_service_namespace', known(service?.namespace)],
    ['destination_service_name', known(service?.name)],
    ...peerLabels('destination', destination, destination?.identity),
    ['request_protocol', 'tcp'],
    ['response_flags', traffic.responseFlags],
    ['connection_security_policy', traffic.mutualTls ? 'mutual_tls' : 'unknown'],
  ];
  if (source !== undefined || destination !== undefined)
    labels.push(
      ['source_region', known(source?.region)],
      ['source_zone', known(source?.zone)],
      ['destination_region', known(destination?.region)],
      ['destination_zone', known(destination?.zone)],
    );
  return labels;
}

const peerLabels = (
  side: 'source' | 'destination',
  peer: Peer | undefined,
  identity: SpiffeId | undefined,
): (readonly [string, string])[] => [
  [`${side}_workload`, known(peer?.workload)],
  [`${side}_canonical_service`, known(peer?.canonicalName)],
  [`${side}_canonical_revision`, known(peer?.canonicalRevision)],
  [`${side}_workload_namespace`, known(peer?.namespace)],
  [`${side}_principal`, identity === undefined ? 'unknown' : formatSpiffeId(identity)],
  [`${side}_app`, known(peer?.app)],
  [`${side}_version`, known(peer?.canonicalRevision)],
  [`${side}_cluster`, known(peer?.cluster)],
];

const known = (text: string | undefined): string => text || 'unknown';
