// `istio.workload.Service` <-> the model's Service.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { ipBytes, isV4 } from '../../model/ip.ts';
import type { Result } from '../../model/result.ts';
import type {
  HealthPolicy,
  IpFamilies,
  LoadBalancing,
  LoadBalancingMode,
  LoadBalancingScope,
  NetworkAddress,
  Service,
  WeightedWaypoint,
} from '../../model/workload.ts';
import type {
  ServiceSchema,
  LoadBalancing as WireLoadBalancing,
  Service as WireService,
} from '../gen/istio/workload/workload_pb.ts';
import { type Decoded, decoding, named, rangeFromBytes, readGateway, readIp, readPort, refuse } from './decoding.ts';
import { numberOf, writeGateway, writePort } from './encoding.ts';

const SCOPES: readonly ('unspecified' | LoadBalancingScope)[] = [
  'unspecified',
  'region',
  'zone',
  'subzone',
  'node',
  'cluster',
  'network',
];
const MODES: readonly LoadBalancingMode[] = ['unspecified', 'strict', 'failover', 'passthrough'];
const HEALTH_POLICIES: readonly HealthPolicy[] = ['onlyHealthy', 'allowAll'];
const FAMILIES: readonly IpFamilies[] = ['automatic', 'ipv4', 'ipv6', 'dual'];

/**
 * Reads one service. Subject names that are no SPIFFE ids are passed over with a warning.
 * @returns the reason if it must be refused: an address of a wrong length or with a wrong prefix, an unknown enum
 *   number (visibility excepted: it reads as public), an unspecified load-balancing scope, a waypoint without
 *   destination
 */
export const decodeService = (wire: WireService): Result<Decoded<Service>, string> =>
  decoding((warnings) => read(wire, warnings));

function read(wire: WireService, warnings: string[]): Service {
  if (wire.hostname === '') refuse('hostname is empty');
  return {
    name: wire.name,
    namespace: wire.namespace,
    hostname: wire.hostname,
    ...readAddresses(wire),
    ports: wire.ports.map(readPort),
    subjectAltNames: wire.subjectAltNames.flatMap((uri) => readSubject(uri, warnings)),
    waypoint: wire.waypoint && readGateway('waypoint', wire.waypoint),
    weightedWaypoints: wire.weightedWaypoints.map((weighted): WeightedWaypoint => {
      if (weighted.destination === undefined) refuse('weighted_waypoints has an entry without destination');
      return { waypoint: readGateway('weighted_waypoints', weighted.destination), weight: weighted.weight };
    }),
    loadBalancing: readLoadBalancing(wire.loadBalancing),
    ipFamilies: named('ip_families', FAMILIES, wire.ipFamilies),
    canonical: wire.canonical,
    ingressUseWaypoint: wire.ingressUseWaypoint,
    visibility: wire.visibility === 1 ? 'namespace' : 'public',
  };
}

function readAddresses(wire: WireService): Pick<Service, 'vips' | 'cidrVips'> {
  const vips: NetworkAddress[] = [];
  const cidrVips: Service['cidrVips'][number][] = [];
  for (const { network, address, length } of wire.addresses) {
    const ip = readIp('addresses', address);
    const range = rangeFromBytes(address, length ?? address.length * 8);
    if (range === undefined) refuse(`addresses has prefix length ${length} for ${ip}`);
    if (range.length === (isV4(ip) ? 32 : 128)) vips.push({ network, ip });
    else cidrVips.push({ network, range });
  }
  return { vips, cidrVips };
}

function readSubject(uri: string, warnings: string[]): SpiffeId[] {
  const id = parseSpiffeId(uri);
  if (id.ok) return [id.value];
  warnings.push(`subject_alt_names: ${id.error}; ignored`);
  return [];
}

function readLoadBalancing(wire: WireLoadBalancing | undefined): LoadBalancing {
  if (wire === undefined) return { mode: 'unspecified', preferences: [], healthPolicy: 'onlyHealthy' };
  return {
    mode: named('load_balancing.mode', MODES, wire.mode),
    preferences: wire.routingPreference.map(readScope),
    healthPolicy: named('load_balancing.health_policy', HEALTH_POLICIES, wire.healthPolicy),
  };
}

function readScope(number: number): LoadBalancingScope {
  const scope = named('load_balancing.routing_preference', SCOPES, number);
  return scope === 'unspecified' ? refuse('load_balancing.routing_preference has an unspecified scope') : scope;
}

/** The message of one service; defaults are left empty as istiod does, so that equal services are equal bytes. */
export function serviceMessage(s: Service): MessageInitShape<typeof ServiceSchema> {
  const { mode, preferences, healthPolicy } = s.loadBalancing;
  const balanced = mode !== 'unspecified' || preferences.length > 0 || healthPolicy !== 'onlyHealthy';
  return {
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname,
    addresses: [
      ...s.vips.map((vip) => ({ network: vip.network, address: ipBytes(vip.ip) })),
      ...s.cidrVips.map(({ network, range }) => ({ network, address: ipBytes(range.ip), length: range.length })),
    ],
    ports: s.ports.map(writePort),
    subjectAltNames: s.subjectAltNames.map(formatSpiffeId),
    waypoint: s.waypoint && writeGateway(s.waypoint),
    loadBalancing: balanced
      ? {
          routingPreference: preferences.map((scope) => numberOf(SCOPES, scope)),
          mode: numberOf(MODES, mode),
          healthPolicy: numberOf(HEALTH_POLICIES, healthPolicy),
        }
      : undefined,
    ipFamilies: numberOf(FAMILIES, s.ipFamilies),
    canonical: s.canonical,
    ingressUseWaypoint: s.ingressUseWaypoint,
    weightedWaypoints: s.weightedWaypoints.map((w) => ({ destination: writeGateway(w.waypoint), weight: w.weight })),
    visibility: s.visibility === 'namespace' ? 1 : 0,
  };
}
