// What one proxy wants of one type, and what it is therefore still to be sent: plain state, no I/O. Pending changes are
// names, not messages, so that a slow proxy costs no more than the set of what changed, and gets only the latest state.
//
//   initial ──next()──> following: changed names gather in `pending` ──next()──> one response with all of them

import { type AddressDirectory, encodeResource, type Inventory, type Item } from './inventory.ts';

/** What a response is made of, apart from its nonce. */
export interface Batch {
  /** Encoded `resources` fields, as pieces that may be shared with other proxies. */
  readonly pieces: readonly Uint8Array[];
  readonly removed: readonly string[];
  readonly count: number;
}

/**
 * Which half of a response is asked for. A resource that others refer to comes before them and goes after them, so it is
 * taken in two halves.
 */
export type Half = 'present' | 'removed' | 'both';

export interface Subscription {
  /** Resources changed or went. */
  changed(names: readonly string[]): void;
  /** A later request of the client asks for more, or for less. */
  adjust(subscribe: readonly string[], unsubscribe: readonly string[]): void;
  /** Takes what is to be sent now; undefined when nothing is. */
  next(half: Half): Batch | undefined;
}

export type InitialVersions = Readonly<Record<string, string>>;

const collect = (inventory: Inventory, names: Iterable<string>): Batch => {
  const pieces: Uint8Array[] = [];
  const removed: string[] = [];
  for (const name of names) {
    const item = inventory.get(name);
    if (item === undefined) removed.push(name);
    else pieces.push(encodeResource(inventory.typeUrl, item));
  }
  return { pieces, removed, count: pieces.length };
};

/** Everything there is, now and later. */
export class WildcardSubscription implements Subscription {
  readonly #source: () => Inventory | undefined;
  /** What the client still holds from an earlier stream; undefined once that has been answered. */
  #held: InitialVersions | undefined;
  #pending = new Set<string>();

  /** @param source  asked at each response: who may have nothing is sent nothing, not even that there is none */
  constructor(source: () => Inventory | undefined, held: InitialVersions) {
    this.#source = source;
    this.#held = held;
  }

  changed(names: readonly string[]): void {
    if (this.#held !== undefined) return; // the first answer will have them
    for (const name of names) this.#pending.add(name);
  }

  /** A wildcard already has everything. */
  adjust(): void {}

  next(half: Half): Batch | undefined {
    const inventory = this.#source();
    if (inventory === undefined) return undefined;
    const held = this.#held;
    if (held !== undefined) {
      if (half === 'removed') return undefined; // the first response has both
      this.#held = undefined;
      return firstOf(inventory, held);
    }
    if (this.#pending.size === 0) return undefined;
    const taken = new Set<string>();
    const left = new Set<string>();
    for (const name of this.#pending) {
      const isRemoved = inventory.get(name) === undefined;
      (half === 'both' || isRemoved === (half === 'removed') ? taken : left).add(name);
    }
    this.#pending = left;
    return taken.size === 0 ? undefined : collect(inventory, taken);
  }
}

/** Without what the client holds in its present version; with the names of what is gone. */
function firstOf(inventory: Inventory, held: InitialVersions): Batch {
  if (Object.keys(held).length === 0) return { pieces: [inventory.whole()], removed: [], count: inventory.size };
  const has = (item: Item): boolean =>
    item.version !== '' && Object.hasOwn(held, item.name) && held[item.name] === item.version;
  const pieces: Uint8Array[] = [];
  for (const item of inventory.items()) if (!has(item)) pieces.push(encodeResource(inventory.typeUrl, item));
  const removed = Object.keys(held).filter((name) => inventory.get(name) === undefined);
  return { pieces, removed, count: pieces.length };
}

/** Names that one client may ask for on one stream. */
export const MAX_ASKED_NAMES = 100_000;
const MAX_NAME_CHARS = 2000;

export class TooManyNames extends Error {}

/**
 * Addresses that were asked for by name: a uid, `network/ip` or `namespace/hostname`. A service brings the workloads
 * behind it; the workloads on the client's own node come unasked. Every request is answered, if with nothing.
 */
export class OnDemandSubscription implements Subscription {
  readonly #inventory: Inventory;
  readonly #directory: AddressDirectory;
  readonly #nodeName: string;
  /** Keys as the client wrote them. */
  readonly #asked = new Set<string>();
  /** Primary names that the client holds or will hold. */
  readonly #sent = new Map<string, string>();
  #pending = new Set<string>();
  #toAnswer = new Set<string>();
  #answerDue = true;

  constructor(inventory: Inventory, directory: AddressDirectory, nodeName: string, held: InitialVersions) {
    this.#inventory = inventory;
    this.#directory = directory;
    this.#nodeName = nodeName;
    for (const [name, version] of Object.entries(held)) {
      if (directory.resolve(name) === name) this.#sent.set(name, version);
      this.#ask(name);
    }
    for (const name of directory.onNode(nodeName)) this.#pending.add(name);
  }

  #ask(key: string): void {
    if (key === '*' || key === '') return;
    if (this.#asked.size >= MAX_ASKED_NAMES) throw new TooManyNames(`more than ${MAX_ASKED_NAMES} names`);
    if (key.length > MAX_NAME_CHARS) throw new TooManyNames(`a name of more than ${MAX_NAME_CHARS} characters`);
    this.#asked.add(key);
    this.#toAnswer.add(key);
  }

  adjust(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    for (const key of subscribe) {
      this.#ask(key);
      this.#sent.delete(this.#directory.resolve(key) ?? key); // whoever asks again waits for an answer
    }
    for (const key of unsubscribe) {
      this.#asked.delete(key);
      this.#toAnswer.delete(key);
    }
    this.#answerDue = true;
  }

  changed(names: readonly string[]): void {
    for (const name of names) if (this.#concerns(name)) this.#pending.add(name);
  }

  /** Whether a resource that changed, appeared or went is any of the client's business. */
  #concerns(name: string): boolean {
    if (this.#sent.has(name) || this.#asked.has(name)) return true;
    const directory = this.#directory;
    if (this.#nodeName !== '' && directory.nodeOf(name) === this.#nodeName) return true;
    for (const service of directory.servicesOf(name)) if (this.#sent.has(service)) return true;
    return directory.aliasesOf(name).some((alias) => this.#asked.has(alias));
  }

  next(): Batch | undefined {
    if (!this.#answerDue && this.#pending.size === 0) return undefined;
    const names = this.#pending;
    const answered = this.#toAnswer;
    const due = this.#answerDue;
    this.#pending = new Set();
    this.#toAnswer = new Set();
    this.#answerDue = false;
    const pieces: Uint8Array[] = [];
    const removed: string[] = [];
    for (const key of answered) this.#answer(key, names, removed, pieces);
    for (const name of names) this.#sendIfNew(name, pieces, removed);
    return due || pieces.length > 0 || removed.length > 0 ? { pieces, removed, count: pieces.length } : undefined;
  }

  /**
   * A key that is unknown is named as removed. One that is an alias is answered twice, under the primary name and under
   * itself: Istio's proxy waits for exactly the name that it asked for, and aliases do not wake it.
   */
  #answer(key: string, names: Set<string>, removed: string[], pieces: Uint8Array[]): void {
    const primary = this.#directory.resolve(key);
    if (primary === undefined) {
      removed.push(key);
      this.#sent.delete(key);
      return;
    }
    names.add(primary);
    for (const workload of this.#directory.workloadsOf(primary)) names.add(workload);
    const item = this.#inventory.get(primary);
    if (primary !== key && item !== undefined) pieces.push(encodeResource(this.#inventory.typeUrl, item, key));
  }

  #sendIfNew(name: string, pieces: Uint8Array[], removed: string[]): void {
    const item = this.#inventory.get(name);
    if (item === undefined) {
      if (this.#sent.delete(name)) removed.push(name);
      return;
    }
    if (this.#sent.get(name) === item.version) return;
    const appeared = !this.#sent.has(name);
    this.#sent.set(name, item.version);
    const { typeUrl } = this.#inventory;
    pieces.push(encodeResource(typeUrl, item, name, this.#directory.aliasesOf(name)));
    // A service that has just become known to the client brings what is behind it.
    if (appeared) for (const workload of this.#directory.workloadsOf(name)) this.#sendIfNew(workload, pieces, removed);
  }
}
