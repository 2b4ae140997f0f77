// May this connection reach that workload? Asks about the connection through `facts.test` alone, so that the same code
// answers for a real connection and for all of them at once (symbolic facts).

import type { Facts } from './facts.ts';
import type { Policy } from './policy.ts';
import { policyMatches } from './policy-match.ts';
import { groupPolicies, judge, type Verdict } from './verdict.ts';
import type { PolicyKey, Workload } from './workload.ts';
import type { World } from './world.ts';

/** Which policies apply to a workload, and the names in its list that the world does not hold. */
export interface PolicySelection {
  readonly policies: readonly Policy[];
  /** Skipped, as ztunnel does; worth a warning. */
  readonly missing: readonly PolicyKey[];
}

/** Policies of the workload's namespace, of the whole mesh, and those that the workload lists by name. */
export function selectPolicies(world: World, destination: Workload): PolicySelection {
  const selected = new Map<PolicyKey, Policy>();
  const missing: PolicyKey[] = [];
  for (const policy of world.namespacePolicies(destination.namespace)) selected.set(policy.key, policy);
  for (const policy of world.globalPolicies()) selected.set(policy.key, policy);
  for (const key of destination.authorizationPolicies) {
    const policy = world.policy(key);
    if (policy === undefined) missing.push(key);
    else selected.set(key, policy);
  }
  return { policies: [...selected.values()], missing };
}

/**
 * Judges a connection to `destination` by the world's policies: the definition. Proxies run `compilePolicies`.
 * @returns a verdict that names the policies which made it; total
 */
export function authorize(world: World, destination: Workload, facts: Facts): Verdict {
  const applicable = groupPolicies(selectPolicies(world, destination).policies.map((policy) => ({ policy })));
  return judge(applicable, destination, ({ policy }) => policyMatches(policy, facts));
}
