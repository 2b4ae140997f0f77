// What header lists mean for a tunnel: requests and responses checked as RFC 9113 §8.2, §8.3 and §8.5 (CONNECT) say.
// Strict: a message that is malformed in any way is refused, never repaired.

import type { Field } from './hpack.ts';
import type { ConnectRequest, HeaderList } from './types.ts';

/**
 * connect    a CONNECT to judge further
 * refuse     well formed, but not for us: answer with the status
 * malformed  stream error PROTOCOL_ERROR
 */
export type ReadRequest =
  | { readonly kind: 'connect'; readonly request: ConnectRequest }
  | { readonly kind: 'refuse'; readonly status: number }
  | { readonly kind: 'malformed'; readonly why: string };

export type ReadResponse =
  | { readonly kind: 'response'; readonly status: number; readonly headers: HeaderList }
  | { readonly kind: 'malformed'; readonly why: string };

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;
const AUTHORITY = /^[A-Za-z0-9\-._~%!$&'()*+,;=:[\]]+$/; // RFC 3986 §3.2 without user information

/** Fields that speak of a connection of HTTP/1 (RFC 9113 §8.2.2). */
const CONNECTION_FIELDS = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

function faultOf(name: string, value: string): string | undefined {
  if (!NAME.test(name)) return 'field name with characters that are not allowed';
  if (BAD_VALUE.test(value)) return `value of ${name} with characters that are not allowed`;
  if (CONNECTION_FIELDS.has(name) || (name === 'te' && value !== 'trailers')) return `field ${name} has no place here`;
  return undefined;
}

/**
 * Takes pseudo-header fields off the front.
 * @returns what is wrong, if anything
 */
function splitFields(fields: readonly Field[], pseudo: Map<string, string>, headers: Field[]): string | undefined {
  for (const field of fields) {
    const [name, value] = field;
    if (name.charCodeAt(0) === 0x3a) {
      if (headers.length > 0) return `${name} after an ordinary field`;
      if (pseudo.has(name)) return `${name} twice`;
      if (BAD_VALUE.test(value)) return `value of ${name} with characters that are not allowed`;
      pseudo.set(name, value);
      continue;
    }
    const fault = faultOf(name, value);
    if (fault !== undefined) return fault;
    headers.push(field);
  }
  return undefined;
}

export function readRequest(fields: readonly Field[]): ReadRequest {
  const pseudo = new Map<string, string>();
  const headers: Field[] = [];
  const fault = splitFields(fields, pseudo, headers);
  if (fault !== undefined) return { kind: 'malformed', why: fault };
  const method = pseudo.get(':method');
  const authority = pseudo.get(':authority');
  if (method === undefined) return { kind: 'malformed', why: 'no :method' };
  if (method !== 'CONNECT') {
    for (const name of pseudo.keys())
      if (!REQUEST_PSEUDO.has(name)) return { kind: 'malformed', why: `unknown field ${name}` };
    if (!pseudo.has(':scheme') || !pseudo.get(':path')) return { kind: 'malformed', why: 'no :scheme or :path' };
    return { kind: 'refuse', status: 400 };
  }
  // RFC 9113 §8.5: exactly :method and :authority. `:protocol` would be extended CONNECT, which is not on offer.
  if (authority === undefined || pseudo.size !== 2)
    return { kind: 'malformed', why: 'CONNECT with other pseudo-header fields than :method and :authority' };
  if (!AUTHORITY.test(authority)) return { kind: 'refuse', status: 400 };
  return { kind: 'connect', request: { authority, headers } };
}

const REQUEST_PSEUDO = new Set([':method', ':scheme', ':path', ':authority']);

export function readResponse(fields: readonly Field[]): ReadResponse {
  const pseudo = new Map<string, string>();
  const headers: Field[] = [];
  const fault = splitFields(fields, pseudo, headers);
  if (fault !== undefined) return { kind: 'malformed', why: fault };
  const status = pseudo.get(':status');
  if (status === undefined || pseudo.size !== 1 || !/^[1-9][0-9]{2}$/.test(status))
    return { kind: 'malformed', why: 'not exactly one :status of three digits' };
  return { kind: 'response', status: Number(status), headers };
}

/** First value of a field. */
export function headerValue(headers: HeaderList, name: string): string | undefined {
  for (const field of headers) if (field[0] === name) return field[1];
  return undefined;
}

/** Every value of a field, in order. */
export const headerValues = (headers: HeaderList, name: string): string[] =>
  headers.filter((field) => field[0] === name).map((field) => field[1]);
