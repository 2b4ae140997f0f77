// What the DNS proxy answers from the mesh's own state: names of services, as a pod of a Kubernetes cluster would write
// them. Pure; sockets, forwarding and message bytes are the proxy's affair. Names of single workloads are not answered.

import { familyAdmits } from './balance.ts';
import { type Ip, isV4 } from './ip.ts';
import { chooseService, visibleTo } from './lookup.ts';
import type { Service, Workload } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { World } from './world.ts';

/** Lifetime of local answers. */
export const DNS_TTL_SECONDS = 30;

export interface DnsOptions {
  /** `cluster.local` */
  readonly clusterDomain: string;
  /** AAAA is answered with no records where the proxy has IPv6 off. */
  readonly ipv6: boolean;
  /** PREFERED_SERVICE_NAMESPACE, a tie-break. */
  readonly preferredNamespace?: string | undefined;
  /** Dedicated mode: the search list of the proxy's own resolver. Else it follows from the client's namespace. */
  readonly searchDomains?: readonly string[] | undefined;
}

/** `owner` is a lower-case name without a trailing dot. */
export type DnsRecord =
  | { readonly type: 'CNAME'; readonly owner: string; readonly target: string }
  | { readonly type: 'A' | 'AAAA'; readonly owner: string; readonly ip: Ip };

/** `forward`: not ours to answer. `answer` without records means that the name exists but has no such record. */
export type DnsAnswer =
  | { readonly kind: 'forward' }
  | { readonly kind: 'answer'; readonly records: readonly DnsRecord[]; readonly service: Service };

/** A name under which a service may be found; `stripped` is what was left after a search domain was taken off. */
interface Candidate {
  readonly name: string;
  readonly stripped: string | undefined;
}

/** RFC 1035 §2.3.4 bounds names; a longer one is none of ours. */
const MAX_NAME = 255;

/**
 * Looks one question up.
 * @param name with or without trailing dot, any case
 * @param type `A`, `AAAA`; every other type is forwarded
 * @returns records in the order of state: the proxy shuffles the addresses
 */
export function dnsLookup(world: World, client: Workload, name: string, type: string, options: DnsOptions): DnsAnswer {
  if (type !== 'A' && type !== 'AAAA') return { kind: 'forward' };
  const asked = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
  if (asked === '' || asked.length > MAX_NAME) return { kind: 'forward' };
  for (const candidate of candidates(asked, client.namespace, options)) {
    for (const hostname of hostnames(candidate.name)) {
      const service = eligible(world, hostname, client.namespace, options);
      if (service === undefined) continue;
      const { stripped } = candidate;
      const alias = stripped !== undefined && hostname === candidate.name ? stripped : undefined;
      const owner = alias ?? asked;
      const records: DnsRecord[] = addresses(world, service, client, type, options).map((ip) => ({ type, owner, ip }));
      if (alias !== undefined && records.length > 0) records.unshift({ type: 'CNAME', owner: asked, target: alias });
      return { kind: 'answer', records, service };
    }
  }
  return { kind: 'forward' };
}

/** The name as asked, its expansions, then the same for what is left without each search domain that it ends with. */
function* candidates(asked: string, namespace: string, options: DnsOptions): Iterable<Candidate> {
  const { clusterDomain } = options;
  const domains = options.searchDomains ?? [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  const seen = new Set<string>();
  const fresh = (name: string): boolean => !seen.has(name) && seen.add(name) !== undefined;
  for (const name of [asked, ...expansions(asked, namespace, clusterDomain)])
    if (fresh(name)) yield { name, stripped: undefined };
  for (const domain of domains) {
    if (!asked.endsWith(`.${domain}`)) continue;
    const stripped = asked.slice(0, -domain.length - 1);
    for (const name of [stripped, ...expansions(stripped, namespace, clusterDomain)])
      if (fresh(name)) yield { name, stripped };
  }
}

/** What a short name may mean in Kubernetes, by its number of labels. */
function expansions(name: string, namespace: string, domain: string): string[] {
  const labels = name.split('.');
  const inService = labels.at(-1) === 'svc' ? [`${name}.${domain}`] : [];
  switch (labels.length) {
    case 1:
      return [`${name}.${namespace}.svc.${domain}`];
    case 2:
      return [`${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`];
    case 3:
      return [...inService, `${name}.svc.${domain}`];
    case 4:
      return inService;
    default:
      return [];
  }
}

/** The exact name, then wildcards from the longest to one of a single label. */
function* hostnames(name: string): Iterable<string> {
  yield name;
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) yield `*${name.slice(dot)}`;
}

/** Only services that have an answer of their own: a virtual address, or headless ones of the cluster. */
function eligible(world: World, hostname: string, namespace: string, options: DnsOptions): Service | undefined {
  const found = world
    .servicesWithHostname(hostname)
    .filter(
      (s) => (s.vips.length > 0 || s.hostname.endsWith(`.svc.${options.clusterDomain}`)) && visibleTo(s, namespace),
    );
  return chooseService(found, { namespace, preferredNamespace: options.preferredNamespace });
}

function addresses(world: World, service: Service, client: Workload, type: 'A' | 'AAAA', options: DnsOptions): Ip[] {
  if (type === 'AAAA' && !options.ipv6) return [];
  const wanted = (ip: Ip): boolean => isV4(ip) === (type === 'A') && familyAdmits(service.ipFamilies, ip);
  if (service.vips.length > 0)
    return service.vips.flatMap((vip) => (vip.network === client.network && wanted(vip.ip) ? [vip.ip] : []));
  return world.endpoints(serviceKey(service)).flatMap(({ workload }) => workload.addresses.find(wanted) ?? []);
}
