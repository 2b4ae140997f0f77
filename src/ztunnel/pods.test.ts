import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Certificates, WorkloadCertificate } from '../dataplane/identity/workload-certificate.ts';
import type { SpiffeId } from '../model/identity.ts';
import { workload } from '../model/testing/builders.ts';
import type { Workload } from '../model/workload.ts';
import type { Netns } from '../platform/linux/netns.ts';
import type { MeshState, Telemetry } from './contracts.ts';
import { Pods, type RunningPod } from './pods.ts';

function running() {
  let policy = (): void => assert.fail();
  let changed = (_now: Workload | undefined, _before: Workload | undefined): void => assert.fail();
  let rotate = (_certificate: WorkloadCertificate): void => assert.fail();
  let subscribed = 0;
  const rechecked: string[] = [];
  const rotated: string[] = [];
  const counts: number[] = [];
  const subscribe = (): (() => void) => {
    subscribed += 1;
    return () => {
      subscribed -= 1;
    };
  };
  const pods = new Pods({
    make: (uid, pod, netns): RunningPod => ({
      uid,
      pod,
      netns,
      start: async () => {},
      recheck: () => void rechecked.push(uid),
      rotated: (id: SpiffeId) => void rotated.push(`${uid} ${id.serviceAccount}`),
      drain: async () => 1,
      stop() {},
      state: () => ({ uid, state: 'Up', info: pod, inbound: [], outbound: [] }),
    }),
    state: {
      onPolicyChange(listener) {
        policy = listener;
        return subscribe();
      },
      onWorkloadChange(listener) {
        changed = listener;
        return subscribe();
      },
    } as MeshState,
    certificates: {
      onRotate(listener) {
        rotate = listener;
        return subscribe();
      },
    } as Certificates,
    telemetry: {
      proxyStarted() {},
      proxyStopped() {},
      activeProxies: (count: number) => void counts.push(count),
    } as unknown as Telemetry,
  });
  const add = (name: string): Promise<void> =>
    pods.start(name, { name, namespace: 'shop', serviceAccount: name }, undefined as unknown as Netns);
  return {
    pods,
    add,
    rechecked,
    rotated,
    counts,
    subscribed: () => subscribed,
    policy: () => policy(),
    changed: (now: Workload | undefined, before: Workload | undefined) => changed(now, before),
    rotate: (certificate: WorkloadCertificate) => rotate(certificate),
  };
}

test('a policy change is one look at every pod, however many changes a batch holds', async () => {
  const r = running();
  await r.add('a');
  await r.add('b');
  for (let i = 0; i < 100; i++) r.policy();
  await turn();
  assert.deepEqual(r.rechecked, ['a', 'b']);
});

test('a changed list of policies concerns its own pod, a changed identity everybody, anything else nobody', async () => {
  const r = running();
  await r.add('a');
  await r.add('b');
  const before = workload('a', { authorizationPolicies: ['shop/one'] });
  r.changed(workload('a', { authorizationPolicies: ['shop/one'], capacity: 7 }), before);
  r.changed(workload('a'), undefined);
  r.changed(undefined, before);
  await turn();
  assert.deepEqual(r.rechecked, []);
  r.changed(workload('a', { authorizationPolicies: ['shop/two'] }), before);
  await turn();
  assert.deepEqual(r.rechecked, ['a']);
  r.changed(workload('elsewhere', { trustDomain: 'new' }), workload('elsewhere'));
  await turn();
  assert.deepEqual(r.rechecked, ['a', 'a', 'b']);
});

test('a rotated certificate is told to every pod', async () => {
  const r = running();
  await r.add('a');
  r.rotate({ identity: { trustDomain: 't', namespace: 'n', serviceAccount: 's' } } as WorkloadCertificate);
  assert.deepEqual(r.rotated, ['a s']);
});

test('draining ends all pods, leaves no subscription, and counts what was cut', async () => {
  const r = running();
  await r.add('a');
  await r.add('b');
  assert.equal(await r.pods.drain(new AbortController().signal), 2);
  assert.equal(r.subscribed(), 0);
  assert.deepEqual(r.pods.uids(), []);
  assert.deepEqual(r.counts, [1, 2]);
});
