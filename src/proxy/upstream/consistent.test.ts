import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildMaglev, buildRing, type Lookup, type Member } from './consistent.ts';
import { hashText } from './hash.ts';

const member = (name: string, weight = 1): Member => ({ name, weight });
const pods = (count: number): Member[] =>
  Array.from({ length: count }, (_, i) => member(`10.0.${i >> 8}.${i & 255}:80`));
const keys = Array.from({ length: 5_000 }, (_, i) => hashText(`user-${i}`));

const ways: readonly (readonly [string, (members: readonly Member[]) => Lookup])[] = [
  ['ring', (members) => buildRing(members, 1024)],
  ['maglev', (members) => buildMaglev(members, 65_537)],
];

test('the hash of a text is the same on every replica and in every version', () => {
  // Written down once: were they to change, sessions would move when a proxy is replaced.
  assert.equal(hashText(''), 0);
  assert.deepEqual(
    ['a', 'ab', 'ba', '10.0.0.1:80_0'].map((text) => hashText(text)),
    [721651713, 1142947817, 1795508445, 2589499236],
  );
});

for (const [name, build] of ways) {
  test(`${name}: a key has the same member whatever the order of the members`, () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(pods(12), { minLength: 2 }), (some) => {
        const one = build(some);
        const reversed = [...some].reverse();
        const other = build(reversed);
        for (const key of keys.slice(0, 200)) assert.equal(some[one(key)]?.name, reversed[other(key)]?.name);
      }),
      { numRuns: 8 },
    );
  });

  test(`${name}: shares follow the weights`, () => {
    const members = [member('10.0.0.1:80', 1), member('10.0.0.2:80', 3)];
    const find = build(members);
    const second = keys.filter((key) => find(key) === 1).length / keys.length;
    assert.ok(Math.abs(second - 0.75) < 0.05, `share ${second}`);
  });

  test(`${name}: a member that leaves moves few of the others' keys`, () => {
    const before = pods(10);
    const after = before.filter((_, i) => i !== 4);
    const [old, now] = [build(before), build(after)];
    let moved = 0;
    let others = 0;
    for (const key of keys) {
      const was = before[old(key)]?.name;
      if (was === before[4]?.name) continue;
      others++;
      if (after[now(key)]?.name !== was) moved++;
    }
    // A ring moves none of them; maglev a few (its paper, §5.3).
    assert.ok(moved / others <= (name === 'ring' ? 0.002 : 0.08), `${moved} of ${others} moved`);
  });

  test(`${name}: hundreds of members, each with a part`, () => {
    const members = pods(300);
    const find = build(members);
    const used = new Set(keys.map(find));
    assert.ok(used.size > 280, `${used.size} of 300 used`);
  });
}

test('a ring and a table are bounded whatever is asked for', () => {
  const find = buildRing([member('a', 1), member('b', 1_000_000)], 8_000_000);
  assert.equal(typeof find(7), 'number');
  assert.equal(buildMaglev(pods(3), 1)(5) < 3, true, 'smaller than its members: made larger');
});
