import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADDRESS_TYPE } from '../../wire/xds/names.ts';
import { Inventory } from './inventory.ts';

const COUNT = 2_000;

function filled(): { inventory: Inventory; encodedNow: () => number } {
  const inventory = new Inventory(ADDRESS_TYPE);
  let encoded = 0;
  for (let i = 0; i < COUNT; i++)
    inventory.set(`item-${i}`, () => {
      encoded++;
      return { version: String(i), value: Uint8Array.of(i & 255) };
    });
  return { inventory, encodedNow: () => encoded };
}

test('very many changes are encoded a slice a turn, each once, and all that wait go on together', async () => {
  const { inventory, encodedNow } = filled();
  assert.equal(encodedNow(), 0);
  const all = [inventory.encoded(), inventory.encoded()];
  let turns = 0;
  for (let before = -1; encodedNow() < COUNT; turns++) {
    assert.ok(encodedNow() > before && encodedNow() - Math.max(0, before) <= 512, `${before} -> ${encodedNow()}`);
    before = encodedNow();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(turns >= 4, `${turns} turns`);
  await Promise.all(all);
  assert.equal(inventory.encoded(), undefined);
  assert.equal(inventory.whole().length > COUNT, true);
  assert.equal(encodedNow(), COUNT);
});

test('a few are encoded at once; who asks early has its item; what was replaced or went is never encoded', () => {
  const { inventory, encodedNow } = filled();
  assert.equal(inventory.get('item-7')?.version, '7');
  assert.equal(encodedNow(), 1);
  for (let i = 10; i < COUNT; i++) inventory.delete(`item-${i}`);
  inventory.set('item-3', () => ({ version: 'new', value: new Uint8Array() }));
  assert.equal(inventory.encoded(), undefined);
  assert.equal(encodedNow(), 9);
  assert.deepEqual([...inventory.items()].map(({ version }) => version).sort(), [
    '0',
    '1',
    '2',
    '4',
    '5',
    '6',
    '7',
    '8',
    '9',
    'new',
  ]);
});
