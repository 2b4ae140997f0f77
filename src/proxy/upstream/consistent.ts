// Consistent hashing: which member a hash belongs to, so that a member that comes or goes moves few of the others' keys.
// Pure. Built when the members change, asked once a request.
//   ring    each member has points on a circle, as many as its weight; a hash belongs to the next point (ketama)
//   maglev  each member fills its share of a table in its own order of preference (Google: Maglev, 2016, §3.4)

import { furtherHash, hashText } from './hash.ts';

export interface Member {
  /** What its places are derived from: the same for the same endpoint everywhere. */
  readonly name: string;
  /** Positive. */
  readonly weight: number;
}

/** @returns the index of the member that a hash belongs to; there must be one */
export type Lookup = (hash: number) => number;

/** Bounds the memory of a ring whatever the weights (Envoy: 8 M). */
const MAX_POINTS = 1 << 20;
/** As many are made where fewer would do: some milliseconds of work. */
const USUAL_POINTS = 1 << 14;
/** Most entries of a maglev table (Envoy's bound). */
const MAX_TABLE = 5_000_011;

/**
 * @param minimumSize  of the ring. It is made larger, and the points of the lightest member a power of two, so that a
 *   member more or less seldom changes how many the others have: were they as few as the minimum needs, each change
 *   would move keys of all.
 */
export function buildRing(members: readonly Member[], minimumSize: number): Lookup {
  let total = 0;
  let lightest = Number.POSITIVE_INFINITY;
  for (const { weight } of members) {
    total += weight;
    if (weight < lightest) lightest = weight;
  }
  const parts = total / lightest;
  const needed = Math.ceil(Math.max(1, minimumSize) / parts);
  const steady = Math.min(minimumSize / 2, USUAL_POINTS / parts);
  const size = Math.min(MAX_POINTS, 2 ** Math.ceil(Math.log2(Math.max(needed, steady))) * parts);
  const counts = members.map(({ weight }) => Math.max(1, Math.round((weight / total) * size)));
  // A point is its place in the upper bits and its member in the lower ones: numbers sort quicker than records.
  const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
  let filled = 0;
  for (const [index, { name }] of members.entries()) {
    const hash = hashText(name);
    const count = counts[index] as number;
    for (let i = 0; i < count; i++) points[filled++] = furtherHash(hash, i) * MAX_POINTS + index;
  }
  points.sort();
  const places = new Uint32Array(filled);
  const owners = new Uint32Array(filled);
  for (let i = 0; i < filled; i++) {
    const point = points[i] as number;
    const place = Math.floor(point / MAX_POINTS);
    places[i] = place;
    owners[i] = point - place * MAX_POINTS;
  }
  return (hash) => {
    let low = 0;
    let high = places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((places[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    return owners[low === places.length ? 0 : low] as number;
  };
}

/** @param wantedSize  entries of the table; the next prime is taken, and at least as many as there are members */
export function buildMaglev(members: readonly Member[], wantedSize: number): Lookup {
  const size = nextPrime(Math.min(MAX_TABLE, Math.max(wantedSize, members.length, 2)));
  const table = new Int32Array(size).fill(-1);
  let heaviest = 0;
  for (const { weight } of members) heaviest = Math.max(heaviest, weight);
  const turns = members.map(({ name, weight }, index) => ({
    index,
    place: hashText(name) % size,
    skip: (hashText(name, 0x9747b28c) % (size - 1)) + 1,
    share: weight / heaviest,
    owed: 0,
  }));
  // Who takes turns first is a matter of names, not of the order in which members became known.
  turns.sort((a, b) => compare((members[a.index] as Member).name, (members[b.index] as Member).name));
  for (let filled = 0; filled < size; ) {
    for (const turn of turns) {
      turn.owed += turn.share;
      if (turn.owed < 1) continue;
      turn.owed -= 1;
      const { skip } = turn;
      let { place } = turn;
      while (table[place] !== -1) {
        place += skip;
        if (place >= size) place -= size;
      }
      table[place] = turn.index;
      turn.place = place;
      if (++filled === size) break;
    }
  }
  return (hash) => table[hash % size] as number;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function nextPrime(from: number): number {
  for (let candidate = from; ; candidate++) if (isPrime(candidate)) return candidate;
}

function isPrime(n: number): boolean {
  if (n < 4) return n > 1;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}
