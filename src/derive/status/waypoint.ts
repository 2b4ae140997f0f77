// `istio.io/WaypointBound` and its relatives on Services, ServiceEntries and WorkloadEntries.

import { ANNOTATION } from '../names.ts';
import { isWildcard, type ServiceEntry } from '../objects/entry.ts';
import type { Visibility } from '../objects/mesh.ts';
import { type Binding, waypointKey } from '../waypoint.ts';
import type { Wanted } from './report.ts';

/** What else is said on a bound object. */
export interface BoundDetails {
  /** The label that sends ingress traffic through the waypoint; undefined: not there. */
  readonly ingress: boolean | undefined;
  readonly canaryProblem: string | undefined;
  /** Without the waypoint connections are refused. */
  readonly required: boolean;
}

/** No condition at all when no waypoint was asked for. */
export function waypointBound(binding: Binding, details?: BoundDetails): readonly Wanted[] {
  const type = 'istio.io/WaypointBound';
  switch (binding.kind) {
    case 'unbound':
      return [];
    case 'refused':
      return [
        {
          type,
          status: 'False',
          reason: binding.reason,
          message: `${binding.message}; ${binding.failsClosed ? `connections are refused: annotation ${ANNOTATION.waypointPolicy} is required` : 'traffic goes direct'}`,
          observedGeneration: undefined,
        },
      ];
    default: {
      const parts = [`bound to waypoint ${waypointKey(binding.waypoint)}`];
      if (details?.ingress === true) parts.push('ingress traffic goes through it too');
      if (details?.ingress === false)
        parts.push('ingress traffic does not go through it: label istio.io/ingress-use-waypoint is not true');
      if (details?.canaryProblem !== undefined) parts.push(`no canary: ${details.canaryProblem}`);
      if (details?.required === true)
        parts.push(`connections are refused without it: annotation ${ANNOTATION.waypointPolicy} is required`);
      const message = parts.join('; ');
      return [{ type, status: 'True', reason: 'WaypointAccepted', message, observedGeneration: undefined }];
    }
  }
}

/** Asks for a way to connect that only a waypoint implements. */
const races = (entry: ServiceEntry): boolean =>
  entry.annotations[ANNOTATION.connectStrategy] === 'RACE_FIRST_TCP_CONNECT';

/** What a ServiceEntry asks for and will not get without a waypoint. */
export function waypointMissing(entry: ServiceEntry, binding: Binding): readonly Wanted[] {
  if (binding.kind === 'bound') return [];
  const missing = (reason: string, message: string): readonly Wanted[] => [
    { type: 'istio.io/WaypointMissing', status: 'True', reason, message, observedGeneration: undefined },
  ];
  const wildcard = entry.resolution === 'DYNAMIC_DNS' ? entry.hosts.find(isWildcard) : undefined;
  if (wildcard !== undefined)
    return missing(
      'NoWaypointForWildcardService',
      `host ${wildcard} with resolution DYNAMIC_DNS needs a waypoint: set label istio.io/use-waypoint`,
    );
  if (races(entry))
    return missing(
      'NoWaypointForRacingConnectStrategy',
      `annotation ${ANNOTATION.connectStrategy} needs a waypoint: set label istio.io/use-waypoint`,
    );
  return [];
}

/** Nothing where the mesh configures no visibility, or hides the entry altogether. */
export function visibilityApplied(visibility: Visibility, configured: boolean): readonly Wanted[] {
  if (!configured || visibility === 'NONE') return [];
  const [reason, who] = visibility === 'PUBLIC' ? ['Public', 'every namespace'] : ['Namespace', 'its own namespace'];
  const message = `visible to ${who}`;
  return [
    {
      type: 'istio.io/VisibilityApplied',
      status: 'True',
      reason: reason as string,
      message,
      observedGeneration: undefined,
    },
  ];
}
