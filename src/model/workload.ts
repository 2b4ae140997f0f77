// Workloads and services: the L4 world as the control plane describes it, parsed.
// One record here is one `istio.workload.Address` on the wire; wire/xds translates both ways.

import type { SpiffeId } from './identity.ts';
import type { Cidr, Ip } from './ip.ts';

/** Opaque key of a workload, e.g. `Kubernetes//Pod/shop/order-1`. */
export type WorkloadUid = string;
/** `<namespace>/<hostname>`, the key of a service. */
export type ServiceKey = string;
/** `<namespace>/<name>`, the key of a policy. */
export type PolicyKey = string;

export type TunnelProtocol = 'none' | 'hbone';
export type HealthStatus = 'healthy' | 'unhealthy';
export type WorkloadType = 'deployment' | 'cronjob' | 'pod' | 'job';
export type LoadBalancingScope = 'region' | 'zone' | 'subzone' | 'node' | 'cluster' | 'network';
export type LoadBalancingMode = 'unspecified' | 'strict' | 'failover' | 'passthrough';
export type HealthPolicy = 'onlyHealthy' | 'allowAll';
export type IpFamilies = 'automatic' | 'ipv4' | 'ipv6' | 'dual';
export type AppProtocol = 'unknown' | 'http11' | 'http2' | 'grpc' | 'tcp' | 'tls';

export interface NetworkAddress {
  readonly network: string;
  readonly ip: Ip;
}

/** Where a waypoint or network gateway is: a name to look up, or an address. */
export interface GatewayAddress {
  readonly destination:
    | { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string }
    | { readonly kind: 'address'; readonly network: string; readonly ip: Ip };
  readonly hbonePort: number;
}

export interface WeightedWaypoint {
  readonly waypoint: GatewayAddress;
  readonly weight: number;
}

export interface PortMapping {
  readonly servicePort: number;
  /** 0 means: a named port, resolved by each endpoint. */
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export interface Workload {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly Ip[];
  /** DNS name to resolve per connection when there is no address; empty otherwise. */
  readonly hostname: string;
  readonly network: string;
  readonly tunnelProtocol: TunnelProtocol;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadType;
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  readonly applicationTunnel: { readonly protocol: 'none' | 'proxy'; readonly port: number } | undefined;
  /** Membership: which ports of which services this workload answers. */
  readonly services: ReadonlyMap<ServiceKey, readonly PortMapping[]>;
  /** Names of the selector-scoped policies that apply, in no order. */
  readonly authorizationPolicies: readonly PolicyKey[];
  readonly status: HealthStatus;
  readonly clusterId: string;
  readonly locality: Locality;
  readonly hostNetwork: boolean;
  /** Load-balancing weight; 0 is never chosen. */
  readonly capacity: number;
}

export interface LoadBalancing {
  readonly mode: LoadBalancingMode;
  readonly preferences: readonly LoadBalancingScope[];
  readonly healthPolicy: HealthPolicy;
}

export interface Service {
  readonly name: string;
  readonly namespace: string;
  /** Fully qualified, lower case; may be a wildcard `*.example.com`. */
  readonly hostname: string;
  /** Exact virtual addresses. */
  readonly vips: readonly NetworkAddress[];
  /** Virtual address ranges. */
  readonly cidrVips: readonly { readonly network: string; readonly range: Cidr }[];
  readonly ports: readonly PortMapping[];
  readonly subjectAltNames: readonly SpiffeId[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: IpFamilies;
  readonly canonical: boolean;
  readonly ingressUseWaypoint: boolean;
  readonly visibility: 'public' | 'namespace';
}

export const serviceKey = (service: Pick<Service, 'namespace' | 'hostname'>): ServiceKey =>
  `${service.namespace}/${service.hostname}`;

export const identityOf = (w: Pick<Workload, 'trustDomain' | 'namespace' | 'serviceAccount'>): SpiffeId => ({
  trustDomain: w.trustDomain,
  namespace: w.namespace,
  serviceAccount: w.serviceAccount,
});
