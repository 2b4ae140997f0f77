// Why `authorize` judged as it did: every policy that applies, every rule, and for each list of conditions what was
// asked and what came out. For people, never on the path of a connection. Asks through `facts.test` alone, too.

import { authorize, selectPolicies } from './authorize.ts';
import type { Facts, Field, Predicate } from './facts.ts';
import type { Policy, PolicyAction, PolicyClause, PolicyMatch, PolicyRule, PolicyScope } from './policy.ts';
import { CONDITIONS, isEmptyMatch } from './policy-match.ts';
import { unreachable } from './result.ts';
import type { Verdict } from './verdict.ts';
import type { PolicyKey, Workload } from './workload.ts';
import type { World } from './world.ts';

/** One list of a match: `principals`, `notPrincipals`, … */
export interface ConditionTrace {
  readonly list: keyof PolicyMatch;
  readonly field: Field;
  /** Whether the condition as a whole holds: for a `not` list, that no entry does. */
  readonly holds: boolean;
  readonly entries: readonly { readonly predicate: Predicate; readonly satisfied: boolean }[];
}

export interface MatchTrace {
  readonly matched: boolean;
  /** Without any condition: matches nothing. */
  readonly empty: boolean;
  readonly conditions: readonly ConditionTrace[];
}

export interface RuleTrace {
  /** Counted from 0. */
  readonly index: number;
  readonly matched: boolean;
  readonly everyClause: readonly { readonly matched: boolean; readonly anyMatch: readonly MatchTrace[] }[];
}

export interface PolicyTrace {
  readonly policy: PolicyKey;
  readonly action: PolicyAction;
  readonly scope: PolicyScope;
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly rules: readonly RuleTrace[];
}

export interface AuthorizationTrace {
  readonly verdict: Verdict;
  /** Every policy that applies, by key. */
  readonly policies: readonly PolicyTrace[];
  /** Policies that the workload lists and the control plane did not send: they restrict nothing. */
  readonly missing: readonly PolicyKey[];
}

/** Judges as `authorize` does, and shows the working. */
export function explainAuthorization(world: World, destination: Workload, facts: Facts): AuthorizationTrace {
  const { policies, missing } = selectPolicies(world, destination);
  const sorted = [...policies].sort((a, b) => (a.key < b.key ? -1 : 1));
  return {
    verdict: authorize(world, destination, facts),
    policies: sorted.map((policy) => tracePolicy(policy, facts)),
    missing,
  };
}

function tracePolicy(policy: Policy, facts: Facts): PolicyTrace {
  const rules = policy.anyRule.map((rule, index) => traceRule(rule, index, facts));
  const { key, action, scope, dryRun } = policy;
  return { policy: key, action, scope, dryRun, matched: rules.some((rule) => rule.matched), rules };
}

function traceRule(rule: PolicyRule, index: number, facts: Facts): RuleTrace {
  const everyClause = rule.everyClause.map((clause) => traceClause(clause, facts));
  return { index, matched: everyClause.every((clause) => clause.matched), everyClause };
}

function traceClause(clause: PolicyClause, facts: Facts): RuleTrace['everyClause'][number] {
  const anyMatch = clause.anyMatch.map((match) => traceMatch(match, facts));
  return { matched: anyMatch.length === 0 || anyMatch.some((match) => match.matched), anyMatch };
}

function traceMatch(match: PolicyMatch, facts: Facts): MatchTrace {
  const empty = isEmptyMatch(match);
  const conditions: ConditionTrace[] = [];
  for (const { field, positive, negative } of CONDITIONS)
    for (const list of [positive, negative]) {
      if (match[list].length === 0) continue;
      const entries = match[list].map((predicate) => ({ predicate, satisfied: facts.test(field, predicate) }));
      const any = entries.some((entry) => entry.satisfied);
      conditions.push({ list, field, holds: list === positive ? any : !any, entries });
    }
  return { matched: !empty && conditions.every((condition) => condition.holds), empty, conditions };
}

/** The rule that made a policy match, or, for one that did not, nothing. */
export const matchedRule = (trace: PolicyTrace): RuleTrace | undefined => trace.rules.find((rule) => rule.matched);

/** `principals is "cluster.local/ns/shop/sa/order" or starts with "cluster.local/ns/bank/"` */
export const describeCondition = (condition: Pick<ConditionTrace, 'list' | 'entries'>): string =>
  `${condition.list}: ${condition.entries.map((entry) => describePredicate(entry.predicate)).join(' or ')}`;

export function describePredicate(predicate: Predicate): string {
  switch (predicate.kind) {
    case 'exact':
      return `\`${predicate.value}\``;
    case 'prefix':
      return `\`${predicate.value}*\``;
    case 'suffix':
      return `\`*${predicate.value}\``;
    case 'present':
      return 'anything';
    case 'cidr':
      return `\`${predicate.range.ip}/${predicate.range.length}\``;
    case 'port':
      return `${predicate.port}`;
    default:
      return unreachable(predicate);
  }
}
