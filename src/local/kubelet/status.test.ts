import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formerLifeOf } from './former-life.ts';
import { memoryNotLimited, notSupported } from './not-supported.ts';
import { type PodPicture, phaseOf, podStatus } from './status.ts';
import type { ContainerRecord, ContainerState, Pod, PodSpec, PodStatus, Terminated } from './types.ts';

const NOW = new Date('2026-05-04T09:08:07Z');
const LATER = new Date('2026-05-04T09:09:00Z');
const running: ContainerState = { kind: 'running', startedAt: NOW };
const ended = (exitCode: number): Terminated => ({
  kind: 'terminated',
  exitCode,
  reason: exitCode === 0 ? 'Completed' : 'Error',
  startedAt: NOW,
  finishedAt: NOW,
});
const waiting = (reason: string): ContainerState => ({ kind: 'waiting', reason });

const record = (name: string, state: ContainerState, more: Partial<ContainerRecord> = {}): ContainerRecord => ({
  name,
  state,
  last: undefined,
  restarts: 0,
  started: state.kind === 'running',
  ready: state.kind === 'running',
  image: 'x',
  imageId: 'id',
  containerId: 'ambit://1',
  ...more,
});

const picture = (spec: Partial<PodSpec>, records: ContainerRecord[], more: Partial<PodPicture> = {}): PodPicture => ({
  pod: {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n' },
    spec: { containers: [{ name: 'a' }], ...spec },
  },
  containers: new Map(records.map((each) => [each.name, each])),
  hostIp: '172.31.1.1',
  podIp: '10.244.1.2',
  startTime: NOW,
  failed: undefined,
  ending: false,
  now: NOW,
  ...more,
});

const two = [{ name: 'a' }, { name: 'b' }];
const init = [{ name: 'i' }];
const sidecar = [{ name: 's', restartPolicy: 'Always' }];
for (const [name, spec, records, wanted] of [
  ['nothing has run', {}, [], 'Pending'],
  ['an image that is not there', {}, [record('a', waiting('ImagePullBackOff'))], 'Pending'],
  ['one of two runs', { containers: two }, [record('a', running)], 'Pending'],
  ['all run', { containers: two }, [record('a', running), record('b', running)], 'Running'],
  ['crash loop', {}, [record('a', waiting('CrashLoopBackOff'), { last: ended(1) })], 'Running'],
  ['ended well, to be restarted', {}, [record('a', ended(0))], 'Running'],
  ['ended well for good', { restartPolicy: 'Never' }, [record('a', ended(0))], 'Succeeded'],
  ['failed for good', { restartPolicy: 'Never' }, [record('a', ended(1))], 'Failed'],
  [
    'one failed, one runs',
    { restartPolicy: 'Never', containers: two },
    [record('a', ended(1)), record('b', running)],
    'Running',
  ],
  ['OnFailure, ended well', { restartPolicy: 'OnFailure' }, [record('a', ended(0))], 'Succeeded'],
  ['OnFailure, failed', { restartPolicy: 'OnFailure' }, [record('a', ended(1))], 'Running'],
  ['init runs', { initContainers: init }, [record('i', running)], 'Pending'],
  ['init failed, tried again', { initContainers: init }, [record('i', ended(1))], 'Pending'],
  ['init failed for good', { initContainers: init, restartPolicy: 'Never' }, [record('i', ended(1))], 'Failed'],
  ['sidecar started, container not yet', { initContainers: sidecar }, [record('s', running)], 'Pending'],
  [
    'sidecar restarts later',
    { initContainers: sidecar },
    [record('s', waiting('CrashLoopBackOff'), { last: ended(1) }), record('a', running)],
    'Running',
  ],
] as [string, Partial<PodSpec>, ContainerRecord[], string][])
  test(`phase: ${name}`, () => assert.equal(phaseOf(picture(spec, records)), wanted));

test('a pod that is deleted is over when its containers are, whatever its restart policy', () => {
  assert.equal(phaseOf(picture({}, [record('a', ended(0))], { ending: true })), 'Succeeded');
  assert.equal(phaseOf(picture({}, [record('a', ended(143))], { ending: true })), 'Failed');
  assert.equal(phaseOf(picture({}, [record('a', running)], { ending: true })), 'Running');
});

const condition = (status: PodStatus, type: string) => status.conditions?.find((each) => each.type === type);

test('before anything runs, containers wait for the pod, and conditions say why it is not ready', () => {
  const status = podStatus(picture({ initContainers: init }, [], { podIp: undefined }));
  assert.deepEqual(status.containerStatuses?.[0]?.state, { waiting: { reason: 'PodInitializing' } });
  assert.deepEqual(status.initContainerStatuses?.[0]?.state, { waiting: { reason: 'PodInitializing' } });
  assert.equal(condition(status, 'PodReadyToStartContainers')?.status, 'False');
  assert.equal(condition(status, 'Initialized')?.message, 'containers with incomplete status: [i]');
  assert.equal(condition(status, 'Ready')?.message, 'containers with unready status: [a]');
  assert.equal(status.podIP, undefined);
  assert.deepEqual(podStatus(picture({}, [])).containerStatuses?.[0]?.state, {
    waiting: { reason: 'ContainerCreating' },
  });
});

test('a ready pod', () => {
  const status = podStatus(picture({}, [record('a', running, { restarts: 2, last: ended(1) })]));
  assert.equal(condition(status, 'Ready')?.status, 'True');
  assert.deepEqual(status.podIPs, [{ ip: '10.244.1.2' }]);
  const [container] = status.containerStatuses ?? [];
  assert.equal(container?.restartCount, 2);
  assert.equal(container?.lastState?.terminated?.exitCode, 1);
  assert.deepEqual(container?.state, { running: { startedAt: '2026-05-04T09:08:07Z' } });
});

test("a condition's time moves only with its status, and conditions of others stay", () => {
  const before = podStatus(picture({}, [record('a', running)]));
  const pod: Pod = {
    ...picture({}, []).pod,
    status: { ...before, conditions: [...(before.conditions ?? []), { type: 'example.com/mine', status: 'True' }] },
  };
  const after = podStatus(picture({}, [record('a', running, { ready: false })], { pod, now: LATER }));
  assert.equal(condition(after, 'Initialized')?.lastTransitionTime, '2026-05-04T09:08:07Z');
  assert.equal(condition(after, 'Ready')?.lastTransitionTime, '2026-05-04T09:09:00Z');
  assert.equal(condition(after, 'example.com/mine')?.status, 'True');
});

test('a readiness gate holds the pod back until somebody says True', () => {
  const spec = { readinessGates: [{ conditionType: 'example.com/go' }] };
  assert.equal(condition(podStatus(picture(spec, [record('a', running)])), 'Ready')?.reason, 'ReadinessGatesNotReady');
  const pod: Pod = { ...picture(spec, []).pod, status: { conditions: [{ type: 'example.com/go', status: 'True' }] } };
  assert.equal(condition(podStatus(picture(spec, [record('a', running)], { pod })), 'Ready')?.status, 'True');
});

test('a sidecar counts for readiness, an ordinary init container does not', () => {
  const both = { initContainers: [...init, ...sidecar] };
  const done = record('i', ended(0), { ready: true });
  const unready = podStatus(picture(both, [done, record('s', running, { ready: false }), record('a', running)]));
  assert.equal(condition(unready, 'Ready')?.message, 'containers with unready status: [s]');
  assert.equal(condition(unready, 'Initialized')?.status, 'True');
});

test('a pod that has ended says so, and is not ready', () => {
  const status = podStatus(picture({ restartPolicy: 'Never' }, [record('a', ended(0), { ready: true })]));
  assert.equal(condition(status, 'Ready')?.reason, 'PodCompleted');
  assert.equal(status.containerStatuses?.[0]?.ready, false);
});

test('a host-network pod has the address of its node', () =>
  assert.equal(podStatus(picture({ hostNetwork: true }, [], { podIp: '172.31.1.1' })).podIP, '172.31.1.1'));

const withStatus = (
  restartPolicy: NonNullable<PodSpec['restartPolicy']>,
  status: NonNullable<PodStatus['containerStatuses']>[number],
): Pod => ({
  ...picture({ restartPolicy }, []).pod,
  status: { containerStatuses: [status] },
});
const base = { name: 'a', ready: true, restartCount: 3, image: 'x', imageID: '' };

test('what ran when the room ended has ended with an unknown code, and runs again', () => {
  const former = formerLifeOf(
    withStatus('Always', { ...base, state: { running: { startedAt: '2026-05-04T09:00:00Z' } } }),
    'a',
    'main',
    NOW,
  );
  assert.equal(former?.restarts, 3);
  assert.equal(former?.last?.exitCode, 255);
  assert.equal(former?.finished, false);
});

test('with policy Never it does not run again', () => {
  const former = formerLifeOf(withStatus('Never', { ...base, state: { running: {} } }), 'a', 'main', NOW);
  assert.deepEqual([former?.last?.reason, former?.finished], ['ContainerStatusUnknown', true]);
});

test('what had ended for good stays so, what had never run begins anew', () => {
  const ended = { terminated: { exitCode: 0, startedAt: '2026-05-04T09:00:00Z', finishedAt: '2026-05-04T09:00:01Z' } };
  assert.equal(formerLifeOf(withStatus('OnFailure', { ...base, state: ended }), 'a', 'main', NOW)?.finished, true);
  assert.equal(formerLifeOf(withStatus('Always', { ...base, state: ended }), 'a', 'main', NOW)?.finished, false);
  assert.equal(
    formerLifeOf(
      withStatus('Always', { ...base, state: { waiting: { reason: 'ContainerCreating' } } }),
      'a',
      'main',
      NOW,
    ),
    undefined,
  );
});

test('what a room does not have is said, one sentence each', () => {
  const said = notSupported({
    hostPID: true,
    shareProcessNamespace: true,
    containers: [{ name: 'a', ports: [{ containerPort: 80, hostPort: 80 }], resources: { limits: { cpu: '1' } } }],
  });
  assert.equal(said.length, 3);
  assert.match(said[2] ?? '', /hostPort of container a/);
  assert.deepEqual(notSupported({ containers: [{ name: 'a', ports: [{ containerPort: 80 }] }] }), []);
});

test('limits of memory are told of once, with the names of the containers', () => {
  const limited = (name: string) => ({ name, resources: { limits: { memory: '64Mi', cpu: '1' } } });
  const of = (...containers: { name: string }[]) => memoryNotLimited({ containers });
  assert.match(of(limited('a'), { name: 'b' }, limited('c')) ?? '', /of containers a, c is not enforced/);
  assert.match(of(limited('a')) ?? '', /of container a is/);
  assert.equal(of({ name: 'b' }), undefined);
});

test('an ephemeral container is not started again by the next room, however it ended', () => {
  const now = new Date('2026-05-04T09:00:00Z');
  const at = '2026-05-04T08:00:00Z';
  const states = [
    { terminated: { exitCode: 0, reason: 'Completed', startedAt: at, finishedAt: at } },
    { running: { startedAt: at } },
  ];
  const reasons = states.map((state) => {
    const status = { name: 'looker', image: 'x', imageID: 'x', ready: false, restartCount: 0, state };
    const pod = { apiVersion: 'v1', kind: 'Pod', status: { ephemeralContainerStatuses: [status] } } as const;
    const former = formerLifeOf(pod as unknown as Pod, 'looker', 'ephemeral', now);
    assert.equal(former?.finished, true);
    return former?.last?.reason;
  });
  assert.deepEqual(reasons, ['Completed', 'ContainerStatusUnknown']);
});
