// A request as routes and policies see it, and the concrete answers about it.

import { type Connection, concreteFacts } from '../connection.ts';
import type { Predicate, RequestFacts, RequestField, RequestPredicate, TextPredicate } from '../facts.ts';
import { principalOf } from '../identity.ts';
import type { Ip } from '../ip.ts';
import { unreachable } from '../result.ts';
import { textSatisfies } from './text.ts';

export interface HttpRequest {
  readonly connection: Connection;
  /** As sent. */
  readonly method: string;
  readonly scheme: string;
  /** In lower case, with the port where the client sent one. */
  readonly authority: string;
  /** In normal form, without query. */
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
  readonly headers: HeaderLines;
  /** The original client's address behind trusted proxies; undefined where nobody vouches for one. */
  readonly remoteIp: Ip | undefined;
  readonly sni: string | undefined;
  /** What RequestAuthentication made out; undefined without a valid token. */
  readonly token: VerifiedToken | undefined;
}

/** Fields by lower-case name. */
export interface HeaderLines {
  all(key: string): readonly string[];
  /** All lines joined by commas; undefined where there is none. */
  joined(key: string): string | undefined;
}

export interface VerifiedToken {
  /** `<iss>/<sub>` */
  readonly principal: string;
  readonly presenter: string | undefined;
  readonly audiences: readonly string[];
  /** The payload, with space-delimited claims split into lists by who verified it. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** The answers about one known request. */
export function requestFacts(request: HttpRequest): RequestFacts {
  const connection = concreteFacts(request.connection);
  return {
    test(field, predicate) {
      if (predicate.kind === 'eachLine' || predicate.kind === 'someLine')
        return linesSatisfy(request, field, predicate.kind, predicate.anyOf);
      if (field === 'destination.port') return isOfConnections(predicate) && connection.test(field, predicate);
      if (isManyValued(field)) return valuesOf(request, field).some((value) => textSatisfies(predicate, value));
      const text = textOf(request, field);
      return text !== undefined && textSatisfies(predicate, text);
    },
  };
}

const isOfConnections = (predicate: RequestPredicate): predicate is Predicate =>
  predicate.kind === 'port' || predicate.kind === 'present';

function linesSatisfy(
  request: HttpRequest,
  field: RequestField,
  kind: 'eachLine' | 'someLine',
  anyOf: readonly TextPredicate[],
): boolean {
  const name = headerOf(field);
  if (name === undefined) return false;
  const lines = request.headers.all(name);
  const satisfied = (line: string): boolean => anyOf.some((predicate) => textSatisfies(predicate, line));
  if (kind === 'eachLine') return lines.length > 0 && lines.every(satisfied);
  return lines.length > 0 && (lines.some(satisfied) || satisfied(lines.join(',')));
}

/** Fields with several values, of which one is enough. */
export type ManyValuedField = Extract<RequestField, 'request.audience' | `request.claim:${string}`>;

export const isManyValued = (field: RequestField): field is ManyValuedField =>
  field === 'request.audience' || field.startsWith(CLAIM);

const HEADER = 'request.header:';
const QUERY = 'request.query:';
const CLAIM = 'request.claim:';

/** The name of the header that a field is about. */
export const headerOf = (field: RequestField): string | undefined =>
  field.startsWith(HEADER) ? field.slice(HEADER.length) : undefined;

export const headerField = (name: string): RequestField => `request.header:${name.toLowerCase()}`;
export const queryField = (name: string): RequestField => `request.query:${name}`;
/** `claimField(['realm', 'roles'])` */
export const claimField = (path: readonly string[]): RequestField =>
  `request.claim:${path.map((name) => `[${name}]`).join('')}`;

/** The claim names of a field, outermost first. */
export const claimPath = (field: ManyValuedField): readonly string[] =>
  [...field.slice(CLAIM.length).matchAll(/\[([^\]]*)\]/g)].map(([, name = '']) => name);

type TextField = Exclude<RequestField, ManyValuedField | 'destination.port'>;

/** The one text of a field; undefined where it is absent. */
export function textOf(request: HttpRequest, field: TextField): string | undefined {
  const { identity } = request.connection;
  switch (field) {
    case 'source.principal':
      return identity && principalOf(identity);
    case 'source.namespace':
      return identity?.namespace ?? '';
    case 'source.serviceAccount':
      return identity && `${identity.namespace}/${identity.serviceAccount}`;
    case 'source.trustDomain':
      return identity?.trustDomain;
    case 'source.ip':
      return request.connection.source.ip;
    case 'destination.ip':
      return request.connection.destination.ip;
    case 'remote.ip':
      return request.remoteIp;
    case 'connection.sni':
      return request.sni;
    case 'request.method':
      return request.method;
    case 'request.scheme':
      return request.scheme;
    case 'request.authority':
      return request.authority;
    case 'request.host':
      return hostOf(request.authority);
    case 'request.path':
      return request.path;
    case 'request.principal':
      return request.token?.principal;
    case 'request.presenter':
      return request.token?.presenter;
    default:
      if (field.startsWith(HEADER)) return request.headers.joined(field.slice(HEADER.length));
      if (field.startsWith(QUERY)) return firstOfQuery(request.query, field.slice(QUERY.length));
      return unreachable(field as never);
  }
}

export function valuesOf(request: HttpRequest, field: ManyValuedField): readonly string[] {
  if (request.token === undefined) return [];
  if (field === 'request.audience') return request.token.audiences;
  return claimValues(request.token.claims, claimPath(field));
}

/** Only texts and lists of texts are compared (Istio: other types match nothing). */
export function claimValues(claims: Readonly<Record<string, unknown>>, path: readonly string[]): readonly string[] {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return [];
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];
}

/** The authority without its port; IPv6 without brackets. */
export function hostOf(authority: string): string {
  if (authority.startsWith('[')) {
    const end = authority.indexOf(']');
    return end < 0 ? authority : authority.slice(1, end);
  }
  const colon = authority.lastIndexOf(':');
  return colon < 0 ? authority : authority.slice(0, colon);
}

/**
 * The first value of a parameter, as sent: neither name nor value are unescaped (as Envoy compares them).
 * @param query with its `?`, or empty
 */
export function firstOfQuery(query: string, name: string): string | undefined {
  for (let at = 1; at <= query.length && query !== ''; ) {
    const end = query.indexOf('&', at);
    const stop = end < 0 ? query.length : end;
    if (query.startsWith(name, at)) {
      const after = at + name.length;
      if (after === stop) return '';
      if (after < stop && query.charCodeAt(after) === 0x3d) return query.slice(after + 1, stop);
    }
    at = stop + 1;
  }
  return undefined;
}
