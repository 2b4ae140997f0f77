// RequestAuthentication -> the rules by which a proxy checks tokens. Keys are fetched by the control plane, so that a proxy
// never dials an address that a user wrote.

import type { TokenPlace, TokenRule } from '../../model/proxy/security.ts';
import type { JwtRule, RequestAuthentication } from '../objects/request-authentication.ts';

/** Where the keys of a rule come from: an address to fetch, or an issuer to be asked for it (OpenID discovery). */
export interface KeySource {
  readonly kind: 'jwks' | 'discovery';
  readonly url: string;
}

/** Undefined: they are written inline. */
export function keySourceOf(rule: JwtRule): KeySource | undefined {
  if (rule.jwks !== undefined) return undefined;
  if (rule.jwksUri !== undefined) return { kind: 'jwks', url: rule.jwksUri };
  return { kind: 'discovery', url: rule.issuer };
}

export const keySourceName = ({ kind, url }: KeySource): string => `${kind} ${url}`;

/** A key set as it was fetched last; kept while later tries fail. */
export type FetchedKeys = TokenRule['keys'];

const NOT_YET: FetchedKeys = { kind: 'missing', why: 'the keys have not been fetched yet' };
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

function inlineKeys(json: string): FetchedKeys {
  try {
    const parsed: unknown = JSON.parse(json);
    if (typeof parsed === 'object' && parsed !== null && 'keys' in parsed && Array.isArray(parsed.keys))
      return { kind: 'set', json };
  } catch {
    // said below
  }
  return { kind: 'missing', why: 'jwks is not a JSON Web Key Set' };
}

/** Istio: without any place written, the Authorization header and the query parameter `access_token`. */
function placesOf(rule: JwtRule): readonly TokenPlace[] {
  const places: TokenPlace[] = [
    ...rule.fromHeaders.map(({ name, prefix }) => ({ kind: 'header', name, prefix }) as const),
    ...rule.fromParams.map((name) => ({ kind: 'query', name }) as const),
    ...rule.fromCookies.map((name) => ({ kind: 'cookie', name }) as const),
  ];
  return places.length > 0
    ? places
    : [
        { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
        { kind: 'query', name: 'access_token' },
      ];
}

/** @param fetched  by `keySourceName`; undefined: nothing was tried yet */
export const toTokenRules = (
  source: RequestAuthentication,
  fetched: (name: string) => FetchedKeys | undefined,
): readonly TokenRule[] =>
  source.rules.map((rule) => {
    const from = keySourceOf(rule);
    return {
      issuer: rule.issuer,
      audiences: rule.audiences,
      keys: from === undefined ? inlineKeys(rule.jwks as string) : (fetched(keySourceName(from)) ?? NOT_YET),
      from: placesOf(rule),
      forward: rule.forwardOriginalToken,
      payloadToHeader: NAME.test(rule.outputPayloadToHeader ?? '') ? rule.outputPayloadToHeader : undefined,
      claimsToHeaders: rule.outputClaimToHeaders.filter(({ header, claim }) => NAME.test(header) && claim !== ''),
      spaceDelimitedClaims: rule.spaceDelimitedClaims,
    };
  });
