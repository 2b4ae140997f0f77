// `istio.workload.Workload` <-> the model's Workload.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { DEFAULT_TRUST_DOMAIN } from '../../model/identity.ts';
import { ipBytes } from '../../model/ip.ts';
import type { Result } from '../../model/result.ts';
import type { HealthStatus, PortMapping, ServiceKey, Workload, WorkloadType } from '../../model/workload.ts';
import type { Workload as WireWorkload, WorkloadSchema } from '../gen/istio/workload/workload_pb.ts';
import { type Decoded, decoding, named, port16, readGateway, readIp, readPort, refuse } from './decoding.ts';
import { byText, numberOf, writeGateway, writePort } from './encoding.ts';
import { parseServiceName } from './names.ts';

/** What an empty service account or cluster on the wire stands for. */
const DEFAULT_SERVICE_ACCOUNT = 'default';
const DEFAULT_CLUSTER_ID = 'Kubernetes';

const TUNNELS = ['none', 'hbone', 'legacyIstioMtls'] as const;
const TYPES: readonly WorkloadType[] = ['deployment', 'cronjob', 'pod', 'job'];
const STATUSES: readonly HealthStatus[] = ['healthy', 'unhealthy'];
const NETWORK_MODES = ['standard', 'hostNetwork'] as const;
const APPLICATION_TUNNELS = ['none', 'proxy'] as const;

/**
 * Reads one workload.
 * @returns the reason if it must be refused: an address of a wrong length, an unknown enum number, the legacy tunnel
 *   protocol, a gateway without destination, a service key that is not `<namespace>/<hostname>`
 */
export const decodeWorkload = (wire: WireWorkload): Result<Decoded<Workload>, string> => decoding(() => read(wire));

function read(wire: WireWorkload): Workload {
  const tunnelProtocol = named('tunnel_protocol', TUNNELS, wire.tunnelProtocol);
  if (tunnelProtocol === 'legacyIstioMtls') refuse('tunnel_protocol LEGACY_ISTIO_MTLS is not supported');
  if (wire.uid === '') refuse('uid is empty');
  return {
    uid: wire.uid,
    name: wire.name,
    namespace: wire.namespace,
    addresses: wire.addresses.map((bytes) => readIp('addresses', bytes)),
    hostname: wire.hostname,
    network: wire.network,
    tunnelProtocol,
    trustDomain: wire.trustDomain || DEFAULT_TRUST_DOMAIN,
    serviceAccount: wire.serviceAccount || DEFAULT_SERVICE_ACCOUNT,
    waypoint: wire.waypoint && readGateway('waypoint', wire.waypoint),
    networkGateway: wire.networkGateway && readGateway('network_gateway', wire.networkGateway),
    node: wire.node,
    canonicalName: wire.canonicalName,
    canonicalRevision: wire.canonicalRevision,
    workloadType: TYPES[wire.workloadType] ?? 'deployment',
    workloadName: wire.workloadName,
    nativeTunnel: wire.nativeTunnel,
    applicationTunnel: wire.applicationTunnel && {
      protocol: named('application_tunnel.protocol', APPLICATION_TUNNELS, wire.applicationTunnel.protocol),
      port: port16(wire.applicationTunnel.port),
    },
    services: readServices(wire),
    authorizationPolicies: wire.authorizationPolicies,
    status: named('status', STATUSES, wire.status),
    clusterId: wire.clusterId || DEFAULT_CLUSTER_ID,
    locality: {
      region: wire.locality?.region ?? '',
      zone: wire.locality?.zone ?? '',
      subzone: wire.locality?.subzone ?? '',
    },
    hostNetwork: named('network_mode', NETWORK_MODES, wire.networkMode) === 'hostNetwork',
    capacity: wire.capacity ?? 1,
  };
}

function readServices(wire: WireWorkload): ReadonlyMap<ServiceKey, readonly PortMapping[]> {
  const services = new Map<ServiceKey, readonly PortMapping[]>();
  for (const key of Object.keys(wire.services)) {
    if (parseServiceName(key) === undefined) refuse(`services key \`${key}\` is not <namespace>/<hostname>`);
    services.set(key, wire.services[key]?.ports.map(readPort) ?? []);
  }
  return services;
}

/** The message of one workload; defaults are left empty as istiod does, so that equal workloads are equal bytes. */
export function workloadMessage(w: Workload): MessageInitShape<typeof WorkloadSchema> {
  const { region, zone, subzone } = w.locality;
  const services = [...w.services].sort(([a], [b]) => byText(a, b));
  return {
    uid: w.uid,
    name: w.name,
    namespace: w.namespace,
    addresses: w.addresses.map(ipBytes),
    hostname: w.hostname,
    network: w.network,
    tunnelProtocol: numberOf(TUNNELS, w.tunnelProtocol),
    trustDomain: w.trustDomain === DEFAULT_TRUST_DOMAIN ? '' : w.trustDomain,
    serviceAccount: w.serviceAccount,
    waypoint: w.waypoint && writeGateway(w.waypoint),
    networkGateway: w.networkGateway && writeGateway(w.networkGateway),
    node: w.node,
    canonicalName: w.canonicalName,
    canonicalRevision: w.canonicalRevision,
    workloadType: numberOf(TYPES, w.workloadType),
    workloadName: w.workloadName,
    nativeTunnel: w.nativeTunnel,
    applicationTunnel: w.applicationTunnel && {
      protocol: numberOf(APPLICATION_TUNNELS, w.applicationTunnel.protocol),
      port: w.applicationTunnel.port,
    },
    services: Object.fromEntries(services.map(([key, ports]) => [key, { ports: ports.map(writePort) }])),
    authorizationPolicies: [...w.authorizationPolicies],
    status: numberOf(STATUSES, w.status),
    clusterId: w.clusterId,
    locality: region || zone || subzone ? { region, zone, subzone } : undefined,
    networkMode: numberOf(NETWORK_MODES, w.hostNetwork ? 'hostNetwork' : 'standard'),
    capacity: w.capacity === 1 ? undefined : w.capacity,
  };
}
