import assert from 'node:assert/strict';
import { PerformanceObserver } from 'node:perf_hooks';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { countPassed, giveBackMemory } from './garbage.ts';

test('buffers that pass are collected in time, and gc is not left lying about', async () => {
  let before = 0;
  let most = 0;
  for (let i = 0; i < 4_000; i++) {
    if (i === 1_000) before = process.memoryUsage().arrayBuffers;
    countPassed(Buffer.allocUnsafeSlow(65_536).length);
    if (i % 50 === 0) {
      await turn();
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
  }
  assert.ok(most < 48 << 20, `${most} bytes lay about of 250 MiB that passed`);
  assert.ok(before < 48 << 20);
  assert.equal(globalThis.gc, undefined);
});

test('nothing is collected for what a request weighs', async () => {
  const seen: string[] = [];
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries().map(({ name }) => name)));
  observer.observe({ entryTypes: ['gc'] });
  for (let i = 0; i < 1_000; i++) countPassed(500);
  await turn();
  observer.disconnect();
  assert.ok(seen.length <= 1, `${seen.length} collections for 1,000 requests`);
});

test('what is dead is given back when asked', () => {
  let dead: unknown[] = Array.from({ length: 200_000 }, (_, i) => ({ i, text: `entry ${i}` }));
  const { heapUsed } = process.memoryUsage();
  assert.equal(dead.length, 200_000);
  dead = [];
  giveBackMemory();
  assert.ok(process.memoryUsage().heapUsed < heapUsed - (5 << 20));
  assert.equal(globalThis.gc, undefined);
});
