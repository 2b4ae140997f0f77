import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSpiffeId, type SpiffeId } from '../model/identity.ts';
import { policy, service, workload } from '../model/testing/builders.ts';
import type { Workload } from '../model/workload.ts';
import { ManualClock } from '../platform/clock.ts';
import { configureLogging } from '../telemetry/log.ts';
import { LocalIdentities, ZtunnelState } from './state.ts';

configureLogging({ filter: 'off' });
const settle = (): Promise<void> => new Promise((r) => setImmediate(r));
const make = () => {
  const clock = new ManualClock();
  return { clock, state: new ZtunnelState({ network: '', nodeName: 'node-1', clock }) };
};
const add = (...list: Workload[]) => list.map((w) => ({ kind: 'workload', workload: w }) as const);
const pod = (w: Workload) => ({ name: w.name, namespace: w.namespace, serviceAccount: w.serviceAccount });
const order = workload('order', { node: 'node-1' });

test('local workloads are found by name, namespace and account, only on this node', () => {
  const { state } = make();
  const elsewhere = workload('payment', { node: 'node-2' });
  state.applyAddresses(add(order, elsewhere), []);
  assert.equal(state.localWorkload(pod(order)), order);
  assert.equal(state.localWorkload({ ...pod(order), serviceAccount: 'other' }), undefined);
  assert.equal(state.localWorkload(pod(elsewhere)), undefined);
  const moved = { ...order, node: 'node-2' };
  state.applyAddresses(add(moved), []);
  assert.equal(state.localWorkload(pod(order)), undefined);
});

test('a pod replaced by one of the same name within a batch is the new one, in whatever order', () => {
  const { state } = make();
  state.applyAddresses(add(order), []);
  const next = { ...order, uid: 'Kubernetes//Pod/shop/order-next' };
  state.applyAddresses(add(next), [order.uid]);
  assert.equal(state.localWorkload(pod(order)), next);
});

test('waiting for a workload ends when it comes, or after the time', async () => {
  const { state, clock } = make();
  const first = state.waitForWorkload(pod(order), 5000);
  const second = state.waitForWorkload(pod(order), 5000);
  const never = state.waitForWorkload({ ...pod(order), name: 'x' }, 5000);
  state.applyAddresses(add(order), []);
  assert.equal(await first, order);
  assert.equal(await second, order);
  assert.equal(await state.waitForWorkload(pod(order), 5000), order);
  clock.advance(5000);
  assert.equal(await never, undefined);
  assert.equal(clock.waiting, 0);
});

test('listeners hear of each workload once per batch, after the state is whole', () => {
  const { state } = make();
  const heard: string[] = [];
  const stop = state.onWorkloadChange((now, before) => {
    assert.equal(state.world.workload((now ?? before)!.uid), now);
    assert.ok(now === undefined || state.localWorkload(pod(now)) === now);
    heard.push(`${before?.capacity ?? '-'} -> ${now?.capacity ?? '-'}`);
  });
  state.applyAddresses(add(order, { ...order, capacity: 2 }), []);
  state.applyAddresses(add({ ...order, capacity: 3 }), []);
  state.applyAddresses([], [order.uid]);
  stop();
  state.applyAddresses(add(order), []);
  assert.deepEqual(heard, ['- -> 2', '2 -> 3', '3 -> -']);
});

test('a listener that throws does not keep others from hearing', () => {
  const { state } = make();
  let heard = 0;
  state.onPolicyChange(() => {
    throw new Error('bad listener');
  });
  state.onPolicyChange(() => {
    heard++;
  });
  state.applyPolicies([policy('p', 'allow')], []);
  state.applyPolicies([], ['shop/none']);
  state.applyPolicies([], [policy('p', 'allow').key]);
  assert.equal(heard, 2, 'a batch that changes nothing is silent');
});

test('services alone tell nobody about workloads', () => {
  const { state } = make();
  state.onWorkloadChange(() => assert.fail());
  state.applyAddresses([{ kind: 'service', service: service('order') }], []);
});

test('identities appear with their first meshed workload here and disappear with the last', async () => {
  const { state } = make();
  const log: string[] = [];
  const note = (word: string) => (id: SpiffeId) => void log.push(`${word} ${formatSpiffeId(id).split('/').at(-1)}`);
  new LocalIdentities(state, note('+'), note('-'));
  const second = { ...order, uid: 'Kubernetes//Pod/shop/order-2', name: 'order-2' };
  state.applyAddresses(
    add(
      order,
      second,
      workload('far', { node: 'node-2' }),
      workload('plain', { node: 'node-1', tunnelProtocol: 'none' }),
      workload('native', { node: 'node-1', tunnelProtocol: 'none', nativeTunnel: true }),
    ),
    [],
  );
  await settle();
  state.applyAddresses([], [order.uid]);
  await settle();
  assert.deepEqual(log.splice(0), ['+ order', '+ native']);
  // The last one is replaced within one batch: its certificate is still wanted.
  const third = { ...order, uid: 'Kubernetes//Pod/shop/order-3', name: 'order-3' };
  state.applyAddresses(add(third), [second.uid]);
  await settle();
  assert.deepEqual(log.splice(0), []);
  state.applyAddresses(add({ ...third, serviceAccount: 'other' }), []);
  await settle();
  assert.deepEqual(log.splice(0), ['+ other', '- order']);
  state.applyAddresses(add({ ...third, serviceAccount: 'other', tunnelProtocol: 'none' }), []);
  await settle();
  assert.deepEqual(log, ['- other']);
});
