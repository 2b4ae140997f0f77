// AuthorizationPolicies as an L7 engine holds them, in the user's own shape: rules of from, to and when.

import type { RequestField, TextPredicate } from '../facts.ts';
import type { PolicyKey } from '../workload.ts';

export interface HttpPolicy {
  /** `<namespace>/<name>` */
  readonly key: PolicyKey;
  readonly action: HttpPolicyAction;
  /** Judged and reported, never enforced. */
  readonly dryRun: boolean;
  /** Any rule may match; no rules: the policy never matches. */
  readonly anyRule: readonly HttpPolicyRule[];
}

export type HttpPolicyAction =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny' }
  /** Reported, never enforced. */
  | { readonly kind: 'audit' }
  | { readonly kind: 'custom'; readonly provider: AuthorizationProvider };

/** `known`: whether the mesh's configuration has it. One that is not known refuses. */
export interface AuthorizationProvider {
  readonly name: string;
  readonly known: boolean;
}

/** Any source, any operation and every condition must hold; an empty list is no condition, an empty rule matches all. */
export interface HttpPolicyRule {
  readonly from: readonly ConditionSet[];
  readonly to: readonly ConditionSet[];
  readonly when: ConditionSet;
}

/** Every condition must hold; none: everything. */
export type ConditionSet = readonly HttpCondition[];

export interface HttpCondition {
  /** As the user wrote it: `notPaths`, `request.headers[x-tier]`, … */
  readonly list: string;
  /** Holds where no question is answered with yes, also for an absent field. */
  readonly negated: boolean;
  /** Any of them; none: nothing. */
  readonly anyOf: readonly HttpQuestion[];
}

/** For headers ask as of one line: the verdict sees to headers that come several times. */
export interface HttpQuestion {
  readonly field: RequestField;
  readonly predicate: TextPredicate;
}
