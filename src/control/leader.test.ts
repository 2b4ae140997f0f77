import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEASES } from '../kube/client/resources.ts';
import { KubeError } from '../kube/client/types.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import { ManualClock } from '../platform/clock.ts';
import { configureLogging } from '../telemetry/log.ts';
import { electLeader } from './leader.ts';

configureLogging({ filter: 'off' });

/** Lets promises settle between steps of the clock. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

function candidate(kube: MemoryKubeClient, clock: ManualClock, identity: string) {
  const stop = new AbortController();
  const terms: AbortSignal[] = [];
  const done = electLeader({
    kube,
    clock,
    namespace: 'istio-system',
    leaseName: 'istio-leader',
    identity,
    signal: stop.signal,
    lead: (signal) => terms.push(signal),
  });
  return {
    terms,
    leads: () => terms.some((signal) => !signal.aborted),
    async stop() {
      stop.abort();
      await settle();
      clock.advance(0);
      await done;
    },
  };
}
async function pass(clock: ManualClock, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    clock.advance(1000);
    await settle();
  }
}
const holder = async (kube: MemoryKubeClient): Promise<string | undefined> =>
  (await kube.get(LEASES, 'istio-leader', 'istio-system'))?.spec?.holderIdentity;

test('the first leads at once, the second waits and takes over when the first leaves', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  const a = candidate(kube, clock, 'a');
  await settle();
  const b = candidate(kube, clock, 'b');
  await pass(clock, 60);
  assert.deepEqual([a.leads(), b.leads(), a.terms.length], [true, false, 1]);
  await a.stop();
  await pass(clock, 5);
  assert.deepEqual([a.leads(), b.leads(), await holder(kube)], [false, true, 'b']);
  await b.stop();
});

test('a leader that is gone without a word is succeeded after the life of its lease, not before', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  kube.put(LEASES, {
    metadata: { name: 'istio-leader', namespace: 'istio-system' },
    // Its clock is hours ahead of ours: that must not matter.
    spec: {
      holderIdentity: 'dead',
      leaseDurationSeconds: 15,
      renewTime: '2030-01-01T00:00:00.000000Z',
      leaseTransitions: 4,
    },
  });
  const b = candidate(kube, clock, 'b');
  await pass(clock, 14);
  assert.equal(b.leads(), false);
  await pass(clock, 4);
  assert.equal(b.leads(), true);
  assert.equal((await kube.get(LEASES, 'istio-leader', 'istio-system'))?.spec?.leaseTransitions, 5);
  await b.stop();
});

test('a leader that cannot renew stops before another may start', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  const a = candidate(kube, clock, 'a');
  await settle();
  assert.equal(a.leads(), true);
  kube.onRequest = () => {
    throw new Error('the API is away');
  };
  await pass(clock, 4);
  assert.equal(a.leads(), true, 'a moment does not matter');
  await pass(clock, 10);
  assert.equal(a.leads(), false);
  kube.onRequest = () => {};
  await pass(clock, 5);
  assert.equal(a.leads(), true, 'and leads again when the API is back');
  assert.equal(a.terms.length, 2);
  await a.stop();
});

test('a lease that another took over meanwhile ends the term', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  const a = candidate(kube, clock, 'a');
  await settle();
  const lease = await kube.get(LEASES, 'istio-leader', 'istio-system');
  assert.ok(lease);
  await kube.update(LEASES, { ...lease, spec: { ...lease.spec, holderIdentity: 'thief' } });
  await pass(clock, 6);
  assert.equal(a.leads(), false);
  await a.stop();
});

test('of two that start together one leads', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  const both = [candidate(kube, clock, 'a'), candidate(kube, clock, 'b')];
  await pass(clock, 10);
  assert.equal(both.filter((each) => each.leads()).length, 1);
  for (const each of both) await each.stop();
});

test('without permission nobody leads, and nothing breaks', async () => {
  const kube = new MemoryKubeClient();
  const clock = new ManualClock(1_000_000);
  kube.onRequest = () => {
    throw new KubeError(403, 'Forbidden', 'no');
  };
  const a = candidate(kube, clock, 'a');
  await pass(clock, 5);
  assert.equal(a.leads(), false);
  await a.stop();
});
