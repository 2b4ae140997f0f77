// Conditions as pure data: what an object's status should say, next to what it says. Only differences are reported, so
// that "nothing to write" is an empty collection and a write is done when its report disappears.

import type { Condition } from '../objects/meta.ts';

/** A condition to write; the time of its last change is the writer's affair. */
export interface Wanted {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number | undefined;
}

export type StatusKind = 'Service' | 'ServiceEntry' | 'WorkloadEntry' | 'AuthorizationPolicy' | 'GatewayClass';

/** Who owns the fields, as Istio names them: another Istio release that takes over must find its own. */
export type FieldManager =
  | 'istio-ambient-service'
  | 'istio-ambient-workloadentry'
  | 'istio-ambient-ztunnel-policy'
  | 'istio-ambient-waypoint-policy'
  | 'istio-gateway-class';

export interface StatusReport {
  readonly kind: StatusKind;
  /** Empty for a cluster-scoped object. */
  readonly namespace: string;
  readonly name: string;
  readonly manager: FieldManager;
  /** Everything that this manager should own on the object; empty: let go of it. */
  readonly wanted: readonly Wanted[];
  /** What stands on the object now, of the types that this manager writes. */
  readonly found: readonly Condition[];
}

const agrees = (wanted: Wanted, found: Condition | undefined): boolean =>
  found !== undefined &&
  found.status === wanted.status &&
  found.reason === wanted.reason &&
  found.message === wanted.message &&
  (wanted.observedGeneration === undefined || found.observedGeneration === wanted.observedGeneration);

/** @returns undefined when the object already says so */
export function reportUnlessEqual(report: StatusReport): StatusReport | undefined {
  const { wanted, found } = report;
  const same =
    wanted.length === found.length &&
    wanted.every((condition) =>
      agrees(
        condition,
        found.find(({ type }) => type === condition.type),
      ),
    );
  return same ? undefined : report;
}
