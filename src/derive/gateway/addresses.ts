// Which services stand for a Gateway, what addresses they give it, and whether anybody answers there.

import type { Collection, Index, Reader } from '../graph/graph.ts';
import type { EndpointSlice } from '../objects/cluster.ts';
import type { Gateway, WrittenAddress } from '../objects/gateway.ts';
import type { Pod } from '../objects/pod.ts';
import type { KubeService } from '../objects/service.ts';
import type { GatewayRole } from './role.ts';

export interface AddressWorld {
  readonly services: Collection<KubeService>;
  readonly pods: Collection<Pod>;
  /** By `<namespace>/<service>`. */
  readonly slices: Index<EndpointSlice>;
  readonly clusterDomain: string;
}

export interface Assigned {
  /** For the status; empty: none is known. */
  readonly addresses: readonly WrittenAddress[];
  /** `host:port` of each listener's port, for the message. */
  readonly assigned: readonly string[];
  /** Why traffic does not arrive yet. */
  readonly missing:
    | { readonly reason: 'AddressNotAssigned' | 'AddressNotUsable'; readonly message: string }
    | undefined;
}

/** `<service>.<namespace>.svc.<domain>` as the key of the Service; undefined for any other name. */
function serviceKeyOf(hostname: string, domain: string): string | undefined {
  const [name, namespace, ...rest] = hostname.split('.');
  return name !== undefined && namespace !== undefined && rest.join('.') === `svc.${domain}`
    ? `${namespace}/${name}`
    : undefined;
}

/** Host names of a manual Gateway's services: one without a dot is in the Gateway's namespace. */
export const manualHosts = (gateway: Gateway, domain: string): readonly string[] =>
  gateway.requested
    .filter(({ type }) => type === 'Hostname')
    .map(({ value }) => (value.includes('.') ? value : `${value}.${gateway.namespace}.svc.${domain}`));

function hasReadyEndpoint(get: Reader, world: AddressWorld, key: string): boolean {
  const isReady = (reference: string): boolean => {
    const [namespace, name] = reference.split('/');
    return get.one(world.pods, `${namespace}/${name}`)?.ready === true;
  };
  return get.all(world.slices, key).some(({ pods, loose }) => pods.some(isReady) || loose.some(({ ready }) => ready));
}

/** @param hosts  of the services that stand for the Gateway */
export function assign(
  get: Reader,
  world: AddressWorld,
  gateway: Gateway,
  role: GatewayRole,
  hosts: readonly string[],
): Assigned {
  const external: WrittenAddress[] = [];
  const internal: WrittenAddress[] = [];
  const assigned: string[] = [];
  let missing: Assigned['missing'];
  const miss = (reason: 'AddressNotAssigned' | 'AddressNotUsable', message: string): void => {
    missing ??= { reason, message };
  };
  const asked = gateway.annotations['networking.istio.io/address-type'];
  const types = asked === 'IPAddress' || asked === 'Hostname' ? [asked] : role.addressTypes;
  for (const host of hosts) {
    const key = serviceKeyOf(host, world.clusterDomain);
    const service = key === undefined ? undefined : get.one(world.services, key);
    if (key === undefined || service === undefined) {
      miss('AddressNotAssigned', `service ${host} does not exist`);
      continue;
    }
    const lacking = gateway.listeners.find(({ port }) => !service.ports.some((each) => each.port === port));
    if (lacking !== undefined) {
      // It may be a service of the same name that has nothing to do with the Gateway: its address is not taken.
      miss('AddressNotUsable', `service ${host} has no port ${lacking.port}`);
      continue;
    }
    if (!hasReadyEndpoint(get, world, key)) {
      miss('AddressNotAssigned', `no pod of service ${host} is ready`);
      continue;
    }
    if (service.type === 'LoadBalancer' && service.external.length === 0) {
      miss('AddressNotAssigned', `service ${host} waits for a load balancer to give it an address`);
      continue;
    }
    for (const address of service.external)
      external.push(
        address.kind === 'ip'
          ? { type: 'IPAddress', value: address.ip }
          : { type: 'Hostname', value: address.hostname },
      );
    if (types.includes('IPAddress'))
      for (const ip of service.clusterIps) internal.push({ type: 'IPAddress', value: ip });
    if (types.includes('Hostname')) internal.push({ type: 'Hostname', value: host });
    for (const port of new Set(gateway.listeners.map((listener) => listener.port))) assigned.push(`${host}:${port}`);
  }
  return { addresses: external.length > 0 ? external : internal, assigned, missing };
}
