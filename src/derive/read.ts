// Reading JSON that others wrote: total, never throws, and a value of the wrong type reads as absent. The API server has
// usually validated an object before we see it, but a CRD with a lax schema, or none, has not.

export type Json = Readonly<Record<string, unknown>>;
export type Labels = Readonly<Record<string, string>>;

const NOTHING: Json = Object.freeze({});
const NO_LABELS: Labels = Object.freeze({});

export const record = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : NOTHING;

export const optionalRecord = (value: unknown): Json | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;

export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const text = (value: unknown): string => (typeof value === 'string' ? value : '');

export const optionalText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

export const texts = (value: unknown): readonly string[] =>
  list(value).filter((item): item is string => typeof item === 'string');

/** A non-negative integer; protobuf's JSON writes 64-bit numbers as text, so digits are taken too. */
export function integer(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^[0-9]{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

export const flag = (value: unknown): boolean => value === true;

/** Entries whose value is text; the same empty record for none, which most objects have. */
export function textRecord(value: unknown): Labels {
  const source = record(value);
  let made: Record<string, string> | undefined;
  for (const key of Object.keys(source)) {
    const item = source[key];
    if (typeof item !== 'string') continue;
    made ??= {};
    made[key] = item;
  }
  return made ?? NO_LABELS;
}

/** Milliseconds since 1970 of an RFC 3339 time; 0 when there is none. */
export function timeMs(value: unknown): number {
  const ms = Date.parse(text(value));
  return Number.isNaN(ms) ? 0 : ms;
}

/** Go's `strconv.ParseBool`, which is how Istio reads booleans in labels and annotations. */
export function looseBoolean(value: string): boolean | undefined {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  return undefined;
}
