import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SystemError } from './errors.ts';
import { Netns, sameNetns } from './netns.ts';
import { countDescriptors, namespacedTests } from './testing.ts';

const own = (): string => readlinkSync('/proc/thread-self/ns/net');

namespacedTests(import.meta.url, () => {
  test('run acts inside and comes back, also from nested calls and errors', () => {
    using a = Netns.create();
    using b = Netns.create();
    const home = own();
    const inA = a.run(own);
    assert.notEqual(inA, home);
    assert.equal(inA, `net:[${a.identity.inode}]`);
    a.run(() => {
      assert.equal(b.run(own), `net:[${b.identity.inode}]`);
      assert.equal(own(), inA);
    });
    assert.throws(
      () =>
        a.run(() => {
          throw new Error('inside');
        }),
      /inside/,
    );
    assert.equal(own(), home);
  });

  test('a child process started inside lives inside', () => {
    using netns = Netns.create();
    const listing = netns.run(() => execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }));
    assert.equal(listing.trim(), `net:[${netns.identity.inode}]`);
  });

  test('staying where one is needs no power', () => {
    const file = JSON.stringify(join(import.meta.dirname, 'netns.ts'));
    const script = `import { Netns } from ${file}; using here = Netns.current(); console.log(here.run(() => 'stayed'));`;
    const words = [
      '--bounding-set=-all',
      '--inh-caps=-all',
      process.execPath,
      '--input-type=module-typescript',
      '-e',
      script,
    ];
    assert.equal(execFileSync('setpriv', words, { encoding: 'utf8' }), 'stayed\n');
  });

  test('asynchronous work is refused: it would run outside', () => {
    using netns = Netns.create();
    assert.throws(() => netns.run(async () => {}), /asynchronous/);
  });

  test('names of the same namespace have one identity, other namespaces another', () => {
    using made = Netns.create();
    using again = made.run(() => Netns.current());
    using other = Netns.create();
    assert.ok(sameNetns(made.identity, again.identity));
    assert.ok(!sameNetns(made.identity, other.identity));
  });

  test('a named namespace can be opened by its path until it is removed', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ambit-netns-'));
    const path = join(folder, 'netns', 'pod-1');
    const made = Netns.createAt(path);
    using opened = Netns.open(path);
    assert.ok(sameNetns(made.identity, opened.identity));
    assert.throws(() => Netns.createAt(path), /EEXIST/);
    made.close();
    Netns.remove(path);
    Netns.remove(path);
    assert.ok(!existsSync(path));
    assert.throws(() => Netns.open(path), { code: 'ENOENT' });
    rmSync(folder, { recursive: true });
  });

  test('what is no namespace is refused and its descriptor closed', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ambit-netns-'));
    writeFileSync(join(folder, 'plain'), '');
    Netns.create().close();
    const before = countDescriptors();
    assert.throws(() => Netns.open(join(folder, 'plain')), SystemError);
    assert.throws(() => Netns.fromFd(openSync('/proc/self/ns/mnt', 'r')), { code: 'EINVAL' });
    assert.equal(countDescriptors(), before);
    rmSync(folder, { recursive: true });
  });

  test('closing twice is harmless, using a closed one is an error', () => {
    const netns = Netns.create();
    netns.close();
    netns.close();
    assert.throws(() => netns.run(() => 1), /after it was closed/);
  });

  test('many namespaces leave no descriptor behind', () => {
    Netns.create().close();
    const before = countDescriptors();
    for (let i = 0; i < 20; i++) {
      using netns = Netns.create();
      netns.run(() => 1);
      using current = Netns.current();
      assert.ok(current.identity.inode > 0);
    }
    assert.equal(countDescriptors(), before);
  });
});
