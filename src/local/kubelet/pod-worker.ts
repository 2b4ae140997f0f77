// One pod on its node, from the moment it is bound to the moment it is gone: sandbox, volumes, init containers,
// containers, status, end. Restarts of containers are the runners' matter; here is the order of things.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ip } from '../../model/ip.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { RetryBackoff } from './backoff.ts';
import { type ContainerHost, type ContainerRole, ContainerRunner } from './container-runner.ts';
import type { PodPlace } from './downward.ts';
import { buildEnvironment } from './environment.ts';
import { hostnameOf, hostsFile, resolvConf } from './files.ts';
import { formerLifeOf } from './former-life.ts';
import { ContainerLog, forgetOldLogs } from './logs.ts';
import type { NodeServices } from './node-services.ts';
import { memoryNotLimited, notSupported } from './not-supported.ts';
import { podStatus } from './status.ts';
import { StatusWriter } from './status-writer.ts';
import { PodTokens } from './tokens.ts';
import {
  type ContainerRecord,
  type ContainerSpec,
  isHostNetwork,
  isSidecar,
  type Pod,
  PodProblem,
  podName,
  podNamespace,
  podUid,
} from './types.ts';
import { rootfsOf } from './view.ts';
import { tokenWishes, type VolumeInput } from './volume-files.ts';
import { PodVolumes } from './volumes.ts';

const RETRY_FIRST_MS = 30;
const RETRY_MAX_MS = 1_000;
/** A pod that waits this long is told about; before that it is the ordinary order of things. */
const TELL_AFTER_MS = 2_000;
const REFRESH_MS = 100;

export class PodWorker {
  readonly uid: string;
  readonly #services: NodeServices;
  readonly #folder: string;
  readonly #volumes: PodVolumes;
  readonly #tokens: PodTokens;
  readonly #writer: StatusWriter;
  readonly #runners = new Map<string, ContainerRunner>();
  readonly #startTime: Date;
  readonly #finished: Promise<void>;
  #pod: Pod;
  #netns: Netns | undefined;
  #ip: Ip | undefined;
  #folders = new Map<string, string>();
  #ending: Promise<void> | undefined;
  #endGrace = Number.POSITIVE_INFINITY;
  #failed: { reason: string; message: string } | undefined;
  #waiters: (() => void)[] = [];
  /** Ends the pause before the next attempt of what is being tried. */
  #tryNow: () => void = () => {};
  /** Ends what is being waited for outside when the pod ends. */
  readonly #abort = new AbortController();
  #refreshing = false;

  constructor(pod: Pod, services: NodeServices) {
    this.uid = podUid(pod);
    this.#pod = pod;
    this.#services = services;
    this.#folder = join('/run/ambit/pods', this.uid);
    this.#startTime = new Date(pod.status?.startTime ?? services.clock.nowMs());
    this.#volumes = new PodVolumes(join(this.#folder, 'volumes'), services.folders, services.isSystem(pod));
    this.#tokens = new PodTokens({
      client: services.client,
      clock: services.clock,
      pod: () => this.#pod,
      onRenewed: () => this.refresh(),
    });
    this.#writer = new StatusWriter(services.client, () => this.#status());
    for (const spec of pod.spec?.initContainers ?? []) this.#addRunner(spec, isSidecar(spec) ? 'sidecar' : 'init');
    for (const spec of pod.spec?.containers ?? []) this.#addRunner(spec, 'main');
    // Those of an earlier room are only shown.
    for (const spec of this.#ephemeral(pod))
      if (pod.status?.ephemeralContainerStatuses?.some(({ name }) => name === spec.name))
        this.#addRunner(spec, 'ephemeral');
    this.#finished = this.#live();
  }

  #ephemeral({ spec }: Pod): readonly ContainerSpec[] {
    return (spec?.ephemeralContainers ?? []) as unknown as ContainerSpec[];
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** The pod's network; undefined before its sandbox is made and after it is gone. */
  get netns(): Netns | undefined {
    return this.#netns;
  }

  /** The API has heard what this pod is now. */
  get reported(): Promise<void> {
    return this.#writer.settled;
  }

  runner(name: string): ContainerRunner | undefined {
    return this.#runners.get(name);
  }

  #addRunner(spec: ContainerSpec, role: ContainerRole): ContainerRunner {
    const former = formerLifeOf(
      this.#pod,
      spec.name,
      role === 'main' || role === 'ephemeral' ? role : 'other',
      new Date(this.#services.clock.nowMs()),
    );
    const runner = new ContainerRunner(spec, role, this.#host(), former);
    this.#runners.set(spec.name, runner);
    return runner;
  }

  /** The object changed. */
  update(pod: Pod): void {
    this.#pod = pod;
    for (const spec of [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])])
      this.#runners.get(spec.name)?.update(spec);
    for (const spec of this.#ephemeral(pod))
      if (!this.#runners.has(spec.name) && this.#netns !== undefined) void this.#addRunner(spec, 'ephemeral').run();
    this.refresh();
    this.#changed();
  }

  /** Something that volumes are made of may have changed; what has waited for it goes on at once. */
  refresh(): void {
    if (this.#netns !== undefined) this.#tryNow();
    if (this.#refreshing || this.#folders.size === 0) return;
    this.#refreshing = true;
    this.#services.clock.after(REFRESH_MS, () => {
      this.#refreshing = false;
      if (this.#ending !== undefined) return;
      for (const volume of this.#pod.spec?.volumes ?? []) {
        try {
          if (this.#folders.has(volume.name)) this.#volumes.prepare(volume, this.#volumeInput());
        } catch {
          // What was there stays, as it would in a cluster.
        }
      }
    });
  }

  async #live(): Promise<void> {
    this.#changed();
    for (const message of notSupported(this.#pod.spec)) this.#tell('Warning', 'NotSupported', message);
    const unlimited = memoryNotLimited(this.#pod.spec);
    if (unlimited !== undefined) this.#tell('Normal', 'MemoryNotLimited', unlimited);
    try {
      await this.#makeSandbox();
      await this.#makeVolumes();
      if (this.#ending !== undefined) return;
      if (!(await this.#runInits())) return;
      if (this.#ending !== undefined) return;
      this.#limitLife();
      await Promise.all(this.#of('main').map((runner) => runner.run()));
    } catch (error) {
      // Nothing here is expected to fail for good: it is told, and the pod stays as it is.
      this.#tell('Warning', 'FailedSync', `Error syncing pod: ${error instanceof Error ? error.message : error}`);
      this.#services.log.error('pod not run', {
        pod: `${podNamespace(this.#pod)}/${podName(this.#pod)}`,
        error: String(error instanceof Error ? error.stack : error),
      });
      return;
    }
    // All containers have ended for good: what served them ends too.
    if (this.#ending === undefined) {
      await this.#stopContainers(this.#grace());
      this.#release();
      this.#changed();
    }
  }

  /** @returns false when an init container has failed for good, or the pod is ending */
  async #runInits(): Promise<boolean> {
    for (const spec of this.#pod.spec?.initContainers ?? []) {
      const runner = this.#runners.get(spec.name);
      if (runner === undefined || this.#ending !== undefined) return false;
      if (runner.role === 'sidecar') {
        void runner.run();
        await this.#until(() => runner.record.started || this.#ending !== undefined);
        continue;
      }
      const ended = await runner.run();
      if (ended?.exitCode === 0) continue;
      if (this.#ending === undefined) {
        await this.#stopContainers(this.#grace());
        this.#release();
        this.#changed();
      }
      return false;
    }
    return true;
  }

  #limitLife(): void {
    const seconds = this.#pod.spec?.activeDeadlineSeconds;
    if (seconds === undefined) return;
    const leftMs = this.#startTime.getTime() + seconds * 1000 - this.#services.clock.nowMs();
    const timer = this.#services.clock.after(Math.max(0, leftMs), () => {
      const message = 'Pod was active on the node longer than the specified deadline';
      this.#tell('Normal', 'DeadlineExceeded', message);
      this.#failed = { reason: 'DeadlineExceeded', message };
      void this.#stopContainers(this.#grace());
    });
    void Promise.resolve().then(async () => {
      await this.#finished;
      timer.cancel();
    });
  }

  /** Namespace, address, and the mesh's consent: a pod that belongs into the mesh never starts outside it. */
  async #makeSandbox(): Promise<void> {
    const { network, netnsOfNode, enrol } = this.#services;
    if (isHostNetwork(this.#pod)) {
      this.#netns = netnsOfNode;
      this.#ip = network.ip;
      return;
    }
    await this.#retrying('FailedCreatePodSandBox', 'Failed to create pod sandbox', async () => {
      const sandbox = await network.addPod(this.uid, this.#pod.status?.podIP);
      await enrol(this.#pod, sandbox, this.#abort.signal);
      this.#netns = sandbox.netns;
      this.#ip = sandbox.ip;
    });
    this.#changed();
  }

  async #makeVolumes(): Promise<void> {
    const etc = join(this.#folder, 'etc');
    mkdirSync(etc, { recursive: true });
    const hostname = hostnameOf(this.#pod, this.#services.network.name);
    writeFileSync(join(etc, 'hosts'), hostsFile(this.#pod, hostname, this.#ip ?? ''));
    writeFileSync(join(etc, 'hostname'), `${hostname}\n`);
    writeFileSync(join(etc, 'resolv.conf'), resolvConf(this.#pod));
    const volumes = this.#pod.spec?.volumes ?? [];
    await this.#retrying('FailedMount', 'MountVolume.SetUp failed', async () => {
      await this.#tokens.fetch(tokenWishes(volumes));
      const input = this.#volumeInput();
      const folders = new Map<string, string>();
      for (const volume of volumes) folders.set(volume.name, this.#volumes.prepare(volume, input));
      this.#folders = folders;
    });
  }

  /** Until it works or the pod ends; told about when it takes long. */
  async #retrying(reason: string, words: string, attempt: () => Promise<void>): Promise<void> {
    const retry = new RetryBackoff(RETRY_FIRST_MS, RETRY_MAX_MS);
    const beganMs = this.#services.clock.nowMs();
    let told = '';
    while (this.#ending === undefined) {
      try {
        await attempt();
        return;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        const lasting = error instanceof PodProblem ? error.reason : reason;
        if (this.#services.clock.nowMs() - beganMs >= TELL_AFTER_MS && told !== message) {
          told = message;
          this.#tell('Warning', lasting, `${words}: ${message}`);
        }
        await new Promise<void>((resolve) => {
          const timer = this.#services.clock.after(retry.next(), resolve);
          this.#tryNow = () => {
            timer.cancel();
            resolve();
          };
        });
        this.#tryNow = () => {};
      }
    }
  }

  /** Waits until `holds`, looking again whenever something of the pod changes. */
  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #changed(): void {
    this.#writer.changed();
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #of(role: ContainerRole): ContainerRunner[] {
    return [...this.#runners.values()].filter((runner) => runner.role === role);
  }

  #grace(): number {
    return this.#pod.metadata?.deletionGracePeriodSeconds ?? this.#pod.spec?.terminationGracePeriodSeconds ?? 30;
  }

  /** The pod's own containers first, together; then what served them, last started first (Kubernetes: sidecar containers). */
  async #stopContainers(graceSeconds: number): Promise<void> {
    const deadlineMs = this.#services.clock.nowMs() + graceSeconds * 1000;
    const first = [...this.#of('main'), ...this.#of('ephemeral'), ...this.#of('init')];
    await Promise.all(first.map((runner) => runner.stop(graceSeconds)));
    for (const runner of this.#of('sidecar').reverse())
      await runner.stop(Math.max(0, (deadlineMs - this.#services.clock.nowMs()) / 1000));
  }

  #release(): void {
    this.#tokens.close();
    if (!isHostNetwork(this.#pod)) this.#services.network.removePod(this.uid);
    this.#netns = undefined;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * Ends the pod and gives back what it had; resolves when nothing of it runs. Twice: the shorter grace counts.
   * @param why `deleted`: the API is to hear how its containers ended; `gone`: it knows the pod no more; `roomEnds`: what
   *            the API knows stays, and the pod's network goes with the room
   */
  async end(graceSeconds: number, why: 'deleted' | 'gone' | 'roomEnds'): Promise<void> {
    const report = why === 'deleted';
    if (!report) this.#writer.close();
    // Each change of the object asks again; only a shorter time is news.
    const stopping = graceSeconds < this.#endGrace ? this.#stopContainers(graceSeconds) : Promise.resolve();
    this.#endGrace = Math.min(this.#endGrace, graceSeconds);
    this.#ending ??= (async () => {
      this.#changed();
      await stopping;
      await this.#finished;
      if (why === 'roomEnds') this.#tokens.close();
      else this.#release();
      this.#changed();
      if (report) await this.#writer.settled;
      this.#writer.close();
    })();
    this.#abort.abort();
    this.#tryNow();
    for (const wake of this.#waiters.splice(0)) wake();
    await this.#ending;
  }

  get ended(): boolean {
    return this.#netns === undefined && this.#ending !== undefined;
  }

  #tell(type: 'Normal' | 'Warning', reason: string, message: string, container?: string): void {
    this.#services.events.record(this.#pod, type, reason, message, container);
  }

  #place(): PodPlace {
    const { network, allocatable } = this.#services;
    return { nodeName: network.name, hostIp: network.ip, podIp: this.#ip ?? '', allocatable };
  }

  #volumeInput(): VolumeInput {
    return {
      pod: this.#pod,
      place: this.#place(),
      objects: this.#services.objects.inNamespace(podNamespace(this.#pod)),
      token: (wish) => this.#tokens.get(wish),
    };
  }

  #status(): { pod: Pod; status: ReturnType<typeof podStatus> } {
    const containers = new Map<string, ContainerRecord>();
    for (const [name, runner] of this.#runners) {
      const began =
        this.#netns !== undefined || runner.record.state.kind !== 'waiting' || runner.record.last !== undefined;
      if (began && !this.#isHeldUp(runner)) containers.set(name, runner.record);
    }
    const { network, clock } = this.#services;
    const status = podStatus({
      pod: this.#pod,
      containers,
      hostIp: network.ip,
      podIp: this.#ip,
      startTime: this.#startTime,
      failed: this.#failed,
      ending: this.#ending !== undefined,
      now: new Date(clock.nowMs()),
    });
    return { pod: this.#pod, status };
  }

  /** A container that has never run and waits for init containers shows `PodInitializing`, which is the status's default. */
  #isHeldUp(runner: ContainerRunner): boolean {
    const { state, last } = runner.record;
    return state.kind === 'waiting' && state.reason === 'ContainerCreating' && last === undefined;
  }

  #host(): ContainerHost {
    const services = this.#services;
    return {
      clock: services.clock,
      nodeNetns: services.netnsOfNode,
      otherUsers: services.otherUsers,
      meshPart: services.isSystem(this.#pod),
      pod: () => this.#pod,
      netns: () => {
        if (this.#netns === undefined) throw new Error('the pod has no network');
        return this.#netns;
      },
      podIp: () => this.#ip ?? '',
      hostname: () => hostnameOf(this.#pod, services.network.name),
      resolveImage: (name) => services.images.resolve(name),
      environment: (spec, image) => {
        const env = buildEnvironment({
          pod: this.#pod,
          container: spec,
          place: this.#place(),
          hostname: hostnameOf(this.#pod, services.network.name),
          imageEnv: { ...image.env, ...services.imageEnvironment(image, this.#pod) },
          objects: services.objects.inNamespace(podNamespace(this.#pod)),
          services: services.objects.services(),
        });
        return env;
      },
      rootfs: (spec, image, env, terminationLog) => {
        const etc = join(this.#folder, 'etc');
        const own = ['hosts', 'hostname', 'resolv.conf'].map((name) => ({
          from: join(etc, name),
          at: `/etc/${name}`,
          readOnly: false,
          kind: 'file' as const,
        }));
        const mounts = [
          ...own,
          {
            from: terminationLog,
            at: spec.terminationMessagePath ?? '/dev/termination-log',
            readOnly: false,
            kind: 'file' as const,
          },
          ...services.imageMounts(image),
          ...this.#volumes.mounts(spec, this.#folders, env),
        ].sort((a, b) => a.at.split('/').length - b.at.split('/').length);
        return rootfsOf({
          root: image.root,
          host: services.hostFiles,
          hidden: services.hidden,
          mounts,
          readOnlyRoot: spec.securityContext?.readOnlyRootFilesystem === true,
        });
      },
      folder: (container) => join(this.#folder, 'containers', container),
      openLog: (container, attempt) => {
        const folder = join(services.logFolder(this.#pod), container);
        const log = new ContainerLog(join(folder, `${attempt}.log`));
        forgetOldLogs(folder);
        return log;
      },
      event: (type, reason, message, container) => this.#tell(type, reason, message, container),
      changed: () => this.#changed(),
    };
  }
}
