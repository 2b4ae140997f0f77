// RequestAuthentication as data.

import {
  flag,
  type Json,
  type Labels,
  list,
  optionalRecord,
  optionalText,
  record,
  text,
  textRecord,
  texts,
} from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';
import { parseTargetRefs, type TargetRef } from './security.ts';

export interface RequestAuthentication extends Meta {
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
  readonly rules: readonly JwtRule[];
}

export interface JwtRule {
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** Written inline; wins over the two below. */
  readonly jwks: string | undefined;
  /** Undefined: found by OpenID discovery at the issuer. */
  readonly jwksUri: string | undefined;
  readonly timeout: string | undefined;
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  readonly outputPayloadToHeader: string | undefined;
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[];
  readonly forwardOriginalToken: boolean;
  readonly spaceDelimitedClaims: readonly string[];
}

export function parseRequestAuthentication(object: Json): RequestAuthentication {
  const meta = parseMeta(object);
  const spec = record(object.spec);
  const selector = optionalRecord(spec.selector);
  return {
    ...meta,
    selector: selector && textRecord(selector.matchLabels),
    targetRefs: parseTargetRefs(spec, meta.namespace),
    rules: list(spec.jwtRules).map((item) => parseRule(record(item))),
  };
}

function parseRule(rule: Json): JwtRule {
  return {
    issuer: text(rule.issuer),
    audiences: texts(rule.audiences),
    jwks: optionalText(rule.jwks) || undefined,
    jwksUri: optionalText(rule.jwksUri ?? rule.jwks_uri) || undefined,
    timeout: optionalText(rule.timeout),
    fromHeaders: list(rule.fromHeaders).map((item) => ({
      name: text(record(item).name).toLowerCase(),
      prefix: text(record(item).prefix),
    })),
    fromParams: texts(rule.fromParams),
    fromCookies: texts(rule.fromCookies),
    outputPayloadToHeader: optionalText(rule.outputPayloadToHeader)?.toLowerCase() || undefined,
    outputClaimToHeaders: list(rule.outputClaimToHeaders).map((item) => ({
      header: text(record(item).header).toLowerCase(),
      claim: text(record(item).claim),
    })),
    forwardOriginalToken: flag(rule.forwardOriginalToken),
    spaceDelimitedClaims: texts(rule.spaceDelimitedClaims),
  };
}
