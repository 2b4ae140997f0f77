// Shapes of plain data that came as JSON: what is not of its shape is refused, with the path to it. Everything is closed:
// a field or kind that this program does not know may change what the known ones mean, so nothing is passed over.
//
// Checks in place, on what JSON.parse has just made, and fills in the fields that are absent because they are undefined.
// Runs per changed resource.

/** @returns what is wrong, as `.path[0].to: reason`; undefined: nothing */
export interface Shape<T> {
  (value: unknown): string | undefined;
  /** Never there: holds the type, in both directions, so that a shape that knows less than its type does not compile. */
  readonly of?: (value: T) => T;
}

type Fields<T> = { readonly [Field in keyof T]-?: Shape<T[Field]> };

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const inside = (where: string, problem: string): string =>
  problem.startsWith('.') || problem.startsWith('[') ? `${where}${problem}` : `${where}: ${problem}`;

/** @param max  UTF-16 units */
export const text =
  (max: number): Shape<string> =>
  (value) =>
    typeof value !== 'string'
      ? 'is no text'
      : value.length > max
        ? `has ${value.length} characters, at most ${max} are taken`
        : undefined;

/** A text that a function finds right. */
export const textWhere =
  <T extends string>(max: number, what: string, isRight: (value: string) => boolean): Shape<T> =>
  (value) =>
    typeof value === 'string' && value.length <= max && isRight(value) ? undefined : `is no ${what}`;

export const integer =
  (min: number, max: number): Shape<number> =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `is no integer from ${min} to ${max}`;

export const number =
  (min: number, max: number): Shape<number> =>
  (value) =>
    typeof value === 'number' && value >= min && value <= max ? undefined : `is no number from ${min} to ${max}`;

export const flag: Shape<boolean> = (value) => (typeof value === 'boolean' ? undefined : 'is neither true nor false');

/** A table, so that every word of the type is named. */
export const words = <T extends string>(known: Readonly<Record<T, true>>): Shape<T> => {
  const all = new Set<unknown>(Object.keys(known));
  return (value) => (all.has(value) ? undefined : `is none of ${[...all].join(', ')}`);
};

export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value) =>
    value === undefined ? undefined : shape(value);

/** One of two shapes that no `kind` tells apart. */
export const either =
  <A, B>(isFirst: (value: unknown) => boolean, first: Shape<A>, second: Shape<B>): Shape<A | B> =>
  (value) =>
    isFirst(value) ? first(value) : second(value);

export const list =
  <T>(shape: Shape<T>, max: number, min = 0): Shape<readonly T[]> =>
  (value) => {
    if (!Array.isArray(value)) return 'is no list';
    if (value.length > max) return `has ${value.length} items, at most ${max} are taken`;
    if (value.length < min) return `has ${value.length} items, at least ${min} are needed`;
    for (let i = 0; i < value.length; i++) {
      const problem = shape(value[i]);
      if (problem !== undefined) return inside(`[${i}]`, problem);
    }
    return undefined;
  };

/** Any names, one shape of value. */
export const dictionary =
  <T>(shape: Shape<T>, maxKeyChars: number, max: number): Shape<Readonly<Record<string, T>>> =>
  (value) => {
    if (!isRecord(value)) return 'is no object';
    const keys = Object.keys(value);
    if (keys.length > max) return `has ${keys.length} entries, at most ${max} are taken`;
    for (const key of keys) {
      if (key.length > maxKeyChars) return `has a name of ${key.length} characters, at most ${maxKeyChars} are taken`;
      const problem = shape(value[key]);
      if (problem !== undefined) return inside(`[${JSON.stringify(key)}]`, problem);
    }
    return undefined;
  };

function unknownField(value: object, known: ReadonlySet<string>): string {
  const extra = Object.keys(value).find((key) => !known.has(key)) ?? '';
  return `has a field \`${extra.slice(0, 100)}\` that this version does not know`;
}

export const object = <T>(fields: Fields<T>): Shape<T> => {
  const names = Object.keys(fields);
  const shapes = Object.values(fields) as Shape<unknown>[];
  const known = new Set(names);
  return (value) => {
    if (!isRecord(value)) return 'is no object';
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      const field = value[name];
      const problem = (shapes[i] as Shape<unknown>)(field);
      if (problem !== undefined) return inside(`.${name}`, field === undefined ? 'is missing' : problem);
      if (field === undefined) value[name] = undefined;
    }
    let count = 0;
    for (const _name in value) count++;
    return count === names.length ? undefined : unknownField(value, known);
  };
};

const nameOf = (value: unknown): string => (typeof value === 'string' ? `\`${value.slice(0, 100)}\`` : 'no text');

/** The arms of a union that `Tag` tells apart; an arm may answer to several words. */
type Arms<T, Tag extends keyof T> = {
  readonly [Word in T[Tag] & string]: Shape<T extends unknown ? (Word extends T[Tag] ? T : never) : never>;
};

export const union = <T, Tag extends keyof T & string>(tag: Tag, arms: Arms<T, Tag>): Shape<T> => {
  const byWord = new Map<unknown, Shape<never>>(Object.entries(arms));
  return (value) => {
    if (!isRecord(value)) return 'is no object';
    const arm = byWord.get(value[tag]);
    return arm === undefined ? inside(`.${tag}`, `${nameOf(value[tag])} is not known to this version`) : arm(value);
  };
};

/** One fixed word: the tag of an arm. */
export const word =
  <T extends string>(only: T): Shape<T> =>
  (value) =>
    value === only ? undefined : `is not \`${only}\``;
