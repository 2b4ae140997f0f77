import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KubeObject } from '../../client/types.ts';
import { Registry } from '../kinds/registry.ts';
import { humanDuration } from './age.ts';
import { columnFromPath, evaluate, parseJsonPath } from './json-path.ts';
import { tableOf } from './table.ts';

const NOW = Date.parse('2026-05-04T09:10:00Z');
const registry = new Registry();

/** The cells of an object by column, wide ones too. */
function row(apiVersion: string, kind: string, object: object): Record<string, unknown> {
  const served = registry.findKind(apiVersion, kind)!;
  const table = tableOf(served, [object as KubeObject], {}, { include: 'None', nowMs: NOW, withColumns: true });
  return Object.fromEntries(table.columnDefinitions!.map(({ name }, i) => [name, table.rows[0]?.cells[i]]));
}

const pod = (status: object, more: { spec?: object; metadata?: object } = {}) => ({
  metadata: { name: 'p', creationTimestamp: '2026-05-04T09:00:00Z', ...more.metadata },
  spec: { containers: [{ name: 'a' }, { name: 'b' }], ...more.spec },
  status,
});
const running = { name: 'a', ready: true, restartCount: 0, state: { running: {} } };
const waiting = (reason: string) => ({ name: 'b', ready: false, restartCount: 2, state: { waiting: { reason } } });
const ended = (end: object) => ({ name: 'b', ready: false, restartCount: 1, state: { terminated: end } });

const pods: [name: string, object: object, status: string, ready: string, restarts: string][] = [
  ['no status yet', pod({ phase: 'Pending' }), 'Pending', '0/2', '0'],
  [
    'all run',
    pod({ phase: 'Running', containerStatuses: [running, { ...running, name: 'b' }] }),
    'Running',
    '2/2',
    '0',
  ],
  [
    'one crashes again and again',
    pod({
      phase: 'Running',
      containerStatuses: [
        running,
        { ...waiting('CrashLoopBackOff'), lastState: { terminated: { finishedAt: '2026-05-04T09:09:00Z' } } },
      ],
    }),
    'CrashLoopBackOff',
    '1/2',
    '2 (60s ago)',
  ],
  [
    'an image is not found',
    pod({ phase: 'Pending', containerStatuses: [running, waiting('ImagePullBackOff')] }),
    'ImagePullBackOff',
    '1/2',
    '2',
  ],
  [
    'ended with an error',
    pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 3, reason: 'Error' })] }),
    'Error',
    '0/2',
    '1',
  ],
  [
    'ended by a signal',
    pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 137, signal: 9 })] }),
    'Signal:9',
    '0/2',
    '1',
  ],
  [
    'ended with a code',
    pod({ phase: 'Failed', containerStatuses: [ended({ exitCode: 4 })] }),
    'ExitCode:4',
    '0/2',
    '1',
  ],
  [
    'one completed, one runs on',
    pod({
      phase: 'Running',
      containerStatuses: [running, ended({ exitCode: 0, reason: 'Completed' })],
      conditions: [{ type: 'Ready', status: 'True' }],
    }),
    'Running',
    '1/2',
    '1',
  ],
  [
    'the first init container runs',
    pod(
      { phase: 'Pending', initContainerStatuses: [{ name: 'i', restartCount: 0, state: { running: {} } }] },
      { spec: { initContainers: [{ name: 'i' }, { name: 'j' }] } },
    ),
    'Init:0/2',
    '0/2',
    '0',
  ],
  [
    'an init container fails',
    pod(
      {
        phase: 'Pending',
        initContainerStatuses: [{ name: 'i', restartCount: 3, state: { waiting: { reason: 'CrashLoopBackOff' } } }],
      },
      { spec: { initContainers: [{ name: 'i' }] } },
    ),
    'Init:CrashLoopBackOff',
    '0/2',
    '3',
  ],
  ['evicted', pod({ phase: 'Failed', reason: 'Evicted' }), 'Evicted', '0/2', '0'],
  [
    'being deleted',
    pod(
      { phase: 'Running', containerStatuses: [running] },
      { metadata: { deletionTimestamp: '2026-05-04T09:10:00Z' } },
    ),
    'Terminating',
    '1/2',
    '0',
  ],
];
for (const [name, object, status, ready, restarts] of pods)
  test(`a pod's row: ${name}`, () => {
    const cells = row('v1', 'Pod', object);
    assert.deepEqual(
      [cells.Status, cells.Ready, cells.Restarts, cells.Age, cells.IP, cells.Node],
      [status, ready, restarts, '10m', '<none>', '<none>'],
    );
  });

test('rows of services, nodes, slices, events', () => {
  const service = row('v1', 'Service', {
    metadata: { name: 's' },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.7',
      ports: [
        { port: 80, protocol: 'TCP', nodePort: 30080 },
        { port: 53, protocol: 'UDP' },
      ],
      selector: { b: '2', a: '1' },
    },
  });
  assert.deepEqual(
    [service['External-IP'], service['Port(s)'], service.Selector],
    ['<pending>', '80:30080/TCP,53/UDP', 'a=1,b=2'],
  );
  assert.equal(
    row('v1', 'Service', { metadata: {}, spec: { type: 'ExternalName', externalName: 'example.com' } })['External-IP'],
    'example.com',
  );
  const node = row('v1', 'Node', {
    metadata: { labels: { 'node-role.kubernetes.io/worker': '' } },
    spec: { unschedulable: true },
    status: {
      conditions: [{ type: 'Ready', status: 'True' }],
      addresses: [{ type: 'InternalIP', address: '172.31.1.1' }],
    },
  });
  assert.deepEqual(
    [node.Status, node.Roles, node['Internal-IP'], node['OS-Image']],
    ['Ready,SchedulingDisabled', 'worker', '172.31.1.1', '<unknown>'],
  );
  const slice = row('discovery.k8s.io/v1', 'EndpointSlice', {
    addressType: 'IPv4',
    ports: [{ port: 80 }],
    endpoints: [{ addresses: ['1', '2'] }, { addresses: ['3'] }, { addresses: ['4'] }],
  });
  assert.deepEqual([slice.Ports, slice.Endpoints], ['80', '1,2,3 + 1 more...']);
  const event = row('v1', 'Event', {
    involvedObject: { kind: 'Pod', name: 'p' },
    message: ' hi\n',
    lastTimestamp: '2026-05-04T09:09:30Z',
  });
  assert.deepEqual([event['Last Seen'], event.Object, event.Message], ['30s', 'pod/p', 'hi']);
});

test('an object of any shape has a row', () =>
  fc.assert(
    fc.property(fc.constantFrom(...registry.kinds), fc.jsonValue(), fc.jsonValue(), (kind, spec, status) => {
      const object = { metadata: { name: 'x' }, spec, status, subjects: spec, endpoints: status } as KubeObject;
      tableOf(
        { kind, version: kind.versions[0]! },
        [object],
        {},
        { include: 'Metadata', nowMs: NOW, withColumns: true },
      );
    }),
  ));

test('durations as kubectl prints them', () => {
  const second = 1000;
  const cases: [number, string][] = [
    [-1, '0s'],
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [125, '2m5s'],
    [600, '10m'],
    [10_799, '179m'],
    [10_800, '3h'],
    [12_000, '3h20m'],
    [28_800, '8h'],
    [172_800, '2d'],
    [180_000, '2d2h'],
    [700_000, '8d'],
    [63_072_000, '2y'],
    [70_000_000, '2y80d'],
  ];
  for (const [seconds, want] of cases) assert.equal(humanDuration(seconds * second), want);
  assert.equal(humanDuration(-5 * second), '<invalid>');
});

test('printer columns: paths, filters, dates', () => {
  const object = {
    metadata: { creationTimestamp: '2026-05-04T09:00:00Z', labels: { 'a.b/c': 'x' } },
    status: {
      conditions: [
        { type: 'A', status: 'no' },
        { type: 'Ready', status: 'yes' },
      ],
      list: [1, 2],
    },
  };
  const value = (jsonPath: string, type = 'string') =>
    columnFromPath({ name: 'n', type, jsonPath }).cell(object as KubeObject, NOW);
  assert.equal(value('.status.conditions[?(@.type=="Ready")].status'), 'yes');
  assert.equal(value(".metadata.labels['a\\.b/c']"), 'x');
  assert.equal(value('.metadata.labels.a\\.b/c'), 'x');
  assert.equal(value('.status.list[*]'), '1,2');
  assert.equal(value('.status.list[1]', 'integer'), 2);
  assert.equal(value('.metadata.creationTimestamp', 'date'), '10m');
  assert.equal(value('.status.none'), '');
  assert.equal(parseJsonPath('.a[?(@.x>1)]'), undefined);
  assert.equal(value('(((', 'string'), '');
});

test('any path is read or refused', () =>
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('.', '[', ']', '*', '0', 'a', '?', '(', ')', '@', '=', '"', "'", '\\') }),
      (text) => {
        const steps = parseJsonPath(text);
        if (steps !== undefined) evaluate(steps, { a: [{ a: 'a' }, null] });
      },
    ),
  ));
