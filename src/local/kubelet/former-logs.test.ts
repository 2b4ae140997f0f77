import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formerLogLines, keepFormerLogs } from './former-logs.ts';
import { ContainerLog } from './logs.ts';
import type { Pod } from './types.ts';

test('the last three pods of a part are remembered, oldest first; of other parts and nodes nothing is mixed in', (t) => {
  const state = mkdtempSync(join(tmpdir(), 'ambit-former-'));
  t.after(() => rmSync(state, { recursive: true }));
  for (const [i, node] of ['node-1', 'node-1', 'node-2', 'node-1', 'node-1'].entries()) {
    const folder = join(state, 'logs', 'pods', `pod-${i}`);
    for (const attempt of [0, 1]) {
      const log = new ContainerLog(join(folder, 'istio-proxy', `${attempt}.log`));
      log.push('stdout', Buffer.from(`first\npod ${i} start ${attempt}\n`));
      log.end();
    }
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `pod-${i}`, labels: { app: 'ztunnel' } },
    };
    keepFormerLogs(folder, pod, state, node, 1_000 + i);
    assert.equal(existsSync(folder), false);
  }
  const lines = (node: string, part = 'ztunnel'): readonly string[] =>
    formerLogLines(state, node, part, 'istio-proxy', 1);
  assert.deepEqual(
    lines('node-1'),
    [1, 3, 4].flatMap((i) => [`pod ${i} start 0`, `pod ${i} start 1`]),
  );
  assert.deepEqual(lines('node-2'), ['pod 2 start 0', 'pod 2 start 1']);
  assert.deepEqual([lines('node-3'), lines('node-1', 'istiod')], [[], []]);
  assert.equal(readdirSync(join(state, 'logs/former/node-1/ztunnel')).length, 3);
});

test('a pod that never logged leaves nothing', (t) => {
  const state = mkdtempSync(join(tmpdir(), 'ambit-former-'));
  t.after(() => rmSync(state, { recursive: true }));
  keepFormerLogs(
    join(state, 'nothing'),
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } },
    state,
    'node-1',
    1,
  );
  assert.deepEqual(formerLogLines(state, 'node-1', 'other', 'c', 10), []);
});
