// Workloads, services and policies for tests: every field has a plain default, a test names what it is about.

import { type Cidr, type Ip, parseCidr, parseIp } from '../ip.ts';
import { NOTHING, type Policy, type PolicyMatch } from '../policy.ts';
import type { PortMapping, Service, Workload } from '../workload.ts';

export function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

/** `ports('80:8080', '443:0')`: service port to target port. */
export const ports = (...pairs: string[]): PortMapping[] =>
  pairs.map((pair) => {
    const [servicePort = 0, targetPort = 0] = pair.split(':').map(Number);
    return { servicePort, targetPort, appProtocol: 'unknown' };
  });

/** Membership of services: `members({ 'shop/order.shop.svc.cluster.local': ['80:8080'] })`. */
export const members = (services: Readonly<Record<string, readonly string[]>>): Workload['services'] =>
  new Map(Object.entries(services).map(([key, pairs]) => [key, ports(...pairs)]));

/** A meshed, healthy pod `name` in namespace `shop`, service account `name`. */
export function workload(name: string, set: Partial<Workload> = {}): Workload {
  const namespace = set.namespace ?? 'shop';
  return {
    uid: `Kubernetes//Pod/${namespace}/${name}`,
    name,
    namespace,
    addresses: [],
    hostname: '',
    network: '',
    tunnelProtocol: 'hbone',
    trustDomain: 'cluster.local',
    serviceAccount: name,
    waypoint: undefined,
    networkGateway: undefined,
    node: 'node-1',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: name,
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    status: 'healthy',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    hostNetwork: false,
    capacity: 1,
    ...set,
  };
}

/** A service `name` in namespace `shop` without ports or addresses. */
export function service(name: string, set: Partial<Service> = {}): Service {
  const namespace = set.namespace ?? 'shop';
  return {
    name,
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    vips: [],
    cidrVips: [],
    ports: [],
    subjectAltNames: [],
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancing: { mode: 'unspecified', preferences: [], healthPolicy: 'onlyHealthy' },
    ipFamilies: 'automatic',
    canonical: true,
    ingressUseWaypoint: false,
    visibility: 'public',
    ...set,
  };
}

export const match = (set: Partial<PolicyMatch> = {}): PolicyMatch => ({ ...NOTHING, ...set });

/** A policy `<namespace>/<name>`; scope `namespace`, namespace `shop` unless told. */
export function policy(name: string, action: Policy['action'], set: Partial<Policy> = {}): Policy {
  const namespace = set.namespace ?? 'shop';
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: 'namespace',
    action,
    dryRun: false,
    anyRule: [],
    ...set,
  };
}

/** One rule of one clause of the given matches. */
export const rule = (...anyMatch: PolicyMatch[]): Policy['anyRule'][number] => ({ everyClause: [{ anyMatch }] });
