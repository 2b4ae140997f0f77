// Changes of headers that routes, backends and filters ask for.

import type { HeaderFilter } from '../../model/http/route.ts';
import { type Fields, isFieldValue, isToken } from '../../wire/http1/index.ts';

/** Which are not the message's to change: framing and connection are the codec's. */
const NOT_CHANGED = /^(?:content-length|transfer-encoding|connection|te|trailer|upgrade|keep-alive|proxy-connection)$/;

const isHost = (key: string): boolean => key === 'host' || key === ':authority';
const mayChange = (name: string, value: string): boolean =>
  isToken(name) && isFieldValue(value) && !NOT_CHANGED.test(name.toLowerCase());

/** @returns another authority, where the filter sets one (Host is not a header as others are) */
export function applyHeaderFilter(fields: Fields, filter: HeaderFilter): string | undefined {
  let authority: string | undefined;
  for (const { name, value } of filter.set)
    if (isHost(name.toLowerCase())) authority = value;
    else if (mayChange(name, value)) fields.set(name, value);
  for (const { name, value } of filter.add)
    if (isHost(name.toLowerCase())) authority = value;
    else if (mayChange(name, value)) fields.append(name, value);
  for (const key of filter.remove) if (!isHost(key) && !NOT_CHANGED.test(key)) fields.delete(key);
  return authority;
}

export function applyResponseFilters(fields: Fields, filters: readonly HeaderFilter[]): void {
  for (const filter of filters) applyHeaderFilter(fields, filter);
}
