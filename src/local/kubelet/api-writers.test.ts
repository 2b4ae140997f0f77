// What the kubelet writes to the API: statuses, events, tokens.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { EVENTS, PODS, SERVICE_ACCOUNT_TOKENS } from '../../kube/client/resources.ts';
import { KubeError } from '../../kube/client/types.ts';
import { MemoryKubeClient } from '../../kube/testing/memory-client.ts';
import { ManualClock } from '../../platform/clock.ts';
import { EventRecorder } from './events.ts';
import { StatusWriter } from './status-writer.ts';
import { PodTokens } from './tokens.ts';
import type { Pod, PodStatus } from './types.ts';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'n', uid: 'u' },
  spec: { containers: [{ name: 'a' }] },
};

const withPod = (): MemoryKubeClient => {
  const client = new MemoryKubeClient();
  client.put(PODS, structuredClone(pod));
  return client;
};
const patches = (client: MemoryKubeClient): number => client.requests.filter(({ verb }) => verb === 'patch').length;

test('a burst of changes is one write, the same status again is none', async () => {
  const client = withPod();
  let status: PodStatus = { phase: 'Pending' };
  const writer = new StatusWriter(client, () => ({ pod, status }));
  for (let i = 0; i < 5; i++) writer.changed();
  status = { phase: 'Running' };
  await writer.settled;
  assert.equal(patches(client), 1);
  assert.equal((await client.get(PODS, 'p', 'n'))?.status?.phase, 'Running');
  writer.changed();
  await writer.settled;
  assert.equal(patches(client), 1);
});

test('what no longer holds is taken away', async () => {
  const client = withPod();
  const before: Pod = { ...pod, status: { phase: 'Pending', podIP: '1.2.3.4', qosClass: 'Burstable' } };
  client.put(PODS, structuredClone(before));
  const writer = new StatusWriter(client, () => ({ pod: before, status: { phase: 'Pending', reason: 'X' } }));
  writer.changed();
  await writer.settled;
  const { podIP, qosClass, reason } = (await client.get(PODS, 'p', 'n'))?.status ?? {};
  assert.deepEqual({ podIP, qosClass, reason }, { podIP: undefined, qosClass: 'Burstable', reason: 'X' });
});

test('while the API is away it is tried again, with the latest status; a pod that is gone is given up', async () => {
  const client = withPod();
  let away = 2;
  client.onRequest = ({ verb }) => {
    if (verb === 'patch' && away-- > 0) throw new Error('connection refused');
  };
  let status: PodStatus = { phase: 'Pending' };
  const writer = new StatusWriter(client, () => ({ pod, status }));
  writer.changed();
  await delay(20);
  status = { phase: 'Running' };
  await writer.settled;
  assert.equal((await client.get(PODS, 'p', 'n'))?.status?.phase, 'Running');
  client.remove(PODS, 'p', 'n');
  status = { phase: 'Failed' };
  writer.changed();
  await writer.settled;
  const before = patches(client);
  await delay(80);
  assert.equal(patches(client), before);
});

test('the same event again is counted, another is written, a broken API is no fault', async () => {
  const client = new MemoryKubeClient();
  const recorder = new EventRecorder(client, 'node-1');
  recorder.record(pod, 'Warning', 'BackOff', 'again', 'a');
  recorder.record(pod, 'Warning', 'BackOff', 'again', 'a');
  recorder.record(pod, 'Warning', 'Unhealthy', 'other', 'a');
  await delay(60);
  const { items } = await client.list(EVENTS, { namespace: 'n' });
  assert.deepEqual(items.map(({ reason, count }) => `${reason} ${count}`).sort(), ['BackOff 2', 'Unhealthy 1']);
  assert.equal(items[0]?.involvedObject.fieldPath, 'spec.containers{a}');
  client.onRequest = () => {
    throw new KubeError(503, 'ServiceUnavailable', 'away');
  };
  recorder.record(pod, 'Warning', 'X', 'lost');
  await delay(60);
});

test('a token is asked for once, bound to the pod, and again when most of its life is over', async () => {
  const client = new MemoryKubeClient();
  const clock = new ManualClock(Date.parse('2026-05-04T00:00:00Z'));
  const asked: unknown[] = [];
  client.answer(SERVICE_ACCOUNT_TOKENS, (object) => {
    asked.push((object as { spec?: unknown }).spec);
    if (asked.length === 2) throw new KubeError(503, 'ServiceUnavailable', 'away');
    const expirationTimestamp = new Date(clock.nowMs() + 3_600_000).toISOString();
    return { ...object, status: { token: `token ${asked.length}`, expirationTimestamp } } as typeof object;
  });
  let renewed = 0;
  const tokens = new PodTokens({ client, clock, pod: () => pod, onRenewed: () => renewed++ });
  const wish = { audience: 'istio-ca', expirationSeconds: 3600 };
  await tokens.fetch([wish]);
  await tokens.fetch([wish]);
  assert.equal(tokens.get(wish), 'token 1');
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u' };
  assert.deepEqual(asked, [{ audiences: ['istio-ca'], expirationSeconds: 3600, boundObjectRef }]);
  clock.advance(0.8 * 3_600_000);
  await delay(5);
  assert.equal(tokens.get(wish), 'token 1', 'the first try failed, the old one still holds');
  clock.advance(10_000);
  await delay(5);
  assert.deepEqual([tokens.get(wish), renewed], ['token 3', 1]);
  tokens.close();
  assert.equal(clock.waiting, 0);
});
