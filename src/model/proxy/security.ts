// Who may come, and with which token: AuthorizationPolicy and RequestAuthentication as a proxy holds them.

import type { TextPredicate } from '../facts.ts';
import type { HttpPolicy } from '../http/policy.ts';

export interface SecurityConfig {
  readonly policies: readonly HttpPolicy[];
  /** Rules of all RequestAuthentications together; none: tokens are not looked at. */
  readonly tokens: readonly TokenRule[];
}

/** One jwtRule of a RequestAuthentication. */
export interface TokenRule {
  readonly issuer: string;
  /** Any of them; none: any audience. */
  readonly audiences: readonly string[];
  /** JWK sets that were fetched or written inline. `missing`: none could be had, every token is refused. */
  readonly keys: { readonly kind: 'set'; readonly json: string } | { readonly kind: 'missing'; readonly why: string };
  /** Where tokens are looked for, in order. Defaults are written out: Authorization with `Bearer `, query access_token. */
  readonly from: readonly TokenPlace[];
  readonly forward: boolean;
  /** The payload, base64url, is put into this header; lower case. */
  readonly payloadToHeader: string | undefined;
  readonly claimsToHeaders: readonly { readonly header: string; readonly claim: string }[];
  /** Beside `scope` and `permission`: texts that are lists. */
  readonly spaceDelimitedClaims: readonly string[];
}

export type TokenPlace =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string };

/** envoyExtAuthzHttp and envoyExtAuthzGrpc of the mesh configuration. */
export interface AuthorizationProviderConfig {
  readonly name: string;
  readonly protocol: 'http' | 'grpc';
  /** Host name of the service that answers, resolved; and its port. */
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  /** Answered when the provider cannot be asked. */
  readonly statusOnError: number;
  readonly clearsRouteCache: boolean;
  /** HTTP only. */
  readonly pathPrefix: string;
  readonly requestHeaders: readonly TextPredicate[];
  readonly addedHeaders: readonly { readonly name: string; readonly value: string }[];
  readonly toUpstreamOnAllow: readonly TextPredicate[];
  readonly toDownstreamOnAllow: readonly TextPredicate[];
  readonly toDownstreamOnDeny: readonly TextPredicate[];
  readonly body: { readonly maxBytes: number; readonly allowsPartial: boolean; readonly asBytes: boolean } | undefined;
}
