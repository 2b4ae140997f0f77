// Derived collections that know what they read. A graph is a list of collections, each computed from earlier ones; when
// an input changes, exactly the items that read it are computed again, and a value that came out equal stops there.
//
//   sources ──set/delete──> [source] ──> [derived] ──> [join] ──> [derived] ──flush──> subscribers
//
// INVARIANT (order): a collection reads only collections created before it, so one pass in creation order settles
// everything: nothing is computed twice in a flush and nobody sees a half-updated world.
// Works per change of configuration, never per connection.

import { equal } from './equal.ts';

/** What a derivation reads with; every read is remembered as a reason to run again. */
export interface Reader {
  /** The item with this key. */
  one<T>(collection: Collection<T>, key: string): T | undefined;
  /** The items filed under this index key, in order of their keys. */
  all<T>(index: Index<T>, key: string): readonly T[];
}

export interface Change<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly now: T | undefined;
}

/**
 * One item's computation: what it read, and the keys it put out. Nearly always it reads the same again, in the same
 * order: then nothing is booked anew, which was a third of a change that touches 10,000 workloads.
 */
class Cell {
  readonly node: Recomputing;
  readonly key: string;
  outputs: readonly string[] = [];
  /** Each once, in the order of the first time. */
  private reads: Bucket[] = [];
  /** While it computes: how many of `reads` have been read again. */
  private again = 0;

  constructor(node: Recomputing, key: string) {
    this.node = node;
    this.key = key;
  }

  get readsNothing(): boolean {
    return this.reads.length === 0;
  }

  begin(): void {
    this.again = 0;
  }

  /** It reads what this bucket stands for. */
  read(bucket: Bucket): void {
    const { reads, again } = this;
    if (reads[again] === bucket) {
      this.again++;
      return;
    }
    if (!bucket.cells.has(this)) bucket.cells.add(this);
    else {
      const at = reads.indexOf(bucket);
      if (at < again) return; // twice
      reads.splice(at, 1);
    }
    reads.splice(again, 0, bucket);
    this.again++;
  }

  /** It has computed: what it has not read again, it reads no more. */
  end(): void {
    for (const bucket of this.reads.splice(this.again)) bucket.leave(this);
  }
}

interface Recomputing {
  readonly order: number;
  markDirty(key: string): void;
}

/** The cells that read one key of one collection or index. */
class Bucket {
  readonly cells = new Set<Cell>();
  private readonly home: Readers;
  private readonly key: string;
  constructor(home: Readers, key: string) {
    this.home = home;
    this.key = key;
  }
  leave(cell: Cell): void {
    this.cells.delete(cell);
    if (this.cells.size === 0) this.home.forget(this.key);
  }
}

/** Who read which key. */
class Readers {
  private readonly buckets = new Map<string, Bucket>();
  enter(key: string, cell: Cell): void {
    let bucket = this.buckets.get(key);
    if (bucket === undefined) {
      bucket = new Bucket(this, key);
      this.buckets.set(key, bucket);
    }
    cell.read(bucket);
  }
  forget(key: string): void {
    this.buckets.delete(key);
  }
  touch(key: string): void {
    const bucket = this.buckets.get(key);
    if (bucket !== undefined) for (const cell of bucket.cells) cell.node.markDirty(cell.key);
  }
  get size(): number {
    return this.buckets.size;
  }
}

/** A set of values by key. Reading it outside a derivation is free of bookkeeping. */
export abstract class Collection<T> {
  readonly name: string;
  readonly order: number;
  protected readonly graph: Graph;
  private readonly items = new Map<string, T>();
  private readonly readers = new Readers();
  private readonly indexes: Index<T>[] = [];
  private readonly followers: ((key: string) => void)[] = [];
  private readonly subscribers: ((changes: readonly Change<T>[]) => void)[] = [];
  /** What subscribers knew before; and which of it changed more than once, and may be as it was. */
  private readonly pending = new Map<string, T | undefined>();
  private readonly repeated = new Set<string>();

  constructor(graph: Graph, name: string) {
    this.graph = graph;
    this.name = name;
    this.order = graph.adopt(this);
  }

  get(key: string): T | undefined {
    return this.items.get(key);
  }
  has(key: string): boolean {
    return this.items.has(key);
  }
  get size(): number {
    return this.items.size;
  }
  keys(): IterableIterator<string> {
    return this.items.keys();
  }
  values(): IterableIterator<T> {
    return this.items.values();
  }
  entries(): IterableIterator<[string, T]> {
    return this.items.entries();
  }

  /** Called once a flush with everything that changed in it; never with an item that came out equal. */
  subscribe(handler: (changes: readonly Change<T>[]) => void): void {
    this.subscribers.push(handler);
  }

  /** Files every item under the keys that `keysOf` gives; an item may have none. */
  index(name: string, keysOf: (item: T) => readonly string[]): Index<T> {
    const made = new Index(this, name, keysOf);
    this.indexes.push(made);
    for (const [key, item] of this.items) made.refile(key, undefined, item);
    return made;
  }

  /** For the graph: recomputes what is dirty. */
  abstract settle(): void;

  /** For the graph: tells subscribers, after all collections have settled. */
  announce(): void {
    if (this.pending.size === 0) return;
    const changes: Change<T>[] = [];
    for (const [key, before] of this.pending) {
      const now = this.items.get(key);
      if (!this.repeated.has(key) || !equal(before, now)) changes.push({ key, before, now });
    }
    this.pending.clear();
    this.repeated.clear();
    if (changes.length > 0) for (const subscriber of this.subscribers) subscriber(changes);
  }

  /** For derivations: reads and remembers. */
  readBy(cell: Cell, key: string): T | undefined {
    assertEarlier(this.order, this.name, cell);
    this.readers.enter(key, cell);
    return this.items.get(key);
  }

  /** For later collections that have one cell an item of this one. */
  follow(handler: (key: string) => void): void {
    this.followers.push(handler);
    for (const key of this.items.keys()) handler(key);
  }

  /** @returns whether anything changed */
  protected put(key: string, now: T | undefined): boolean {
    const before = this.items.get(key);
    if (before === now || (before !== undefined && now !== undefined && equal(before, now))) return false;
    this.replace(key, before, now);
    return true;
  }

  /** As `put`, for an item that is known to be another. */
  protected replace(key: string, before: T | undefined, now: T | undefined): void {
    if (now === undefined) this.items.delete(key);
    else this.items.set(key, now);
    if (this.subscribers.length > 0) {
      if (this.pending.has(key)) this.repeated.add(key);
      else this.pending.set(key, before);
    }
    for (const index of this.indexes) index.refile(key, before, now);
    this.readers.touch(key);
    for (const follower of this.followers) follower(key);
  }
}

function assertEarlier(order: number, name: string, cell: Cell): void {
  if (order >= cell.node.order) throw new Error(`a derivation reads \`${name}\`, which is computed after it`);
}

/** A second way to find the items of a collection. */
export class Index<T> {
  readonly name: string;
  readonly source: Collection<T>;
  private readonly keysOf: (item: T) => readonly string[];
  private readonly files = new Map<string, Map<string, T>>();
  private readonly readers = new Readers();
  private readonly followers: ((key: string) => void)[] = [];

  constructor(source: Collection<T>, name: string, keysOf: (item: T) => readonly string[]) {
    this.source = source;
    this.name = name;
    this.keysOf = keysOf;
  }

  /** In order of item keys, so that what is derived does not depend on the order of arrival. */
  lookup(key: string): readonly T[] {
    const file = this.files.get(key);
    if (file === undefined) return [];
    if (file.size === 1) return [...file.values()];
    return [...file.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
  }

  keys(): IterableIterator<string> {
    return this.files.keys();
  }

  readBy(cell: Cell, key: string): readonly T[] {
    assertEarlier(this.source.order, this.name, cell);
    this.readers.enter(key, cell);
    return this.lookup(key);
  }

  follow(handler: (key: string) => void): void {
    this.followers.push(handler);
    for (const key of this.files.keys()) handler(key);
  }

  /** For the collection: an item came, changed or went. */
  refile(itemKey: string, before: T | undefined, now: T | undefined): void {
    const old = before === undefined ? [] : this.keysOf(before);
    const fresh = now === undefined ? [] : this.keysOf(now);
    // Few items have more keys than fit on a hand; for the others a set is worth its making.
    const kept = fresh.length <= 8 ? undefined : new Set(fresh);
    for (const key of old) {
      if (kept === undefined ? fresh.includes(key) : kept.has(key)) continue;
      const file = this.files.get(key);
      file?.delete(itemKey);
      if (file?.size === 0) this.files.delete(key);
      this.touch(key);
    }
    for (const key of fresh) {
      let file = this.files.get(key);
      if (file === undefined) {
        file = new Map();
        this.files.set(key, file);
      }
      file.set(itemKey, now as T);
      this.touch(key);
    }
  }

  private touch(key: string): void {
    this.readers.touch(key);
    for (const follower of this.followers) follower(key);
  }
}

/** Where objects enter the graph. */
export class Source<T> extends Collection<T> {
  set(key: string, item: T): void {
    if (this.put(key, item)) this.graph.wake();
  }
  delete(key: string): void {
    if (this.put(key, undefined)) this.graph.wake();
  }
  override settle(): void {}
}

/** What a derivation puts out for one input: at most one item of the same key, or several with keys of their own. */
export type Outputs<T> = readonly (readonly [key: string, item: T])[];

class Derived<T> extends Collection<T> implements Recomputing {
  private readonly derivation: (get: Reader, key: string) => Outputs<T>;
  private readonly cells = new Map<string, Cell>();
  private dirty = new Set<string>();

  constructor(graph: Graph, name: string, compute: (get: Reader, key: string) => Outputs<T>) {
    super(graph, name);
    this.derivation = compute;
  }

  markDirty(key: string): void {
    this.dirty.add(key);
    this.graph.wake();
  }

  override settle(): void {
    if (this.dirty.size === 0) return;
    const dirty = this.dirty;
    this.dirty = new Set();
    const gone: string[] = [];
    const fresh = new Map<string, T>();
    for (const key of dirty) {
      const cell = this.cells.get(key) ?? new Cell(this, key);
      cell.begin();
      const outputs = this.#compute(cell);
      cell.end();
      if (outputs === undefined) continue;
      for (const at of cell.outputs) gone.push(at);
      cell.outputs = outputs.map(([at]) => at);
      for (const [at, item] of outputs) fresh.set(at, item);
      if (cell.outputs.length === 0 && cell.readsNothing) this.cells.delete(key);
      else this.cells.set(key, cell);
    }
    for (const at of gone) if (!fresh.has(at)) this.put(at, undefined);
    for (const [at, item] of fresh) this.put(at, item);
  }

  /** Undefined when it failed: then what was put out before stays, and the next change of what was read tries again. */
  #compute(cell: Cell): Outputs<T> | undefined {
    const reader: Reader = {
      one: (collection, at) => collection.readBy(cell, at),
      all: (index, at) => index.readBy(cell, at),
    };
    try {
      return this.derivation(reader, cell.key);
    } catch (error) {
      this.graph.onError(this.name, cell.key, error);
      this.cells.set(cell.key, cell);
      return undefined;
    }
  }
}

/** Several collections of disjoint keys as one. */
class Join<T> extends Collection<T> {
  private readonly parts: readonly Collection<T>[];
  private changed = new Set<string>();
  constructor(graph: Graph, name: string, parts: readonly Collection<T>[]) {
    super(graph, name);
    this.parts = parts;
    for (const part of parts)
      part.follow((key) => {
        this.changed.add(key);
        graph.wake();
      });
  }
  override settle(): void {
    const changed = this.changed;
    if (changed.size === 0) return;
    this.changed = new Set();
    for (const key of changed) {
      const before = this.get(key);
      const now = this.parts.find((part) => part.has(key))?.get(key);
      if (before !== now) this.replace(key, before, now); // the part has compared it already
    }
  }
}

/** Holds the collections and settles them. Changes gather in sources; `flush` applies them all at once. */
export class Graph {
  /** Called at the first change after a flush, so that somebody can plan the next one. */
  onWork: () => void = () => {};
  /** Called when a computation throws, which is a mistake in it; unless it throws too, the others go on. */
  onError: (collection: string, key: string, error: unknown) => void = (_collection, _key, error) => {
    throw error;
  };
  private readonly collections: { settle(): void; announce(): void }[] = [];
  private awake = false;

  /** For collections: their place in the order. */
  adopt(collection: { settle(): void; announce(): void }): number {
    return this.collections.push(collection) - 1;
  }

  /** For collections: something needs a flush. */
  wake(): void {
    if (this.awake) return;
    this.awake = true;
    this.onWork();
  }

  source<T>(name: string): Source<T> {
    return new Source<T>(this, name);
  }

  /** At most one item for each item of `from`, under the same key. */
  derive<I, T>(name: string, from: Collection<I>, compute: (get: Reader, item: I) => T | undefined): Collection<T> {
    return this.deriveMany<I, T>(name, from, (get, item, key) => {
      const made = compute(get, item);
      return made === undefined ? [] : [[key, made]];
    });
  }

  /** Any number of items for each item of `from`; the keys must be unique among all of them. */
  deriveMany<I, T>(
    name: string,
    from: Collection<I>,
    compute: (get: Reader, item: I, key: string) => Outputs<T>,
  ): Collection<T> {
    const made = new Derived<T>(this, name, (get, key) => {
      const item = from.get(key);
      return item === undefined ? [] : compute(get, item, key);
    });
    from.follow((key) => made.markDirty(key));
    return made;
  }

  /** Any number of items for each key of an index, from all items filed there. */
  group<I, T>(
    name: string,
    by: Index<I>,
    compute: (get: Reader, items: readonly I[], key: string) => Outputs<T>,
  ): Collection<T> {
    const made = new Derived<T>(this, name, (get, key) => {
      const items = by.lookup(key);
      return items.length === 0 ? [] : compute(get, items, key);
    });
    by.follow((key) => made.markDirty(key));
    return made;
  }

  /** One value, under the key `''`. */
  single<T>(name: string, compute: (get: Reader) => T | undefined): Collection<T> {
    const made = new Derived<T>(this, name, (get) => {
      const value = compute(get);
      return value === undefined ? [] : [['', value]];
    });
    made.markDirty('');
    return made;
  }

  join<T>(name: string, parts: readonly Collection<T>[]): Collection<T> {
    return new Join(this, name, parts);
  }

  /** Settles every collection, then tells the subscribers. */
  flush(): void {
    for (const collection of this.collections) collection.settle();
    this.awake = false;
    for (const collection of this.collections) collection.announce();
  }
}
