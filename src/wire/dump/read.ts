// Reading parsed JSON or YAML field by field, each with the path to it, so that a problem names its place.

/** Something in a dump that cannot be understood. */
export interface DumpProblem {
  /** `workloads[3].workloadIps[0]` */
  readonly at: string;
  readonly message: string;
}

class Refusal extends Error {
  readonly at: string;
  constructor(at: string, message: string) {
    super(message);
    this.at = at;
  }
}

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value);
  return `\`${text.length > 80 ? `${text.slice(0, 77)}...` : text}\``;
};

/** One value and where it was found. Every reading method refuses the whole item when the value is of another form. */
export class Node {
  readonly value: unknown;
  readonly at: string;
  constructor(value: unknown, at: string) {
    this.value = value;
    this.at = at;
  }

  /** Absent and `null` are the same. */
  get absent(): boolean {
    return this.value === undefined || this.value === null;
  }

  refuse(wanted: string): never {
    throw new Refusal(this.at, `${this.absent ? 'is missing' : `is ${show(this.value)}`}; it must be ${wanted}`);
  }

  /** The fields of a map; `get` of one that is not there gives an absent node. */
  fields(): Fields {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.refuse('a map');
    return new Fields(value as Readonly<Record<string, unknown>>, this.at);
  }

  /** The entries of a list; absent is empty. */
  list(): Node[] {
    if (this.absent) return [];
    if (!Array.isArray(this.value)) return this.refuse('a list');
    return this.value.map((entry: unknown, i) => new Node(entry, `${this.at}[${i}]`));
  }

  /** The entries of a map; absent is empty. */
  entries(): [key: string, node: Node][] {
    return this.absent ? [] : this.fields().entries();
  }

  text(): string {
    return typeof this.value === 'string' ? this.value : this.refuse('text');
  }

  textOr(otherwise: string): string {
    return this.absent || this.value === '' ? otherwise : this.text();
  }

  flag(): boolean {
    if (this.absent) return false;
    return typeof this.value === 'boolean' ? this.value : this.refuse('true or false');
  }

  /** A whole number from 0 to `most`. */
  number(most: number): number {
    const { value } = this;
    const fits = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most;
    return fits ? value : this.refuse(`a whole number from 0 to ${most}`);
  }

  /** Looks a word up; absent gives the first word's meaning. */
  oneOf<T>(words: Readonly<Record<string, T>>): T {
    const names = Object.keys(words);
    const name = this.absent ? names[0] : this.value;
    const found = typeof name === 'string' && Object.hasOwn(words, name) ? words[name] : undefined;
    return found === undefined ? this.refuse(`one of ${names.join(', ')}`) : found;
  }
}

export class Fields {
  readonly #map: Readonly<Record<string, unknown>>;
  readonly #at: string;
  constructor(map: Readonly<Record<string, unknown>>, at: string) {
    this.#map = map;
    this.#at = at;
  }

  get(name: string): Node {
    const at = this.#at === '' ? name : `${this.#at}.${name}`;
    return new Node(Object.hasOwn(this.#map, name) ? this.#map[name] : undefined, at);
  }

  entries(): [string, Node][] {
    return Object.entries(this.#map).map(([key, value]) => [key, new Node(value, `${this.#at}.${key}`)]);
  }

  /** Refuses a map with a field that is none of the names: a misspelt one must not be passed over. */
  only(names: ReadonlySet<string>): void {
    const other = Object.keys(this.#map).find((name) => !names.has(name));
    if (other !== undefined) throw new Refusal(this.get(other).at, 'is no known field');
  }
}

/** Reads every item; one that is refused is left out and becomes a problem. */
export function readEach<T>(nodes: readonly Node[], problems: DumpProblem[], read: (node: Node) => T): T[] {
  return nodes.flatMap((node) => {
    try {
      return [read(node)];
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ at: error.at, message: error.message });
      return [];
    }
  });
}
