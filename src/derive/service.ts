// Kubernetes Services and ServiceEntries -> the model's services, and which of several with one host name counts.

import { parseSpiffeId, type SpiffeId } from '../model/identity.ts';
import type { LoadBalancing, PortMapping, Service } from '../model/workload.ts';
import { serviceKey } from '../model/workload.ts';
import type { Reader } from './graph/graph.ts';
import { ANNOTATION, LABEL } from './names.ts';
import type { Namespace } from './objects/cluster.ts';
import {
  type EntryServicePort,
  isWholeAddress,
  isWildcard,
  type Resolution,
  type ServiceEntry,
} from './objects/entry.ts';
import type { Visibility } from './objects/mesh.ts';
import type { Meta } from './objects/meta.ts';
import type { KubeService, ServicePort } from './objects/service.ts';
import { type Labels, looseBoolean } from './read.ts';
import {
  type Binding,
  canaryOf,
  ingressUsesWaypoint,
  type WaypointWorld,
  waypointAddress,
  waypointKey,
} from './waypoint.ts';

/** A service with what is needed to find its workloads and to report on it. */
export interface ServiceInfo {
  readonly service: Service;
  readonly namespace: string;
  readonly selector: Labels | undefined;
  readonly source: ServiceSource;
  readonly createdMs: number;
  readonly binding: Binding;
  /** `<namespace>/<name>` of the waypoints before it: the one that it is bound to, and its canary. */
  readonly waypoints: readonly string[];
}

/** The object behind a service: named ports mean different things for the two kinds. */
export type ServiceSource =
  | { readonly kind: 'Service'; readonly name: string; readonly ports: readonly ServicePort[] }
  | {
      readonly kind: 'ServiceEntry';
      readonly name: string;
      readonly ports: readonly EntryServicePort[];
      readonly resolution: Resolution;
      /** As written. */
      readonly subjectAltNames: readonly string[];
    };

const NO_PREFERENCE: LoadBalancing = { mode: 'unspecified', preferences: [], healthPolicy: 'onlyHealthy' };
const SAME_ZONE: LoadBalancing = {
  mode: 'failover',
  preferences: ['network', 'region', 'zone'],
  healthPolicy: 'onlyHealthy',
};
const SAME_NODE: LoadBalancing = {
  mode: 'failover',
  preferences: ['network', 'region', 'zone', 'subzone', 'node'],
  healthPolicy: 'onlyHealthy',
};
const LOCAL_ONLY: LoadBalancing = { mode: 'strict', preferences: ['node'], healthPolicy: 'onlyHealthy' };

/**
 * Where traffic should go first. The spec's field counts in its exact spelling; annotations on the object, then on its
 * namespace, in any case. A value that is not known means no preference, and ends the search.
 */
function distribution(specified: string | undefined, own: Labels, inherited: Labels | undefined): LoadBalancing {
  const annotated = own[ANNOTATION.trafficDistribution] ?? inherited?.[ANNOTATION.trafficDistribution];
  const known: Readonly<Record<string, LoadBalancing>> = {
    preferclose: SAME_ZONE,
    prefersamezone: SAME_ZONE,
    prefersamenode: SAME_NODE,
  };
  if (specified !== undefined)
    return ['PreferClose', 'PreferSameZone', 'PreferSameNode'].includes(specified)
      ? (known[specified.toLowerCase()] as LoadBalancing)
      : NO_PREFERENCE;
  return known[(annotated ?? '').toLowerCase()] ?? NO_PREFERENCE;
}

interface Bound {
  readonly binding: Binding;
  readonly namespace: Namespace | undefined;
}

interface BoundFields {
  readonly fields: Pick<Service, 'waypoint' | 'weightedWaypoints' | 'ingressUseWaypoint'>;
  readonly waypoints: readonly string[];
}

function waypointFields(get: Reader, world: WaypointWorld, object: Meta, { binding, namespace }: Bound): BoundFields {
  if (binding.kind !== 'bound')
    return {
      fields: {
        waypoint: waypointAddress(binding),
        weightedWaypoints: [],
        ingressUseWaypoint:
          binding.kind === 'refused' && binding.failsClosed && (ingressUsesWaypoint(object, namespace) ?? false),
      },
      waypoints: [],
    };
  const canary = canaryOf(get, world, object, binding.waypoint);
  return {
    fields: {
      waypoint: binding.waypoint.address,
      weightedWaypoints: canary.weighted,
      ingressUseWaypoint: ingressUsesWaypoint(object, namespace) ?? false,
    },
    waypoints: [waypointKey(binding.waypoint), ...(canary.waypoint === undefined ? [] : [canary.waypoint])],
  };
}

export const kubeHostname = (name: string, namespace: string, clusterDomain: string): string =>
  `${name}.${namespace}.svc.${clusterDomain}`;

/** What a service is derived with besides its object. */
export interface ServiceContext {
  readonly waypoints: WaypointWorld;
  readonly network: string;
  readonly clusterDomain: string;
}

/** @returns undefined for ExternalName, which DNS alone serves */
export function fromKubeService(
  get: Reader,
  context: ServiceContext,
  object: KubeService,
  binding: Binding,
): ServiceInfo | undefined {
  if (object.externalName) return undefined;
  const { waypoints, network, clusterDomain } = context;
  const namespace = get.one(waypoints.namespaces, object.namespace);
  const preference = object.localOnly
    ? LOCAL_ONLY
    : distribution(object.trafficDistribution, object.annotations, namespace?.annotations);
  const { fields, waypoints: bound } = waypointFields(get, waypoints, object, { binding, namespace });
  const service: Service = {
    name: object.name,
    namespace: object.namespace,
    hostname: kubeHostname(object.name, object.namespace, clusterDomain),
    vips: object.clusterIps.map((ip) => ({ network, ip })),
    cidrVips: [],
    ports: object.ports.map(
      (port): PortMapping => ({
        servicePort: port.port,
        targetPort: typeof port.target === 'number' ? port.target : 0,
        appProtocol: port.appProtocol,
      }),
    ),
    subjectAltNames: [],
    ...fields,
    loadBalancing: object.publishNotReady ? { ...preference, healthPolicy: 'allowAll' } : preference,
    ipFamilies: object.ipFamilies,
    canonical: true,
    visibility: 'public',
  };
  const { name, ports, selector, createdMs } = object;
  const source: ServiceSource = { kind: 'Service', name, ports };
  return { service, namespace: object.namespace, selector, source, createdMs, binding, waypoints: bound };
}

/**
 * Whether the control plane gives an entry addresses of its own: it has none, traffic to it can be told apart by address
 * at all, and nobody opted out.
 */
export const allocatesAddresses = (entry: ServiceEntry): boolean =>
  entry.addresses !== undefined &&
  entry.addresses.length === 0 &&
  entry.resolution !== 'NONE' &&
  (looseBoolean(entry.labels[LABEL.autoAllocate] ?? '') ?? true);

/** A wildcard host gets an address only where a waypoint resolves the name that was really asked for. */
export const hostAllocates = (entry: ServiceEntry, host: string): boolean =>
  !isWildcard(host) || entry.resolution === 'DYNAMIC_DNS';

function entryAddresses(entry: ServiceEntry, host: string, network: string): Pick<Service, 'vips' | 'cidrVips'> {
  if (allocatesAddresses(entry) && hostAllocates(entry, host))
    return {
      vips: entry.allocated.filter((given) => given.host === host).map(({ ip }) => ({ network, ip })),
      cidrVips: [],
    };
  const ranges = entry.addresses ?? [];
  return {
    vips: ranges.filter(isWholeAddress).map(({ ip }) => ({ network, ip })),
    cidrVips: ranges.filter((range) => !isWholeAddress(range)).map((range) => ({ network, range })),
  };
}

/** One service a host. None when an address cannot be read, or the mesh keeps the entry to itself (`NONE`). */
export function fromServiceEntry(
  get: Reader,
  context: ServiceContext,
  entry: ServiceEntry,
  binding: Binding,
  visibility: Visibility,
): readonly ServiceInfo[] {
  if (visibility === 'NONE' || entry.addresses === undefined) return [];
  const { waypoints, network } = context;
  const namespace = get.one(waypoints.namespaces, entry.namespace);
  const { fields, waypoints: bound } = waypointFields(get, waypoints, entry, { binding, namespace });
  const loadBalancing: LoadBalancing =
    entry.resolution === 'NONE'
      ? { mode: 'passthrough', preferences: [], healthPolicy: 'allowAll' }
      : distribution(undefined, entry.annotations, namespace?.annotations);
  const subjectAltNames = entry.subjectAltNames.flatMap((uri): SpiffeId[] => {
    const id = parseSpiffeId(uri);
    return id.ok ? [id.value] : [];
  });
  const ports = entry.ports.map(
    (port): PortMapping => ({
      servicePort: port.port,
      targetPort: port.target === 0 ? port.port : port.target,
      appProtocol: port.appProtocol,
    }),
  );
  return entry.hosts.map((hostname) => ({
    service: {
      name: entry.name,
      namespace: entry.namespace,
      hostname,
      ...entryAddresses(entry, hostname, network),
      ports,
      subjectAltNames,
      ...fields,
      loadBalancing,
      ipFamilies: 'automatic',
      canonical: false,
      visibility: visibility === 'NAMESPACE' ? 'namespace' : 'public',
    },
    namespace: entry.namespace,
    selector: entry.selector !== undefined && Object.keys(entry.selector).length > 0 ? entry.selector : undefined,
    source: {
      kind: 'ServiceEntry',
      name: entry.name,
      ports: entry.ports,
      resolution: entry.resolution,
      subjectAltNames: entry.subjectAltNames,
    },
    createdMs: entry.createdMs,
    binding,
    waypoints: bound,
  }));
}

const beats = (a: ServiceInfo, b: ServiceInfo): boolean =>
  a.source.kind !== b.source.kind
    ? a.source.kind === 'Service'
    : a.createdMs !== b.createdMs
      ? a.createdMs < b.createdMs
      : `${a.namespace}/${a.source.name}` < `${b.namespace}/${b.source.name}`;

/**
 * Of all services with one host name: one a namespace (a Kubernetes Service before the oldest ServiceEntry), and one of
 * those canonical for clients of other namespaces. A ServiceEntry that its namespace keeps is never canonical.
 */
export function settleHostname(infos: readonly ServiceInfo[]): readonly (readonly [string, ServiceInfo])[] {
  const best = new Map<string, ServiceInfo>();
  for (const info of infos) {
    const current = best.get(info.namespace);
    if (current === undefined || beats(info, current)) best.set(info.namespace, info);
  }
  let canonical: ServiceInfo | undefined;
  for (const info of best.values())
    if (info.service.visibility === 'public' && (canonical === undefined || beats(info, canonical))) canonical = info;
  return [...best.values()].map((info) => {
    const isCanonical = info === canonical || info.source.kind === 'Service';
    const service = info.service.canonical === isCanonical ? info.service : { ...info.service, canonical: isCanonical };
    return [serviceKey(service), service === info.service ? info : { ...info, service }];
  });
}
