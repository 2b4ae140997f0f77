// From the matches of single policies to a verdict on a request. The order is Istio's: CUSTOM, AUDIT, DENY, ALLOW, of
// which existence alone already turns the default into refusal.

import type { PolicyKey } from '../workload.ts';
import type { HttpPolicy, HttpPolicyAction } from './policy.ts';

declare const granted: unique symbol;
/** That a request may go on. Only an allowing verdict carries one; what forwards requests asks for it. */
export interface HttpPermit {
  readonly [granted]: 'httpPermit';
}

/** The policy that made a verdict, and its rule, counted from 0. */
export interface HttpCause {
  readonly policy: PolicyKey;
  readonly rule: number;
}

/** What a dry-run policy would have done; without `because`: dry-run ALLOW policies exist and none matched. */
export interface HttpDryRunFinding {
  readonly would: 'deny' | 'allow' | 'ask';
  readonly because: HttpCause | undefined;
}

interface Judged {
  /** Undefined where the default decides. */
  readonly because: HttpCause | undefined;
  readonly reason: string;
  /** To be logged only. */
  readonly dryRun: readonly HttpDryRunFinding[];
  /** AUDIT policies that matched: to be logged only. */
  readonly audit: readonly HttpCause[];
}

export type HttpVerdict =
  | (Judged & { readonly effect: 'allow'; readonly permit: HttpPermit })
  /** Answered with 403; gRPC: status 7. */
  | (Judged & { readonly effect: 'deny' })
  /** CUSTOM: ask this provider. If it allows, judge again, as `passed`, with the headers that it set. */
  | (Judged & { readonly effect: 'ask'; readonly provider: string });

/** `passed`: the provider of CUSTOM was asked and allowed (or was down and may be passed over). */
export type CustomStage = 'notAsked' | 'passed';

/** Policies of one proxy or target, each kind in the order of keys, so that verdicts do not depend on arrival. */
export interface GroupedHttpPolicies<P> {
  readonly custom: readonly P[];
  readonly audit: readonly P[];
  readonly deny: readonly P[];
  readonly allow: readonly P[];
  readonly dryRunCustom: readonly P[];
  readonly dryRunDeny: readonly P[];
  readonly dryRunAllow: readonly P[];
  /** Whom matching CUSTOM policies ask; undefined where that is not one known provider: then they refuse. */
  readonly provider: string | undefined;
}

interface WithPolicy {
  readonly policy: HttpPolicy;
}

export function groupHttpPolicies<P extends WithPolicy>(policies: readonly P[]): GroupedHttpPolicies<P> {
  const sorted = [...policies].sort((a, b) => (a.policy.key < b.policy.key ? -1 : a.policy.key > b.policy.key ? 1 : 0));
  const kind = (action: HttpPolicyAction['kind'], dryRun: boolean): P[] =>
    sorted.filter(({ policy }) => policy.action.kind === action && policy.dryRun === dryRun);
  const custom = kind('custom', false);
  const providers = new Set<string | undefined>();
  for (const { policy } of custom)
    if (policy.action.kind === 'custom')
      providers.add(policy.action.provider.known ? policy.action.provider.name : undefined);
  const [provider] = providers;
  return {
    custom,
    audit: sorted.filter(({ policy }) => policy.action.kind === 'audit'),
    deny: kind('deny', false),
    allow: kind('allow', false),
    dryRunCustom: kind('custom', true),
    dryRunDeny: kind('deny', true),
    dryRunAllow: kind('allow', true),
    provider: providers.size === 1 ? provider : undefined,
  };
}

const NO_CAUSES: readonly HttpCause[] = [];
const NO_FINDINGS: readonly HttpDryRunFinding[] = [];

/**
 * Judges one request.
 * @param ruleOf the first rule of a policy that matches, or -1; asked in a fixed order, and no more often than needed
 */
export function judgeHttp<P extends WithPolicy>(
  policies: GroupedHttpPolicies<P>,
  stage: CustomStage,
  ruleOf: (policy: P) => number,
): HttpVerdict {
  const first = (candidates: readonly P[]): HttpCause | undefined => {
    for (const candidate of candidates) {
      const rule = ruleOf(candidate);
      if (rule >= 0) return { policy: candidate.policy.key, rule };
    }
    return undefined;
  };
  if (stage === 'notAsked' && policies.custom.length > 0) {
    const because = first(policies.custom);
    if (because !== undefined) return judgeCustom(because, policies.provider);
  }
  const audit = policies.audit.length === 0 ? NO_CAUSES : everyCause(policies.audit, ruleOf);
  let dryRun = NO_FINDINGS;
  const find = (would: HttpDryRunFinding['would'], because: HttpCause | undefined): void => {
    dryRun = [...dryRun, { would, because }];
  };
  if (policies.dryRunCustom.length > 0)
    for (const because of everyCause(policies.dryRunCustom, ruleOf)) find('ask', because);
  if (policies.dryRunDeny.length > 0)
    for (const because of everyCause(policies.dryRunDeny, ruleOf)) find('deny', because);

  const denied = first(policies.deny);
  if (denied !== undefined)
    return { effect: 'deny', because: denied, reason: `explicitly denied by: ${denied.policy}`, dryRun, audit };

  if (policies.dryRunAllow.length > 0) {
    const because = first(policies.dryRunAllow);
    if (because !== undefined) find('allow', because);
    else if (policies.allow.length === 0) find('deny', undefined);
  }
  const allow = (because: HttpCause | undefined, reason: string): HttpVerdict => ({
    effect: 'allow',
    because,
    reason,
    dryRun,
    audit,
    permit: {} as HttpPermit,
  });
  if (policies.allow.length === 0) return allow(undefined, 'no allow policy applies');
  const allowed = first(policies.allow);
  if (allowed !== undefined) return allow(allowed, `allowed by: ${allowed.policy}`);
  return { effect: 'deny', because: undefined, reason: 'allow policies exist, but none allowed', dryRun, audit };
}

function judgeCustom(because: HttpCause, provider: string | undefined): HttpVerdict {
  const rest = { because, dryRun: NO_FINDINGS, audit: NO_CAUSES };
  if (provider !== undefined)
    return { ...rest, effect: 'ask', provider, reason: `${because.policy} asks the provider ${provider}` };
  const reason = `${because.policy} cannot be asked: its provider is unknown, or the policies here name several`;
  return { ...rest, effect: 'deny', reason };
}

const everyCause = <P extends WithPolicy>(policies: readonly P[], ruleOf: (policy: P) => number): HttpCause[] =>
  policies.flatMap((candidate) => {
    const rule = ruleOf(candidate);
    return rule < 0 ? [] : [{ policy: candidate.policy.key, rule }];
  });

/** Response code details in Envoy's words: `rbac_access_denied_matched_policy[ns[shop]-policy[strict]-rule[0]]`. */
export function denialDetails(because: HttpCause | undefined): string {
  if (because === undefined) return 'rbac_access_denied_matched_policy[none]';
  const slash = because.policy.indexOf('/');
  const [namespace, name] = [because.policy.slice(0, slash), because.policy.slice(slash + 1)];
  return `rbac_access_denied_matched_policy[ns[${namespace}]-policy[${name}]-rule[${because.rule}]]`;
}
