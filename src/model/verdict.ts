// From the matches of single policies to a verdict. The order of questions is fixed: dry-run DENY, DENY, dry-run
// ALLOW, then ALLOW, of which existence alone already turns the default into refusal.

import type { Policy } from './policy.ts';
import type { PolicyKey, Workload } from './workload.ts';

declare const granted: unique symbol;
/** That a connection may go on. Only a verdict of `authorize` carries one; what forwards bytes asks for it. */
export interface Permit {
  readonly [granted]: 'permit';
  readonly destination: Workload;
}

/** What a dry-run policy would have done; without `policy`: dry-run ALLOW policies exist and none matched. */
export interface DryRunFinding {
  readonly would: 'deny' | 'allow';
  readonly policy: PolicyKey | undefined;
}

interface Judged {
  /** The policies that made the verdict; empty when it is the default. */
  readonly because: readonly PolicyKey[];
  /** In ztunnel's words where it refuses. */
  readonly reason: string;
  /** To be logged only. */
  readonly dryRun: readonly DryRunFinding[];
}

export type Verdict =
  | (Judged & { readonly effect: 'allow'; readonly permit: Permit })
  | (Judged & { readonly effect: 'deny' });

/** The policies that apply to one workload, each kind in the order of keys, so that verdicts do not depend on arrival. */
export interface ApplicablePolicies<P> {
  readonly dryRunDeny: readonly P[];
  readonly deny: readonly P[];
  readonly dryRunAllow: readonly P[];
  readonly allow: readonly P[];
}

/** Sorts policies of one workload into their kinds. */
export function groupPolicies<P extends { readonly policy: Policy }>(policies: readonly P[]): ApplicablePolicies<P> {
  const sorted = [...policies].sort((a, b) => (a.policy.key < b.policy.key ? -1 : a.policy.key > b.policy.key ? 1 : 0));
  const kind = (action: Policy['action'], dryRun: boolean): P[] =>
    sorted.filter(({ policy }) => policy.action === action && policy.dryRun === dryRun);
  return {
    dryRunDeny: kind('deny', true),
    deny: kind('deny', false),
    dryRunAllow: kind('allow', true),
    allow: kind('allow', false),
  };
}

const NO_KEYS: readonly PolicyKey[] = [];
const NO_FINDINGS: readonly DryRunFinding[] = [];

/**
 * Judges one connection to `destination`.
 * @param matches whether one policy matches the connection; asked in a fixed order, and no more often than needed
 */
export function judge<P extends { readonly policy: Policy }>(
  policies: ApplicablePolicies<P>,
  destination: Workload,
  matches: (policy: P) => boolean,
): Verdict {
  let dryRun: DryRunFinding[] | undefined;
  for (const candidate of policies.dryRunDeny)
    if (matches(candidate)) dryRun = [...(dryRun ?? []), { would: 'deny', policy: candidate.policy.key }];

  const denied = policies.deny.find(matches);
  if (denied !== undefined) {
    const { key } = denied.policy;
    return { effect: 'deny', because: [key], reason: `explicitly denied by: ${key}`, dryRun: dryRun ?? NO_FINDINGS };
  }

  const dryRunAllowed = policies.dryRunAllow.find(matches);
  if (dryRunAllowed !== undefined) dryRun = [...(dryRun ?? []), { would: 'allow', policy: dryRunAllowed.policy.key }];
  else if (policies.dryRunAllow.length > 0 && policies.allow.length === 0)
    dryRun = [...(dryRun ?? []), { would: 'deny', policy: undefined }];
  const findings = dryRun ?? NO_FINDINGS;

  const allow = (because: readonly PolicyKey[], reason: string): Verdict => ({
    effect: 'allow',
    because,
    reason,
    dryRun: findings,
    permit: { destination } as Permit,
  });
  if (policies.allow.length === 0) return allow(NO_KEYS, 'no allow policy applies');
  const allowed = policies.allow.find(matches);
  if (allowed !== undefined) return allow([allowed.policy.key], `allowed by: ${allowed.policy.key}`);
  return { effect: 'deny', because: NO_KEYS, reason: 'allow policies exist, but none allowed', dryRun: findings };
}
