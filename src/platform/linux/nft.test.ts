import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Netns } from './netns.ts';
import { applyNft, listNft, listNftJson, NftError, withLibrary, withProgram } from './nft.ts';
import { countDescriptors, namespacedTests } from './testing.ts';

const table = ['add table inet t', 'add chain inet t c', 'add rule inet t c tcp dport 80 counter accept', ''].join(
  '\n',
);

namespacedTests(import.meta.url, () => {
  test('a script is applied inside the namespace only', async () => {
    using a = Netns.create();
    using b = Netns.create();
    await applyNft(a, table);
    assert.match(await listNft(a, 'table inet t'), /tcp dport 80 counter packets 0 bytes 0 accept/);
    assert.equal((await listNft(b)).trim(), '');
    const kinds = (await listNftJson(a)).map((item) => Object.keys(item)[0]);
    assert.deepEqual(kinds, ['metainfo', 'table', 'chain', 'rule']);
  });

  test('a script with one bad line changes nothing', async () => {
    using netns = Netns.create();
    await assert.rejects(applyNft(netns, `${table}add rule inet t nowhere accept\n`), NftError);
    assert.equal((await listNft(netns)).trim(), '');
    await assert.rejects(
      applyNft(netns, 'add table inet t\nadd rubbish\n'),
      /Error: syntax error, unexpected newline, expecting string/,
    );
    await assert.rejects(listNft(netns, 'table inet absent'), /No such file/);
  });

  test('library and program agree', async () => {
    const results: unknown[] = [];
    for (const run of [withLibrary(), withProgram('')]) {
      assert.ok(run, 'nftables has both');
      using netns = Netns.create();
      assert.deepEqual(await run(netns, table, false), { output: '', error: undefined });
      const listed = await run(netns, 'list ruleset', true);
      const failed = await run(netns, 'add rubbish\n', false);
      assert.match(failed.error ?? '', /Error: syntax error, unexpected newline, expecting string/);
      results.push({ ...listed, output: JSON.parse(listed.output) });
    }
    assert.deepEqual(results[0], results[1]);
  });

  test('no descriptor stays open', async () => {
    using netns = Netns.create();
    await applyNft(netns, table);
    const before = countDescriptors();
    for (let i = 0; i < 20; i++) await applyNft(netns, `flush table inet t\n${table}`);
    await assert.rejects(applyNft(netns, 'rubbish'));
    assert.equal(countDescriptors(), before);
  });
});
