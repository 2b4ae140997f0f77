import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Image } from '../images/types.ts';
import { filesNeeded, outOfReach } from './reach.ts';

const FILES: Readonly<Record<string, { mode: number; uid: number; gid: number }>> = {
  '/': { mode: 0o755, uid: 0, gid: 0 },
  '/root': { mode: 0o700, uid: 0, gid: 0 },
  '/root/server': { mode: 0o755, uid: 0, gid: 0 },
  '/opt': { mode: 0o755, uid: 0, gid: 0 },
  '/opt/server': { mode: 0o755, uid: 0, gid: 0 },
  '/opt/secret': { mode: 0o640, uid: 0, gid: 50 },
  '/home': { mode: 0o755, uid: 0, gid: 0 },
  '/home/a': { mode: 0o700, uid: 1000, gid: 1000 },
  '/home/a/app': { mode: 0o600, uid: 1000, gid: 1000 },
};
const look = (path: string) => {
  const found = FILES[path];
  if (found === undefined) throw new Error('ENOENT');
  return found;
};

const cases: [name: string, user: [uid: number, gid: number], paths: string[], want: string | undefined][] = [
  ['what is open to all', [1000, 1000], ['/opt/server'], undefined],
  ['below a closed folder', [1000, 1000], ['/opt/server', '/root/server'], '/root/server'],
  ['its own', [1000, 1000], ['/home/a/app'], undefined],
  ["somebody else's", [1001, 1000], ['/home/a/app'], '/home/a/app'],
  ['by its group', [1000, 50], ['/opt/secret'], undefined],
  ['without the group', [1000, 1000], ['/opt/secret'], '/opt/secret'],
  ['what does not exist', [1000, 1000], ['/opt/nothing'], undefined],
  ['root, whatever the group', [0, 1000], ['/root/server'], undefined],
];
for (const [name, [uid, gid], paths, want] of cases)
  test(name, () => assert.equal(outOfReach({ uid, gid }, paths, look), want));

test('what a command line needs: where it starts, programs and scripts that it names, what stands in for programs', () => {
  const programs = [
    { path: '/usr/local/bin/node', kind: 'link', target: '/root/node' },
    { path: '/usr/local/bin/wget', kind: 'script', text: '' },
  ] as const;
  const image = { root: { kind: 'host', expose: [], programs } } as unknown as Image;
  assert.deepEqual(filesNeeded(image, ['node', 'server.js', '--port=80', '/opt/x', 'serve'], '/srv/app'), [
    '/srv/app',
    '/srv/app/server.js',
    '/opt/x',
    '/root/node',
  ]);
  const archive = { root: { kind: 'archive', directory: '/x' } } as unknown as Image;
  assert.deepEqual(filesNeeded(archive, ['/bin/x'], '/'), []);
});
