// One probe of one running container: when to ask, and what the answers mean (Kubernetes: container probes). The clock
// and the asking are arguments.
//
// One thing of our own: until a readiness or startup probe first succeeds it also asks early, in short growing steps
// within its period; those extra answers count only when they are good. So a pod is Ready when it is, not a period later.

import type { Clock, Timer } from '../../platform/clock.ts';
import type { ProbeSpec } from './types.ts';

export type ProbeKind = 'startup' | 'readiness' | 'liveness';

export type ProbeAnswer = { readonly ok: true } | { readonly ok: false; readonly message: string };

export interface ProberOptions {
  readonly kind: ProbeKind;
  readonly probe: ProbeSpec;
  readonly clock: Clock;
  /** Asks once; must answer within `timeoutMs`, and is held to it. Never rejects. */
  readonly ask: (timeoutMs: number) => Promise<ProbeAnswer>;
  /** The threshold was reached: the probe's verdict is now this. Called when it changes, the first time for either. */
  readonly onVerdict: (good: boolean, message: string) => void;
  /** A counted answer was bad. */
  readonly onFailure: (message: string) => void;
}

const FIRST_EARLY_MS = 20;
const EARLY_GROWTH = 1.6;

export const periodMs = (probe: ProbeSpec): number => Math.max(1, probe.periodSeconds ?? 10) * 1000;
export const timeoutMs = (probe: ProbeSpec): number => Math.max(1, probe.timeoutSeconds ?? 1) * 1000;

export class Prober {
  readonly #options: ProberOptions;
  readonly #early: boolean;
  #timer: Timer | undefined;
  #stopped = false;
  #asking = false;
  #verdict: boolean | undefined;
  #run = 0;
  #runIsGood = false;
  #nextCountedMs = 0;
  #earlyMs = FIRST_EARLY_MS;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#early = options.kind !== 'liveness' && (options.probe.successThreshold ?? 1) === 1;
  }

  start(): void {
    const { clock, probe } = this.#options;
    const delayMs = (probe.initialDelaySeconds ?? 0) * 1000;
    this.#nextCountedMs = clock.nowMs() + delayMs;
    this.#wait(delayMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #wait(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(delayMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    if (this.#asking || this.#stopped) return;
    const { clock, probe, ask } = this.#options;
    const counted = clock.nowMs() >= this.#nextCountedMs;
    this.#asking = true;
    const answer = await ask(timeoutMs(probe));
    this.#asking = false;
    if (this.#stopped) return;
    if (counted) {
      const now = clock.nowMs();
      while (this.#nextCountedMs <= now) this.#nextCountedMs += periodMs(probe);
    }
    if (counted || answer.ok) this.#count(answer);
    if (this.#stopped) return;
    const untilCountedMs = Math.max(0, this.#nextCountedMs - clock.nowMs());
    if (!this.#early || this.#verdict === true) return this.#wait(untilCountedMs);
    this.#wait(Math.min(untilCountedMs, this.#earlyMs));
    this.#earlyMs *= EARLY_GROWTH;
  }

  #count(answer: ProbeAnswer): void {
    const { probe, onFailure, onVerdict } = this.#options;
    if (!answer.ok) onFailure(answer.message);
    this.#run = answer.ok === this.#runIsGood ? this.#run + 1 : 1;
    this.#runIsGood = answer.ok;
    const threshold = Math.max(1, answer.ok ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3));
    if (this.#run < threshold || this.#verdict === answer.ok) return;
    this.#verdict = answer.ok;
    onVerdict(answer.ok, answer.ok ? '' : answer.message);
  }
}
