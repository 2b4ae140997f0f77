// `x-request-id`: a UUID whose 15th character tells whether the request is traced, as Envoy writes it: 4 not decided or
// not traced, 9 by chance, a and b on demand.

import { randomUUID } from 'node:crypto';
import type { Fields } from '../../wire/http1/index.ts';

const FIELD = 'x-request-id';
const MOST_CHARACTERS = 200;
const UUID = /^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/;
const DECISION_AT = 14;

/**
 * Sees to it that a request has an id.
 * @param believes  whether one that came is kept: from inside the mesh it is, at the edge only from trusted proxies
 */
export function takeRequestId(fields: Fields, believes: boolean): void {
  const sent = believes ? fields.get(FIELD) : undefined;
  if (sent === undefined || sent === '' || sent.length > MOST_CHARACTERS) fields.set(FIELD, randomUUID());
}

/** What an id says was decided before; undefined: nothing. */
export function tracedById(id: string): boolean | undefined {
  if (!UUID.test(id)) return undefined;
  const decision = id.charAt(DECISION_AT).toLowerCase();
  return decision === '9' || decision === 'a' || decision === 'b' ? true : undefined;
}

/** 0-9999, the same wherever it is asked for one id; undefined: the id is no UUID. */
export const fractionOfId = (id: string): number | undefined =>
  UUID.test(id) ? Number.parseInt(id.slice(0, 8), 16) % 10_000 : undefined;

/** Writes down that a request is traced, for those that come after. */
export function markTraced(fields: Fields, id: string): void {
  if (UUID.test(id)) fields.set(FIELD, `${id.slice(0, DECISION_AT)}9${id.slice(DECISION_AT + 1)}`);
}
