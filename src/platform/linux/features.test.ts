import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFeatures, type Feature, namespaceAdvice } from './features.ts';

const program = `
const { probeRoom } = await import(${JSON.stringify(new URL('./features.ts', import.meta.url).href)});
console.log(JSON.stringify(await probeRoom()));`;
const probe = [process.execPath, '--input-type=module', '-e', program] as const;
const names = (features: Feature[]): string[] => features.filter((feature) => feature.ok).map(({ name }) => name);
const all = [
  'unshare',
  'namespaces',
  'bridges',
  'policy-routing',
  'nft-redirect',
  'nft-services',
  'nft-marks',
  'socket-mark',
  'ip-transparent',
];

for (const root of process.getuid?.() === 0 ? [true, false] : [false])
  test(`a room ${root ? 'of root' : 'without root'} has what the mesh needs`, async () => {
    const features = await checkFeatures([...probe], root);
    assert.deepEqual(names(features.filter(({ required }) => required)), all);
    assert.deepEqual(
      features.filter(({ required }) => !required).map(({ name }) => name),
      ['ipv6', 'overlay'],
    );
  });

test('a feature that is missing says why and how to get it', async () => {
  // Without a network namespace of its own, and without the powers of one, nothing can be made.
  const bare = `const { spawnSync } = await import('node:child_process');
    const r = spawnSync('setpriv', ['--bounding-set=-all', '--inh-caps=-all', ...${JSON.stringify(probe)}], { encoding: 'utf8' });
    process.stdout.write(r.stdout); process.stderr.write(r.stderr);`;
  const features = await checkFeatures([process.execPath, '--input-type=module', '-e', bare]);
  const missing = features.filter((feature) => !feature.ok);
  assert.ok(missing.length >= 5, JSON.stringify(features));
  for (const feature of missing) assert.ok(feature.why && feature.fix, feature.name);
  assert.match(missing.find(({ name }) => name === 'nft-redirect')?.why ?? '', /captured: unshare EPERM/);
});

test('a room that cannot be made is one finding, with the words of the trial', async () => {
  const features = await checkFeatures(['sh', '-c', 'echo no such luck >&2; exit 1']);
  assert.deepEqual(names(features), ['unshare']);
  assert.match(features.at(-1)?.why ?? '', /no such luck/);
  assert.deepEqual(names(await checkFeatures(['echo', 'not json'])), ['unshare']);
});

test('the switch that forbids user namespaces is named', () => {
  const advise = (root: boolean, name: string, value: string) =>
    namespaceAdvice(root, 'unshare failed', (asked) => (asked === name ? value : undefined));
  assert.match(advise(false, 'kernel.unprivileged_userns_clone', '0').fix, /unprivileged_userns_clone=1/);
  assert.match(advise(false, 'kernel.apparmor_restrict_unprivileged_userns', '1').fix, /userns=0/);
  assert.match(advise(false, 'user.max_net_namespaces', '0').fix, /max_net_namespaces=15000/);
  assert.match(advise(true, 'kernel.unprivileged_userns_clone', '0').fix, /privileged/);
  assert.match(advise(true, 'user.max_net_namespaces', '0').fix, /max_net_namespaces=15000/);
  assert.match(namespaceAdvice(false, '', () => undefined).why, /without an answer/);
});
