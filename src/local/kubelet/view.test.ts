import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RootfsStep } from '../../platform/linux/rootfs.ts';
import type { ImageRoot } from '../images/types.ts';
import { type HostEntry, type HostFiles, parseMountPoints, rootfsOf, type ViewOptions } from './view.ts';

test('mount points are read with their escapes', () => {
  const info = '22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /mnt/my\\040disk rw - ext4 x rw\n\n';
  assert.deepEqual(parseMountPoints(info), ['/', '/mnt/my disk']);
});

const directory = (name: string): HostEntry => ({ name, kind: 'directory' });
const host: HostFiles = {
  entries: new Map([
    [
      '/',
      [
        ...['boot', 'dev', 'etc', 'home', 'mnt', 'proc', 'root', 'run', 'sys', 'tmp', 'usr', 'var'].map(directory),
        { name: 'bin', kind: 'link', target: 'usr/bin' },
        { name: 'swapfile', kind: 'file' },
      ],
    ],
    [
      '/var',
      [
        directory('lib'),
        directory('log'),
        { name: 'run', kind: 'link', target: '/run' },
        { name: 'note', kind: 'file' },
      ],
    ],
  ]),
  mountPoints: ['/', '/proc', '/var/lib/docker'],
  writable: new Map([['/etc', ['ssl']]]),
  unreadable: new Set(['/root']),
  devices: ['null', 'zero'],
};
const onHost: ImageRoot = {
  kind: 'host',
  expose: ['/tmp/project'],
  programs: [{ path: '/usr/local/bin/curl', kind: 'script', text: '#!' }],
};
const view = (more: Partial<ViewOptions> = {}): RootfsStep[] =>
  rootfsOf({ root: onHost, host, hidden: ['/home/ada/.ambit'], mounts: [], readOnlyRoot: false, ...more });
const at = (steps: readonly RootfsStep[], path: string): RootfsStep[] =>
  steps.filter((step) => step.kind !== 'seal' && step.at === path);
const index = (steps: readonly RootfsStep[], path: string): number =>
  steps.findIndex((step) => step.kind !== 'seal' && step.at === path);

test('folders that programs change are copies, others are read-only, links stay links', () => {
  const steps = view();
  assert.deepEqual(at(steps, '/usr'), [{ kind: 'copyOnWrite', lower: '/usr', at: '/usr' }]);
  assert.deepEqual(at(steps, '/etc'), [{ kind: 'copyOnWrite', lower: '/etc', at: '/etc', writable: ['ssl'] }]);
  assert.deepEqual(at(steps, '/mnt'), [{ kind: 'bind', from: '/mnt', at: '/mnt', readOnly: true }]);
  assert.deepEqual(at(steps, '/bin'), [{ kind: 'link', at: '/bin', target: 'usr/bin' }]);
  assert.deepEqual(at(steps, '/swapfile'), []);
});

test('/tmp, /run and /dev are its own; what cannot be read is an empty folder', () => {
  const steps = view();
  for (const path of ['/tmp', '/run', '/dev'])
    assert.ok(
      at(steps, path).some(({ kind }) => kind === 'tmpfs'),
      path,
    );
  assert.equal(
    steps.some((step) => step.kind === 'bind' && ['/tmp', '/run', '/proc'].includes(step.from)),
    false,
  );
  assert.deepEqual(at(steps, '/root'), [{ kind: 'directory', at: '/root', mode: 0o755 }]);
});

test('a folder with mounts below it is taken apart, so that they stay visible and read-only', () => {
  const steps = view();
  assert.deepEqual(at(steps, '/var/lib'), [{ kind: 'bind', from: '/var/lib', at: '/var/lib', readOnly: true }]);
  assert.deepEqual(at(steps, '/var/log'), [{ kind: 'copyOnWrite', lower: '/var/log', at: '/var/log' }]);
  assert.deepEqual(at(steps, '/var/run'), [{ kind: 'link', at: '/var/run', target: '/run' }]);
});

test("Ambit's state is hidden after what it lies in is shown, and what an image needs is shown after /tmp is emptied", () => {
  const steps = view();
  assert.ok(index(steps, '/home') < index(steps, '/home/ada/.ambit'));
  assert.deepEqual(at(steps, '/home/ada/.ambit'), [{ kind: 'tmpfs', at: '/home/ada/.ambit', mode: 0o700 }]);
  assert.ok(index(steps, '/tmp') < index(steps, '/tmp/project'));
  assert.deepEqual(at(view({ hidden: ['/tmp/home'] }), '/tmp/home'), [], 'the own /tmp hides it already');
});

test('mounts come last, in their order', () => {
  const mounts = [
    { from: '/x', at: '/data', readOnly: false, kind: 'directory' as const },
    { from: '/y', at: '/data/file', readOnly: true, kind: 'file' as const },
  ];
  assert.deepEqual(
    view({ mounts }).slice(-2),
    mounts.map(({ kind: _, ...mount }) => ({ kind: 'bind', ...mount })),
  );
});

test('a read-only root is sealed after places for mounts are made, and before anything that stays writable', () => {
  const mounts = [
    { from: '/x', at: '/data', readOnly: false, kind: 'directory' as const },
    { from: '/y', at: '/etc/hosts', readOnly: false, kind: 'file' as const },
  ];
  const steps = view({ mounts, readOnlyRoot: true });
  const seal = steps.findIndex(({ kind }) => kind === 'seal');
  assert.ok(seal > 0);
  assert.ok(index(steps, '/data') < seal && index(steps, '/etc/hosts') < seal);
  assert.ok(steps.slice(seal).some((step) => step.kind === 'bind' && step.at === '/data'));
  assert.equal(
    view({ mounts }).some(({ kind }) => kind === 'seal'),
    false,
  );
});

test('an archive is the whole tree; the devices and mounts are added', () => {
  const steps = view({ root: { kind: 'archive', directory: '/state/images/x/rootfs' } });
  assert.deepEqual(steps[0], { kind: 'copyOnWrite', lower: '/state/images/x/rootfs', at: '/' });
  assert.equal(
    steps.some((step) => step.kind === 'copyOnWrite' && step.lower === '/usr'),
    false,
  );
  assert.ok(at(steps, '/dev/null').length === 1);
});
