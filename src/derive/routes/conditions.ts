// What `status.parents` of a route says: conditions of each parent that is ours.
// Source: Gateway API, RouteConditionType; Istio: ResolvedWaypoints is always True, its message tells.

import type { Route } from '../objects/route.ts';
import { VIRTUAL_SERVICE_CONDITION } from '../objects/routing.ts';
import type { Wanted, WantedParent } from '../status/report.ts';
import type { ParentOutcome } from './parents.ts';
import type { Resolution, RouteOutcome } from './translate.ts';

const MOST_MESSAGES = 8;

const joined = (messages: readonly string[]): string =>
  messages.length <= MOST_MESSAGES
    ? messages.join('; ')
    : `${messages.slice(0, MOST_MESSAGES).join('; ')}; and ${messages.length - MOST_MESSAGES} more`;

function conditionsOf(parent: ParentOutcome, { unresolved, notes }: Resolution, generation: number): readonly Wanted[] {
  const condition = (type: string, isTrue: boolean, reason: string, message: string): Wanted => ({
    type,
    status: isTrue ? 'True' : 'False',
    reason,
    message,
    observedGeneration: generation,
  });
  const { refused, waypoints } = parent;
  const accepted = refused === undefined;
  const [first] = unresolved;
  return [
    condition(
      'Accepted',
      accepted,
      accepted ? 'Accepted' : refused.reason,
      joined([accepted ? 'Route was valid' : refused.message, ...notes]),
    ),
    condition(
      'ResolvedRefs',
      first === undefined,
      first === undefined ? 'ResolvedRefs' : first.reason,
      first === undefined ? 'All references resolved' : joined(unresolved.map(({ message }) => message)),
    ),
    ...(waypoints === undefined || !accepted
      ? []
      : [condition('ResolvedWaypoints', true, 'ResolvedWaypoints', waypoints)]),
  ];
}

export const routeStatus = (route: Route, outcome: RouteOutcome): readonly WantedParent[] =>
  outcome.parents.map((parent) => ({
    ref: parent.ref.written,
    controllerName: parent.controllerName,
    conditions: conditionsOf(parent, outcome[parent.side], route.generation),
  }));

/** What of a VirtualService is not held where it counts. An object that is held whole carries no condition. */
export const notHonoured = (problems: readonly string[], generation: number): Wanted => ({
  type: VIRTUAL_SERVICE_CONDITION,
  status: 'False',
  reason: 'PartlyNotHeld',
  message: joined(problems),
  observedGeneration: generation,
});
