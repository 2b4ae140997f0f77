import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { tryLock } from './locks.ts';

const folder = mkdtempSync(join(tmpdir(), 'ambit-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('one at a time; closing lets go', () => {
  const path = join(folder, 'once');
  const held = tryLock(path);
  assert.ok(held !== undefined);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(tryLock(path), undefined);
  closeSync(held);
  const again = tryLock(path);
  assert.ok(again !== undefined);
  closeSync(again);
});

test('a child that was given the descriptor holds the lock until it dies', async () => {
  const path = join(folder, 'child');
  const held = tryLock(path);
  assert.ok(held !== undefined);
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', held] });
  closeSync(held);
  assert.equal(tryLock(path), undefined);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  const next = tryLock(path);
  assert.ok(next !== undefined);
  closeSync(next);
});

test('a folder that is not there is an error of its own', () => {
  assert.throws(() => tryLock(join(folder, 'nothing', 'lock')), { code: 'ENOENT' });
});
