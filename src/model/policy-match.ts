// Whether one policy matches: the nesting of rules, clauses, matches and lists, where "empty" means something else at
// each level. This is the definition; `compilePolicies` is its fast form, `explainAuthorization` the one for people.

import type { Facts, Field, Predicate } from './facts.ts';
import type { Policy, PolicyClause, PolicyMatch, PolicyRule } from './policy.ts';

/** The lists of a match: which field each asks about. In this order they are asked. */
export const CONDITIONS: readonly {
  readonly field: Field;
  readonly positive: keyof PolicyMatch;
  readonly negative: keyof PolicyMatch;
}[] = [
  { field: 'source.namespace', positive: 'namespaces', negative: 'notNamespaces' },
  { field: 'source.serviceAccount', positive: 'serviceAccounts', negative: 'notServiceAccounts' },
  { field: 'source.principal', positive: 'principals', negative: 'notPrincipals' },
  { field: 'source.ip', positive: 'sourceIps', negative: 'notSourceIps' },
  { field: 'destination.ip', positive: 'destinationIps', negative: 'notDestinationIps' },
  { field: 'destination.port', positive: 'destinationPorts', negative: 'notDestinationPorts' },
];

/** Any rule; a policy without rules never matches. */
export const policyMatches = (policy: Policy, facts: Facts): boolean =>
  policy.anyRule.some((rule) => ruleMatches(rule, facts));

/** Every clause; a rule without clauses matches everything. */
export const ruleMatches = (rule: PolicyRule, facts: Facts): boolean =>
  rule.everyClause.every((clause) => clauseMatches(clause, facts));

/** Any match; a clause without matches matches everything. */
export const clauseMatches = (clause: PolicyClause, facts: Facts): boolean =>
  clause.anyMatch.length === 0 || clause.anyMatch.some((match) => matchHolds(match, facts));

/** All lists agree; an empty list is no condition, but a match with nothing else matches nothing. */
export const matchHolds = (match: PolicyMatch, facts: Facts): boolean =>
  !isEmptyMatch(match) &&
  CONDITIONS.every(
    ({ field, positive, negative }) =>
      (match[positive].length === 0 || anyHolds(match[positive], field, facts)) &&
      !anyHolds(match[negative], field, facts),
  );

export const isEmptyMatch = (match: PolicyMatch): boolean =>
  CONDITIONS.every(({ positive, negative }) => match[positive].length === 0 && match[negative].length === 0);

const anyHolds = (list: readonly Predicate[], field: Field, facts: Facts): boolean =>
  list.some((predicate) => facts.test(field, predicate));
