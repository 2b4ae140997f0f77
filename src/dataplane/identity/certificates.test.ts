// The cache under a manual clock with a source that answers when the test says so.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { ManualClock } from '../../platform/clock.ts';
import { configureLogging } from '../../telemetry/log.ts';
import { CertificateCache, refreshDelayMs } from './certificates.ts';
import { CertificateError, type WorkloadCertificate } from './workload-certificate.ts';

configureLogging({ filter: 'off' });

const HOUR = 3_600_000;
const named = (serviceAccount: string): SpiffeId => ({
  trustDomain: 'cluster.local',
  namespace: 'shop',
  serviceAccount,
});
const order = named('order');

let clock: ManualClock;
let asked: { id: SpiffeId; resolve(ttlMs?: number): void; reject(error: Error): void; signal: AbortSignal }[];
let cache: CertificateCache;

const certificate = (identity: SpiffeId, ttlMs: number): WorkloadCertificate => ({
  identity,
  certificateChainPem: `chain ${clock.nowMs()}`,
  privateKeyPem: 'key',
  rootsPem: 'roots',
  notBeforeMs: clock.nowMs(),
  notAfterMs: clock.nowMs() + ttlMs,
});

beforeEach(() => {
  clock = new ManualClock(1_000_000_000);
  asked = [];
  const source = {
    fetch: (id: SpiffeId, signal: AbortSignal) =>
      new Promise<WorkloadCertificate>((resolve, reject) => {
        asked.push({ id, signal, resolve: (ttlMs = 24 * HOUR) => resolve(certificate(id, ttlMs)), reject });
      }),
  };
  cache = new CertificateCache(source, clock, () => 0.5);
});

/** Lets promises run. */
const settle = (): Promise<void> => new Promise((r) => setImmediate(r));
/** Certificates of any lifetime: the next request is answered with one. */
async function answer(ttlMs?: number): Promise<void> {
  asked.shift()?.resolve(ttlMs);
  await settle();
}
async function refuse(message = 'no'): Promise<void> {
  asked.shift()?.reject(new Error(message));
  await settle();
}
const states = (): Record<string, string> =>
  Object.fromEntries(cache.statuses().map((s) => [s.identity.serviceAccount, s.state]));

test('callers of one identity share one request and then the cache', async () => {
  const both = Promise.all([cache.forIdentity(order, 'realTime'), cache.forIdentity(order, 'warmup')]);
  assert.equal(asked.length, 1);
  assert.deepEqual(states(), { order: 'Initializing' });
  assert.equal(cache.current(order), undefined);
  await answer();
  const [a, b] = await both;
  assert.equal(a, b);
  assert.equal(cache.current(order), a);
  assert.equal(await cache.forIdentity(order, 'realTime'), a);
  assert.equal(asked.length, 0);
  assert.deepEqual(states(), { order: 'Available' });
});

test('renewed at half of its life; listeners and callers get the new one, the old stays until then', async () => {
  const rotated: (WorkloadCertificate | undefined)[] = [];
  cache.onRotate(() => rotated.push(cache.current(order)));
  const first = cache.forIdentity(order, 'realTime');
  await answer(24 * HOUR);
  const old = await first;
  clock.advance(12 * HOUR - 1);
  assert.equal(asked.length, 0);
  clock.advance(1);
  assert.equal(asked.length, 1);
  assert.equal(cache.current(order), old);
  await answer(24 * HOUR);
  const renewed = cache.current(order);
  assert.notEqual(renewed, old);
  assert.deepEqual(rotated, [old, renewed]);
  clock.advance(12 * HOUR);
  assert.equal(asked.length, 1, 'and again at half of the new life');
});

test('a failed renewal: the valid certificate goes on, retries come with growing waits, never after its end', async () => {
  const first = cache.forIdentity(order, 'realTime');
  await answer(10_000);
  const old = await first;
  clock.advance(5_000);
  const waits: number[] = [];
  for (let i = 0; i < 3; i++) {
    await refuse();
    assert.equal(cache.current(order), i < 3 ? old : undefined);
    assert.deepEqual(states(), { order: 'Available' });
    assert.equal(await cache.forIdentity(order, 'realTime'), old);
    const from = clock.nowMs();
    while (asked.length === 0) clock.advance(1);
    waits.push(clock.nowMs() - from);
  }
  assert.deepEqual(waits, [1000, 2000, 2000], '1 s, 2 s, and what is left of 4 s');
  assert.equal(clock.nowMs(), old.notAfterMs);
  await refuse('still no');
  assert.equal(cache.current(order), undefined);
  assert.deepEqual(states(), { order: 'Unavailable: identity error: still no' });
  await assert.rejects(cache.forIdentity(order, 'realTime'), /still no/);
});

test('a failure without certificate: waiting callers and later ones get it at once, a retry brings the certificate', async () => {
  const waiting = Promise.allSettled([cache.forIdentity(order, 'realTime'), cache.forIdentity(order, 'realTime')]);
  await refuse('Unauthenticated');
  for (const result of await waiting) {
    assert.equal(result.status, 'rejected');
    assert.ok(result.reason instanceof CertificateError);
    assert.deepEqual(result.reason.identity, order);
    assert.match(result.reason.message, /^identity error: Unauthenticated$/);
  }
  await assert.rejects(cache.forIdentity(order, 'realTime'), /Unauthenticated/);
  assert.equal(asked.length, 0, 'callers do not make it ask more often');
  clock.advance(1000);
  await answer();
  assert.notEqual(cache.current(order), undefined);
  assert.deepEqual(states(), { order: 'Available' });
});

test('waits between failures double from 1 s to 150 s, jittered by a fifth, and begin anew after a success', async () => {
  let random = 0.5;
  const jittered = new CertificateCache(
    {
      fetch: (id, signal) =>
        new Promise((resolve, reject) =>
          asked.push({ id, signal, resolve: (ttl = HOUR) => resolve(certificate(id, ttl)), reject }),
        ),
    },
    clock,
    () => random,
  );
  jittered.prefetch(order);
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    random = i === 0 ? 0 : i === 1 ? 1 : 0.5;
    await refuse();
    const from = clock.nowMs();
    while (asked.length === 0) clock.advance(1);
    waits.push(clock.nowMs() - from);
  }
  assert.deepEqual(waits, [800, 2400, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000]);
  await answer(2 * HOUR);
  clock.advance(HOUR);
  random = 0.5;
  await refuse();
  const from = clock.nowMs();
  while (asked.length === 0) clock.advance(1);
  assert.equal(clock.nowMs() - from, 1000);
});

test('at most 8 requests at a time; who waits comes before prefetches, those before renewals', async () => {
  for (let i = 0; i < 8; i++) cache.prefetch(named(`busy-${i}`));
  cache.prefetch(named('warm-1'));
  cache.prefetch(named('warm-2'));
  void cache.forIdentity(named('now-1'), 'background').catch(() => {});
  void cache.forIdentity(named('now-2'), 'realTime').catch(() => {});
  void cache.forIdentity(named('warm-2'), 'realTime').catch(() => {});
  assert.equal(asked.length, 8);
  const order: string[] = [];
  for (let i = 0; i < 8; i++) await answer();
  while (asked.length > 0) {
    order.push(asked[0]?.id.serviceAccount ?? '');
    await answer();
  }
  assert.deepEqual(order, ['now-2', 'warm-2', 'warm-1', 'now-1']);
});

test('dropped with its last workload: the request ends, waiting callers are told, nothing is renewed any more', async () => {
  const waiting = cache.forIdentity(order, 'realTime');
  const [request] = asked;
  cache.drop(order);
  await assert.rejects(waiting, /no longer needed/);
  assert.equal(request?.signal.aborted, true);
  await answer();
  assert.equal(cache.current(order), undefined);
  assert.deepEqual(cache.statuses(), []);
  assert.equal(clock.waiting, 0);
});

test('an end of validity that nobody noticed (the machine slept) is noticed when the certificate is wanted', async () => {
  const sleepy = new (class extends ManualClock {
    slept = 0;
    override nowMs(): number {
      return super.nowMs() + this.slept;
    }
  })(clock.nowMs());
  const late = new CertificateCache(
    {
      fetch: (id, signal) =>
        new Promise((resolve, reject) =>
          asked.push({
            id,
            signal,
            resolve: () =>
              resolve({ ...certificate(id, HOUR), notBeforeMs: sleepy.nowMs(), notAfterMs: sleepy.nowMs() + HOUR }),
            reject,
          }),
        ),
    },
    sleepy,
  );
  late.prefetch(order);
  await answer();
  assert.notEqual(late.current(order), undefined);
  sleepy.slept = 2 * HOUR;
  assert.equal(late.current(order), undefined);
  const fresh = late.forIdentity(order, 'realTime');
  await answer();
  assert.equal((await fresh).notAfterMs, sleepy.nowMs() + HOUR);
});

test('closing tells who waits and takes no more', async () => {
  const waiting = cache.forIdentity(order, 'realTime');
  cache.close();
  await assert.rejects(waiting, /stopping/);
  await assert.rejects(cache.forIdentity(order, 'realTime'), /stopping/);
});

const at = (notBeforeMs: number, notAfterMs: number): WorkloadCertificate => ({
  ...certificate(order, 0),
  notBeforeMs,
  notAfterMs,
});
for (const c of [
  { name: 'a day, begun two minutes ago', certificate: () => at(-120_000, 86_400_000), wanted: 43_140_000 },
  { name: 'half over on arrival', certificate: () => at(-120_000, 60_000), wanted: 30_000 },
  { name: 'nearly over', certificate: () => at(-120_000, 500), wanted: 1000 },
])
  test(`renewal time: ${c.name}`, () => assert.equal(refreshDelayMs(c.certificate(), 0), c.wanted));

test('a life of months is renewed at its half although timers cannot wait that long', async () => {
  cache.prefetch(order);
  await answer(90 * 24 * HOUR);
  clock.advance(44 * 24 * HOUR);
  assert.equal(asked.length, 0);
  clock.advance(24 * HOUR);
  assert.equal(asked.length, 1);
});

test('nothing of a key is in the statuses beyond the certificate itself', async () => {
  cache.prefetch(order);
  await answer();
  const [status] = cache.statuses();
  assert.deepEqual(Object.keys(status ?? {}), ['identity', 'state', 'certificate']);
  assert.equal(formatSpiffeId(status?.identity ?? named('')), formatSpiffeId(order));
});
