// The life of one container of a pod: image, environment, start, probes, end, and again as the restart policy says.
// One state at a time, set in one place; what the pod shows is made of `record`.

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Result } from '../../model/result.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { Container, type User } from '../../platform/linux/container.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import type { RootfsStep } from '../../platform/linux/rootfs.ts';
import type { Image, ImageProblem } from '../images/types.ts';
import { goDuration, MESH_PARTS, RestartBackoff, RetryBackoff } from './backoff.ts';
import type { Place } from './endpoint.ts';
import { commandLine } from './environment.ts';
import type { Running } from './exec.ts';
import { runHook } from './hooks.ts';
import type { ContainerLog } from './logs.ts';
import { Probes } from './probes.ts';
import { type Program, type ProgramSpec, startProgram } from './program.ts';
import { filesNeeded, outOfReach } from './reach.ts';
import { powersOf, userOf } from './security.ts';
import { graceOf, stopSignal, terminationMessage } from './termination.ts';
import {
  type ContainerRecord,
  type ContainerSpec,
  type ContainerState,
  type Pod,
  PodProblem,
  type Terminated,
} from './types.ts';

export type ContainerRole = 'init' | 'sidecar' | 'main' | 'ephemeral';

/** What a container gets from its pod. */
export interface ContainerHost {
  readonly clock: Clock;
  readonly nodeNetns: Netns;
  /** Users other than root exist here. */
  readonly otherUsers: boolean;
  /** Its pod is a part of the mesh itself. */
  readonly meshPart: boolean;
  pod(): Pod;
  /** Of the sandbox. */
  netns(): Netns;
  podIp(): string;
  hostname(): string;
  resolveImage(name: string): Promise<Result<Image, ImageProblem>>;
  /** @throws PodProblem when something that it refers to is not there (yet) */
  environment(spec: ContainerSpec, image: Image): Record<string, string>;
  /** @param terminationLog file of the room that the container may leave a last word in */
  rootfs(
    spec: ContainerSpec,
    image: Image,
    env: Readonly<Record<string, string>>,
    terminationLog: string,
  ): RootfsStep[];
  /** An empty folder that is this container's alone. */
  folder(container: string): string;
  openLog(container: string, attempt: number): ContainerLog;
  event(type: 'Normal' | 'Warning', reason: string, message: string, container?: string): void;
  /** The record changed. */
  changed(): void;
}

/** What is known of the container from before this process. */
export interface FormerLife {
  readonly restarts: number;
  readonly last: Terminated | undefined;
  /** It has ended for good, and is only shown. */
  readonly finished: boolean;
}

const CONFIG_RETRY_FIRST_MS = 250;
const CONFIG_RETRY_MAX_MS = 10_000;
const ERR_IMAGE_PULL_MS = 1_000;
const IMAGE_RETRY_FIRST_MS = 10_000;
const IMAGE_RETRY_MAX_MS = 300_000;
const MIN_AFTER_HOOK_MS = 2_000;
const KILL_WAIT_MS = 5_000;
const TERMINATION_LOG = 'termination-log';

interface Prepared {
  readonly image: Image;
  readonly container: Container;
  readonly spec: ProgramSpec;
  readonly folder: string;
  readonly log: ContainerLog;
}

export class ContainerRunner {
  readonly role: ContainerRole;
  readonly #host: ContainerHost;
  #spec: ContainerSpec;
  #record: ContainerRecord;
  readonly #backoff: RestartBackoff;
  #container: Container | undefined;
  #program: Program | undefined;
  #probes: Probes | undefined;
  #launch: ProgramSpec | undefined;
  #log: ContainerLog | undefined;
  #attempt: number;
  #stopping: Promise<void> | undefined;
  #wake: () => void = () => {};
  #imageChanged = false;
  /** The program whose preStop hook was run: once is enough, however often it is asked to end. */
  #preStopped: Program | undefined;
  /** Shown as `lastState` once the container waits or runs again. */
  #lastEnd: Terminated | undefined;

  constructor(spec: ContainerSpec, role: ContainerRole, host: ContainerHost, former?: FormerLife) {
    this.#spec = spec;
    this.role = role;
    this.#host = host;
    this.#backoff = new RestartBackoff(host.meshPart ? MESH_PARTS : undefined);
    this.#attempt = former === undefined ? 0 : former.restarts + 1;
    this.#lastEnd = former?.last;
    this.#record = {
      name: spec.name,
      state: former?.finished && former.last ? former.last : { kind: 'waiting', reason: 'ContainerCreating' },
      last: former?.finished ? undefined : former?.last,
      restarts: former?.restarts ?? 0,
      started: false,
      ready: false,
      image: spec.image ?? '',
      imageId: '',
      containerId: '',
    };
  }

  get name(): string {
    return this.#spec.name;
  }

  get record(): ContainerRecord {
    return this.#record;
  }

  get spec(): ContainerSpec {
    return this.#spec;
  }

  /** The running container with what was started in it; undefined while it does not run. */
  get running(): Running | undefined {
    if (this.#container === undefined || this.#program === undefined || this.#launch === undefined) return undefined;
    return { container: this.#container, program: this.#program, launch: this.#launch };
  }

  /** What is being written now; undefined while the container does not run. */
  get log(): ContainerLog | undefined {
    return this.#log;
  }

  /** A pod's images may be changed while it runs; the container is started again with the new one. */
  update(spec: ContainerSpec): void {
    const changed = spec.image !== this.#spec.image;
    this.#spec = spec;
    if (!changed) return;
    this.#imageChanged = true;
    if (this.#program !== undefined) {
      this.#host.event('Normal', 'Killing', `Container ${this.name} definition changed, will be restarted`, this.name);
      void this.#end(graceOf(this.#host.pod().spec));
    } else this.#wake();
  }

  /**
   * Runs the container until it shall not run again.
   * @returns how it ended at last; undefined when it was stopped before it ran
   */
  async run(): Promise<Terminated | undefined> {
    if (this.#record.state.kind === 'terminated') return this.#record.state;
    for (;;) {
      const ended = await this.#runOnce();
      if (ended === undefined || !this.#again(ended)) return ended;
      await this.#waitForRestart(ended);
      if (this.#stopping !== undefined) return ended;
      this.#backoff.restarted();
    }
  }

  #again(ended: Terminated): boolean {
    if (this.#stopping !== undefined) return false;
    if (this.#imageChanged) return true;
    const policy = this.#host.pod().spec?.restartPolicy ?? 'Always';
    switch (this.role) {
      case 'sidecar':
        return true;
      case 'ephemeral':
        return false;
      case 'init':
        return ended.exitCode !== 0 && policy !== 'Never';
      case 'main':
        return policy === 'Always' || (policy === 'OnFailure' && ended.exitCode !== 0);
    }
  }

  async #waitForRestart(ended: Terminated): Promise<void> {
    if (this.#imageChanged) return;
    const nowMs = this.#host.clock.nowMs();
    const delayMs = this.#backoff.delayAfter(ended.startedAt.getTime(), ended.finishedAt.getTime());
    const waitMs = ended.finishedAt.getTime() + delayMs - nowMs;
    if (waitMs <= 0) return;
    const pod = this.#host.pod();
    const message = `back-off ${goDuration(delayMs)} restarting failed container=${this.name} pod=${pod.metadata?.name}_${pod.metadata?.namespace}(${pod.metadata?.uid})`;
    this.#host.event(
      'Warning',
      'BackOff',
      `Back-off restarting failed container ${this.name} in pod ${pod.metadata?.name}_${pod.metadata?.namespace}(${pod.metadata?.uid})`,
      this.name,
    );
    this.#set({ state: { kind: 'waiting', reason: 'CrashLoopBackOff', message }, last: ended });
    await this.#sleep(waitMs);
  }

  /** Ends early when the container is stopped or its image is changed. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer: Timer = this.#host.clock.after(ms, () => this.#wake());
      this.#wake = () => {
        timer.cancel();
        this.#wake = () => {};
        resolve();
      };
    });
  }

  #set(change: Partial<ContainerRecord>): void {
    const record = { ...this.#record, ...change };
    const running = record.state.kind === 'running';
    const probesReady = this.#probes?.ready ?? false;
    this.#record = {
      ...record,
      // An init container that has done its work stays ready; nothing else is ready without running.
      ready: running
        ? record.started && probesReady && this.role !== 'init'
        : this.role === 'init' && exitedWell(record.state),
      started: running && record.started,
    };
    this.#host.changed();
  }

  /** Until the image can be had, what it is; undefined when the container was stopped meanwhile. */
  async #image(): Promise<Image | undefined> {
    let retry = new RetryBackoff(IMAGE_RETRY_FIRST_MS, IMAGE_RETRY_MAX_MS);
    for (;;) {
      const name = this.#spec.image ?? '';
      const resolved = await this.#host.resolveImage(name);
      if (this.#stopping !== undefined) return undefined;
      if (resolved.ok) return resolved.value;
      await this.#waitForImage(name, resolved.error, retry.next());
      if (this.#stopping !== undefined) return undefined;
      if (this.#spec.image !== name) retry = new RetryBackoff(IMAGE_RETRY_FIRST_MS, IMAGE_RETRY_MAX_MS);
    }
  }

  /** The first reason is seen for a moment, as in a cluster; then it is the back-off that is waited for. */
  async #waitForImage(name: string, { kind, message }: ImageProblem, delayMs: number): Promise<void> {
    this.#host.event('Warning', 'Failed', `Failed to pull image "${name}": ${message}`, this.name);
    if (kind === 'badName') {
      this.#set({ state: { kind: 'waiting', reason: 'InvalidImageName', message } });
      return this.#sleep(delayMs);
    }
    this.#set({ state: { kind: 'waiting', reason: 'ErrImagePull', message } });
    await this.#sleep(ERR_IMAGE_PULL_MS);
    if (this.#stopping !== undefined || this.#spec.image !== name) return;
    const backoff = `Back-off pulling image "${name}"`;
    this.#host.event('Normal', 'BackOff', backoff, this.name);
    this.#set({ state: { kind: 'waiting', reason: 'ImagePullBackOff', message: `${backoff}: ${message}` } });
    await this.#sleep(delayMs);
  }

  /** @returns undefined when the container was stopped before it ran */
  async #runOnce(): Promise<Terminated | undefined> {
    this.#imageChanged = false;
    if (this.#stopping !== undefined) return undefined;
    const prepared = await this.#prepare();
    if (prepared === undefined) return undefined;
    const { image, container, spec, folder, log } = prepared;
    const restarts = this.#attempt++;
    this.#log = log;
    const containerId = `ambit://${randomBytes(32).toString('hex')}`;
    const startedAt = new Date(this.#host.clock.nowMs());
    const shown = { restarts, imageId: image.id, image: this.#spec.image ?? '', containerId };
    this.#host.event('Normal', 'Pulled', `Container image "${this.#spec.image}" is at hand: ${image.id}`, this.name);
    this.#host.event('Normal', 'Created', `Created container: ${this.name}`, this.name);
    let program: Program;
    try {
      program = await startProgram(container, spec);
    } catch (error) {
      container.kill();
      await container.ended;
      rmSync(folder, { recursive: true, force: true });
      log.end();
      const why = error instanceof Error ? error.message : String(error);
      const message = `failed to create containerd task: failed to create shim task: OCI runtime create failed: ${why}: unknown`;
      this.#host.event('Warning', 'Failed', `Error: ${message}`, this.name);
      const finishedAt = new Date(this.#host.clock.nowMs());
      return this.#ended(
        { kind: 'terminated', exitCode: 128, reason: 'StartError', message, startedAt, finishedAt },
        shown,
      );
    }
    container.setMain(program.child);
    program.io.onOutput((stream, chunk) => log.push(stream, chunk));
    this.#container = container;
    this.#program = program;
    this.#launch = spec;
    this.#host.event('Normal', 'Started', `Started container ${this.name}`, this.name);
    const probes = this.#startProbes();
    this.#probes = probes;
    this.#set({ ...shown, state: { kind: 'running', startedAt }, started: probes.started, last: this.#lastEnd });
    if (this.#stopping !== undefined) void this.#end(0);
    else void this.#afterStart(probes);
    const ending = await program.ended;
    probes.stop();
    this.#probes = undefined;
    this.#program = undefined;
    this.#container = undefined;
    container.kill();
    await container.ended;
    log.end();
    const message = terminationMessage(this.#spec, join(folder, TERMINATION_LOG), log, ending.exitCode);
    rmSync(folder, { recursive: true, force: true });
    return this.#ended(
      {
        kind: 'terminated',
        exitCode: ending.exitCode,
        ...(ending.signal !== undefined && { signal: ending.signal }),
        reason: ending.exitCode === 0 ? 'Completed' : 'Error',
        ...(message !== '' && { message }),
        startedAt,
        finishedAt: new Date(this.#host.clock.nowMs()),
      },
      shown,
    );
  }

  #ended(state: Terminated, shown: Partial<ContainerRecord>): Terminated {
    this.#lastEnd = state;
    this.#set({ ...shown, state });
    return state;
  }

  /** Image, environment, files and namespaces; tried again while something that the manifest refers to is missing. */
  async #prepare(): Promise<Prepared | undefined> {
    const retry = new RetryBackoff(CONFIG_RETRY_FIRST_MS, CONFIG_RETRY_MAX_MS);
    for (;;) {
      const image = await this.#image();
      if (image === undefined) return undefined;
      try {
        return await this.#create(image);
      } catch (error) {
        const reason = error instanceof PodProblem ? error.reason : 'CreateContainerError';
        const message = error instanceof Error ? error.message : String(error);
        this.#host.event('Warning', 'Failed', `Error: ${message}`, this.name);
        this.#set({ state: { kind: 'waiting', reason, message } });
        await this.#sleep(retry.next());
        if (this.#stopping !== undefined) return undefined;
      }
    }
  }

  async #create(image: Image): Promise<Prepared> {
    const pod = this.#host.pod().spec;
    const env = this.#host.environment(this.#spec, image);
    const { capabilities, refused } = powersOf(this.#spec, pod, image.system);
    if (refused.length > 0)
      this.#host.event(
        'Warning',
        'PowersNotGiven',
        `Container ${this.name} runs without ${refused.join(', ')}: a room gives no power over the machine`,
        this.name,
      );
    const argv = commandLine(this.#spec, image, env);
    const workingDir = this.#spec.workingDir || image.workingDir || '/';
    const user = this.#user(image, argv, workingDir);
    const folder = join(this.#host.folder(this.name), String(this.#attempt));
    const workspace = join(folder, 'files');
    mkdirSync(workspace, { recursive: true });
    writeFileSync(join(folder, TERMINATION_LOG), '');
    const container = await Container.create({
      hostname: this.#host.hostname(),
      netns: this.#host.netns(),
      rootfs: this.#host.rootfs(this.#spec, image, env, join(folder, TERMINATION_LOG)),
      workspace,
      trusted: capabilities === 'all',
    });
    const spec: ProgramSpec = {
      argv,
      env,
      workingDir,
      capabilities,
      stdin: this.#spec.stdin === true,
      tty: this.#spec.tty === true,
      user,
    };
    try {
      return { image, container, spec, folder, log: this.#host.openLog(this.name, this.#attempt) };
    } catch (error) {
      container.kill(); // a disk that is full, say
      throw error;
    }
  }

  /** Whom the manifest wants, where that is possible; otherwise root without its powers, and an event that says so. */
  #user(image: Image, argv: readonly string[], workingDir: string): User | undefined {
    const wanted = userOf(this.#spec, this.#host.pod().spec);
    if (wanted === undefined) return undefined;
    const closed = this.#host.otherUsers && outOfReach(wanted, filesNeeded(image, argv, workingDir));
    if (closed === undefined) return wanted;
    const why = closed === false ? 'only a room made by root has other users' : `\`${closed}\` is closed to others`;
    this.#host.event(
      'Warning',
      'UserNotChanged',
      `Container ${this.name} runs as root instead of ${wanted.uid}:${wanted.gid}: ${why}`,
      this.name,
    );
    return undefined;
  }

  #place(): Place {
    return { nodeNetns: this.#host.nodeNetns, podIp: this.#host.podIp(), ports: this.#spec.ports ?? [] };
  }

  #startProbes(): Probes {
    const { clock, nodeNetns } = this.#host;
    return new Probes({
      spec: this.#spec,
      clock,
      nodeNetns,
      podIp: this.#host.podIp(),
      running: () => this.running,
      onChange: () => {
        if (this.#probes !== undefined) this.#set({ started: this.#probes.started });
      },
      onUnhealthy: (kind, message) =>
        this.#host.event(
          'Warning',
          'Unhealthy',
          `${kind[0]?.toUpperCase()}${kind.slice(1)} probe failed: ${message}`,
          this.name,
        ),
      onDead: (kind, graceSeconds) => {
        this.#host.event(
          'Normal',
          'Killing',
          `Container ${this.name} failed ${kind} probe, will be restarted`,
          this.name,
        );
        void this.#end(graceSeconds ?? graceOf(this.#host.pod().spec));
      },
    });
  }

  async #afterStart(probes: Probes): Promise<void> {
    const hook = this.#spec.lifecycle?.postStart;
    const { running } = this;
    if (hook !== undefined && running !== undefined) {
      const failed = await runHook(hook, { ...running, ...this.#place() });
      if (failed !== undefined) {
        this.#host.event('Warning', 'FailedPostStartHook', `PostStartHook failed: ${failed}`, this.name);
        await this.#end(graceOf(this.#host.pod().spec));
        return;
      }
    }
    if (this.#probes === probes) probes.start();
  }

  /** Stops the container for good, within `graceSeconds`. Twice: the shorter grace counts. */
  stop(graceSeconds: number): Promise<void> {
    if (this.#stopping === undefined && this.#program !== undefined)
      this.#host.event('Normal', 'Killing', `Stopping container ${this.name}`, this.name);
    this.#stopping ??= Promise.resolve();
    this.#wake();
    return this.#end(graceSeconds);
  }

  /** preStop, SIGTERM, the rest of the grace, SIGKILL. */
  async #end(graceSeconds: number): Promise<void> {
    const { running } = this;
    if (running === undefined) return;
    const { program, container } = running;
    const deadlineMs = this.#host.clock.nowMs() + graceSeconds * 1000;
    this.#probes?.stop();
    const hook = this.#spec.lifecycle?.preStop;
    if (hook !== undefined && graceSeconds > 0 && this.#preStopped !== program) {
      this.#preStopped = program;
      const failed = await this.#within(graceSeconds * 1000, runHook(hook, { ...running, ...this.#place() }));
      if (typeof failed === 'string')
        this.#host.event('Warning', 'FailedPreStopHook', `PreStopHook failed: ${failed}`, this.name);
    }
    if (this.#program !== program) return;
    if (graceSeconds > 0) {
      program.child.kill(stopSignal(this.#spec));
      const leftMs = Math.max(deadlineMs - this.#host.clock.nowMs(), hook === undefined ? 0 : MIN_AFTER_HOOK_MS);
      await this.#within(leftMs, program.ended);
      if (this.#program !== program) return;
    }
    container.kill();
    await this.#within(KILL_WAIT_MS, program.ended);
  }

  /** The promise's value, or undefined when the time is over. */
  #within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve) => {
      const timer = this.#host.clock.after(ms, () => resolve(undefined));
      void promise.then((value) => {
        timer.cancel();
        resolve(value);
      });
    });
  }
}

const exitedWell = (state: ContainerState): boolean => state.kind === 'terminated' && state.exitCode === 0;
