// Session persistence (Gateway API: sessionPersistence): the address of the endpoint that answered travels with the client, in
// a cookie or header, and the next request goes there as long as it is a healthy endpoint of the service. The value gives
// no right: an address that is none of the service's endpoints is passed over.

import type { SessionFilter } from '../../model/http/route.ts';
import { formatHostPort, type HostPort } from '../../model/ip.ts';
import type { Fields } from '../../wire/http1/index.ts';
import { cookieOf } from '../upstream/index.ts';

/** `ip:port` in base64url: at most an IPv6 address with brackets and port. */
const MAX_VALUE = 64;

/** @returns `ip:port` of the endpoint that the client was at; undefined for a client without one */
export function sessionIn({ by }: SessionFilter, request: Fields): string | undefined {
  const value = by.kind === 'cookie' ? cookieOf(request.all('cookie'), by.name) : request.get(by.name);
  if (value === undefined || value.length > MAX_VALUE) return undefined;
  return Buffer.from(value, 'base64url').toString('latin1');
}

/** Tells the client where it is, unless it knows. @param known  `sessionIn` of its request */
export function writeSession(
  { by }: SessionFilter,
  response: Fields,
  endpoint: HostPort,
  known: string | undefined,
  secure: boolean,
): void {
  const address = formatHostPort(endpoint);
  if (address === known && by.kind === 'cookie') return;
  const value = Buffer.from(address, 'latin1').toString('base64url');
  if (by.kind === 'header') {
    response.set(by.name, value);
    return;
  }
  const age = by.ttlMs === undefined ? '' : `; Max-Age=${Math.ceil(by.ttlMs / 1000)}`;
  response.append('set-cookie', `${by.name}=${value}${age}; Path=/; HttpOnly${secure ? '; Secure' : ''}`);
}
