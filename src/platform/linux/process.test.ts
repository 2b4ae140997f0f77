import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { errnoName, hasCode, SystemError } from './errors.ts';

/** In a process of its own: limits and the parent-death signal are for ever. */
function inChild(program: string): string {
  const file = new URL('./process.ts', import.meta.url).href;
  const code = `const p = await import(${JSON.stringify(file)}); ${program}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).trim();
}

test('the soft limit of descriptors becomes the hard one', () => {
  const lines = inChild(
    "const { readFileSync } = await import('node:fs'); const n = p.raiseDescriptorLimit(); console.log(n, readFileSync('/proc/self/limits', 'utf8').split('\\n').find((l) => l.startsWith('Max open files')))",
  );
  const [told, soft, hard] = lines.match(/\d+/g) as string[];
  assert.equal(told, soft);
  assert.equal(soft, hard);
});

test('a process tied to its parent ends when the parent is another already', () => {
  assert.equal(inChild('p.dieWithParent(process.ppid); console.log("alive")'), 'alive');
  assert.throws(() => inChild('p.dieWithParent(1 << 30); setInterval(() => {}, 1000)'), { signal: 'SIGKILL' });
});

test('errors say what, why and how to fix', () => {
  const error = new SystemError('not listening', 'bind', 98);
  assert.equal(error.code, 'EADDRINUSE');
  assert.ok(hasCode(error, 'EADDRINUSE') && !hasCode(new Error('x'), 'EADDRINUSE'));
  assert.match(error.message, /^not listening: .+ \(bind EADDRINUSE\); stop what listens/);
  assert.equal(new SystemError('x', 'y', 1, { detail: 'kernel says no' }).why, 'kernel says no');
  assert.equal(errnoName(99999), 'E99999');
  assert.match(new SystemError('x', 'frob', 99999).fix, /frob\(2\)/);
});
