// Type URLs and resource names of Istio's ambient discovery: which strings stand for which resource.

import type { NetworkAddress, PolicyKey, Service, Workload } from '../../model/workload.ts';
import { serviceKey } from '../../model/workload.ts';

/** Workloads and services. */
export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
/** Workloads alone; node proxies do not ask for it, other clients may. */
export const WORKLOAD_TYPE = 'type.googleapis.com/istio.workload.Workload';
/** Layer-4 policies. */
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization';

/** The primary name of a workload resource: its uid. */
export const workloadName = (workload: Pick<Workload, 'uid'>): string => workload.uid;

/** Further names by which an on-demand client may ask for a workload: `<network>/<ip>`. */
export const workloadAliases = (workload: Pick<Workload, 'network' | 'addresses' | 'hostNetwork'>): string[] =>
  workload.hostNetwork ? [] : workload.addresses.map((ip) => networkAddressName({ network: workload.network, ip }));

/** The primary name of a service resource: `<namespace>/<hostname>`. */
export const serviceName = (service: Pick<Service, 'namespace' | 'hostname'>): string => serviceKey(service);

/** Further names of a service: `<network>/<ip>`, or `<network>/<ip>/<length>` for a range. */
export const serviceAliases = (service: Pick<Service, 'vips' | 'cidrVips'>): string[] => [
  ...service.vips.map(networkAddressName),
  ...service.cidrVips.map((vip) => `${vip.network}/${vip.range.ip}/${vip.range.length}`),
];

/** The name of a policy resource is the key that workloads refer to it by. */
export const policyName = (policy: { readonly key: PolicyKey }): string => policy.key;

export const networkAddressName = (at: NetworkAddress): string => `${at.network}/${at.ip}`;

/**
 * Splits `<namespace>/<hostname>`. A second slash means that the text is rather a workload uid.
 * @returns undefined if the text names no service
 */
export function parseServiceName(name: string): { readonly namespace: string; readonly hostname: string } | undefined {
  const slash = name.indexOf('/');
  if (slash < 0 || name.indexOf('/', slash + 1) >= 0) return undefined;
  return { namespace: name.slice(0, slash), hostname: name.slice(slash + 1) };
}
