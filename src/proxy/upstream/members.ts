// The endpoints of a service port, as the world lists them, made into what is dialled: the target port, the address, the
// tunnel. Runs when the world changes.

import { chooseAddress, familyAdmits, localityRank } from '../../model/balance.ts';
import type { HostPort, Ip } from '../../model/ip.ts';
import { HBONE_PORT } from '../../model/ports.ts';
import type { Subset } from '../../model/proxy/service-config.ts';
import type { Service, Workload } from '../../model/workload.ts';
import { identityOf } from '../../model/workload.ts';
import type { Endpoint as WorldEndpoint } from '../../model/world.ts';
import type { Endpoint } from '../contracts.ts';

/** An endpoint, or the name of some that must be resolved first. */
export type Member =
  | { readonly kind: 'address'; readonly workload: Workload; readonly address: HostPort; readonly weight: number }
  | {
      readonly kind: 'hostname';
      readonly hostname: string;
      readonly port: number;
      readonly workload: Workload | undefined;
      readonly weight: number;
    };

export interface Membership {
  readonly members: readonly Member[];
  /** Endpoints left out because they are on another network, which tunnels do not reach yet. */
  readonly unreachable: number;
}

/**
 * @param place   the proxy's own workload; undefined: not known, no place is preferred and strict services have nobody
 * @param subset  undefined: all
 */
export function membersOf(
  endpoints: readonly WorldEndpoint[],
  service: Service,
  servicePort: number,
  subset: Subset | undefined,
  network: string,
  place: Workload | undefined,
): Membership {
  const wanted = subset && new Set(subset.members);
  const targetPort = service.ports.find((port) => port.servicePort === servicePort)?.targetPort ?? 0;
  const members: Member[] = [];
  let unreachable = 0;
  for (const { workload, ports } of endpoints) {
    const port = ports.get(servicePort) || targetPort;
    const weight = workload.capacity;
    if (port === 0 || weight <= 0 || wanted?.has(workload.uid) === false) continue;
    if (isExcluded(service, workload, place)) continue;
    if (workload.network !== network) {
      unreachable++;
      continue;
    }
    const address = addressOf(workload, service, place);
    if (typeof address === 'string')
      members.push({ kind: 'address', workload, address: { ip: address, port }, weight });
    else if (workload.hostname !== '')
      members.push({ kind: 'hostname', hostname: workload.hostname, port, workload, weight });
  }
  return { members, unreachable };
}

/** `internalTrafficPolicy: Local` holds whatever a DestinationRule says. */
const isExcluded = (service: Service, workload: Workload, place: Workload | undefined): boolean =>
  service.loadBalancing.mode === 'strict' &&
  (place === undefined || localityRank(place, workload, service.loadBalancing) < 0);

/** Of the proxy's own family where the endpoint has both. */
function addressOf(workload: Workload, service: Service, place: Workload | undefined): Ip | undefined {
  const own = place?.addresses[0];
  if (own === undefined) return workload.addresses.find((ip) => familyAdmits(service.ipFamilies, ip));
  const chosen = chooseAddress(workload, own, service.ipFamilies);
  return chosen.kind === 'ip' ? chosen.ip : undefined;
}

/** What is dialled for a workload's address: through a tunnel where the workload takes them. */
export function endpointOf(workload: Workload | undefined, address: HostPort, service: Service | undefined): Endpoint {
  if (workload === undefined || workload.tunnelProtocol !== 'hbone') return { workload, address, tunnel: undefined };
  const expected = [identityOf(workload), ...(service?.subjectAltNames ?? [])];
  return { workload, address, tunnel: { hop: { ip: address.ip, port: HBONE_PORT }, expected } };
}
