// Outcomes that a caller must handle. Broken invariants and I/O throw instead.

export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });
export const fail = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error });

/** Ends every `switch` over a discriminated union: a new arm that nobody handles fails to compile. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** At least one. */
export type NonEmpty<T> = readonly [T, ...T[]];
