// Brings every pod of the node to where its labels want it: captured and served by the node proxy, or left alone. Running
// pods change sides without a restart. Level-based: each look compares what should be with what is, so a retry, a restart
// of the agent and a label change are the same thing.
//
// Order of an enrolment (Istio's): namespace, rules in the pod, proxy, probe address, annotation. Rules come before the
// proxy, so a captured pod without a proxy is cut off, never in plaintext; taking it out goes the other way round.

import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { IPod } from 'kubernetes-models/v1/Pod';
import {
  decideEnrolment,
  type Enrolment,
  type EnrolmentRules,
  enrolmentPod,
  redirectionOf,
} from '../derive/enrolment.ts';
import { type Json, textRecord } from '../derive/read.ts';
import { PODS } from '../kube/client/resources.ts';
import type { Informer, KubeClient } from '../kube/client/types.ts';
import { WorkQueue } from '../kube/controllers/queue.ts';
import { type Ip, parseIp } from '../model/ip.ts';
import { type Netns, sameNetns } from '../platform/linux/netns.ts';
import type { Logger } from '../telemetry/log.ts';
import type { PodInfo } from '../wire/zds/messages.ts';
import type { PodReporter } from './pod-reporter.ts';
import { redirectionState } from './pod-reporter.ts';
import type { Redirector } from './redirection.ts';
import type { PodRules, ProbeSource } from './rules.ts';
import type { ZdsPod } from './zds-server.ts';

export interface AgentParts {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** The pods of this node, and all namespaces. */
  readonly pods: Informer<IPod>;
  readonly namespaces: Informer<INamespace>;
  readonly enrolment: EnrolmentRules;
  readonly capture: {
    readonly dns: boolean;
    readonly ipv6: boolean;
    readonly probeSource: ProbeSource;
    readonly renewAtStart: boolean;
  };
  readonly proxies: {
    add(pod: ZdsPod & { readonly netns: Netns }, waitMs?: number): Promise<void>;
    del(uid: string): Promise<void>;
  };
  readonly probes: {
    add(uid: string, ips: readonly Ip[]): Promise<void>;
    remove(uid: string): Promise<void>;
  };
  readonly redirector: Redirector;
  /** The namespace of a running pod, opened for us. */
  readonly findNetns: (uid: string) => Netns | undefined;
  readonly reporter: PodReporter;
  readonly log: Logger;
}

/** A pod that the container runtime starts at this moment. */
export interface StartingPod {
  readonly namespace: string;
  readonly name: string;
  /** Taken over, whatever becomes of the call. */
  readonly netns: Netns;
  readonly ips: readonly Ip[];
}

/** Why a pod could not be enrolled or let go; the text stands in its event. */
export class EnrolmentError extends Error {}

/** A pod that is captured, or about to be. */
interface Held {
  readonly uid: string;
  readonly info: PodInfo;
  netns: Netns | undefined;
  /** Its rules are in place. */
  redirected: boolean;
  /** A proxy has acknowledged it. */
  accepted: boolean;
}

/** Longer than a proxy takes to restart, shorter than the plugin waits for us. */
const PROXY_WAIT_MS = 4_000;
const PARALLEL = 8;

export class NodeAgent {
  readonly #parts: AgentParts;
  readonly #held = new Map<string, Held>();
  /** Rules that could not be set are not tried again (Istio) until the pod leaves the mesh or restarts. */
  readonly #failed = new Set<string>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #queue: WorkQueue;
  #stopped = false;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#queue = new WorkQueue({
      reconcile: (key) => this.#reconcile(key),
      onError: (key, error) =>
        parts.log.warn('pod not brought to its state, trying again', { pod: key, error: error as Error }),
      parallel: PARALLEL,
    });
  }

  /**
   * Takes over what an earlier agent enrolled, then follows the cluster. Resolves when the snapshot for proxies is
   * complete: only then may they connect, since a proxy drops what a snapshot does not name.
   */
  async start(): Promise<void> {
    const { pods, namespaces } = this.#parts;
    await Promise.all([pods.synced, namespaces.synced]);
    await Promise.all([...pods.items.values()].map((pod) => this.#takeOver(pod)));
    pods.onChange((key, now, before) => {
      if (before !== undefined && before.metadata?.uid !== now?.metadata?.uid) this.#queue.add(keyOf(key, before));
      if (now !== undefined) this.#queue.add(keyOf(key, now));
    });
    namespaces.onChange((name, now, before) => {
      if (before !== undefined && sameLabels(before, now)) return;
      for (const [key, pod] of pods.items) if (pod.metadata?.namespace === name) this.#queue.add(keyOf(key, pod));
    });
  }

  /** Pods stay captured and served: an upgrade of the agent is not noticed by them. */
  stop(): void {
    this.#stopped = true;
    this.#queue.stop();
    for (const held of this.#held.values()) held.netns?.close();
  }

  /** For the proxies' snapshot: every pod whose rules are in place. */
  *snapshot(): Generator<ZdsPod> {
    for (const { uid, info, netns, redirected } of this.#held.values()) if (redirected) yield { uid, info, netns };
  }

  get counts(): { readonly enrolled: number; readonly pending: number; readonly failed: number } {
    let enrolled = 0;
    for (const held of this.#held.values()) if (held.accepted) enrolled++;
    return { enrolled, pending: this.#held.size - enrolled, failed: this.#failed.size };
  }

  /** The newest proxy refused a pod that it was told of on connecting; it tries again by itself. */
  async proxyRefused(uid: string, error: string): Promise<void> {
    for (const pod of this.#parts.pods.items.values())
      if (pod.metadata?.uid === uid)
        await this.#parts.reporter.event(
          pod,
          'Warning',
          'AmbientProxyRefused',
          `the node proxy refused the pod: ${error}`,
        );
  }

  /**
   * Enrols a pod before its containers start, when it belongs into the mesh.
   * @returns whether it does
   * @throws EnrolmentError and others: the container runtime must then not start the pod
   */
  async podStarting(starting: StartingPod): Promise<boolean> {
    const { client, nodeName } = this.#parts;
    try {
      const pod = await client.get(PODS, starting.name, starting.namespace);
      const key = `${starting.namespace}/${starting.name}`;
      if (pod === undefined) throw new EnrolmentError(`pod \`${key}\` does not exist`);
      if (pod.spec?.nodeName !== undefined && pod.spec.nodeName !== nodeName)
        throw new EnrolmentError(`pod \`${key}\` belongs to node \`${pod.spec.nodeName}\`, not to \`${nodeName}\``);
      return await this.#inTurn(uidOf(pod), async () => {
        const verdict = this.#decide(pod);
        if (verdict === undefined) throw new EnrolmentError(`namespace \`${starting.namespace}\` is not known yet`);
        if (verdict.kind === 'leaveOut') return false;
        await this.#adopt(pod, starting.netns);
        await this.#enrol(pod, starting.ips, PROXY_WAIT_MS).catch((error: unknown) => {
          this.#queue.add(keyOf(key, pod)); // the runtime may give up, and the pod stay
          throw error;
        });
        return true;
      });
    } finally {
      if (this.#netnsIsUnused(starting.netns)) starting.netns.close();
    }
  }

  #netnsIsUnused(netns: Netns): boolean {
    for (const held of this.#held.values()) if (held.netns === netns) return false;
    return true;
  }

  /** A sandbox that was made anew has another namespace: everything begins again there. */
  async #adopt(pod: IPod, netns: Netns): Promise<void> {
    const held = this.#hold(pod);
    this.#failed.delete(held.uid);
    if (held.netns !== undefined && sameNetns(held.netns.identity, netns.identity)) return;
    held.netns?.close();
    held.netns = netns;
    held.redirected = false;
    held.accepted = false;
  }

  /** Pods that an earlier agent enrolled are taken as they are; a proxy may have been serving them all the time. */
  async #takeOver(pod: IPod): Promise<void> {
    const { findNetns, capture, redirector, probes, log, reporter } = this.#parts;
    const state = redirectionState(pod);
    if (state === undefined || isFinished(pod) || this.#decide(pod)?.kind !== 'enrol') return;
    const held = this.#hold(pod);
    held.redirected = true;
    held.accepted = state === 'enabled';
    try {
      await probes.add(held.uid, ipsOf(pod));
      held.netns = findNetns(held.uid);
      if (held.netns !== undefined && capture.renewAtStart) await redirector.capture(held.netns, this.#rulesOf(pod));
    } catch (error) {
      log.error('an enrolled pod was not taken over completely, its old rules stay', {
        pod: held.info.name,
        error: error as Error,
      });
      await reporter.event(pod, 'Warning', 'AmbientEnrolmentFailed', `not taken over completely: ${reasonOf(error)}`);
    }
  }

  async #reconcile(key: string): Promise<undefined> {
    const at = key.lastIndexOf('/');
    const uid = key.slice(at + 1);
    await this.#inTurn(uid, async () => {
      if (this.#stopped) return;
      const pod = this.#parts.pods.items.get(key.slice(0, at));
      if (pod === undefined || uidOf(pod) !== uid || isFinished(pod)) return this.#forget(uid);
      const verdict = this.#decide(pod);
      if (verdict?.kind === 'enrol') await this.#enrol(pod, ipsOf(pod), 0);
      else if (verdict !== undefined) await this.#release(pod, verdict.text);
    });
    return undefined;
  }

  /** One thing at a time for each pod: the runtime and the informer may both bring the same one. */
  #inTurn<T>(uid: string, action: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(uid) ?? Promise.resolve()).then(action, action);
    const settled = turn.then(
      () => {},
      () => {},
    );
    this.#turns.set(uid, settled);
    void settled.then(() => {
      if (this.#turns.get(uid) === settled) this.#turns.delete(uid);
    });
    return turn;
  }

  /** Undefined while the pod's namespace is not known: nothing may be concluded from labels that are missing. */
  #decide(pod: IPod): Enrolment | undefined {
    const namespace = this.#parts.namespaces.items.get(pod.metadata?.namespace ?? '');
    if (namespace === undefined) return undefined;
    return decideEnrolment(this.#parts.enrolment, enrolmentPod(jsonOf(pod)), textRecord(namespace.metadata?.labels));
  }

  #hold(pod: IPod): Held {
    const uid = uidOf(pod);
    let held = this.#held.get(uid);
    if (held === undefined) {
      const { name = '', namespace = '' } = pod.metadata ?? {};
      const info = { name, namespace, serviceAccount: pod.spec?.serviceAccountName || 'default' };
      held = { uid, info, netns: undefined, redirected: false, accepted: false };
      this.#held.set(uid, held);
    }
    return held;
  }

  #rulesOf(pod: IPod): PodRules {
    const { dns, ipv6, probeSource } = this.#parts.capture;
    const { redirection } = redirectionOf(textRecord(pod.metadata?.annotations), { captureDns: dns });
    return { ...redirection, ipv6, probeSource };
  }

  /** From wherever the pod is to enrolled; each step that is done already is left out. */
  async #enrol(pod: IPod, ips: readonly Ip[], proxyWaitMs: number): Promise<void> {
    const { probes, reporter, log } = this.#parts;
    const uid = uidOf(pod);
    if (this.#failed.has(uid)) return;
    if (ips.length === 0 && !this.#held.get(uid)?.redirected) return; // its network is not set up yet
    const held = this.#hold(pod);
    const before = held.accepted;
    const netns = await this.#openNetns(pod, held);
    if (netns !== undefined) {
      await this.#capture(pod, held, netns);
      await this.#handToProxy(pod, held, netns, proxyWaitMs);
    }
    await probes.add(uid, ips);
    await reporter.annotate(pod, 'enabled');
    if (before) return;
    log.info('pod enrolled', { pod: held.info.name, namespace: held.info.namespace, uid });
    await reporter.event(pod, 'Normal', 'AmbientEnrolled', 'traffic of this pod is captured and goes through the mesh');
  }

  /** Undefined for a pod that runs captured and whose proxy keeps it: nothing needs to be entered. */
  async #openNetns(pod: IPod, held: Held): Promise<Netns | undefined> {
    held.netns ??= this.#parts.findNetns(held.uid);
    if (held.netns !== undefined || held.accepted) return held.netns;
    if (!held.redirected) this.#held.delete(held.uid);
    const message = 'the pod`s network namespace was not found; it may be starting or ending';
    await this.#parts.reporter.event(pod, 'Warning', 'AmbientEnrolmentFailed', message);
    throw new EnrolmentError(message);
  }

  async #capture(pod: IPod, held: Held, netns: Netns): Promise<void> {
    if (held.redirected) return;
    const { redirector, reporter, log, capture } = this.#parts;
    const { warnings } = redirectionOf(textRecord(pod.metadata?.annotations), { captureDns: capture.dns });
    if (warnings.length > 0) await reporter.event(pod, 'Warning', 'AmbientAnnotationIgnored', warnings.join('; '));
    try {
      const cut = await redirector.capture(netns, this.#rulesOf(pod));
      held.redirected = true;
      if (cut !== undefined)
        log.warn('plain connections that the pod had are cut by its enrolment', { pod: held.info.name, why: cut });
    } catch (cause) {
      await redirector.release(netns).catch((error: unknown) => {
        log.warn('leftovers of a failed redirection not removed', { pod: held.info.name, error: error as Error });
      });
      this.#held.delete(held.uid);
      this.#failed.add(held.uid);
      netns.close();
      const message = `redirection rules not set: ${reasonOf(cause)}; to try again, take the pod out of the mesh and back, or restart it`;
      await reporter.event(pod, 'Warning', 'AmbientEnrolmentFailed', message);
      throw new EnrolmentError(message, { cause });
    }
  }

  async #handToProxy(pod: IPod, held: Held, netns: Netns, waitMs: number): Promise<void> {
    if (held.accepted) return;
    const { proxies, reporter } = this.#parts;
    try {
      await proxies.add({ uid: held.uid, info: held.info, netns }, waitMs);
      held.accepted = true;
    } catch (cause) {
      const message = `captured, but traffic waits for the node proxy: ${reasonOf(cause)}`;
      await reporter.event(pod, 'Warning', 'AmbientEnrolmentPending', message);
      await reporter.annotate(pod, 'pending');
      throw new EnrolmentError(message, { cause });
    }
  }

  /** The pod leaves the mesh and runs on. */
  async #release(pod: IPod, why: string): Promise<void> {
    const { probes, proxies, redirector, reporter, findNetns, log } = this.#parts;
    const uid = uidOf(pod);
    this.#failed.delete(uid);
    const held = this.#held.get(uid);
    if (held === undefined && redirectionState(pod) === undefined) return;
    const netns = held?.netns ?? findNetns(uid);
    if (netns === undefined && ipsOf(pod).length > 0) {
      const message = 'redirection not removed: the pod`s network namespace was not found';
      await reporter.event(pod, 'Warning', 'AmbientUnenrolmentFailed', message);
      throw new EnrolmentError(message);
    }
    try {
      await probes.remove(uid);
      if (netns !== undefined) await redirector.release(netns);
    } catch (cause) {
      if (held?.netns !== netns) netns?.close();
      await reporter.event(pod, 'Warning', 'AmbientUnenrolmentFailed', `redirection not removed: ${reasonOf(cause)}`);
      throw cause;
    }
    this.#held.delete(uid);
    await proxies.del(uid);
    netns?.close();
    await reporter.annotate(pod, undefined);
    log.info('pod left the mesh', { pod: pod.metadata?.name, namespace: pod.metadata?.namespace, uid, why });
    await reporter.event(pod, 'Normal', 'AmbientUnenrolled', `traffic of this pod is not captured any more: ${why}`);
  }

  /** The pod has ended: its rules go with its namespace. */
  async #forget(uid: string): Promise<void> {
    this.#failed.delete(uid);
    this.#parts.reporter.forget(uid);
    const held = this.#held.get(uid);
    if (held === undefined) return;
    await this.#parts.probes.remove(uid);
    this.#held.delete(uid);
    await this.#parts.proxies.del(uid);
    held.netns?.close();
    this.#parts.log.info('pod ended', { pod: held.info.name, namespace: held.info.namespace, uid });
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const jsonOf = (pod: IPod): Json => pod as unknown as Json;
const uidOf = (pod: IPod): string => pod.metadata?.uid ?? '';
/** `<namespace>/<name>/<uid>`: a pod made again under the same name is another pod. */
const keyOf = (key: string, pod: IPod): string => `${key}/${uidOf(pod)}`;
const isFinished = (pod: IPod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

function sameLabels(before: INamespace, now: INamespace | undefined): boolean {
  const a = before.metadata?.labels ?? {};
  const b = now?.metadata?.labels ?? {};
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** What is no address is left out. */
export function ipsOf(pod: IPod): Ip[] {
  const several = pod.status?.podIPs?.map(({ ip }) => ip ?? '') ?? [];
  const written = several.length > 0 ? several : [pod.status?.podIP ?? ''];
  return written.map(parseIp).flatMap((parsed) => (parsed.ok ? [parsed.value] : []));
}
