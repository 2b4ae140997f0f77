// The world that proxies keep: indexes over what the control plane sent, changed in batches. What it answers depends
// only on the resources held and the order in which they last came, never on how they came: a property test holds it
// equal to `plainWorld`. So a member that came before its service waits without being an endpoint, and a service that
// is removed and comes back has its members again.

import { cidrContains, type Ip } from './ip.ts';
import { isHealthyFor, sharedAddressRank } from './plain-world.ts';
import type { Policy } from './policy.ts';
import type { PolicyKey, PortMapping, Service, ServiceKey, Workload, WorkloadUid } from './workload.ts';
import { serviceKey } from './workload.ts';
import type { Endpoint, World } from './world.ts';

/** One resource of the control plane's address stream. */
export type AddressUpdate =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service };

/** `before` undefined: new; `now` undefined: removed. */
export interface Change<T> {
  readonly before: T | undefined;
  readonly now: T | undefined;
}

/** What a batch did; each key at most once. */
export interface AddressChanges {
  readonly workloads: readonly Change<Workload>[];
  readonly services: readonly Change<Service>[];
  /** Names to remove that name no service that is held: worth a warning (unknown workloads are not). */
  readonly unknown: readonly string[];
}

const NONE: readonly never[] = [];

export class IndexedWorld implements World {
  readonly network: string;
  #policyRevision = 0;
  readonly #workloads = new Map<WorkloadUid, Workload>();
  /** network -> address -> those who share it, in insertion order */
  readonly #byAddress = new Map<string, Map<Ip, Workload | Workload[]>>();
  readonly #byHostname = new Map<string, Workload[]>();
  /** Every workload that lists the service, whether or not the service is known or the workload healthy. */
  readonly #members = new Map<ServiceKey, Map<WorkloadUid, Workload>>();
  /** Built when first asked for, dropped when the service or a member changes. */
  readonly #endpoints = new Map<ServiceKey, readonly Endpoint[]>();
  readonly #services = new Map<ServiceKey, Service>();
  readonly #byVip = new Map<string, Map<Ip, Service[]>>();
  readonly #withRanges = new Map<ServiceKey, Service>();
  readonly #byServiceHostname = new Map<string, Service[]>();
  readonly #policies = new Map<PolicyKey, Policy>();
  readonly #namespacePolicies = new Map<string, Policy[]>();
  #globalPolicies: Policy[] = [];

  constructor(network: string) {
    this.network = network;
  }

  get policyRevision(): number {
    return this.#policyRevision;
  }

  // ---- lookups: once or more a connection, so without building keys or lists ----

  workload(uid: WorkloadUid): Workload | undefined {
    return this.#workloads.get(uid);
  }
  workloadAt(network: string, ip: Ip): Workload | undefined {
    const found = this.#byAddress.get(network)?.get(ip);
    return Array.isArray(found) ? highestRank(found) : found;
  }
  workloadNamed(namespace: string, hostname: string): Workload | undefined {
    return this.#byHostname.get(hostname)?.find((workload) => workload.namespace === namespace);
  }
  service(key: ServiceKey): Service | undefined {
    return this.#services.get(key);
  }
  servicesWithVip(network: string, ip: Ip): readonly Service[] {
    return this.#byVip.get(network)?.get(ip) ?? NONE;
  }
  servicesWithCidr(network: string, ip: Ip): readonly Service[] {
    if (this.#withRanges.size === 0) return NONE;
    const found: Service[] = [];
    for (const service of this.#withRanges.values())
      if (service.cidrVips.some((vip) => vip.network === network && cidrContains(vip.range, ip))) found.push(service);
    return found;
  }
  servicesWithHostname(hostname: string): readonly Service[] {
    return this.#byServiceHostname.get(hostname) ?? NONE;
  }
  endpoints(key: ServiceKey): readonly Endpoint[] {
    return this.#endpoints.get(key) ?? this.#collectEndpoints(key);
  }
  policy(key: PolicyKey): Policy | undefined {
    return this.#policies.get(key);
  }
  namespacePolicies(namespace: string): readonly Policy[] {
    return this.#namespacePolicies.get(namespace) ?? NONE;
  }
  globalPolicies(): readonly Policy[] {
    return this.#globalPolicies;
  }

  // ---- everything, for dumps ----

  workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }
  services(): Iterable<Service> {
    return this.#services.values();
  }
  policies(): Iterable<Policy> {
    return this.#policies.values();
  }
  /** Members that wait for a service which has not come. */
  *stagedServices(): Iterable<readonly [ServiceKey, readonly Workload[]]> {
    for (const [key, members] of this.#members) if (!this.#services.has(key)) yield [key, [...members.values()]];
  }

  // ---- changes ----

  /**
   * Applies one batch of the address stream: all updates in order, then all removals.
   * @param removed resource names: a workload's uid, or `<namespace>/<hostname>`
   */
  applyAddresses(updates: Iterable<AddressUpdate>, removed: Iterable<string> = NONE): AddressChanges {
    const workloads = new Changes<Workload>();
    const services = new Changes<Service>();
    const unknown: string[] = [];
    for (const update of updates) {
      if (update.kind === 'workload') {
        const { workload } = update;
        workloads.note(workload.uid, this.#removeWorkload(workload.uid), workload);
        this.#addWorkload(workload);
      } else {
        const { service } = update;
        const key = serviceKey(service);
        services.note(key, this.#removeService(key), service);
        this.#addService(key, service);
      }
    }
    for (const name of removed) {
      const workload = this.#removeWorkload(name);
      if (workload !== undefined) {
        workloads.note(name, workload, undefined);
        continue;
      }
      const service = this.#removeService(name);
      if (service !== undefined) services.note(name, service, undefined);
      else if (name.split('/').length <= 2) unknown.push(name);
    }
    return { workloads: workloads.list(), services: services.list(), unknown };
  }

  /** Applies one batch of the authorization stream: all updates in order, then all removals. */
  applyPolicies(updates: Iterable<Policy>, removed: Iterable<PolicyKey> = NONE): readonly Change<Policy>[] {
    const changes = new Changes<Policy>();
    for (const policy of updates) {
      changes.note(policy.key, this.#removePolicy(policy.key), policy);
      this.#policies.set(policy.key, policy);
      if (policy.scope === 'global') this.#globalPolicies = [...this.#globalPolicies, policy];
      else if (policy.scope === 'namespace') append(this.#namespacePolicies, policy.namespace, policy);
    }
    for (const key of removed) {
      const policy = this.#removePolicy(key);
      if (policy !== undefined) changes.note(key, policy, undefined);
    }
    const list = changes.list();
    if (list.length > 0) this.#policyRevision++;
    return list;
  }

  #addWorkload(workload: Workload): void {
    this.#workloads.set(workload.uid, workload);
    if (workload.hostname !== '') append(this.#byHostname, workload.hostname, workload);
    if (!workload.hostNetwork) {
      const table = tableOf(this.#byAddress, workload.network);
      for (const ip of workload.addresses) shareAddress(table, ip, workload);
    }
    for (const key of workload.services.keys()) {
      let members = this.#members.get(key);
      if (members === undefined) {
        members = new Map();
        this.#members.set(key, members);
      }
      members.set(workload.uid, workload);
      this.#endpoints.delete(key);
    }
  }

  #removeWorkload(uid: WorkloadUid): Workload | undefined {
    const workload = this.#workloads.get(uid);
    if (workload === undefined) return undefined;
    this.#workloads.delete(uid);
    if (workload.hostname !== '') withdraw(this.#byHostname, workload.hostname, workload);
    if (!workload.hostNetwork) {
      const table = tableOf(this.#byAddress, workload.network);
      for (const ip of workload.addresses) unshareAddress(table, ip, workload);
      if (table.size === 0) this.#byAddress.delete(workload.network);
    }
    for (const key of workload.services.keys()) {
      const members = this.#members.get(key);
      members?.delete(uid);
      if (members?.size === 0) this.#members.delete(key);
      this.#endpoints.delete(key);
    }
    return workload;
  }

  #addService(key: ServiceKey, service: Service): void {
    this.#services.set(key, service);
    append(this.#byServiceHostname, service.hostname, service);
    for (const { network, ip } of distinctVips(service)) append(tableOf(this.#byVip, network), ip, service);
    if (service.cidrVips.length > 0) this.#withRanges.set(key, service);
    this.#endpoints.delete(key);
  }

  #removeService(key: ServiceKey): Service | undefined {
    const service = this.#services.get(key);
    if (service === undefined) return undefined;
    this.#services.delete(key);
    withdraw(this.#byServiceHostname, service.hostname, service);
    for (const { network, ip } of distinctVips(service)) {
      const table = tableOf(this.#byVip, network);
      withdraw(table, ip, service);
      if (table.size === 0) this.#byVip.delete(network);
    }
    this.#withRanges.delete(key);
    this.#endpoints.delete(key);
    return service;
  }

  #removePolicy(key: PolicyKey): Policy | undefined {
    const policy = this.#policies.get(key);
    if (policy === undefined) return undefined;
    this.#policies.delete(key);
    if (policy.scope === 'global') this.#globalPolicies = this.#globalPolicies.filter((other) => other !== policy);
    else if (policy.scope === 'namespace') withdraw(this.#namespacePolicies, policy.namespace, policy);
    return policy;
  }

  #collectEndpoints(key: ServiceKey): readonly Endpoint[] {
    const service = this.#services.get(key);
    if (service === undefined) return NONE;
    const list: Endpoint[] = [];
    const tables = new Map<string, ReadonlyMap<number, number>>();
    for (const workload of this.#members.get(key)?.values() ?? NONE)
      if (isHealthyFor(service, workload))
        list.push({ workload, ports: portTable(workload.services.get(key) ?? NONE, tables) });
    this.#endpoints.set(key, list);
    return list;
  }
}

/** Changes of a batch, one per key: from what was before the batch to what is after it. */
class Changes<T> {
  readonly #byKey = new Map<string, { before: T | undefined; now: T | undefined }>();
  note(key: string, before: T | undefined, now: T | undefined): void {
    const known = this.#byKey.get(key);
    if (known === undefined) this.#byKey.set(key, { before, now });
    else known.now = now;
  }
  /** Without what came and went, and without what is the very same object. */
  list(): readonly Change<T>[] {
    return [...this.#byKey.values()].filter(({ before, now }) => before !== now);
  }
}

/** Endpoints of a service mostly map ports alike: they share one table. */
function portTable(
  ports: readonly PortMapping[],
  tables: Map<string, ReadonlyMap<number, number>>,
): ReadonlyMap<number, number> {
  let text = '';
  for (const { servicePort, targetPort } of ports) text += `${servicePort}:${targetPort},`;
  let table = tables.get(text);
  if (table === undefined) {
    table = new Map(ports.map((port) => [port.servicePort, port.targetPort]));
    tables.set(text, table);
  }
  return table;
}

function highestRank(sharing: readonly Workload[]): Workload | undefined {
  let best: Workload | undefined;
  let bestRank = -1;
  for (const workload of sharing) {
    const rank = sharedAddressRank(workload);
    if (rank < bestRank) continue;
    best = workload;
    bestRank = rank;
  }
  return best;
}

/** An address nearly always has one owner: a list only when it is shared. */
function shareAddress(table: Map<Ip, Workload | Workload[]>, ip: Ip, workload: Workload): void {
  const held = table.get(ip);
  if (held === undefined || held === workload) table.set(ip, workload);
  else if (!Array.isArray(held)) table.set(ip, [held, workload]);
  else if (!held.includes(workload)) held.push(workload);
}

function unshareAddress(table: Map<Ip, Workload | Workload[]>, ip: Ip, workload: Workload): void {
  const held = table.get(ip);
  if (held === workload) table.delete(ip);
  if (!Array.isArray(held)) return;
  const rest = held.filter((other) => other !== workload);
  const [only] = rest;
  if (rest.length === 1 && only !== undefined) table.set(ip, only);
  else table.set(ip, rest);
}

/** A service that lists an address twice has it once. */
const distinctVips = ({ vips }: Service): Service['vips'] =>
  vips.length < 2
    ? vips
    : vips.filter((vip, i) => vips.findIndex((v) => v.network === vip.network && v.ip === vip.ip) === i);

function tableOf<T>(tables: Map<string, Map<Ip, T>>, network: string): Map<Ip, T> {
  let table = tables.get(network);
  if (table === undefined) {
    table = new Map();
    tables.set(network, table);
  }
  return table;
}

/** Lists are replaced, not changed, where a caller may hold one. */
function append<K, T>(lists: Map<K, T[]>, key: K, item: T): void {
  const list = lists.get(key);
  lists.set(key, list === undefined ? [item] : [...list, item]);
}

function withdraw<K, T>(lists: Map<K, T[]>, key: K, item: T): void {
  const rest = (lists.get(key) ?? []).filter((other) => other !== item);
  if (rest.length === 0) lists.delete(key);
  else lists.set(key, rest);
}
