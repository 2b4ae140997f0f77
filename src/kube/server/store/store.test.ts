import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { KubeObject } from '../../client/types.ts';
import { DatabaseError } from './database.ts';
import { Store, TooOldError } from './store.ts';

const map = (name: string, namespace = 'ns'): KubeObject => ({ metadata: { namespace, name } });
const put = (store: Store, object: KubeObject, collection = '/configmaps') => store.write({ collection, object });

function fileOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'store-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'state.db');
}

test('objects, their order and the resourceVersion are there after opening again', (t) => {
  const path = fileOf(t);
  const first = new Store(path);
  for (const name of ['b', 'a', 'c']) put(first, map(name));
  put(first, map('a', 'other'));
  first.write({ collection: '/configmaps', object: map('c'), remove: true });
  const version = first.resourceVersion;
  first.close();
  const second = new Store(path);
  t.after(() => second.close());
  assert.equal(second.resourceVersion, version);
  assert.deepEqual(
    second.list('/configmaps').map(({ key }) => key),
    ['ns/a', 'ns/b', 'other/a'],
  );
  assert.deepEqual(
    second.list('/configmaps', 'ns').map(({ name }) => name),
    ['a', 'b'],
  );
  assert.equal(second.get('/configmaps', 'ns', 'c'), undefined);
  assert.equal(put(second, map('d')).resourceVersion, version + 1);
});

test('a database that another process holds is refused with its path', (t) => {
  const path = fileOf(t);
  const first = new Store(path);
  put(first, map('a'));
  assert.throws(
    () => new Store(path),
    (error) => error instanceof DatabaseError && error.message.includes(path),
  );
  first.close();
});

test('a write that the disk refuses changes nothing and tells nobody', (t) => {
  const store = new Store(':memory:');
  t.after(() => store.close());
  put(store, map('a'));
  const told: unknown[] = [];
  store.watch('/configmaps', store.resourceVersion, (event) => told.push(event));
  const version = store.resourceVersion;
  assert.throws(
    () =>
      store.writeAll([
        { collection: '/configmaps', object: map('b') },
        { collection: null as never, object: map('x') },
      ]),
    DatabaseError,
  );
  assert.equal(store.resourceVersion, version);
  assert.equal(store.get('/configmaps', 'ns', 'b'), undefined);
  assert.deepEqual(told, []);
  put(store, map('b'));
  assert.equal(told.length, 1);
});

test('a watcher gets what happened since, then what happens, until it stops', (t) => {
  const store = new Store(':memory:');
  t.after(() => store.close());
  const from = put(store, map('a')).resourceVersion;
  put(store, map('b'));
  put(store, map('x'), '/secrets');
  const seen: string[] = [];
  const stop = store.watch('/configmaps', from, ({ before, now, last }) =>
    seen.push(`${last.name} ${before !== undefined}>${now !== undefined}`),
  );
  put(store, map('b'));
  store.write({ collection: '/configmaps', object: map('a'), remove: true });
  stop();
  put(store, map('c'));
  assert.deepEqual(seen, ['b false>true', 'b true>true', 'a true>false']);
});

test('a watcher that fails harms neither the write nor the others', (t) => {
  const store = new Store(':memory:');
  t.after(() => store.close());
  let heard = 0;
  store.watch('/configmaps', store.resourceVersion, () => {
    throw new Error('mine');
  });
  store.watch('/configmaps', store.resourceVersion, () => heard++);
  put(store, map('a'));
  assert.equal(heard, 1);
  assert.ok(store.get('/configmaps', 'ns', 'a'));
});

test('what was forgotten is too old; what was before this process is too old', (t) => {
  const path = fileOf(t);
  const first = new Store(path);
  const early = put(first, map('a')).resourceVersion;
  for (let i = 0; i < 5000; i++) put(first, map(`b${i % 7}`));
  assert.throws(() => first.watch('/configmaps', early, () => {}), TooOldError);
  assert.equal(first.remembers('/configmaps', early), false);
  let replayed = 0;
  first.watch('/configmaps', first.resourceVersion - 2000, () => replayed++);
  assert.equal(replayed, 2000);
  const last = first.resourceVersion;
  first.close();
  const second = new Store(path);
  t.after(() => second.close());
  assert.throws(() => second.watch('/configmaps', last - 1, () => {}), TooOldError);
  second.watch('/configmaps', last, () => {});
});

test('objects are frozen: a reader cannot change what others see', (t) => {
  const store = new Store(':memory:');
  t.after(() => store.close());
  const { object } = put(store, { metadata: { namespace: 'ns', name: 'a', labels: { x: 'y' } } });
  assert.throws(() => Object.assign(object.metadata!.labels!, { x: 'z' }), TypeError);
});
