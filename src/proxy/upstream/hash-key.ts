// What a consistent hash goes by: a header, a cookie, the client's address or a query parameter.

import { firstOfQuery } from '../../model/http/request.ts';
import type { HashKey } from '../../model/proxy/service-config.ts';
import type { ClientInfo, Exchange } from '../contracts.ts';
import { hashText } from './hash.ts';

export interface HashedBy {
  /** Undefined: the request has nothing to go by, any endpoint will do. */
  readonly hash: number | undefined;
  /** Value of a `set-cookie` field for the response. */
  readonly setCookie: string | undefined;
}

const NOTHING: HashedBy = { hash: undefined, setCookie: undefined };

/** @param random  in [0, 1), for the value of a new cookie: it says where to go and gives no right */
export function hashOf(
  key: HashKey,
  client: ClientInfo,
  exchange: Exchange | undefined,
  random: () => number,
): HashedBy {
  switch (key.kind) {
    case 'sourceIp':
      return hashed(exchange?.request.remoteIp ?? client.source.ip);
    case 'header':
      return hashed(exchange?.requestFields.joined(key.name.toLowerCase()));
    case 'query':
      return hashed(exchange === undefined ? undefined : firstOfQuery(exchange.request.query, key.name));
    case 'cookie': {
      if (exchange === undefined) return NOTHING;
      const value = cookieOf(exchange.requestFields.all('cookie'), key.name);
      if (value !== undefined && value !== '') return hashed(value);
      if (key.ttlMs === undefined) return NOTHING;
      const made = hex(random) + hex(random);
      return { hash: hashText(made), setCookie: cookieText(key, made) };
    }
  }
}

const hashed = (text: string | undefined): HashedBy =>
  text === undefined || text === '' ? NOTHING : { hash: hashText(text), setCookie: undefined };

const hex = (random: () => number): string =>
  Math.floor(random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');

/** The first cookie of that name, without quotes (RFC 6265 §4.1.1). */
export function cookieOf(fields: readonly string[], name: string): string | undefined {
  for (const field of fields)
    for (const pair of field.split(';')) {
      const equals = pair.indexOf('=');
      if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair.slice(equals + 1).trim();
      return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  return undefined;
}

/** As Envoy writes it: quoted, HttpOnly; a time to live of 0 makes a session cookie. */
function cookieText(key: Extract<HashKey, { kind: 'cookie' }>, value: string): string {
  let text = `${key.name}="${value}"`;
  if (key.ttlMs !== undefined && key.ttlMs > 0) text += `; Max-Age=${Math.ceil(key.ttlMs / 1000)}`;
  if (key.path !== '') text += `; Path=${key.path}`;
  for (const attribute of key.attributes)
    text += attribute.value === '' ? `; ${attribute.name}` : `; ${attribute.name}=${attribute.value}`;
  return `${text}; HttpOnly`;
}
