// Where the targetRefs of an AuthorizationPolicy lead: to a waypoint, or why not.

import type { Collection, Reader } from '../graph/graph.ts';
import { MESH_CONTROLLER } from '../names.ts';
import type { ServiceEntry } from '../objects/entry.ts';
import type { Gateway, GatewayClass } from '../objects/gateway.ts';
import type { AuthorizationPolicy, TargetRef } from '../objects/security.ts';
import type { KubeService } from '../objects/service.ts';
import { type Binding, type Waypoint, waypointKey } from '../waypoint.ts';
import type { TargetOutcome } from './policy.ts';

export interface TargetWorld {
  readonly rootNamespace: string;
  readonly gateways: Collection<Gateway>;
  readonly classes: Collection<GatewayClass>;
  readonly waypoints: Collection<Waypoint>;
  readonly services: Collection<KubeService>;
  readonly entries: Collection<ServiceEntry>;
  readonly serviceBindings: Collection<Binding>;
  readonly entryBindings: Collection<Binding>;
}

type Outcome = Omit<TargetOutcome, 'target'>;

const loose = (reason: Exclude<TargetOutcome['reason'], 'Accepted'>, message: string): Outcome => ({
  bound: false,
  reason,
  message,
});
const bound = (to: string): Outcome => ({ bound: true, reason: 'Accepted', message: `bound to ${to}` });

function fromBinding(what: string, exists: boolean, binding: Binding | undefined): Outcome {
  if (!exists) return loose('TargetNotFound', `${what} was not found`);
  if (binding?.kind === 'bound') return bound(waypointKey(binding.waypoint));
  return loose('AncestorNotBound', `${what} is not bound to a waypoint`);
}

function classOutcome(get: Reader, world: TargetWorld, policy: AuthorizationPolicy, name: string): Outcome {
  if (policy.namespace !== world.rootNamespace)
    return loose(
      'Invalid',
      `a policy that targets a GatewayClass must be in the root namespace ${world.rootNamespace}`,
    );
  const found = get.one(world.classes, name);
  if (found === undefined) return loose('TargetNotFound', `GatewayClass ${name} was not found`);
  return found.controllerName === MESH_CONTROLLER
    ? bound(name)
    : loose('Invalid', `GatewayClass ${name} is not for waypoints: its controller is not ${MESH_CONTROLLER}`);
}

function outcomeOf(get: Reader, world: TargetWorld, policy: AuthorizationPolicy, ref: TargetRef): Outcome {
  if (ref.kind === 'GatewayClass') return classOutcome(get, world, policy, ref.name);
  const key = `${ref.namespace}/${ref.name}`;
  const what = `${ref.kind} ${key}`;
  if (ref.namespace !== policy.namespace)
    return loose('TargetNotFound', `${what} is in another namespace than the policy`);
  switch (ref.kind) {
    case 'Gateway': {
      if (get.one(world.waypoints, key) !== undefined) return bound(key);
      return get.one(world.gateways, key) === undefined
        ? loose('TargetNotFound', `${what} was not found`)
        : loose('AncestorNotBound', `${what} has no address yet`);
    }
    case 'Service':
      return fromBinding(what, get.one(world.services, key) !== undefined, get.one(world.serviceBindings, key));
    case 'ServiceEntry':
      return fromBinding(what, get.one(world.entries, key) !== undefined, get.one(world.entryBindings, key));
    default:
      return loose('Invalid', `${ref.kind} cannot be the target of an AuthorizationPolicy`);
  }
}

export const targetOutcomes = (
  get: Reader,
  world: TargetWorld,
  policy: AuthorizationPolicy,
): readonly TargetOutcome[] =>
  policy.targetRefs.map((ref) => ({
    target: `${ref.kind}.${ref.group || 'core'}:${ref.kind === 'GatewayClass' ? '' : `${ref.namespace}/`}${ref.name}`,
    ...outcomeOf(get, world, policy, ref),
  }));
