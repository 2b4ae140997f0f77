// Which proxies and services an object with targetRefs or a selector is for: one rule for AuthorizationPolicy,
// RequestAuthentication, Telemetry, EnvoyFilter and TrafficFilter (Istio: policy attachment).

import { isSubset } from '../labels.ts';
import type { Meta } from '../objects/meta.ts';
import type { TargetRef } from '../objects/security.ts';
import type { Labels } from '../read.ts';

export interface Attaching extends Meta {
  /** Undefined: none. An empty one picks everything. */
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
}

/** A Gateway as objects attach to it. */
export interface GatewayTarget {
  readonly kind: 'waypoint' | 'gateway';
  readonly namespace: string;
  readonly name: string;
  readonly className: string;
  /** What its pods carry; selectors pick gateways by it, never waypoints. */
  readonly podLabels: Labels;
}

/** A service as objects attach to it, at its waypoint. */
export interface ServiceTarget {
  readonly kind: 'Service' | 'ServiceEntry';
  readonly namespace: string;
  /** Of the object. */
  readonly name: string;
}

/** The only class whose name GatewayClass targets are compared with (Istio). */
const WAYPOINT_CLASS = 'istio-waypoint';

/**
 * Whether the object is for all traffic of a proxy. Waypoints: by targetRef alone, to the Gateway in its own namespace, or
 * to the class from the root namespace. Gateways: by targetRef, or without one by selector, from their own namespace
 * and the root namespace.
 */
export function attachesToGateway(object: Attaching, gateway: GatewayTarget, rootNamespace: string): boolean {
  if (object.targetRefs.length > 0)
    return object.targetRefs.some((ref) => {
      if (ref.kind === 'GatewayClass')
        return (
          gateway.kind === 'waypoint' &&
          object.namespace === rootNamespace &&
          ref.name === WAYPOINT_CLASS &&
          gateway.className === ref.name
        );
      return (
        ref.kind === 'Gateway' &&
        ref.name === gateway.name &&
        ref.namespace === gateway.namespace &&
        object.namespace === gateway.namespace
      );
    });
  if (gateway.kind === 'waypoint') return false;
  if (object.namespace !== gateway.namespace && object.namespace !== rootNamespace) return false;
  return object.selector === undefined || isSubset(object.selector, gateway.podLabels);
}

/** Whether the object is for those who come to a service: it names it, from the service's own namespace. */
export const attachesToService = (object: Attaching, service: ServiceTarget): boolean =>
  object.namespace === service.namespace &&
  object.targetRefs.some(
    (ref) => ref.kind === service.kind && ref.name === service.name && ref.namespace === service.namespace,
  );
