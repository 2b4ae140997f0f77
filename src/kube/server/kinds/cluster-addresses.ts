// Which cluster addresses are taken. A view of the store's Services, never a second record that could disagree.

import type { IService } from 'kubernetes-models/v1/Service';
import { cidrContains, type Ip, ipFromBytes, parseCidr, parseIp } from '../../../model/ip.ts';
import { KubeError } from '../../client/types.ts';
import type { Store } from '../store/store.ts';

export const SERVICE_CIDR = '10.96.0.0/16';
/** Of the range's 65,536 addresses the first 256 are left to those who ask for one (kubernetes 10.96.0.1, DNS 10.96.0.10). */
const FIRST_FREE = 256;
const LAST_FREE = 65_534;

const views = new WeakMap<Store, ClusterAddresses>();

export function clusterAddresses(store: Store): ClusterAddresses {
  let view = views.get(store);
  if (view === undefined) {
    view = new ClusterAddresses(store);
    views.set(store, view);
  }
  return view;
}

const range = (() => {
  const parsed = parseCidr(SERVICE_CIDR);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
})();

export class ClusterAddresses {
  /** Address → `<namespace>/<name>` of its Service. */
  readonly #owners = new Map<string, string>();

  constructor(store: Store) {
    for (const { key, object } of store.list('/services')) this.#add(key, object as IService);
    store.watch('/services', store.resourceVersion, ({ before, now }) => {
      if (before !== undefined) this.#remove(before.key, before.object as IService);
      if (now !== undefined) this.#add(now.key, now.object as IService);
    });
  }

  /**
   * A free address, the same for the same Service while nobody else has it.
   * @throws KubeError 500 when the range is used up
   */
  free(service: string): Ip {
    let hash = 0x811c9dc5;
    for (let i = 0; i < service.length; i++) hash = Math.imul(hash ^ service.charCodeAt(i), 0x01000193) >>> 0;
    const size = LAST_FREE - FIRST_FREE + 1;
    for (let tried = 0; tried < size; tried++) {
      const offset = FIRST_FREE + ((hash + tried) % size);
      const ip = ipFromBytes(Uint8Array.of(10, 96, offset >> 8, offset & 255));
      if (ip !== undefined && !this.#owners.has(ip)) return ip;
    }
    throw new KubeError(500, 'InternalError', `no cluster address is left in ${SERVICE_CIDR}`, {});
  }

  /** Why a Service may not have an address, undefined when it may. */
  problem(text: string, service: string): string | undefined {
    const ip = parseIp(text);
    if (!ip.ok) return 'must be a valid IP address';
    if (!cidrContains(range, ip.value))
      return `failed to allocate IP ${text}: the provided IP is not in ${SERVICE_CIDR}`;
    const owner = this.#owners.get(ip.value);
    return owner === undefined || owner === service
      ? undefined
      : `failed to allocate IP ${text}: provided IP is already allocated`;
  }

  #add(key: string, service: IService): void {
    const ip = service.spec?.clusterIP;
    if (ip && ip !== 'None') this.#owners.set(ip, key);
  }

  #remove(key: string, service: IService): void {
    const ip = service.spec?.clusterIP;
    if (ip && this.#owners.get(ip) === key) this.#owners.delete(ip);
  }
}
