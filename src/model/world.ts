// The read-only view of everything a decision may look at. Two forms exist: `plainWorld` (linear scans over lists, the
// definition of what is right) and the indexed store that proxies keep; a property test holds them equal.

import type { HostPort, Ip } from './ip.ts';
import type { Policy } from './policy.ts';
import type { PolicyKey, Service, ServiceKey, Workload, WorkloadUid } from './workload.ts';

/** A workload behind a service, with the port mapping that membership carries. */
export interface Endpoint {
  readonly workload: Workload;
  /** service port -> target port of this endpoint */
  readonly ports: ReadonlyMap<number, number>;
}

export interface World {
  /** The proxy's own network; the empty string is the default network. */
  readonly network: string;
  workload(uid: WorkloadUid): Workload | undefined;
  /** Host-network workloads are not found by address; when two share one, a meshed pod wins. */
  workloadAt(network: string, ip: Ip): Workload | undefined;
  /** A workload with exactly this namespace and `hostname`. */
  workloadNamed(namespace: string, hostname: string): Workload | undefined;
  service(key: ServiceKey): Service | undefined;
  /** All services with this exact virtual address, in insertion order. */
  servicesWithVip(network: string, ip: Ip): readonly Service[];
  /** All services one of whose ranges holds the address, in insertion order. */
  servicesWithCidr(network: string, ip: Ip): readonly Service[];
  /** All services with this hostname (exact text, wildcards included), in insertion order. */
  servicesWithHostname(hostname: string): readonly Service[];
  /** Stored endpoints: unhealthy workloads are left out unless the service allows all. */
  endpoints(key: ServiceKey): readonly Endpoint[];
  policy(key: PolicyKey): Policy | undefined;
  namespacePolicies(namespace: string): readonly Policy[];
  globalPolicies(): readonly Policy[];
  /** Differs after every change of any policy, so that what was derived from policies knows when to be derived again. */
  readonly policyRevision: number;
}

/** One connection that an application dialled, as captured. */
export interface Dial {
  /** Address of the application's side of the connection. */
  readonly client: HostPort;
  /** What it dialled, before any translation (SO_ORIGINAL_DST). */
  readonly destination: HostPort;
}
