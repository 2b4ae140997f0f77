import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Ip } from '../model/ip.ts';
import { Netns } from '../platform/linux/netns.ts';
import { applyNft, listNft, listNftJson } from '../platform/linux/nft.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { addProbeTarget, hostScript, type PodRules, podRemovalScript, podScript, removeProbeTarget } from './rules.ts';
import { DEFAULT_PROBE_SOURCE } from './settings.ts';

const rules: PodRules = {
  captureInbound: true,
  captureDns: true,
  virtualInterfaces: [],
  ipv6: true,
  probeSource: DEFAULT_PROBE_SOURCE,
};

/** Against a script that a person has read. `AMBIT_UPDATE_GOLDEN=1` rewrites it. */
function golden(name: string, script: string): void {
  const path = join(import.meta.dirname, 'testdata', `${name}.nft`);
  if (process.env.AMBIT_UPDATE_GOLDEN === '1') writeFileSync(path, script);
  assert.equal(script, readFileSync(path, 'utf8'));
}

/** How many rules the kernel holds in each chain; how it words them differs between versions of nft. */
async function ruleCounts(netns: Netns): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { rule } of (await listNftJson(netns)) as { rule?: { table: string; chain: string } }[])
    if (rule !== undefined) counts[`${rule.table} ${rule.chain}`] = (counts[`${rule.table} ${rule.chain}`] ?? 0) + 1;
  return counts;
}

const scriptCounts = (script: string): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const [, where] of script.matchAll(/^add rule inet (\S+ \S+) /gm))
    counts[where as string] = (counts[where as string] ?? 0) + 1;
  return counts;
};

namespacedTests(import.meta.url, () => {
  const variants: [name: string, rules: PodRules][] = [
    ['pod', rules],
    ['pod-ipv4-without-dns', { ...rules, ipv6: false, captureDns: false }],
    ['pod-ingress-mode', { ...rules, captureInbound: false }],
    ['pod-virtual-interfaces', { ...rules, ipv6: false, virtualInterfaces: ['net1', 'tap0'] }],
  ];
  for (const [name, variant] of variants)
    test(`${name}: as in testdata, and the kernel holds it, also after a second application`, async () => {
      const script = podScript(variant);
      golden(name, script);
      using netns = Netns.create();
      for (let i = 0; i < 2; i++) {
        await applyNft(netns, script);
        assert.deepEqual(await ruleCounts(netns), scriptCounts(script));
      }
    });

  test('removal leaves nothing, and does not mind that nothing is there', async () => {
    using netns = Netns.create();
    await applyNft(netns, podRemovalScript());
    await applyNft(netns, podScript(rules));
    await applyNft(netns, podRemovalScript());
    assert.equal((await listNft(netns)).trim(), '');
  });

  test('node rules: sets are emptied by a new start, entries carry their owner', async () => {
    using netns = Netns.create();
    const entries = async (): Promise<string[]> =>
      [...(await listNft(netns)).matchAll(/elements = \{ (.*) \}/g)].map((match) => match[1] as string);
    await applyNft(netns, hostScript(0, DEFAULT_PROBE_SOURCE));
    golden('node', hostScript(0, DEFAULT_PROBE_SOURCE));
    await applyNft(
      netns,
      addProbeTarget('10.0.0.5' as Ip, 'uid-1', false) + addProbeTarget('fd00::5' as Ip, 'uid-1', true),
    );
    await applyNft(netns, addProbeTarget('10.0.0.5' as Ip, 'uid-2" } ; flush ruleset', true));
    assert.deepEqual(await entries(), ['10.0.0.5 comment "uid-2flushruleset"', 'fd00::5 comment "uid-1"']);
    await applyNft(netns, removeProbeTarget('10.0.0.5' as Ip));
    await applyNft(netns, removeProbeTarget('10.0.0.5' as Ip));
    assert.deepEqual(await entries(), ['fd00::5 comment "uid-1"']);
    await applyNft(netns, hostScript(0, DEFAULT_PROBE_SOURCE));
    assert.deepEqual(await entries(), []);
    assert.deepEqual(await ruleCounts(netns), scriptCounts(hostScript(0, DEFAULT_PROBE_SOURCE)));
  });
});
