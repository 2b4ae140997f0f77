// A world over plain lists, by scanning: the definition of every lookup, for tests, tools and the prover.

import { cidrContains } from './ip.ts';
import type { Policy } from './policy.ts';
import type { Service, Workload } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { World } from './world.ts';

/** Of several items with one key the last counts, in its place. */
function lastOfEach<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  const kept = new Map<string, T>();
  for (const item of items) {
    kept.delete(key(item));
    kept.set(key(item), item);
  }
  return [...kept.values()];
}

/**
 * Which workload an address that several share means: a meshed pod before a pod before a meshed workload before the
 * rest (Istio: ztunnel's workload store); of equals the later one.
 */
export const sharedAddressRank = (workload: Workload): number =>
  (workload.uid.includes('//Pod/') ? 2 : 0) + (workload.tunnelProtocol === 'hbone' ? 1 : 0);

/** Whether a service keeps this member as an endpoint. */
export const isHealthyFor = (service: Service, workload: Workload): boolean =>
  workload.status === 'healthy' || service.loadBalancing.healthPolicy === 'allowAll';

export function plainWorld(
  network: string,
  workloadList: readonly Workload[],
  serviceList: readonly Service[],
  policyList: readonly Policy[],
): World {
  const workloads = lastOfEach(workloadList, (workload) => workload.uid);
  const services = lastOfEach(serviceList, serviceKey);
  const policies = lastOfEach(policyList, (policy) => policy.key);
  const scoped = (scope: Policy['scope']): readonly Policy[] => policies.filter((policy) => policy.scope === scope);
  const service = (key: string): Service | undefined => services.find((s) => serviceKey(s) === key);
  return {
    network,
    workload: (uid) => workloads.find((workload) => workload.uid === uid),
    workloadAt(at, ip) {
      const sharing = workloads.filter((w) => !w.hostNetwork && w.network === at && w.addresses.includes(ip));
      const best = Math.max(...sharing.map(sharedAddressRank));
      return sharing.findLast((workload) => sharedAddressRank(workload) === best);
    },
    workloadNamed: (namespace, hostname) =>
      hostname === '' ? undefined : workloads.find((w) => w.namespace === namespace && w.hostname === hostname),
    service,
    servicesWithVip: (at, ip) => services.filter((s) => s.vips.some((vip) => vip.network === at && vip.ip === ip)),
    servicesWithCidr: (at, ip) =>
      services.filter((s) => s.cidrVips.some((vip) => vip.network === at && cidrContains(vip.range, ip))),
    servicesWithHostname: (hostname) => services.filter((s) => s.hostname === hostname),
    endpoints(key) {
      const of = service(key);
      if (of === undefined) return [];
      return workloads.flatMap((workload) => {
        const ports = workload.services.get(key);
        if (ports === undefined || !isHealthyFor(of, workload)) return [];
        return [{ workload, ports: new Map(ports.map((port) => [port.servicePort, port.targetPort])) }];
      });
    },
    policy: (key) => policies.find((policy) => policy.key === key),
    namespacePolicies: (namespace) => scoped('namespace').filter((policy) => policy.namespace === namespace),
    globalPolicies: () => scoped('global'),
    policyRevision: 0,
  };
}
