// Fields that belong to one connection (RFC 9110 §7.6.1), which a proxy reads and never passes on.

import { type Fields, listMembers } from './fields.ts';
import type { FieldFacts } from './head.ts';

/** Removed whether or not Connection names them. */
const HOP_BY_HOP: readonly string[] = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
];

/**
 * Naming these in Connection would make the next hop lose what routing, framing or a policy stands on: an old way to
 * strip a header that a proxy had put there, or had judged. Refused.
 */
const NEVER_NOMINATED =
  /^(?:host|content-.*|transfer-encoding|trailer|authorization|cookie|set-cookie|date|via|forwarded|x-forwarded-.*|x-envoy-.*|x-request-id|x-real-ip|cache-control|expires|location|origin|baggage|traceparent|tracestate|x-b3-.*|b3|expect|range)$/;

export interface ConnectionFacts {
  readonly keepAlive: boolean;
  readonly upgrade: string | undefined;
  /** It names a field that is not for one connection. */
  readonly faulty: boolean;
}

/** More names than this have no use but to cost time. */
const MAX_MEMBERS = 32;

/** What Connection says (RFC 9112 §9.3): `close` beats `keep-alive`; HTTP/1.0 must ask to be kept. */
export function readConnection(facts: FieldFacts, minorVersion: 0 | 1): ConnectionFacts {
  const { connection } = facts;
  if (connection === undefined) return minorVersion === 1 ? KEPT : NOT_KEPT;
  const members = listMembers(connection);
  if (members.length > MAX_MEMBERS || members.some((member) => NEVER_NOMINATED.test(member))) return FAULTY;
  return {
    keepAlive: !members.includes('close') && (minorVersion === 1 || members.includes('keep-alive')),
    // RFC 9110 §7.8: Upgrade in HTTP/1.0 is ignored.
    upgrade: minorVersion === 1 && members.includes('upgrade') ? facts.upgrade?.toLowerCase() : undefined,
    faulty: false,
  };
}

const KEPT: ConnectionFacts = { keepAlive: true, upgrade: undefined, faulty: false };
const NOT_KEPT: ConnectionFacts = { keepAlive: false, upgrade: undefined, faulty: false };
const FAULTY: ConnectionFacts = { keepAlive: false, upgrade: undefined, faulty: true };

/**
 * Takes out every field of the connection, and those that Connection names. Do it before anything judges the message,
 * so that what is judged is what is sent. Content-Length stays; the writer sets it by the framing.
 */
export function removeHopByHop(fields: Fields): void {
  const connection = fields.joined('connection');
  if (connection !== undefined) for (const member of listMembers(connection)) fields.delete(member);
  for (const key of HOP_BY_HOP) fields.delete(key);
}
