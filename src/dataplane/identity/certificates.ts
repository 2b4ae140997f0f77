// The certificate cache: one certificate per identity, fetched when first wanted, renewed at half of its life, dropped with
// the last workload that has it. At most 8 requests at a time; a waiting connection comes before prefetches, those before
// renewals. A failure is remembered and answered at once while retries go on behind it; a valid certificate is served
// whatever its renewal does.
//
//   initializing ──fetched──> available ──over, and renewal failed──> unavailable
//        └──────failed──────> unavailable ──retry succeeded──> available

import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { type CertificateSource, describeFailure } from './ca-client.ts';
import {
  CertificateError,
  type CertificatePriority,
  type Certificates,
  type Unsubscribe,
  type WorkloadCertificate,
} from './workload-certificate.ts';

const MAX_PARALLEL = 8;
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 150_000;
const JITTER = 0.2;
/** `setTimeout` cannot wait longer than 24.8 days: longer waits are made of several. */
const MAX_TIMER_MS = 20 * 86_400_000;
const MIN_REFRESH_MS = 1_000;

/** Smaller goes first. */
const RANK: Readonly<Record<CertificatePriority, number>> = { realTime: 0, warmup: 1, background: 2 };

const log = logger('ca');

interface Waiter {
  readonly resolve: (certificate: WorkloadCertificate) => void;
  readonly reject: (error: CertificateError) => void;
}

interface Entry {
  readonly id: SpiffeId;
  readonly uri: string;
  certificate: WorkloadCertificate | undefined;
  /** Of the last attempt, when it failed. */
  failure: CertificateError | undefined;
  backoffMs: number;
  waiters: Waiter[];
  /** When the next attempt is due; undefined while one waits for its turn or runs. */
  timer: Timer | undefined;
  /** In the queue, with this rank. */
  queued: number | undefined;
  running: AbortController | undefined;
}

/** For the config dump. */
export interface CertificateStatus {
  readonly identity: SpiffeId;
  readonly state: 'Available' | 'Initializing' | `Unavailable: ${string}`;
  readonly certificate: WorkloadCertificate | undefined;
}

/**
 * When to renew: at half of the life that the certificate states. One whose half is over on arrival (its beginning lies
 * back by more than what is left) is renewed at half of what is left.
 */
export function refreshDelayMs(certificate: WorkloadCertificate, nowMs: number): number {
  const { notBeforeMs, notAfterMs } = certificate;
  const half = notBeforeMs + (notAfterMs - notBeforeMs) / 2 - nowMs;
  return Math.max(MIN_REFRESH_MS, half > 0 ? half : (notAfterMs - nowMs) / 2);
}

export class CertificateCache implements Certificates {
  readonly #source: CertificateSource;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Three queues, by rank. */
  readonly #queues: [Entry[], Entry[], Entry[]] = [[], [], []];
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>();
  #running = 0;
  #closed = false;

  /** @param random  0 ≤ n < 1, for the jitter of retries */
  constructor(source: CertificateSource, clock: Clock, random: () => number = Math.random) {
    this.#source = source;
    this.#clock = clock;
    this.#random = random;
  }

  current(id: SpiffeId): WorkloadCertificate | undefined {
    const certificate = this.#entries.get(formatSpiffeId(id))?.certificate;
    return certificate !== undefined && certificate.notAfterMs > this.#clock.nowMs() ? certificate : undefined;
  }

  forIdentity(id: SpiffeId, priority: CertificatePriority): Promise<WorkloadCertificate> {
    const uri = formatSpiffeId(id);
    if (this.#closed) return Promise.reject(new CertificateError(id, 'the proxy is stopping'));
    let entry = this.#entries.get(uri);
    if (entry === undefined) {
      entry = newEntry(id, uri);
      this.#entries.set(uri, entry);
    }
    const { certificate, failure } = entry;
    if (certificate !== undefined && certificate.notAfterMs > this.#clock.nowMs()) return Promise.resolve(certificate);
    // Retries go on by themselves: a caller is told at once rather than made to wait for them.
    if (failure !== undefined) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      entry.waiters.push({ resolve, reject });
      this.#enqueue(entry, priority);
    });
  }

  onRotate(listener: (certificate: WorkloadCertificate) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Fetches ahead of the first connection; failures are only remembered. */
  prefetch(id: SpiffeId): void {
    this.forIdentity(id, 'warmup').catch(() => {});
  }

  /** The last workload with this identity is gone. */
  drop(id: SpiffeId): void {
    const entry = this.#entries.get(formatSpiffeId(id));
    if (entry !== undefined) this.#forget(entry, 'the identity is no longer needed');
  }

  close(): void {
    this.#closed = true;
    for (const entry of [...this.#entries.values()]) this.#forget(entry, 'the proxy is stopping');
  }

  /** By identity. */
  statuses(): CertificateStatus[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#entries.values()]
      .sort((a, b) => (a.uri < b.uri ? -1 : 1))
      .map(({ id, certificate, failure }) => {
        const valid = certificate !== undefined && certificate.notAfterMs > nowMs ? certificate : undefined;
        const unavailable = failure === undefined ? 'Initializing' : (`Unavailable: ${failure.message}` as const);
        return { identity: id, state: valid !== undefined ? 'Available' : unavailable, certificate: valid };
      });
  }

  #forget(entry: Entry, why: string): void {
    this.#entries.delete(entry.uri);
    entry.timer?.cancel();
    this.#unqueue(entry);
    entry.running?.abort();
    this.#reject(entry, new CertificateError(entry.id, why));
  }

  #unqueue(entry: Entry): void {
    if (entry.queued === undefined) return;
    const queue = this.#queues[entry.queued] as Entry[];
    queue.splice(queue.indexOf(entry), 1);
    entry.queued = undefined;
  }

  /** Puts an entry in the queue, or forward in it when it waits there with less haste. */
  #enqueue(entry: Entry, priority: CertificatePriority): void {
    const rank = RANK[priority];
    if (entry.running !== undefined || (entry.queued !== undefined && entry.queued <= rank)) return;
    this.#unqueue(entry);
    entry.timer?.cancel();
    entry.timer = undefined;
    entry.queued = rank;
    (this.#queues[rank] as Entry[]).push(entry);
    this.#pump();
  }

  #pump(): void {
    while (this.#running < MAX_PARALLEL) {
      const entry = this.#queues.find((queue) => queue.length > 0)?.shift();
      if (entry === undefined) return;
      entry.queued = undefined;
      void this.#attempt(entry);
    }
  }

  /** Never rejects. */
  async #attempt(entry: Entry): Promise<void> {
    const running = new AbortController();
    entry.running = running;
    this.#running++;
    let certificate: WorkloadCertificate | undefined;
    let failure: unknown;
    try {
      certificate = await this.#source.fetch(entry.id, running.signal);
    } catch (error) {
      failure = error;
    }
    this.#running--;
    entry.running = undefined;
    if (this.#entries.get(entry.uri) === entry) {
      if (certificate !== undefined) this.#succeeded(entry, certificate);
      else this.#failed(entry, failure);
    }
    this.#pump();
  }

  #succeeded(entry: Entry, certificate: WorkloadCertificate): void {
    const nowMs = this.#clock.nowMs();
    entry.certificate = certificate;
    entry.failure = undefined;
    entry.backoffMs = FIRST_BACKOFF_MS;
    this.#schedule(entry, refreshDelayMs(certificate, nowMs));
    const seconds = Math.round((certificate.notAfterMs - nowMs) / 1000);
    log.info('certificate obtained', { identity: entry.uri, valid_seconds: seconds });
    for (const listener of this.#listeners) {
      try {
        listener(certificate);
      } catch (error) {
        log.error('a listener for certificates failed', { error: error as Error });
      }
    }
    for (const waiter of entry.waiters.splice(0)) waiter.resolve(certificate);
  }

  #failed(entry: Entry, cause: unknown): void {
    const nowMs = this.#clock.nowMs();
    const waitMs = entry.backoffMs * (1 - JITTER + 2 * JITTER * this.#random());
    entry.backoffMs = Math.min(MAX_BACKOFF_MS, 2 * entry.backoffMs);
    const left = (entry.certificate?.notAfterMs ?? 0) - nowMs;
    const error = new CertificateError(entry.id, `identity error: ${describeFailure(cause)}`, { cause });
    entry.failure = error;
    // A certificate that is still good must not end before the next try.
    const nextMs = left > 0 ? Math.min(waitMs, left) : waitMs;
    this.#schedule(entry, nextMs);
    const fields = { identity: entry.uri, error, retry_ms: Math.round(nextMs), still_valid: left > 0 };
    log.warn('certificate not obtained', fields);
    if (left <= 0) this.#reject(entry, error);
    else for (const waiter of entry.waiters.splice(0)) waiter.resolve(entry.certificate as WorkloadCertificate);
  }

  #reject(entry: Entry, error: CertificateError): void {
    for (const waiter of entry.waiters.splice(0)) waiter.reject(error);
  }

  #schedule(entry: Entry, delayMs: number): void {
    entry.timer?.cancel();
    entry.timer = this.#clock.after(Math.min(delayMs, MAX_TIMER_MS), () => {
      entry.timer = undefined;
      if (delayMs > MAX_TIMER_MS) this.#schedule(entry, delayMs - MAX_TIMER_MS);
      else this.#enqueue(entry, isValid(entry, this.#clock.nowMs()) ? 'background' : 'warmup');
    });
  }
}

const isValid = (entry: Entry, nowMs: number): boolean => (entry.certificate?.notAfterMs ?? 0) > nowMs;

const newEntry = (id: SpiffeId, uri: string): Entry => ({
  id,
  uri,
  certificate: undefined,
  failure: undefined,
  backoffMs: FIRST_BACKOFF_MS,
  waiters: [],
  timer: undefined,
  queued: undefined,
  running: undefined,
});
