// Whether one policy matches a request: the definition. `compileHttpPolicies` is its fast form.

import type { RequestFacts, RequestField, RequestPredicate, TextPredicate } from '../facts.ts';
import type { ConditionSet, HttpCondition, HttpPolicy, HttpPolicyAction, HttpPolicyRule } from './policy.ts';
import { headerOf } from './request.ts';

/** The rule that matches first, counted from 0; -1 where none does. */
export const matchingRule = (policy: HttpPolicy, facts: RequestFacts): number =>
  policy.anyRule.findIndex((rule) => httpRuleMatches(rule, policy.action.kind, facts));

const httpRuleMatches = (rule: HttpPolicyRule, action: HttpPolicyAction['kind'], facts: RequestFacts): boolean =>
  anySet(rule.from, action, facts) && anySet(rule.to, action, facts) && setHolds(rule.when, action, facts);

const anySet = (sets: readonly ConditionSet[], action: HttpPolicyAction['kind'], facts: RequestFacts): boolean =>
  sets.length === 0 || sets.some((set) => setHolds(set, action, facts));

const setHolds = (set: ConditionSet, action: HttpPolicyAction['kind'], facts: RequestFacts): boolean =>
  set.every((condition) => httpConditionHolds(condition, action, facts));

export const httpConditionHolds = (
  condition: HttpCondition,
  action: HttpPolicyAction['kind'],
  facts: RequestFacts,
): boolean =>
  questionsOf(condition, action).some(({ field, predicate }) => facts.test(field, predicate)) !== condition.negated;

export interface AskedQuestion {
  readonly field: RequestField;
  readonly predicate: RequestPredicate;
}

/**
 * What a condition really asks. A header that comes several times is read so that doubt refuses: an ALLOW wants every
 * line to satisfy it, the other actions are content with one; under a negation the other way round.
 */
export function questionsOf(condition: HttpCondition, action: HttpPolicyAction['kind']): readonly AskedQuestion[] {
  const kind = (action === 'allow') === condition.negated ? 'someLine' : 'eachLine';
  const asked: AskedQuestion[] = [];
  const headers = new Map<RequestField, TextPredicate[]>();
  for (const { field, predicate } of condition.anyOf) {
    if (headerOf(field) === undefined) {
      asked.push({ field, predicate });
      continue;
    }
    const known = headers.get(field);
    if (known !== undefined) {
      known.push(predicate);
      continue;
    }
    const anyOf = [predicate];
    headers.set(field, anyOf);
    asked.push({ field, predicate: { kind, anyOf } });
  }
  return asked;
}
