// Every object in memory, every change first on disk, and what happened lately for watchers that come back.
// A write is one synchronous step: disk, memory, watchers. Nothing can come between a read and the write that follows it
// in the same turn, so optimistic locking needs no locks. Objects are frozen and shared with all readers.

import { logger } from '../../../telemetry/log.ts';
import type { KubeObject } from '../../client/types.ts';
import { Database } from './database.ts';

const log = logger('api::store');

/** What watchers are told. `before` is undefined on creation, `now` on deletion; `last` is the state a deletion ends with. */
export interface StoreEvent {
  readonly resourceVersion: number;
  readonly before: Stored | undefined;
  readonly now: Stored | undefined;
  readonly last: Stored;
}

/** One state of one object. */
export class Stored {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly object: KubeObject;
  readonly resourceVersion: number;
  #json: string | undefined;

  constructor(key: string, object: KubeObject, resourceVersion: number, json?: string) {
    this.key = key;
    this.namespace = object.metadata?.namespace ?? '';
    this.name = object.metadata?.name ?? '';
    this.object = object;
    this.resourceVersion = resourceVersion;
    this.#json = json;
  }

  /** The object as JSON text: kept from its writing for the watchers of that moment, made anew later. */
  get json(): string {
    return this.#json ?? JSON.stringify(this.object);
  }

  forgetJson(): void {
    this.#json = undefined;
  }
}

export type StoreListener = (event: StoreEvent) => void;

/** A watcher that comes back may have missed this many events of its collection; up to twice as many are held. */
const WINDOW_EVENTS = 2048;
/** So many of the latest writes keep their text. */
const TEXTS = 1024;

/** All objects of one resource, whatever version they are read in. */
class Collection {
  readonly items = new Map<string, Stored>();
  readonly namespaces = new Map<string, Set<string>>();
  readonly listeners = new Set<StoreListener>();
  /** Recent events, oldest first. */
  events: StoreEvent[] = [];
  /** Events up to here are forgotten (or were before this process). */
  forgottenUpTo: number;
  #sorted: Stored[] | undefined;

  constructor(resourceVersion: number) {
    this.forgottenUpTo = resourceVersion;
  }

  /** In the order of keys, which is that of namespace and name. */
  sorted(): readonly Stored[] {
    this.#sorted ??= [...this.items.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }

  set(stored: Stored): void {
    this.#sorted = undefined;
    if (!this.items.has(stored.key)) {
      const keys = this.namespaces.get(stored.namespace);
      if (keys === undefined) this.namespaces.set(stored.namespace, new Set([stored.key]));
      else keys.add(stored.key);
    }
    this.items.set(stored.key, stored);
  }

  remove(stored: Stored): void {
    this.#sorted = undefined;
    this.items.delete(stored.key);
    const keys = this.namespaces.get(stored.namespace);
    keys?.delete(stored.key);
    if (keys?.size === 0) this.namespaces.delete(stored.namespace);
  }

  record(event: StoreEvent): void {
    this.events.push(event);
    if (this.events.length < WINDOW_EVENTS * 2) return;
    const forgotten = this.events.splice(0, this.events.length - WINDOW_EVENTS);
    this.forgottenUpTo = forgotten.at(-1)?.resourceVersion ?? this.forgottenUpTo;
  }
}

/** A watch asks for changes that are no longer known: list again. */
export class TooOldError extends Error {
  readonly asked: number;
  readonly oldest: number;
  constructor(asked: number, oldest: number) {
    super(`too old resource version: ${asked} (${oldest})`);
    this.asked = asked;
    this.oldest = oldest;
  }
}

export interface StoreChange {
  /** `<group>/<plural>` */
  readonly collection: string;
  /** Its metadata names it. resourceVersion is set by the store. */
  readonly object: KubeObject;
  readonly remove?: boolean;
}

export class Store {
  readonly #database: Database;
  readonly #collections = new Map<string, Collection>();
  /** Events up to here were before this process and are not known. */
  readonly #loadedVersion: number;
  #resourceVersion: number;
  /** A ring of the latest writes. */
  readonly #texts: Stored[] = [];
  #nextText = 0;

  /** @throws DatabaseError */
  constructor(path: string) {
    this.#database = new Database(path);
    this.#loadedVersion = this.#database.resourceVersion;
    this.#resourceVersion = this.#loadedVersion;
    for (const { collection, key, json } of this.#database.rows()) {
      const object = JSON.parse(json) as KubeObject;
      this.#collection(collection).set(new Stored(key, deepFreeze(object), Number(object.metadata?.resourceVersion)));
    }
  }

  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  get(collection: string, namespace: string, name: string): Stored | undefined {
    return this.#collections.get(collection)?.items.get(keyOf(namespace, name));
  }

  /** Sorted by namespace and name; of one namespace when it is given. */
  list(collection: string, namespace?: string): readonly Stored[] {
    const found = this.#collections.get(collection);
    if (found === undefined) return [];
    if (namespace === undefined) return found.sorted();
    const keys = found.namespaces.get(namespace);
    if (keys === undefined) return [];
    return [...keys].sort().map((key) => found.items.get(key)!);
  }

  count(collection: string): number {
    return this.#collections.get(collection)?.items.size ?? 0;
  }

  /**
   * Writes one change: on return it is on disk and its watchers have it.
   * @throws DatabaseError, and nothing has changed
   */
  write(change: StoreChange): Stored {
    const [stored] = this.writeAll([change]);
    return stored!;
  }

  /** Several changes in one transaction. */
  writeAll(changes: readonly StoreChange[]): Stored[] {
    let version = this.#resourceVersion;
    const prepared = changes.map(({ collection, object, remove = false }) => {
      version++;
      const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
      const json = JSON.stringify(next);
      const key = keyOf(next.metadata.namespace ?? '', next.metadata.name ?? '');
      return { collection, remove, stored: new Stored(key, deepFreeze(next), version, json) };
    });
    this.#database.commit(
      prepared.map(({ collection, remove, stored }) => ({
        collection,
        key: stored.key,
        json: remove ? undefined : stored.json,
      })),
      version,
    );
    this.#resourceVersion = version;
    const told = prepared.map(({ collection: id, remove, stored }) => {
      this.#texts[this.#nextText]?.forgetJson();
      this.#texts[this.#nextText] = stored;
      this.#nextText = (this.#nextText + 1) % TEXTS;
      const collection = this.#collection(id);
      const before = collection.items.get(stored.key);
      if (remove) collection.remove(stored);
      else collection.set(stored);
      const now = remove ? undefined : stored;
      const event: StoreEvent = { resourceVersion: stored.resourceVersion, before, now, last: stored };
      collection.record(event);
      return { collection, event };
    });
    for (const { collection, event } of told) for (const listener of [...collection.listeners]) notify(listener, event);
    return prepared.map(({ stored }) => stored);
  }

  /**
   * Calls the listener for every change after `from`, the known ones before this returns.
   * @returns ends it
   * @throws TooOldError when changes after `from` are forgotten
   */
  watch(collection: string, from: number, listener: StoreListener): () => void {
    const found = this.#collection(collection);
    if (from < found.forgottenUpTo) throw new TooOldError(from, found.forgottenUpTo);
    const start = firstAfter(found.events, from);
    for (let i = start; i < found.events.length; i++) listener(found.events[i]!);
    found.listeners.add(listener);
    return () => void found.listeners.delete(listener);
  }

  /** Whether a watch from here would be told everything. */
  remembers(collection: string, from: number): boolean {
    return from >= (this.#collections.get(collection)?.forgottenUpTo ?? this.#loadedVersion);
  }

  /** Values that are kept with the objects and are none. */
  meta(name: string): string | undefined {
    return this.#database.meta(name);
  }

  /** @throws DatabaseError */
  setMeta(name: string, value: string): void {
    this.#database.setMeta(name, value);
  }

  close(): void {
    this.#database.close();
  }

  #collection(id: string): Collection {
    let found = this.#collections.get(id);
    if (found === undefined) {
      found = new Collection(this.#loadedVersion);
      this.#collections.set(id, found);
    }
    return found;
  }
}

/** The write is done: a watcher that fails must not make it look refused, nor keep others from hearing of it. */
function notify(listener: StoreListener, event: StoreEvent): void {
  try {
    listener(event);
  } catch (error) {
    log.error('a watcher failed', {
      object: event.last.key,
      error: error instanceof Error ? (error.stack ?? '') : String(error),
    });
  }
}

/** Namespaces and names hold no `/`. */
function keyOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** Index of the first event after a version; events are in order. */
function firstAfter(events: readonly StoreEvent[], version: number): number {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (events[middle]!.resourceVersion <= version) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What is frozen already is shared with an earlier state and not walked again. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const item of Object.values(value)) deepFreeze(item);
  return value;
}
