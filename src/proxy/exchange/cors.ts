// Cross-origin requests (Fetch standard, CORS protocol; Envoy's filter): preflights are answered, actual requests pass and
// get their headers on the way back.

import type { CorsFilter } from '../../model/http/route.ts';
import { compileAnyText, type TextTest } from '../../model/http/text.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type { LocalReply } from '../contracts.ts';
import { reply } from './local-reply.ts';

export interface Cors {
  readonly filter: CorsFilter;
  readonly allows: TextTest;
}

export const compileCors = (filter: CorsFilter): Cors => ({ filter, allows: compileAnyText(filter.allowOrigins) });

export type CorsOutcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'answer'; readonly reply: LocalReply }
  /** Headers for the response go with it. */
  | { readonly kind: 'allowed'; readonly origin: string };

const NONE: CorsOutcome = { kind: 'none' };

export function judgeCors({ filter, allows }: Cors, method: string, fields: Fields): CorsOutcome {
  const origin = fields.get('origin');
  if (origin === undefined || origin === '') return NONE;
  const asked = fields.get('access-control-request-method');
  const preflight = method === 'OPTIONS' && asked !== undefined && asked !== '';
  if (!allows(origin)) {
    if (!preflight || filter.unmatchedPreflights === 'forward') return NONE;
    return { kind: 'answer', reply: reply(200, '', 'cors_response') };
  }
  if (!preflight) return { kind: 'allowed', origin };
  const headers = [{ name: 'access-control-allow-origin', value: origin }];
  const add = (name: string, value: string): void => {
    if (value !== '') headers.push({ name, value });
  };
  if (filter.allowCredentials) add('access-control-allow-credentials', 'true');
  // With credentials `*` is a name like any other to browsers: what was asked for is named.
  const listed = (list: readonly string[], wanted: string | undefined): string =>
    filter.allowCredentials && list.includes('*') ? (wanted ?? '') : list.join(',');
  add('access-control-allow-methods', listed(filter.allowMethods, asked));
  add('access-control-allow-headers', listed(filter.allowHeaders, fields.get('access-control-request-headers')));
  if (filter.maxAgeSeconds !== undefined) add('access-control-max-age', String(filter.maxAgeSeconds));
  return { kind: 'answer', reply: reply(200, '', 'cors_response', undefined, headers) };
}

export function writeCorsHeaders(fields: Fields, { filter }: Cors, origin: string): void {
  fields.set('access-control-allow-origin', origin);
  if (filter.allowCredentials) fields.set('access-control-allow-credentials', 'true');
  if (filter.exposeHeaders.length > 0) fields.set('access-control-expose-headers', filter.exposeHeaders.join(','));
}
