// The one way in which a decision may ask about a connection or request: `facts.test(field, predicate)`.
// A predicate is data, never a closure, so that the same decision code can be run on concrete facts (here) and on
// symbolic ones (the migration prover forks at each question whose two answers are both possible).

import type { Cidr } from './ip.ts';

/**
 * What can be asked about. An absent field fails every predicate, so a negated condition holds for it: plaintext
 * satisfies `notPrincipals`.
 * Those of requests are below, apart: what judges connections alone cannot be given a condition on a request.
 */
export type Field =
  | 'source.principal' // `td/ns/<ns>/sa/<sa>`, without the scheme; absent for plaintext
  | 'source.namespace' // of the peer's identity; empty for plaintext
  | 'source.serviceAccount' // `<ns>/<sa>`; absent for plaintext
  | 'source.ip'
  | 'destination.ip'
  | 'destination.port';

export type Predicate =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'suffix'; readonly value: string }
  | { readonly kind: 'present' }
  | { readonly kind: 'cidr'; readonly range: Cidr }
  | { readonly kind: 'port'; readonly port: number };

export interface Facts {
  test(field: Field, predicate: Predicate): boolean;
}

/**
 * What can be asked about an HTTP request beside its connection. Names of headers are in lower case; a claim's path is
 * written `[realm][roles]`, as AuthorizationPolicy does.
 */
export type RequestField =
  | Field
  | 'source.trustDomain' // absent for plaintext
  | 'remote.ip' // the original client's, behind trusted proxies
  | 'connection.sni'
  | 'request.method' // as sent: methods are case-sensitive (RFC 9110 §9.1)
  | 'request.scheme'
  | 'request.authority' // in lower case, with the port where the client sent one
  | 'request.host' // the authority without its port; IPv6 without brackets
  | 'request.path' // the normal form that is also routed and sent, without query
  | 'request.principal' // `<iss>/<sub>` of a token that was verified
  | 'request.presenter' // `azp`
  | 'request.audience' // several values: a predicate holds if it does for one
  | `request.claim:${string}` // several values, as above
  | `request.header:${string}` // several lines: simple predicates see them joined (RFC 9110 §5.3)
  | `request.query:${string}`; // the first value

/** What can be asked of one text. */
export type TextPredicate =
  | Predicate
  | { readonly kind: 'exactIgnoringCase'; readonly value: string } // `value` in lower case
  | { readonly kind: 'prefixIgnoringCase'; readonly value: string } // `value` in lower case
  /** Whole segments: `/a` holds for `/a`, `/a/` and `/a/b`. Begins with a slash, ends with none; `` is every path. */
  | { readonly kind: 'pathPrefix'; readonly value: string }
  | { readonly kind: 'pathTemplate'; readonly parts: readonly TemplatePart[] }
  /** RE2, the whole text. */
  | { readonly kind: 'regex'; readonly pattern: string };

/** `one`: one segment that is not empty; `rest`: anything, also nothing. At most one `rest`, with one text after it. */
export type TemplatePart = { readonly text: string } | 'one' | 'rest';

/**
 * The last two are for headers that come several times, which a server may read line by line or as one. Both fail for
 * an absent header.
 * eachLine  every line satisfies one of them: the reading that allows least
 * someLine  some line does, or all joined: the reading that refuses most
 */
export type RequestPredicate =
  | TextPredicate
  | { readonly kind: 'eachLine'; readonly anyOf: readonly TextPredicate[] }
  | { readonly kind: 'someLine'; readonly anyOf: readonly TextPredicate[] };

/** Answers about a request. They are answers about its connection, too: decisions that ask for `Facts` take them. */
export interface RequestFacts {
  test(field: RequestField, predicate: RequestPredicate): boolean;
}
