import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goDuration, MESH_PARTS, RestartBackoff, RetryBackoff } from './backoff.ts';

test('a container that keeps ending waits 0, 10, 20 … 300 seconds', () => {
  const backoff = new RestartBackoff();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    waits.push(backoff.delayAfter(0, 1000) / 1000);
    backoff.restarted();
  }
  assert.deepEqual(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
});

test('ten good minutes are a new beginning', () => {
  const backoff = new RestartBackoff();
  for (let i = 0; i < 4; i++) backoff.restarted();
  assert.equal(backoff.delayAfter(0, 600_001), 0);
});

test('parts of the mesh are back within seconds, however often they end', () => {
  const backoff = new RestartBackoff(MESH_PARTS);
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    waits.push(backoff.delayAfter(0, 1000) / 1000);
    backoff.restarted();
  }
  assert.deepEqual(waits, [0, 0.5, 1, 2, 4, 4]);
  assert.equal(backoff.delayAfter(0, 30_001), 0);
});

test('retries double up to their bound', () => {
  const retry = new RetryBackoff(10, 35);
  assert.deepEqual([retry.next(), retry.next(), retry.next(), retry.next()], [10, 20, 35, 35]);
});

for (const [ms, text] of [
  [500, '500ms'],
  [10_000, '10s'],
  [80_000, '1m20s'],
  [300_000, '5m0s'],
] as const)
  test(`${ms} ms are written ${text}`, () => assert.equal(goDuration(ms), text));
