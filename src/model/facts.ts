// The one way in which a decision may ask about a connection or request: `facts.test(field, predicate)`.
// A predicate is data, never a closure, so that the same decision code can be run on concrete facts (here) and on
// symbolic ones (the migration prover forks at each question whose two answers are both possible).

import type { Cidr } from './ip.ts';

/**
 * What can be asked about. An absent field fails every predicate, so a negated condition holds for it: plaintext
 * satisfies `notPrincipals`.
 * L7 fields come with the L7 engine: the union grows, the mechanism stays.
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
