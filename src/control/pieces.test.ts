// The small parts that keep time or count: pushes, new streams, retries, settings.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../platform/clock.ts';
import { PushClock } from './ads/push-clock.ts';
import { RateLimit } from './ads/rate-limit.ts';
import { durationSeconds, readConfig } from './config.ts';
import { WorkQueue } from './work-queue.ts';

const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('a single change is pushed at once', () => {
  const clock = new ManualClock(0);
  const at: number[] = [];
  const pushes = new PushClock(clock, () => at.push(clock.nowMs()));
  pushes.request();
  clock.advance(0);
  assert.deepEqual(at, [0]);
  clock.advance(500);
  pushes.request();
  clock.advance(0);
  assert.deepEqual(at, [0, 500]);
});

test('a long burst is gathered, ever more patiently, and nothing waits longer than 100 ms', () => {
  const clock = new ManualClock(0);
  const at: number[] = [];
  const pushes = new PushClock(clock, () => at.push(clock.nowMs()));
  for (let ms = 0; ms < 1000; ms++) {
    pushes.request();
    clock.advance(1);
  }
  clock.advance(200);
  const gaps = at.slice(1).map((time, i) => time - (at[i] as number));
  assert.equal(at[0], 0);
  assert.ok(at.length >= 10 && at.length <= 16, `${at.length} pushes`);
  assert.ok(Math.max(...gaps) <= 100, `gaps ${gaps.join(' ')}`);
  assert.ok((at.at(-1) as number) >= 999, 'the last change is pushed too');
  clock.advance(1000);
  pushes.request();
  clock.advance(0);
  assert.equal(at.at(-1), clock.nowMs(), 'after a quiet time at once again');
});

test('a stopped push clock does nothing more', () => {
  const clock = new ManualClock(0);
  let count = 0;
  const pushes = new PushClock(clock, () => count++);
  pushes.request();
  pushes.stop();
  clock.advance(1000);
  assert.equal(count, 0);
});

test('new streams: a second of them at once, then at the rate', () => {
  const clock = new ManualClock(0);
  const limit = new RateLimit(10, clock);
  const taken = (): number => Array.from({ length: 50 }, () => limit.take()).filter(Boolean).length;
  assert.equal(taken(), 10);
  clock.advance(500);
  assert.equal(taken(), 5);
  clock.advance(60_000);
  assert.equal(taken(), 10);
});

test('work: once for a key that was asked for twice, again with growing pauses when it fails', async () => {
  const clock = new ManualClock(0);
  const stop = new AbortController();
  const ran: string[] = [];
  let broken = true;
  const queue = new WorkQueue(
    async (key) => {
      ran.push(`${key}@${clock.nowMs()}`);
      if (key === 'bad' && broken) throw new Error('no');
    },
    { clock, concurrency: 1, signal: stop.signal, onError: () => {} },
  );
  for (const key of ['a', 'bad', 'b', 'b']) queue.add(key);
  await settle();
  assert.deepEqual(ran, ['a@0', 'bad@0', 'b@0']);
  for (const ms of [250, 500, 1000]) {
    clock.advance(ms);
    await settle();
  }
  assert.deepEqual(ran.slice(3), ['bad@250', 'bad@750', 'bad@1750']);
  broken = false;
  queue.add('bad');
  await settle();
  assert.equal(ran.at(-1), 'bad@1750', 'a change cuts the pause short');
  clock.advance(100_000);
  await settle();
  assert.equal(ran.length, 7, 'and success ends the retries');
  stop.abort();
  queue.add('a');
  await settle();
  assert.equal(ran.length, 7);
  assert.equal(clock.waiting, 0);
});

test('work runs a few keys at a time', async () => {
  const stop = new AbortController();
  const finish: (() => void)[] = [];
  const queue = new WorkQueue(() => new Promise<void>((resolve) => finish.push(resolve)), {
    clock: new ManualClock(0),
    concurrency: 2,
    signal: stop.signal,
    onError: () => {},
  });
  for (const key of ['a', 'b', 'c']) queue.add(key);
  await settle();
  assert.equal(finish.length, 2);
  finish[0]?.();
  await settle();
  assert.equal(finish.length, 3);
});

test('settings: defaults, and every problem at once', () => {
  const plain = readConfig({}, {}, 4, 'host');
  assert.ok(plain.ok);
  assert.deepEqual(plain.value.listen, {
    grpc: { host: '::', port: 15012 },
    http: { host: '::', port: 8080 },
    metrics: { host: '::', port: 15014 },
  });
  assert.deepEqual([...plain.value.ca.trustedNodeAccounts], ['istio-system/ztunnel']);
  assert.equal(plain.value.discovery.maxNewStreams, 35);
  const set = readConfig(
    { secureGRPCAddr: '127.0.0.1:1', httpAddr: '[::1]:2', domain: 'c.local' },
    {
      POD_NAMESPACE: 'mesh',
      DEFAULT_WORKLOAD_CERT_TTL: '90m',
      TOKEN_AUDIENCES: 'a, b',
      PILOT_ENABLE_XDS_IDENTITY_CHECK: 'f',
    },
    1,
    'host',
  );
  assert.ok(set.ok);
  assert.deepEqual(set.value.listen.grpc, { host: '127.0.0.1', port: 1 });
  assert.deepEqual(set.value.listen.http, { host: '::1', port: 2 });
  assert.equal(set.value.ca.defaultTtlSeconds, 5400);
  assert.deepEqual(set.value.ca.audiences, ['a', 'b']);
  assert.equal(set.value.discovery.checkIdentity, false);
  assert.deepEqual([...set.value.ca.trustedNodeAccounts], ['mesh/ztunnel']);
  const wrong = readConfig(
    { httpAddr: 'x:99999' },
    {
      CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: '512',
      MAX_WORKLOAD_CERT_TTL: '1h',
      LOG_FORMAT: 'xml',
      PILOT_MAX_REQUESTS_PER_SECOND: '-1',
    },
    1,
    'host',
  );
  assert.ok(!wrong.ok);
  assert.equal(wrong.error.length, 5, wrong.error.join('\n'));
});

test('durations as Go writes them', () => {
  assert.deepEqual(['24h', '1h30m', '10s', '1500ms', '24h0m0s'].map(durationSeconds), [86_400, 5400, 10, 1, 86_400]);
  assert.deepEqual(['', '5', 'h', '1d', '-1s'].map(durationSeconds), Array(5).fill(undefined));
});
