// SPIFFE identities of workloads: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
// Parsed once at the boundary; inside, an identity is this record and never a string that is split again.

import { fail, ok, type Result } from './result.ts';

export const DEFAULT_TRUST_DOMAIN = 'cluster.local';

export interface SpiffeId {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** `td/ns/<namespace>/sa/<account>`: what AuthorizationPolicy calls a principal. */
export const principalOf = (id: SpiffeId): string => `${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;

export const formatSpiffeId = (id: SpiffeId): string => `spiffe://${principalOf(id)}`;

export const sameSpiffeId = (a: SpiffeId, b: SpiffeId): boolean =>
  a.trustDomain === b.trustDomain && a.namespace === b.namespace && a.serviceAccount === b.serviceAccount;

/**
 * Parses a SPIFFE URI. Exactly five parts, none empty, compared case-sensitively.
 * @returns the record, or a sentence saying what is wrong
 */
export function parseSpiffeId(uri: string): Result<SpiffeId, string> {
  const scheme = 'spiffe://';
  if (!uri.startsWith(scheme)) return fail(`\`${uri}\` does not start with spiffe://`);
  const parts = uri.slice(scheme.length).split('/');
  const [trustDomain, ns, namespace, sa, serviceAccount] = parts;
  if (parts.length !== 5 || ns !== 'ns' || sa !== 'sa')
    return fail(`\`${uri}\` is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>`);
  if (!trustDomain || !namespace || !serviceAccount) return fail(`\`${uri}\` has an empty part`);
  return ok({ trustDomain, namespace, serviceAccount });
}
