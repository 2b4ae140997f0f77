import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diagnose, type Finding, type Machine, refusal, thisMachine } from './doctor.ts';

const good: Machine = {
  platform: 'linux',
  arch: 'x64',
  nodeVersion: 'v24.1.0',
  home: '/home/me/.ambit',
  features: async () => [{ name: 'bridges', ok: true, required: true }],
  writeIn: () => {},
  freeBytes: () => 8 * 2 ** 30,
  bindLoopback: async () => {},
  resolvers: () => ['192.0.2.1'],
  descriptorLimit: () => 65536,
  availableMemory: () => 4 * 2 ** 30,
};
const bad = (findings: readonly Finding[]): readonly Finding[] => findings.filter((finding) => !finding.ok);

test('a good machine has nothing missing', async () => {
  const findings = await diagnose(good);
  assert.deepEqual(
    findings.map(({ name }) => name),
    ['platform', 'node', 'bridges', 'state-folder', 'disk', 'loopback', 'resolvers', 'descriptors', 'memory'],
  );
  assert.deepEqual(bad(findings), []);
  assert.equal(refusal('no room', findings), undefined);
});

test('another system: nothing of Linux is asked', async () => {
  const findings = await diagnose({ ...good, platform: 'darwin', features: () => assert.fail('asked') });
  assert.deepEqual(
    bad(findings).map(({ name, essential }) => [name, essential]),
    [['platform', true]],
  );
});

const fails = (message: string) => (): never => {
  throw new Error(message);
};
const cases: readonly { name: string; set: Partial<Machine>; essential: boolean; result: RegExp; fix: RegExp }[] = [
  { name: 'node', set: { nodeVersion: 'v22.9.0' }, essential: true, result: /older than 24/, fix: /\.\/ambit/ },
  { name: 'platform', set: { arch: 'riscv64' }, essential: false, result: /not tried/, fix: /x64/ },
  {
    name: 'nft',
    set: { features: async () => [{ name: 'nft', ok: false, required: true, why: 'no nft', fix: 'get it' }] },
    essential: true,
    result: /^no nft$/,
    fix: /^get it$/,
  },
  { name: 'state-folder', set: { writeIn: fails('EACCES') }, essential: true, result: /EACCES/, fix: /AMBIT_HOME/ },
  { name: 'state-folder', set: { writeIn: fails('ENOSPC') }, essential: true, result: /ENOSPC/, fix: /free some/ },
  { name: 'disk', set: { freeBytes: () => 1 << 20 }, essential: true, result: /1 MiB free/, fix: /free some/ },
  { name: 'disk', set: { freeBytes: () => 100 << 20 }, essential: false, result: /100 MiB/, fix: /free some/ },
  {
    name: 'loopback',
    set: { bindLoopback: async () => fails('EADDRNOTAVAIL')() },
    essential: true,
    result: /EADDRNOTAVAIL/,
    fix: /lo up/,
  },
  { name: 'resolvers', set: { resolvers: () => [] }, essential: false, result: /no nameserver/, fix: /resolv/ },
  { name: 'descriptors', set: { descriptorLimit: () => 256 }, essential: false, result: /^256/, fix: /ulimit/ },
  { name: 'memory', set: { availableMemory: () => 99 << 20 }, essential: false, result: /99 MiB/, fix: /--nodes 1/ },
];
for (const { name, set, essential, result, fix } of cases)
  test(`${name} missing: ${essential ? 'no mesh' : 'a warning'} (${result.source})`, async () => {
    const findings = bad(await diagnose({ ...good, ...set }));
    assert.deepEqual(
      findings.map((finding) => [finding.name, finding.essential]),
      [[name, essential]],
    );
    assert.match(findings[0]?.result ?? '', result);
    assert.match(findings[0]?.fix ?? '', fix);
    assert.equal(refusal('no room', findings) !== undefined, essential);
  });

test('several things missing are one refusal that names them all', async () => {
  const findings = await diagnose({ ...good, nodeVersion: 'v20.0.0', writeIn: fails('EROFS') });
  const refused = refusal('the room could not be made', findings);
  assert.match(refused?.why ?? '', /node: .*\n.*state-folder: .*EROFS/);
});

test('this machine: the folder is made, a file is left nowhere, a port opens', async () => {
  const base = mkdtempSync(join(tmpdir(), 'ambit-doctor-'));
  try {
    const machine = thisMachine(['false']);
    machine.writeIn(join(base, 'a', 'b'));
    writeFileSync(join(base, 'file'), '');
    assert.throws(() => machine.writeIn(join(base, 'file', 'below')), /ENOTDIR/);
    assert.ok(machine.freeBytes(base) > 0);
    await machine.bindLoopback();
    assert.ok((machine.descriptorLimit() ?? 0) > 0);
    assert.ok((machine.availableMemory() ?? 0) > 0);
  } finally {
    rmSync(base, { recursive: true });
  }
});
