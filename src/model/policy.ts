// Authorization policies as the node proxy holds them. The nesting has names instead of depth, and the
// meaning of "empty" differs at each level: see `authorize`.

import type { Predicate } from './facts.ts';
import type { PolicyKey } from './workload.ts';

export type PolicyScope = 'global' | 'namespace' | 'workloadSelector';
export type PolicyAction = 'allow' | 'deny';

export interface Policy {
  /** The xDS resource name: `<namespace>/<name>`. */
  readonly key: PolicyKey;
  readonly name: string;
  readonly namespace: string;
  readonly scope: PolicyScope;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  /** Any rule may match; no rules: the policy never matches. */
  readonly anyRule: readonly PolicyRule[];
}

/** Every clause must hold; no clauses: matches everything. */
export interface PolicyRule {
  readonly everyClause: readonly PolicyClause[];
}

/** Any match may hold; no matches: matches everything. */
export interface PolicyClause {
  readonly anyMatch: readonly PolicyMatch[];
}

/** All lists must agree; an empty list is no condition, but a match whose lists are all empty matches nothing. */
export interface PolicyMatch {
  readonly namespaces: readonly Predicate[];
  readonly notNamespaces: readonly Predicate[];
  readonly serviceAccounts: readonly Predicate[];
  readonly notServiceAccounts: readonly Predicate[];
  readonly principals: readonly Predicate[];
  readonly notPrincipals: readonly Predicate[];
  readonly sourceIps: readonly Predicate[];
  readonly notSourceIps: readonly Predicate[];
  readonly destinationIps: readonly Predicate[];
  readonly notDestinationIps: readonly Predicate[];
  readonly destinationPorts: readonly Predicate[];
  readonly notDestinationPorts: readonly Predicate[];
}

/** No condition at all: as a match it matches nothing. */
export const NOTHING: PolicyMatch = {
  namespaces: [],
  notNamespaces: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
};
