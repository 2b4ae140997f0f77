import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equal } from './equal.ts';
import { Graph } from './graph.ts';

interface Person {
  readonly name: string;
  readonly city: string;
}

/** People, cities, and a greeting for each person that reads its city; `runs` counts computations. */
function town() {
  const graph = new Graph();
  const people = graph.source<Person>('people');
  const cities = graph.source<string>('cities');
  const runs: string[] = [];
  const greetings = graph.derive('greetings', people, (get, { name, city }) => {
    runs.push(name);
    const where = get.one(cities, city);
    return where === undefined ? undefined : `${name} of ${where}`;
  });
  return { graph, people, cities, runs, greetings };
}

test('only what read a changed item is computed again', () => {
  const { graph, people, cities, runs, greetings } = town();
  people.set('a', { name: 'Ada', city: 'x' });
  people.set('b', { name: 'Bob', city: 'y' });
  cities.set('x', 'Xanten');
  cities.set('y', 'York');
  graph.flush();
  assert.deepEqual([...greetings.values()].sort(), ['Ada of Xanten', 'Bob of York']);
  runs.length = 0;
  cities.set('y', 'Ypres');
  graph.flush();
  assert.deepEqual(runs, ['Bob']);
  assert.equal(greetings.get('b'), 'Bob of Ypres');
});

test('an item that read something absent runs again when it appears', () => {
  const { graph, people, cities, greetings } = town();
  people.set('a', { name: 'Ada', city: 'x' });
  graph.flush();
  assert.equal(greetings.size, 0);
  cities.set('x', 'Xanten');
  graph.flush();
  assert.equal(greetings.get('a'), 'Ada of Xanten');
});

test('an equal value stops the propagation', () => {
  const { graph, people, cities, runs, greetings } = town();
  people.set('a', { name: 'Ada', city: 'x' });
  cities.set('x', 'Xanten');
  graph.flush();
  const told: unknown[] = [];
  greetings.subscribe((changes) => told.push(...changes));
  runs.length = 0;
  people.set('a', { name: 'Ada', city: 'x' });
  graph.flush();
  assert.deepEqual([runs, told], [[], []]);
});

test('an item no longer reads what it read before', () => {
  const { graph, people, cities, runs } = town();
  people.set('a', { name: 'Ada', city: 'x' });
  graph.flush();
  people.set('a', { name: 'Ada', city: 'y' });
  graph.flush();
  runs.length = 0;
  cities.set('x', 'Xanten');
  graph.flush();
  assert.deepEqual(runs, []);
});

test('a flush computes each item once, however many of its inputs changed, and nobody sees the middle', () => {
  const graph = new Graph();
  const source = graph.source<number>('source');
  const doubled = graph.derive('doubled', source, (_get, n) => n * 2);
  let runs = 0;
  const sums = graph.derive('sums', source, (get, n) => {
    runs++;
    const twice = get.one(doubled, 'n') as number;
    assert.equal(twice, n * 2, 'half-updated world');
    return n + twice;
  });
  source.set('n', 1);
  graph.flush();
  source.set('n', 5);
  graph.flush();
  assert.equal(sums.get('n'), 15);
  assert.equal(runs, 2);
});

test('an index wakes the readers of keys that an item left, stays under and enters', () => {
  const graph = new Graph();
  const people = graph.source<Person>('people');
  const byCity = people.index('byCity', ({ city }) => [city]);
  const asked = graph.source<string>('asked');
  const counts = graph.derive('counts', asked, (get, city) => get.all(byCity, city).map(({ name }) => name));
  for (const city of ['x', 'y']) asked.set(city, city);
  people.set('b', { name: 'Bob', city: 'x' });
  people.set('a', { name: 'Ada', city: 'x' });
  graph.flush();
  assert.deepEqual(counts.get('x'), ['Ada', 'Bob'], 'in order of keys, not of arrival');
  people.set('a', { name: 'Ada', city: 'y' });
  graph.flush();
  assert.deepEqual([counts.get('x'), counts.get('y')], [['Bob'], ['Ada']]);
  people.set('b', { name: 'Rob', city: 'x' });
  graph.flush();
  assert.deepEqual(counts.get('x'), ['Rob']);
});

test('a group has one computation an index key and follows its members', () => {
  const graph = new Graph();
  const people = graph.source<Person>('people');
  const byCity = people.index('byCity', ({ city }) => [city]);
  const crowds = graph.group('crowds', byCity, (_get, there, city) => [[city, there.length]]);
  people.set('a', { name: 'Ada', city: 'x' });
  people.set('b', { name: 'Bob', city: 'x' });
  graph.flush();
  assert.deepEqual([...crowds.entries()], [['x', 2]]);
  people.delete('a');
  people.delete('b');
  people.set('c', { name: 'Cy', city: 'y' });
  graph.flush();
  assert.deepEqual([...crowds.entries()], [['y', 1]]);
});

test('one input may give many items, and a key may move from one input to another in a flush', () => {
  const graph = new Graph();
  const source = graph.source<readonly string[]>('source');
  const items = graph.deriveMany('items', source, (_get, keys, from) => keys.map((key) => [key, from]));
  source.set('one', ['p', 'q']);
  graph.flush();
  source.set('one', ['q']);
  source.set('two', ['p']);
  graph.flush();
  assert.deepEqual([...items.entries()].sort(), [
    ['p', 'two'],
    ['q', 'one'],
  ]);
});

test('a join passes on the changes of its parts', () => {
  const graph = new Graph();
  const a = graph.source<number>('a');
  const b = graph.source<number>('b');
  const both = graph.join('both', [a, b]);
  a.set('1', 1);
  b.set('2', 2);
  graph.flush();
  const told: string[] = [];
  both.subscribe((changes) => told.push(...changes.map(({ key, before, now }) => `${key}:${before}>${now}`)));
  a.delete('1');
  b.set('2', 3);
  graph.flush();
  assert.deepEqual(told.sort(), ['1:1>undefined', '2:2>3']);
});

test('subscribers hear of a change there and back in one flush as of none', () => {
  const graph = new Graph();
  const source = graph.source<number>('source');
  source.set('n', 1);
  graph.flush();
  const told: unknown[] = [];
  source.subscribe((changes) => told.push(changes));
  source.delete('n');
  source.set('n', 1);
  graph.flush();
  assert.deepEqual(told, []);
});

test('reading a later collection is a mistake that is named', () => {
  const graph = new Graph();
  const source = graph.source<number>('source');
  const late: { collection?: ReturnType<Graph['source']> } = {};
  graph.derive('early', source, (get) => (late.collection === undefined ? 0 : get.one(late.collection, 'n')));
  late.collection = graph.source('late');
  source.set('n', 1);
  assert.throws(() => graph.flush(), /`late`, which is computed after it/);
});

test('a computation that fails keeps its last good outcome; the others go on, and it is tried again', () => {
  const graph = new Graph();
  const failures: string[] = [];
  graph.onError = (collection, key, error) => failures.push(`${collection} ${key} ${(error as Error).message}`);
  const source = graph.source<number>('source');
  const halves = graph.derive('halves', source, (_get, n) => {
    if (n % 2 === 1) throw new Error('odd');
    return n / 2;
  });
  source.set('a', 2);
  source.set('b', 4);
  graph.flush();
  source.set('a', 3);
  source.set('b', 6);
  graph.flush();
  assert.deepEqual([halves.get('a'), halves.get('b'), failures], [1, 3, ['halves a odd']]);
  source.set('a', 8);
  graph.flush();
  assert.equal(halves.get('a'), 4);
  source.set('a', 9);
  source.delete('a');
  graph.flush();
  assert.equal(halves.has('a'), false);
});

test('work is announced once between flushes', () => {
  let calls = 0;
  const graph = new Graph();
  graph.onWork = () => calls++;
  const source = graph.source<number>('source');
  graph.derive('derived', source, (_get, n) => n);
  source.set('a', 1);
  source.set('b', 2);
  assert.equal(calls, 1);
  graph.flush();
  source.set('a', 1);
  assert.equal(calls, 1, 'nothing changed');
  source.set('a', 2);
  assert.equal(calls, 2);
});

test('equal tells apart what JSON would not', () => {
  assert.ok(
    equal({ a: [1, new Map([['k', { v: Uint8Array.of(1) }]])] }, { a: [1, new Map([['k', { v: Uint8Array.of(1) }]])] }),
  );
  assert.ok(equal(new Set(['a', 'b']), new Set(['b', 'a'])));
  for (const [a, b] of [
    [{ a: undefined }, {}],
    [[1], { 0: 1 }],
    [new Map([['k', 1]]), new Map([['k', 2]])],
    [Uint8Array.of(1), Uint8Array.of(2)],
    [null, {}],
    [0, -0],
  ])
    assert.ok(!equal(a, b), `${String(a)} ${String(b)}`);
});
