// The pod proxies that run in this process, as one thing to start, stop, re-check, rotate and drain.

import type { Certificates, Unsubscribe } from '../dataplane/identity/workload-certificate.ts';
import { type SpiffeId, sameSpiffeId } from '../model/identity.ts';
import { identityOf, type Workload } from '../model/workload.ts';
import type { Netns } from '../platform/linux/netns.ts';
import type { MeshState, PodInfo, PodState, Telemetry } from './contracts.ts';

/** What is needed of a `PodProxy`. */
export interface RunningPod {
  readonly uid: string;
  readonly pod: PodInfo;
  readonly netns: Netns;
  start(): Promise<void>;
  recheck(): void;
  rotated(identity: SpiffeId): void;
  drain(deadline: AbortSignal): Promise<number>;
  stop(): void;
  state(): PodState;
}

export type MakePod = (uid: string, pod: PodInfo, netns: Netns) => RunningPod;

export interface PodsOptions {
  readonly make: MakePod;
  readonly state: MeshState;
  readonly certificates: Certificates;
  readonly telemetry: Telemetry;
}

const nameOf = (pod: Pick<PodInfo, 'namespace' | 'name'>): string => `${pod.namespace}/${pod.name}`;

export class Pods {
  readonly #options: PodsOptions;
  readonly #running = new Map<string, RunningPod>();
  readonly #subscriptions: Unsubscribe[];
  /** Names of pods to look at, or everything; collected over a batch of changes. */
  readonly #stale = new Set<string>();
  #allStale = false;
  #scheduled = false;

  constructor(options: PodsOptions) {
    const { state, certificates } = options;
    this.#options = options;
    this.#subscriptions = [
      state.onPolicyChange(() => this.#look(undefined)),
      state.onWorkloadChange((now, before) => this.#workloadChanged(now, before)),
      certificates.onRotate(({ identity }) => {
        for (const pod of this.#running.values()) pod.rotated(identity);
      }),
    ];
  }

  get(uid: string): RunningPod | undefined {
    return this.#running.get(uid);
  }

  uids(): string[] {
    return [...this.#running.keys()];
  }

  /** Starts a pod's proxy; the namespace is the proxy's once this resolves. @throws when a listener cannot be bound */
  async start(uid: string, pod: PodInfo, netns: Netns): Promise<void> {
    const running = this.#options.make(uid, pod, netns);
    await running.start();
    this.#running.set(uid, running);
    this.#options.telemetry.proxyStarted();
    this.#options.telemetry.activeProxies(this.#running.size);
  }

  /** Stops at once; an unknown uid is fine. */
  stop(uid: string): void {
    const running = this.#running.get(uid);
    if (running === undefined) return;
    this.#running.delete(uid);
    running.stop();
    this.#options.telemetry.proxyStopped();
    this.#options.telemetry.activeProxies(this.#running.size);
  }

  /** Every pod drains at the same time. @returns connections that had to be cut */
  async drain(deadline: AbortSignal): Promise<number> {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    const cut = await Promise.all([...this.#running.values()].map((pod) => pod.drain(deadline)));
    this.#running.clear();
    return cut.reduce((sum, each) => sum + each, 0);
  }

  states(): PodState[] {
    return [...this.#running.values()].map((pod) => pod.state());
  }

  /** A workload's own list of policies counts as policy; a changed identity concerns whoever talks to it. */
  #workloadChanged(now: Workload | undefined, before: Workload | undefined): void {
    if (now === undefined || before === undefined) return;
    if (!sameSpiffeId(identityOf(now), identityOf(before))) this.#look(undefined);
    else if (!sameList(now.authorizationPolicies, before.authorizationPolicies)) this.#look(nameOf(now));
  }

  #look(name: string | undefined): void {
    if (name === undefined) this.#allStale = true;
    else this.#stale.add(name);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      const everything = this.#allStale;
      this.#scheduled = false;
      this.#allStale = false;
      for (const pod of this.#running.values()) if (everything || this.#stale.has(nameOf(pod.pod))) pod.recheck();
      this.#stale.clear();
    });
  }
}

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a === b || (a.length === b.length && a.every((item, i) => item === b[i]));
