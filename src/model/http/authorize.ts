// May this request go on? The definition; engines run `compileHttpPolicies`. Asks through `facts.test` alone.

import type { RequestFacts } from '../facts.ts';
import type { HttpPolicy } from './policy.ts';
import { matchingRule } from './policy-match.ts';
import { type CustomStage, groupHttpPolicies, type HttpVerdict, judgeHttp } from './verdict.ts';

/**
 * @param policies those that apply at this proxy to this target; their order is irrelevant
 * @param stage    whether the provider of CUSTOM has allowed already
 * @returns a verdict that names the policy and rule which made it; total
 */
export const authorizeHttp = (
  policies: readonly HttpPolicy[],
  facts: RequestFacts,
  stage: CustomStage = 'notAsked',
): HttpVerdict =>
  judgeHttp(groupHttpPolicies(policies.map((policy) => ({ policy }))), stage, ({ policy }) =>
    matchingRule(policy, facts),
  );
