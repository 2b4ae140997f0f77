// Why `authorizeHttp` judged as it did: every policy, rule and condition, what was asked and what came out. For people.

import { describePredicate } from '../explain.ts';
import type { RequestFacts, RequestPredicate } from '../facts.ts';
import { unreachable } from '../result.ts';
import type { PolicyKey } from '../workload.ts';
import { authorizeHttp } from './authorize.ts';
import { formatTemplate } from './path-template.ts';
import type { ConditionSet, HttpPolicy, HttpPolicyAction, HttpPolicyRule } from './policy.ts';
import { type AskedQuestion, questionsOf } from './policy-match.ts';
import type { CustomStage, HttpVerdict } from './verdict.ts';

export interface HttpConditionTrace {
  /** As the user wrote it: `notPaths`. */
  readonly list: string;
  /** Whether the condition as a whole holds: for a negated one, that no entry does. */
  readonly holds: boolean;
  readonly entries: readonly (AskedQuestion & { readonly satisfied: boolean })[];
}

export interface ConditionSetTrace {
  readonly matched: boolean;
  readonly conditions: readonly HttpConditionTrace[];
}

export interface HttpRuleTrace {
  /** Counted from 0. */
  readonly index: number;
  readonly matched: boolean;
  readonly from: readonly ConditionSetTrace[];
  readonly to: readonly ConditionSetTrace[];
  readonly when: ConditionSetTrace;
}

export interface HttpPolicyTrace {
  readonly policy: PolicyKey;
  readonly action: HttpPolicyAction;
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly rules: readonly HttpRuleTrace[];
}

export interface HttpAuthorizationTrace {
  readonly verdict: HttpVerdict;
  /** Every policy that applies, by key. */
  readonly policies: readonly HttpPolicyTrace[];
}

/** Judges as `authorizeHttp` does, and shows the working. */
export function explainHttpAuthorization(
  policies: readonly HttpPolicy[],
  facts: RequestFacts,
  stage: CustomStage = 'notAsked',
): HttpAuthorizationTrace {
  const sorted = [...policies].sort((a, b) => (a.key < b.key ? -1 : 1));
  return {
    verdict: authorizeHttp(policies, facts, stage),
    policies: sorted.map((policy) => tracePolicy(policy, facts)),
  };
}

function tracePolicy({ key, action, dryRun, anyRule }: HttpPolicy, facts: RequestFacts): HttpPolicyTrace {
  const rules = anyRule.map((rule, index) => traceRule(rule, index, action.kind, facts));
  return { policy: key, action, dryRun, matched: rules.some((rule) => rule.matched), rules };
}

function traceRule(
  rule: HttpPolicyRule,
  index: number,
  action: HttpPolicyAction['kind'],
  facts: RequestFacts,
): HttpRuleTrace {
  const from = rule.from.map((set) => traceSet(set, action, facts));
  const to = rule.to.map((set) => traceSet(set, action, facts));
  const when = traceSet(rule.when, action, facts);
  return { index, matched: anyMatched(from) && anyMatched(to) && when.matched, from, to, when };
}

const anyMatched = (sets: readonly ConditionSetTrace[]): boolean =>
  sets.length === 0 || sets.some((set) => set.matched);

function traceSet(set: ConditionSet, action: HttpPolicyAction['kind'], facts: RequestFacts): ConditionSetTrace {
  const conditions = set.map((condition): HttpConditionTrace => {
    const entries = questionsOf(condition, action).map((question) => ({
      ...question,
      satisfied: facts.test(question.field, question.predicate),
    }));
    return {
      list: condition.list,
      holds: entries.some(({ satisfied }) => satisfied) !== condition.negated,
      entries,
    };
  });
  return { matched: conditions.every(({ holds }) => holds), conditions };
}

/** ``paths: `/orders*` or `/health` ``, each entry in the user's own syntax. */
export const describeHttpCondition = ({ list, entries }: Pick<HttpConditionTrace, 'list' | 'entries'>): string =>
  `${list}: ${[...new Set(entries.map(({ predicate }) => describeRequestPredicate(predicate)))].join(' or ')}`;

export function describeRequestPredicate(predicate: RequestPredicate): string {
  switch (predicate.kind) {
    case 'exactIgnoringCase':
      return `\`${predicate.value}\` in any case`;
    case 'prefixIgnoringCase':
      return `\`${predicate.value}*\` in any case`;
    case 'pathPrefix':
      return `\`${predicate.value || '/'}\` and below`;
    case 'pathTemplate':
      return `\`${formatTemplate(predicate.parts)}\``;
    case 'regex':
      return `regular expression \`${predicate.pattern}\``;
    case 'eachLine':
    case 'someLine':
      return predicate.anyOf.map(describeRequestPredicate).join(' or ');
    case 'exact':
    case 'prefix':
    case 'suffix':
    case 'present':
    case 'cidr':
    case 'port':
      return describePredicate(predicate);
    default:
      return unreachable(predicate);
  }
}
