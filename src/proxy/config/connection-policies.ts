// AuthorizationPolicies where there are no requests: on TCP, what they say of requests cannot be asked (Istio: an ALLOW
// rule that asks is left out, a DENY rule goes without the question, and is wider).

import type { RequestField } from '../../model/facts.ts';
import type { ConditionSet, HttpPolicy, HttpPolicyRule } from '../../model/http/policy.ts';

const isAboutRequests = (field: RequestField): boolean => field.startsWith('request.') || field === 'remote.ip';
const asks = (set: ConditionSet): boolean => set.some(({ anyOf }) => anyOf.some(({ field }) => isAboutRequests(field)));
const asksAnything = ({ from, to, when }: HttpPolicyRule): boolean => [...from, ...to, when].some(asks);

const without = (set: ConditionSet): ConditionSet =>
  set.filter(({ anyOf }) => !anyOf.some(({ field }) => isAboutRequests(field)));

/** A set that asked only about requests holds for every connection, and with it its whole list. */
const widened = (sets: readonly ConditionSet[]): readonly ConditionSet[] => {
  const left = sets.map(without);
  return left.some((set) => set.length === 0) ? [] : left;
};

function denialOf(rule: HttpPolicyRule): HttpPolicyRule[] {
  if (!asksAnything(rule)) return [rule];
  const left = { from: widened(rule.from), to: widened(rule.to), when: without(rule.when) };
  // Nothing is left that a connection could be told by: the rule is about requests alone.
  return left.from.length + left.to.length + left.when.length === 0 ? [] : [left];
}

/** @returns policies that `compileHttpPolicies` judges connections by; a provider cannot be asked, so it refuses */
export const policiesForConnections = (policies: readonly HttpPolicy[]): readonly HttpPolicy[] =>
  policies.map((policy): HttpPolicy => {
    const { kind } = policy.action;
    if (kind === 'deny') return { ...policy, anyRule: policy.anyRule.flatMap(denialOf) };
    const anyRule = policy.anyRule.filter((rule) => !asksAnything(rule));
    return kind === 'custom' ? { ...policy, action: { kind: 'deny' }, anyRule } : { ...policy, anyRule };
  });
