// What the control plane says about the mesh, as the data path reads it: the indexed world, the workloads of this node by
// name, and who wants to hear of changes. Fed by discovery responses and by the local file.

import type { ResourceStore } from '../dataplane/ads/protocol.ts';
import type { Unsubscribe } from '../dataplane/identity/workload-certificate.ts';
import { formatSpiffeId, type SpiffeId } from '../model/identity.ts';
import { type AddressUpdate, IndexedWorld } from '../model/indexed-world.ts';
import type { Policy } from '../model/policy.ts';
import { identityOf, type Workload } from '../model/workload.ts';
import type { Clock } from '../platform/clock.ts';
import { logger } from '../telemetry/log.ts';
import { decodeAddresses, decodeAuthorizations } from '../wire/xds/resources.ts';
import type { MeshState, PodInfo } from './contracts.ts';

const log = logger('state');

/** A node's pods are found by what the agent knows of them. NUL cannot be part of a Kubernetes name. */
const podKey = (namespace: string, name: string, serviceAccount: string): string =>
  `${namespace}\0${name}\0${serviceAccount}`;

type WorkloadListener = (now: Workload | undefined, before: Workload | undefined) => void;

/** Calls each listener; one that throws does not keep the others from hearing. */
function tell<Args extends unknown[]>(listeners: Iterable<(...args: Args) => void>, ...args: Args): void {
  for (const listener of listeners) {
    try {
      listener(...args);
    } catch (error) {
      log.error('a listener for changes failed', { error: error as Error });
    }
  }
}

export interface StateOptions {
  readonly network: string;
  readonly nodeName: string;
  readonly clock: Clock;
}

export class ZtunnelState implements MeshState {
  readonly world: IndexedWorld;
  readonly #nodeName: string;
  readonly #clock: Clock;
  readonly #local = new Map<string, Workload>();
  readonly #waiting = new Map<string, Set<(workload: Workload) => void>>();
  readonly #policyListeners = new Set<() => void>();
  readonly #workloadListeners = new Set<WorkloadListener>();
  #demand: (name: string) => Promise<void> | undefined = () => undefined;

  constructor({ network, nodeName, clock }: StateOptions) {
    this.world = new IndexedWorld(network);
    this.#nodeName = nodeName;
    this.#clock = clock;
  }

  // ---- what the data path reads ----

  localWorkload(pod: PodInfo): Workload | undefined {
    return this.#local.get(podKey(pod.namespace, pod.name, pod.serviceAccount));
  }

  waitForWorkload(pod: PodInfo, timeoutMs: number): Promise<Workload | undefined> {
    const found = this.localWorkload(pod);
    if (found !== undefined) return Promise.resolve(found);
    const key = podKey(pod.namespace, pod.name, pod.serviceAccount);
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(key) ?? new Set();
      this.#waiting.set(key, waiting);
      const arrived = (workload: Workload | undefined): void => {
        timer.cancel();
        waiting.delete(arrived);
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
        resolve(workload);
      };
      const timer = this.#clock.after(timeoutMs, () => arrived(undefined));
      waiting.add(arrived);
    });
  }

  onPolicyChange(listener: () => void): Unsubscribe {
    this.#policyListeners.add(listener);
    return () => void this.#policyListeners.delete(listener);
  }

  onWorkloadChange(listener: WorkloadListener): Unsubscribe {
    this.#workloadListeners.add(listener);
    return () => void this.#workloadListeners.delete(listener);
  }

  demand(name: string): Promise<void> | undefined {
    return this.#demand(name);
  }

  /** Whether a workload runs on this node. */
  isLocal(workload: Workload): boolean {
    return workload.node === this.#nodeName;
  }

  // ---- what discovery and the local file write ----

  /** Connects `demand` to a discovery client in on-demand mode. */
  demandThrough(demand: (name: string) => Promise<void> | undefined): void {
    this.#demand = demand;
  }

  readonly addresses: ResourceStore = {
    apply: (resources, removed) => {
      const decoded = decodeAddresses(resources);
      for (const warning of decoded.warnings) log.warn('resource accepted with a reservation', { warning });
      this.applyAddresses(
        decoded.accepted.map(({ value }) => value),
        removed,
      );
      return decoded;
    },
  };

  readonly authorizations: ResourceStore = {
    apply: (resources, removed) => {
      const decoded = decodeAuthorizations(resources);
      for (const warning of decoded.warnings) log.warn('resource accepted with a reservation', { warning });
      this.applyPolicies(
        decoded.accepted.map(({ value }) => value),
        removed,
      );
      return decoded;
    },
  };

  /** All updates in order, then all removals; then everybody who listens is told. */
  applyAddresses(updates: readonly AddressUpdate[], removed: readonly string[]): void {
    const changes = this.world.applyAddresses(updates, removed);
    for (const name of changes.unknown) log.warn('unknown service removed', { name });
    // First the index as a whole, then the listeners: one that looks around sees the state after the batch.
    for (const { before } of changes.workloads) if (before !== undefined) this.#forgetLocal(before);
    for (const { now } of changes.workloads) if (now !== undefined && this.isLocal(now)) this.#rememberLocal(now);
    if (this.#workloadListeners.size === 0) return;
    for (const { now, before } of changes.workloads) tell(this.#workloadListeners, now, before);
  }

  applyPolicies(updates: readonly Policy[], removed: readonly string[]): void {
    const changes = this.world.applyPolicies(updates, removed);
    if (changes.length > 0) tell(this.#policyListeners);
  }

  #rememberLocal(workload: Workload): void {
    const key = podKey(workload.namespace, workload.name, workload.serviceAccount);
    this.#local.set(key, workload);
    for (const arrived of [...(this.#waiting.get(key) ?? [])]) arrived(workload);
  }

  #forgetLocal(workload: Workload): void {
    const key = podKey(workload.namespace, workload.name, workload.serviceAccount);
    if (this.#local.get(key)?.uid === workload.uid) this.#local.delete(key);
  }
}

/** What certificates must be had for: the identities of meshed workloads on this node. */
export class LocalIdentities {
  /** SPIFFE URI -> uids of its workloads on this node */
  readonly #users = new Map<string, Set<string>>();
  readonly #state: ZtunnelState;
  readonly #disappeared: (id: SpiffeId) => void;

  /**
   * @param appeared    the first local workload with an identity: worth fetching ahead
   * @param disappeared the last one is gone: the certificate is of no use any more
   */
  constructor(state: ZtunnelState, appeared: (id: SpiffeId) => void, disappeared: (id: SpiffeId) => void) {
    this.#state = state;
    this.#disappeared = disappeared;
    state.onWorkloadChange((now, before) => {
      if (before !== undefined && this.#counts(before)) this.#leave(before);
      if (now !== undefined && this.#counts(now) && this.#join(now)) appeared(identityOf(now));
    });
  }

  #counts(workload: Workload): boolean {
    return this.#state.isLocal(workload) && (workload.tunnelProtocol === 'hbone' || workload.nativeTunnel);
  }

  #join(workload: Workload): boolean {
    const key = formatSpiffeId(identityOf(workload));
    const users = this.#users.get(key);
    if (users !== undefined) {
      users.add(workload.uid);
      return false;
    }
    this.#users.set(key, new Set([workload.uid]));
    return true;
  }

  /** Only after the batch is it known whether another workload took the identity over. */
  #leave(workload: Workload): void {
    const id = identityOf(workload);
    const key = formatSpiffeId(id);
    const users = this.#users.get(key);
    if (!users?.delete(workload.uid) || users.size > 0) return;
    queueMicrotask(() => {
      if (users.size > 0 || this.#users.get(key) !== users) return;
      this.#users.delete(key);
      this.#disappeared(id);
    });
  }
}
