// One room a state folder, whatever starts or dies: two `up`s at once, a room that dies without its supervisor, folders that
// cannot be made.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually, ROOT, TestMesh } from './support/mesh.ts';

const mesh = TestMesh.create();
after(() => mesh[Symbol.asyncDispose]());

/** Pids of processes with this in their command line or environment. */
function having(file: 'cmdline' | 'environ', text: string): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(text) ? [Number(pid)] : [];
    } catch {
      return []; // it has ended
    }
  });
}
const both = (one: readonly number[], other: readonly number[]): number[] => one.filter((pid) => other.includes(pid));
const ofMesh = (program: string): number[] => both(having('cmdline', program), having('environ', mesh.stateDir));

test('two `up`s at once make one room, and both succeed', async () => {
  const ups = await Promise.all([1, 2].map(() => mesh.ambit(['up', '--detach', '--nodes', '1', '--empty'])));
  for (const up of ups) assert.equal(up.code, 0, up.stderr);
  await eventually('one supervisor, one room', () =>
    ofMesh('/dist/supervisor.mjs').length === 1 && ofMesh('unshare').length === 1 ? true : undefined,
  );
});

test('a room that is killed takes its supervisor along; `up` makes a new one', async () => {
  const before = [...ofMesh('/dist/supervisor.mjs'), ...ofMesh('unshare'), ...ofMesh('/dist/api.mjs')];
  assert.equal(before.length, 3);
  // Process 1 of the room; `unshare` has the program in its own command line too.
  const [room] = ofMesh('/dist/room.mjs').filter((pid) => !ofMesh('unshare').includes(pid));
  assert.ok(room !== undefined);
  process.kill(room, 'SIGKILL');
  await eventually('all are gone', () => before.every((pid) => !ofMesh('').includes(pid)) || undefined);
  const up = await mesh.ambit(['up', '--detach', '--nodes', '1', '--empty']);
  assert.equal(up.code, 0, up.stderr);
});

test('so does one whose `unshare` is killed', async () => {
  const before = ofMesh('');
  const [unshare] = ofMesh('unshare');
  assert.ok(unshare !== undefined);
  process.kill(unshare, 'SIGKILL');
  await eventually('all are gone', () => before.every((pid) => !ofMesh('').includes(pid)) || undefined);
  assert.match(mesh.supervisorLog(), /the room ended by itself/);
});

test('`down` while another command starts the mesh ends it all the same', async () => {
  const up = mesh.ambit(['up', '--detach', '--nodes', '1', '--empty']);
  await eventually('its supervisor runs', () => ofMesh('/dist/supervisor.mjs').length === 1 || undefined, 20_000, 5);
  const down = await mesh.ambit(['down']);
  assert.match(down.stdout, /is down/, down.stderr);
  await up; // it may have failed, or have been through just before
  await eventually('nothing of it is left', () => ofMesh('').length === 0 || undefined);
});

test('a state folder that cannot be made is refused in words, at once', async () => {
  const ran = await new Promise<{ code: number | string | null | undefined; stderr: string }>((resolve) => {
    const env = { ...process.env, AMBIT_HOME: '/proc/nowhere/ambit' };
    execFile(join(ROOT, 'ambit'), ['up', '--empty'], { env, timeout: 20_000 }, (error, _stdout, stderr) =>
      resolve({ code: error?.code, stderr }),
    );
  });
  assert.equal(ran.code, 1, ran.stderr);
  assert.match(ran.stderr, /`\/proc\/nowhere\/ambit` cannot be written/);
  assert.match(ran.stderr, /set AMBIT_HOME/);
});
