// RequestAuthentication for one proxy or service: finds the tokens of a request, verifies each, and leaves behind what
// the rules ask for. No token is fine; a token that does not hold is answered with 401 (403 for its audience).
// Runs per request; a token that was verified before costs one look into a bounded cache.

import type { VerifiedToken } from '../../model/http/request.ts';
import type { TokenPlace, TokenRule } from '../../model/proxy/security.ts';
import type { Clock } from '../../platform/clock.ts';
import { type Fields, isFieldValue } from '../../wire/http1/index.ts';
import type { Exchange, LocalReply, TokenCheck } from '../contracts.ts';
import { isFraming } from './authorizer/header-names.ts';
import { type KeySet, readKeySet, verifySignature } from './jwks.ts';
import { audienceAllowed, type Jwt, readJwt, timeFault } from './jwt.ts';
import { MOST_TOKENS, removeToken, tokensAt } from './token-places.ts';

export interface RequestTokensOptions {
  readonly clock: Clock;
  /** Puts another query (with its `?`, or empty) into the request that goes upstream: a token was taken out of it. */
  setQuery(exchange: Exchange, query: string): void;
}

interface ReadyRule {
  readonly rule: TokenRule;
  /** Undefined: no key could be had, every token is refused. */
  readonly keys: KeySet | undefined;
}

/** One place, and the rules that look there. */
interface Place {
  readonly place: TokenPlace;
  readonly rules: readonly ReadyRule[];
  /** Of a header: longer prefixes that other rules look for. A line is the token of the longest that fits. */
  readonly longer: readonly string[];
}

interface Verified {
  readonly rule: TokenRule;
  readonly jwt: Jwt;
  readonly token: VerifiedToken;
}

type Outcome = { readonly verified: Verified } | { readonly fault: string };

const MOST_CACHED = 2000;
const MOST_CACHED_CHARACTERS = 4 * 1024 * 1024;
const UNKNOWN_ISSUER = 'Jwt issuer is not configured';
const WRONG_AUDIENCE = 'Audiences in Jwt are not allowed';

export class RequestTokens implements TokenCheck {
  readonly #places: readonly Place[];
  readonly #ownHeaders: readonly string[];
  readonly #options: RequestTokensOptions;
  /** Place and token -> what was proved; oldest first. */
  readonly #cache = new Map<string, Verified>();
  #cachedCharacters = 0;

  constructor(rules: readonly TokenRule[], options: RequestTokensOptions) {
    this.#options = options;
    this.#places = placesOf(rules);
    this.#ownHeaders = [...new Set(rules.flatMap(headersOf))];
  }

  check(exchange: Exchange): LocalReply | undefined {
    if (this.#places.length === 0) return undefined;
    const fields = exchange.requestFields;
    // What rules write must come from a token, never from the client.
    for (const name of this.#ownHeaders) fields.delete(name);
    if (isPreflight(exchange)) return undefined;
    let { query } = exchange.request;
    let first: Verified | undefined;
    let looked = 0;
    const seen: { readonly place: TokenPlace; readonly token: string; readonly verified: Verified }[] = [];
    for (let i = 0; i < this.#places.length; i++) {
      const place = this.#places[i] as Place;
      for (const token of tokensAt(place.place, fields, query, place.longer)) {
        if (++looked > MOST_TOKENS) return refusal(exchange, 'Too many Jwts in one request');
        const outcome = this.#verify(i, place, token);
        if ('fault' in outcome) return refusal(exchange, outcome.fault);
        first ??= outcome.verified;
        seen.push({ place: place.place, token, verified: outcome.verified });
      }
    }
    if (first === undefined) return undefined;
    for (const { place, token, verified } of seen)
      if (!verified.rule.forward) query = removeToken(place, token, fields, query);
    if (query !== exchange.request.query) this.#options.setQuery(exchange, query);
    for (const { verified } of seen) writeHeaders(fields, verified);
    exchange.token = first.token;
    return undefined;
  }

  #verify(index: number, place: Place, text: string): Outcome {
    const nowMs = this.#options.clock.nowMs();
    const key = `${index} ${text}`;
    const known = this.#cache.get(key);
    if (known !== undefined) {
      const fault = timeFault(known.jwt, nowMs);
      if (fault === undefined) return { verified: known };
      this.#forget(key);
      return { fault };
    }
    const outcome = verifyToken(place.rules, text, nowMs);
    if ('verified' in outcome) this.#remember(key, outcome.verified);
    return outcome;
  }

  #remember(key: string, verified: Verified): void {
    this.#cache.set(key, verified);
    this.#cachedCharacters += key.length;
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MOST_CACHED && this.#cachedCharacters <= MOST_CACHED_CHARACTERS) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    if (this.#cache.delete(key)) this.#cachedCharacters -= key.length;
  }
}

function placesOf(rules: readonly TokenRule[]): Place[] {
  const places = new Map<string, { place: TokenPlace; rules: ReadyRule[] }>();
  for (const rule of rules) {
    const read = rule.keys.kind === 'set' ? readKeySet(rule.keys.json) : undefined;
    const ready: ReadyRule = { rule, keys: read?.ok ? read.value : undefined };
    for (const written of rule.from) {
      const place = written.kind === 'header' ? { ...written, name: written.name.toLowerCase() } : written;
      const key = JSON.stringify([place.kind, place.name, place.kind === 'header' ? place.prefix : '']);
      const known = places.get(key);
      if (known === undefined) places.set(key, { place, rules: [ready] });
      else known.rules.push(ready);
    }
  }
  const all = [...places.values()];
  return all.map((one) => ({ ...one, longer: longerPrefixes(one.place, all) }));
}

const longerPrefixes = (place: TokenPlace, all: readonly { readonly place: TokenPlace }[]): string[] =>
  all.flatMap(({ place: other }) =>
    place.kind === 'header' &&
    other.kind === 'header' &&
    other.name === place.name &&
    other.prefix.length > place.prefix.length &&
    other.prefix.startsWith(place.prefix)
      ? [other.prefix]
      : [],
  );

/** Where to write what; headers that frame the message are nobody's to write. */
const headersOf = (rule: TokenRule): string[] => writtenBy(rule).filter((name) => !isFraming(name));
const writtenBy = (rule: TokenRule): string[] => [
  ...(rule.payloadToHeader === undefined ? [] : [rule.payloadToHeader.toLowerCase()]),
  ...rule.claimsToHeaders.map(({ header }) => header.toLowerCase()),
];

/** CORS asks before it sends credentials (Istio: preflight requests pass). */
const isPreflight = ({ request, requestFields }: Exchange): boolean =>
  request.method === 'OPTIONS' &&
  hasText(requestFields, 'origin') &&
  hasText(requestFields, 'access-control-request-method');

const hasText = (fields: Fields, name: string): boolean => (fields.get(name) ?? '') !== '';

/** Any rule of the token's issuer will do; of several failures the most telling one is answered. */
function verifyToken(rules: readonly ReadyRule[], text: string, nowMs: number): Outcome {
  const read = readJwt(text);
  if (!read.ok) return { fault: read.error };
  const jwt = read.value;
  let fault = UNKNOWN_ISSUER;
  for (const ready of rules) {
    if (jwt.issuer === '' || ready.rule.issuer !== jwt.issuer) continue;
    const found = faultOf(ready, jwt, nowMs);
    if (found === undefined) return { verified: { rule: ready.rule, jwt, token: tokenOf(ready.rule, jwt) } };
    fault = found;
  }
  return { fault };
}

function faultOf({ rule, keys }: ReadyRule, jwt: Jwt, nowMs: number): string | undefined {
  const late = timeFault(jwt, nowMs);
  if (late !== undefined) return late;
  if (!audienceAllowed(rule.audiences, jwt.audiences)) return WRONG_AUDIENCE;
  if (keys === undefined) return 'Jwks remote fetch is failed';
  switch (verifySignature(keys, jwt)) {
    case 'valid':
      return undefined;
    case 'invalid':
      return 'Jwt verification fails';
    case 'noKey':
      return "Jwks doesn't have key to match kid or alg from Jwt";
  }
}

function tokenOf(rule: TokenRule, jwt: Jwt): VerifiedToken {
  const claims: Record<string, unknown> = { ...jwt.claims };
  for (const name of ['scope', 'permission', ...rule.spaceDelimitedClaims]) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    if (typeof value === 'string') claims[name] = value.split(' ').filter((part) => part !== '');
  }
  const presenter = Object.hasOwn(claims, 'azp') ? claims.azp : undefined;
  return {
    // Without a subject there is no principal (Istio); an empty text satisfies no condition on one.
    principal: jwt.subject === '' ? '' : `${jwt.issuer}/${jwt.subject}`,
    presenter: typeof presenter === 'string' ? presenter : undefined,
    audiences: jwt.audiences,
    claims,
  };
}

function writeHeaders(fields: Fields, { rule, jwt }: Verified): void {
  if (rule.payloadToHeader !== undefined && !isFraming(rule.payloadToHeader.toLowerCase()))
    fields.set(rule.payloadToHeader, jwt.payloadBase64);
  for (const { header, claim } of rule.claimsToHeaders) {
    const text = claimText(jwt.claims, claim);
    if (text === undefined || isFraming(header.toLowerCase())) continue;
    const value = Buffer.from(text, 'utf8').toString('latin1');
    if (isFieldValue(value)) fields.set(header, value);
  }
}

/** Texts, whole numbers and booleans; nested with `.` (Istio). */
function claimText(claims: Readonly<Record<string, unknown>>, path: string): string | undefined {
  let value: unknown = claims;
  if (Object.hasOwn(claims, path)) value = claims[path];
  else
    for (const name of path.split('.')) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
      value = (value as Readonly<Record<string, unknown>>)[name];
    }
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || Number.isSafeInteger(value) ? String(value) : undefined;
}

const MOST_REALM_CHARACTERS = 256;

/** RFC 6750 §3. The query is left out: it may hold the token. */
function challenge({ request }: Exchange): string {
  const uri = `${request.scheme}://${request.authority}${request.path}`.slice(0, MOST_REALM_CHARACTERS);
  return `Bearer realm="${uri.replace(/[^!#-[\]-~]/g, '_')}", error="invalid_token"`;
}

function refusal(exchange: Exchange, fault: string): LocalReply {
  return {
    status: fault === WRONG_AUDIENCE ? 403 : 401,
    headers: [
      { name: 'content-type', value: 'text/plain' },
      { name: 'www-authenticate', value: challenge(exchange) },
    ],
    body: fault,
    details: `jwt_authn_access_denied{${fault.replaceAll(' ', '_')}}`,
    flag: undefined,
    grpcStatus: undefined,
  };
}
