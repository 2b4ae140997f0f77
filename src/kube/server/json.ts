// Small operations on JSON values that many parts need.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Deep equality of JSON values; an undefined property equals an absent one. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, i) => sameJson(item, b[i]));
  }
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  let shared = 0;
  for (const key of Object.keys(left)) {
    if (left[key] === undefined) continue;
    if (!sameJson(left[key], right[key])) return false;
    shared++;
  }
  for (const key of Object.keys(right)) if (right[key] !== undefined) shared--;
  return shared === 0;
}

/** A private copy that may be changed. Only for JSON values; quicker than structuredClone. */
export function cloneJson<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(cloneJson) as T;
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) if (item !== undefined) copy[key] = cloneJson(item);
  return copy as T;
}

/** The value at a dotted path (`spec.replicas`, `.spec.replicas`), undefined when something on the way is missing. */
export function valueAt(object: unknown, path: string): unknown {
  let at = object;
  for (const name of path.split('.')) {
    if (name === '') continue;
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
