import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { allocate } from './allocate.ts';
import { parseServiceEntry, type ServiceEntry } from './objects/entry.ts';
import type { Json } from './read.ts';

const entry = (
  name: string,
  hosts: readonly string[],
  more: { spec?: Json; labels?: Json; status?: Json; created?: string } = {},
): ServiceEntry =>
  parseServiceEntry({
    metadata: { name, namespace: 'a', labels: more.labels, creationTimestamp: more.created ?? '2026-01-01T00:00:00Z' },
    spec: { hosts, resolution: 'DNS', ...more.spec },
    status: more.status,
  });

/** The entries as they are after the allocations were written. */
const apply = (entries: readonly ServiceEntry[]): readonly ServiceEntry[] => {
  const changes = new Map(allocate(entries).map((allocation) => [allocation.name, allocation.addresses]));
  return entries.map((it) => {
    const addresses = changes.get(it.name);
    return addresses === undefined
      ? it
      : { ...it, allocated: addresses.map(({ host, value }) => ({ host, ip: value })) };
  });
};

test('one address of each family a host, from the ranges', () => {
  const [allocation] = allocate([entry('e', ['x.example', 'y.example'])]);
  assert.equal(allocation?.addresses.length, 4);
  for (const { value } of allocation?.addresses ?? []) assert.match(value, /^(240\.240\.|2001:2:)/);
});

test('who gets none: own addresses, NONE, opted out, wildcards unless resolved at connect time', () => {
  const none: readonly ServiceEntry[] = [
    entry('a', ['x'], { spec: { addresses: ['10.0.0.1'] } }),
    entry('b', ['x'], { spec: { resolution: 'NONE' } }),
    entry('c', ['x'], { labels: { 'networking.istio.io/enable-autoallocate-ip': 'false' } }),
    entry('d', ['*.x']),
  ];
  assert.deepEqual(allocate(none), []);
  assert.equal(allocate([entry('e', ['*.x'], { spec: { resolution: 'DYNAMIC_DNS' } })]).length, 1);
});

test('what was given stays, also when hosts come and go', () => {
  const [given] = apply([entry('e', ['x', 'y'])]);
  assert.ok(given);
  assert.deepEqual(allocate([given]), []);
  const [without] = allocate([{ ...given, hosts: ['y', 'z'] }]);
  const of = (host: string) => given.allocated.filter((at) => at.host === host).map(({ ip }) => ip);
  assert.deepEqual(
    without?.addresses.filter(({ host }) => host === 'y').map(({ value }) => value),
    of('y'),
  );
  assert.deepEqual([...new Set(without?.addresses.map(({ host }) => host))], ['y', 'z']);
});

test('of two that hold one address the older keeps it', () => {
  const status = {
    addresses: [
      { host: 'x', value: '240.240.0.7' },
      { host: 'x', value: '2001:2::7' },
    ],
  };
  const changes = allocate([
    entry('young', ['x'], { status, created: '2026-02-01T00:00:00Z' }),
    entry('old', ['x'], { status, created: '2026-01-01T00:00:00Z' }),
  ]);
  assert.deepEqual(
    changes.map(({ name }) => name),
    ['young'],
  );
});

test('an entry that no longer wants addresses gives them back', () => {
  const status = { addresses: [{ host: 'x', value: '240.240.0.7' }] };
  assert.deepEqual(allocate([entry('e', ['x'], { status, spec: { resolution: 'NONE' } })])[0]?.addresses, []);
});

test('addresses never collide, and one pass is enough', () => {
  const spec = fc.constantFrom<Json>({}, { addresses: ['240.240.0.9'] }, { resolution: 'NONE' });
  const some = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 500 }), spec), {
    selector: ([n]) => n,
    maxLength: 60,
  });
  fc.assert(
    fc.property(some, (chosen) => {
      const after = apply(chosen.map(([n, its]) => entry(`e${n}`, [`h${n}.x`, `i${n % 7}.x`], { spec: its })));
      assert.deepEqual(allocate(after), []);
      const all = after.flatMap(({ allocated, name }) =>
        allocated.map(({ ip, host }) => ({ ip, of: `${name}/${host}` })),
      );
      assert.equal(new Set(all.map(({ ip }) => ip)).size, all.length);
      assert.ok(!all.some(({ ip }) => ip === '240.240.0.9'));
    }),
  );
});
