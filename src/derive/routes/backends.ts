// Where a backendRef leads: to a port of a service, or nowhere with the reason.
// Source: Gateway API, BackendRef; Istio's order of checks: kind, grant, then existence, so that a grant that is missing
// does not tell whether the target exists.

import type { BackendTarget, InvalidBackend } from '../../model/http/route.ts';
import type { Collection, Index, Reader } from '../graph/graph.ts';
import { mayRefer, type ReferenceGrant } from '../objects/reference-grant.ts';
import type { RouteKind } from '../objects/route.ts';
import { integer, type Json, optionalText, text } from '../read.ts';
import { kubeHostname } from '../service.ts';

/** What routes need of a service. */
export interface RoutableService {
  readonly key: string;
  /** `<kind>/<namespace>/<name>` */
  readonly object: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly canonical: boolean;
  readonly ports: readonly { readonly port: number; readonly name: string }[];
}

export interface BackendWorld {
  /** By `<namespace>/<hostname>`. */
  readonly services: Collection<RoutableService>;
  readonly servicesByHost: Index<RoutableService>;
  readonly grants: Index<ReferenceGrant>;
  readonly clusterDomain: string;
}

/** Who refers: gateways ask for ReferenceGrants, within the mesh none is needed. */
export interface Referrer {
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly side: 'gateway' | 'mesh';
}

const invalid = (reason: InvalidBackend, detail: string): BackendTarget => ({
  kind: 'invalid',
  status: 500,
  reason,
  detail,
});

const MULTI_CLUSTER_DOMAIN = 'clusterset.local';

/** Host name that a reference means in a namespace; undefined: the kind is none of ours. */
function hostnameOf(group: string, kind: string, name: string, namespace: string, domain: string): string | undefined {
  if ((group === '' || group === 'core') && kind === 'Service') return kubeHostname(name, namespace, domain);
  if (group === 'multicluster.x-k8s.io' && kind === 'ServiceImport')
    return kubeHostname(name, namespace, MULTI_CLUSTER_DOMAIN);
  if (group === 'networking.istio.io' && kind === 'Hostname') return name;
  return undefined;
}

/** A host name may be known in several namespaces: that of the route first, then the one that counts for all. */
export function findByHost(
  get: Reader,
  world: BackendWorld,
  hostname: string,
  namespace: string,
): RoutableService | undefined {
  const known = get.all(world.servicesByHost, hostname);
  return known.find((service) => service.namespace === namespace) ?? known.find(({ canonical }) => canonical);
}

export function resolveBackend(get: Reader, world: BackendWorld, from: Referrer, ref: Json): BackendTarget {
  const group = text(ref.group);
  const kind = optionalText(ref.kind) ?? 'Service';
  const name = text(ref.name);
  const namespace = text(ref.namespace) || from.namespace;
  const isHost = kind === 'Hostname';
  const hostname = hostnameOf(group, kind, name, namespace, world.clusterDomain);
  if (hostname === undefined)
    return invalid('InvalidKind', `${group || 'core'}/${kind} \`${name}\`: only Service, ServiceImport and Hostname`);
  const port = integer(ref.port);
  if (port === undefined || port === 0) return invalid('InvalidDestination', `${kind} \`${name}\`: a port is needed`);
  if (!isHost && name.includes('.'))
    return invalid('InvalidDestination', `${kind} \`${name}\`: a name is needed, without its domain`);
  if (isHost && ref.namespace !== undefined)
    return invalid('InvalidDestination', `Hostname \`${name}\`: it has no namespace`);
  if (from.side === 'gateway' && !isHost) {
    const referrer = { group: 'gateway.networking.k8s.io', kind: from.kind, namespace: from.namespace };
    if (!mayRefer(get, world.grants, referrer, { group: group === 'core' ? '' : group, kind, namespace, name }))
      return invalid(
        'RefNotPermitted',
        `${kind} ${namespace}/${name} is in another namespace, and no ReferenceGrant there admits a ${from.kind} of ${from.namespace}`,
      );
  }
  const service = isHost
    ? findByHost(get, world, hostname.toLowerCase(), from.namespace)
    : get.one(world.services, `${namespace}/${hostname}`);
  if (service === undefined)
    return invalid(
      'BackendNotFound',
      isHost ? `host ${name} is not known` : `${kind} ${namespace}/${name} was not found`,
    );
  if (!service.ports.some((each) => each.port === port))
    return invalid('BackendNotFound', `${kind} ${isHost ? name : `${namespace}/${name}`} has no port ${port}`);
  return { kind: 'service', service: service.key, port, subset: undefined };
}
