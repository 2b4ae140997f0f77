// `ZtunnelAccepted` and `WaypointAccepted` on AuthorizationPolicies.

import type { AuthorizationPolicy } from '../objects/security.ts';
import type { Conversion } from '../policy/authorization.ts';
import type { Wanted } from './report.ts';

/** For a policy without targetRefs. */
export function ztunnelAccepted(policy: AuthorizationPolicy, conversion: Conversion): Wanted {
  const common = { type: 'ZtunnelAccepted', observedGeneration: policy.generation };
  if (conversion.kind === 'rejected')
    return { ...common, status: 'False', reason: 'UnsupportedValue', message: conversion.message };
  return conversion.warning === ''
    ? { ...common, status: 'True', reason: 'Accepted', message: 'attached to ztunnel' }
    : { ...common, status: 'True', reason: 'UnsupportedValue', message: conversion.warning };
}

/** What was found for one targetRef. */
export interface TargetOutcome {
  /** `Kind.group:namespace/name` */
  readonly target: string;
  readonly bound: boolean;
  readonly reason: 'Accepted' | 'Invalid' | 'TargetNotFound' | 'AncestorNotBound';
  readonly message: string;
}

/** For a policy with targetRefs. One condition for all: partly bound still counts as accepted. */
export function waypointAccepted(policy: AuthorizationPolicy, outcomes: readonly TargetOutcome[]): Wanted {
  const common = { type: 'WaypointAccepted', observedGeneration: policy.generation };
  const [only] = outcomes;
  if (only !== undefined && outcomes.length === 1)
    return { ...common, status: only.bound ? 'True' : 'False', reason: only.reason, message: only.message };
  const loose = outcomes.filter(({ bound }) => !bound);
  if (loose.length === 0)
    return {
      ...common,
      status: 'True',
      reason: 'Accepted',
      message: outcomes.map(({ message }) => message).join(', '),
    };
  const list = loose.map(({ target, message }) => `${target} (${message})`).join(', ');
  return loose.length === outcomes.length
    ? { ...common, status: 'False', reason: 'Invalid', message: `not bound to any target: ${list}` }
    : { ...common, status: 'True', reason: 'PartiallyInvalid', message: `not bound to: ${list}` };
}
