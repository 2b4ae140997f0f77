// Conditions as pure data: what an object's status should say, next to what it says. Only differences are reported, so
// that "nothing to write" is an empty collection and a write is done when its report disappears.

import type { GatewayStatusParts } from '../gateway/status.ts';
import { equal } from '../graph/equal.ts';
import { BUILT_IN_CLASSES } from '../names.ts';
import type { GatewayFound } from '../objects/gateway.ts';
import type { Condition } from '../objects/meta.ts';
import type { FoundParent, RouteKind } from '../objects/route.ts';
import type { Json } from '../read.ts';

/** A condition to write; the time of its last change is the writer's affair. */
export interface Wanted {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number | undefined;
}

export type StatusKind =
  | 'Service'
  | 'ServiceEntry'
  | 'WorkloadEntry'
  | 'AuthorizationPolicy'
  | 'GatewayClass'
  | 'Gateway'
  | RouteKind
  | 'BackendTLSPolicy'
  | 'VirtualService';

/** Who owns the fields, as Istio names them: another Istio release that takes over must find its own. */
export type FieldManager =
  | 'istio-ambient-service'
  | 'istio-ambient-workloadentry'
  | 'istio-ambient-ztunnel-policy'
  | 'istio-ambient-waypoint-policy'
  | 'istio-gateway-class'
  | 'istio-gateway';

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
  readonly fields?: StatusFields;
}

/** What a status holds besides its conditions, as wanted and as found. */
export type StatusFields =
  | { readonly kind: 'Gateway'; readonly wanted: GatewayStatusParts; readonly found: GatewayFound }
  | { readonly kind: 'GatewayClass'; readonly wanted: readonly string[]; readonly found: readonly string[] }
  /** `status.parents` of routes, `status.ancestors` of policies: a list that several controllers write. */
  | {
      readonly kind: 'parents' | 'ancestors';
      readonly wanted: readonly WantedParent[];
      readonly found: readonly FoundParent[];
    };

/** One entry of `status.parents` or `status.ancestors`. */
export interface WantedParent {
  /** As the route names it. */
  readonly ref: Json;
  readonly controllerName: string;
  readonly conditions: readonly Wanted[];
}

/** Those in whose name this control plane writes; the entries of others are theirs. */
export const OWN_CONTROLLERS: ReadonlySet<string> = new Set(Object.values(BUILT_IN_CLASSES));

function sameParents(wanted: readonly WantedParent[], found: readonly FoundParent[]): boolean {
  const ours = found.filter(({ controllerName }) => OWN_CONTROLLERS.has(controllerName));
  return (
    wanted.length === ours.length &&
    wanted.every(({ ref, controllerName, conditions }) => {
      const before = ours.find((each) => each.controllerName === controllerName && equal(each.ref, ref));
      return before !== undefined && allAgree(conditions, before.conditions);
    })
  );
}

const agrees = (wanted: Wanted, found: Condition | undefined): boolean =>
  found !== undefined &&
  found.status === wanted.status &&
  found.reason === wanted.reason &&
  found.message === wanted.message &&
  (wanted.observedGeneration === undefined || found.observedGeneration === wanted.observedGeneration);

/** @returns undefined when the object already says so */
export function reportUnlessEqual(report: StatusReport): StatusReport | undefined {
  const { wanted, found, fields } = report;
  return allAgree(wanted, found) && (fields === undefined || sameFields(fields)) ? undefined : report;
}

const allAgree = (wanted: readonly Wanted[], found: readonly Condition[]): boolean =>
  wanted.length === found.length &&
  wanted.every((condition) =>
    agrees(
      condition,
      found.find(({ type }) => type === condition.type),
    ),
  );

function sameFields(fields: StatusFields): boolean {
  if (fields.kind === 'GatewayClass') return equal(fields.wanted, fields.found);
  if (fields.kind !== 'Gateway') return sameParents(fields.wanted, fields.found);
  const { wanted, found } = fields;
  return (
    equal(wanted.addresses, found.addresses) &&
    wanted.listeners.length === found.listeners.length &&
    wanted.listeners.every((listener) => {
      const before = found.listeners.find(({ name }) => name === listener.name);
      return (
        before !== undefined &&
        before.attachedRoutes === listener.attachedRoutes &&
        equal(before.supportedKinds, listener.supportedKinds) &&
        allAgree(listener.conditions, before.conditions)
      );
    })
  );
}
