// The probes of one run of a container, together: nothing else is asked before the startup probe has succeeded, readiness
// says whether traffic may come, a dead container is told to its owner.

import type { Clock } from '../../platform/clock.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { dial, EndpointError, grpcHealth, httpGet, type Place, portNumber } from './endpoint.ts';
import { type Running, runCommand } from './exec.ts';
import { type ProbeAnswer, type ProbeKind, Prober } from './prober.ts';
import type { ContainerSpec, ProbeSpec } from './types.ts';

export interface ProbesOptions {
  readonly spec: ContainerSpec;
  readonly clock: Clock;
  readonly nodeNetns: Netns;
  readonly podIp: string;
  readonly running: () => Running | undefined;
  /** `started` or `ready` may have changed. */
  readonly onChange: () => void;
  readonly onUnhealthy: (kind: ProbeKind, message: string) => void;
  /** The startup or liveness probe gave up. */
  readonly onDead: (kind: ProbeKind, graceSeconds: number | undefined) => void;
}

export class Probes {
  readonly #options: ProbesOptions;
  #probers: Prober[] = [];
  #begun = false;
  #startedUp: boolean;
  #readiness: boolean;

  constructor(options: ProbesOptions) {
    this.#options = options;
    this.#startedUp = options.spec.startupProbe === undefined;
    this.#readiness = options.spec.readinessProbe === undefined;
  }

  get started(): boolean {
    return this.#begun && this.#startedUp;
  }

  get ready(): boolean {
    return this.started && this.#readiness;
  }

  /** The container runs, and its postStart hook has ended. */
  start(): void {
    this.#begun = true;
    const { startupProbe } = this.#options.spec;
    if (startupProbe === undefined) this.#startOthers();
    else
      this.#add('startup', startupProbe, (good) => {
        if (!good) return this.#options.onDead('startup', startupProbe.terminationGracePeriodSeconds);
        this.stop();
        this.#startedUp = true;
        this.#startOthers();
      });
    this.#options.onChange();
  }

  stop(): void {
    for (const prober of this.#probers.splice(0)) prober.stop();
  }

  #startOthers(): void {
    const { livenessProbe, readinessProbe } = this.#options.spec;
    if (readinessProbe !== undefined)
      this.#add('readiness', readinessProbe, (good) => {
        this.#readiness = good;
        this.#options.onChange();
      });
    if (livenessProbe !== undefined)
      this.#add('liveness', livenessProbe, (good) => {
        if (!good) this.#options.onDead('liveness', livenessProbe.terminationGracePeriodSeconds);
      });
    this.#options.onChange();
  }

  #add(kind: ProbeKind, probe: ProbeSpec, onVerdict: (good: boolean) => void): void {
    const prober = new Prober({
      kind,
      probe,
      clock: this.#options.clock,
      ask: (timeoutMs) => this.#ask(probe, timeoutMs),
      onVerdict,
      onFailure: (message) => this.#options.onUnhealthy(kind, message),
    });
    this.#probers.push(prober);
    prober.start();
  }

  async #ask(probe: ProbeSpec, timeoutMs: number): Promise<ProbeAnswer> {
    const running = this.#options.running();
    if (running === undefined) return { ok: false, message: 'the container does not run' };
    const { nodeNetns, podIp, spec } = this.#options;
    try {
      return await askOnce(probe, running, { nodeNetns, podIp, ports: spec.ports ?? [] }, timeoutMs);
    } catch (error) {
      if (error instanceof EndpointError) return { ok: false, message: error.message };
      return { ok: false, message: error instanceof Error ? error.message : String(error) };
    }
  }
}

async function askOnce(probe: ProbeSpec, running: Running, place: Place, timeoutMs: number): Promise<ProbeAnswer> {
  const bad = (message: string): ProbeAnswer => ({ ok: false, message });
  if (probe.exec !== undefined) {
    const command = probe.exec.command ?? [];
    const result = await runCommand(running, command, timeoutMs);
    if (result === undefined)
      return bad(`command timed out: ${JSON.stringify(command.join(' '))} timed out after ${timeoutMs / 1000}s`);
    return result.exitCode === 0 ? { ok: true } : bad(result.output);
  }
  if (probe.httpGet !== undefined) {
    const { code } = await httpGet(probe.httpGet, place, timeoutMs);
    return code >= 200 && code < 400 ? { ok: true } : bad(`HTTP probe failed with statuscode: ${code}`);
  }
  if (probe.tcpSocket !== undefined) {
    const { host, port } = probe.tcpSocket;
    (await dial(host || place.podIp, portNumber(port, place), place, timeoutMs)).destroy();
    return { ok: true };
  }
  if (probe.grpc !== undefined) {
    const answer = await grpcHealth(probe.grpc, place, timeoutMs);
    return answer === 'SERVING' ? { ok: true } : bad(`service unhealthy (responded with "${answer}")`);
  }
  return bad('the probe has no action');
}
