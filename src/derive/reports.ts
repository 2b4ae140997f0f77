// The collection of statuses that should be written, one report an object and field manager.

import { SUPPORTED_FEATURES } from './gateway/role.ts';
import type { Collection, Graph, Reader } from './graph/graph.ts';
import type { GatewayClass } from './objects/gateway.ts';
import type { Condition, Meta } from './objects/meta.ts';
import { metaKey } from './objects/meta.ts';
import type { Rules } from './policies.ts';
import type { Scope, Settings } from './scope.ts';
import type { Offer } from './services.ts';
import { waypointAccepted, ztunnelAccepted } from './status/policy.ts';
import {
  type FieldManager,
  OWN_CONTROLLERS,
  reportUnlessEqual,
  type StatusKind,
  type StatusReport,
  type Wanted,
} from './status/report.ts';
import { type TargetWorld, targetOutcomes } from './status/targets.ts';
import { type BoundDetails, visibilityApplied, waypointBound, waypointMissing } from './status/waypoint.ts';
import { type Binding, bindWorkload, canaryOf, ingressUsesWaypoint, insistsOnWaypoint } from './waypoint.ts';

type Reports = readonly (readonly [string, StatusReport])[];

function report(
  kind: StatusKind,
  manager: FieldManager,
  { namespace, name }: Meta,
  wanted: readonly Wanted[],
  found: readonly Condition[],
): Reports {
  const made = reportUnlessEqual({ kind, namespace, name, manager, wanted, found });
  return made === undefined ? [] : [[`${kind}/${namespace}/${name}/${manager}`, made]];
}

const UNBOUND: Binding = { kind: 'unbound' };

/** @param others  reports that are derived elsewhere */
export function deriveReports(
  graph: Graph,
  scope: Scope,
  classes: Collection<GatewayClass>,
  offer: Offer,
  rules: Rules,
  others: readonly Collection<StatusReport>[],
): Collection<StatusReport> {
  const details = (get: Reader, object: Meta, binding: Binding): BoundDetails | undefined =>
    binding.kind !== 'bound'
      ? undefined
      : {
          ingress: ingressUsesWaypoint(object, get.one(scope.namespaces, object.namespace)),
          canaryProblem: canaryOf(get, offer.waypoints, object, binding.waypoint).problem,
          required: insistsOnWaypoint(get, offer.waypoints, object),
        };

  const onServices = graph.deriveMany('serviceReports', scope.services, (get, service, key) => {
    const binding = service.externalName ? UNBOUND : (get.one(offer.serviceBindings, key) ?? UNBOUND);
    const wanted = waypointBound(binding, details(get, service, binding));
    return report('Service', 'istio-ambient-service', service, wanted, service.conditions);
  });

  const onEntries = graph.deriveMany('entryReports', scope.entries, (get, entry, key) => {
    const binding = get.one(offer.entryBindings, key) ?? UNBOUND;
    const configured = get.one(scope.visibility, '')?.serviceEntryVisibility !== undefined;
    const wanted = [
      ...waypointBound(binding, details(get, entry, binding)),
      ...waypointMissing(entry, binding),
      ...visibilityApplied(get.one(offer.entryVisibility, key) ?? 'NONE', configured),
    ];
    return report('ServiceEntry', 'istio-ambient-service', entry, wanted, entry.conditions);
  });

  const onWorkloadEntries = graph.deriveMany('workloadEntryReports', scope.workloadEntries, (get, entry) =>
    report(
      'WorkloadEntry',
      'istio-ambient-workloadentry',
      entry,
      waypointBound(bindWorkload(get, offer.waypoints, entry)),
      entry.conditions,
    ),
  );

  const onPolicies = graph.deriveMany('policyReports', scope.authorizationPolicies, (get, policy) => {
    const converted = get.one(rules.conversions, metaKey(policy));
    const world: TargetWorld = {
      rootNamespace: (get.one(scope.settings, '') as Settings).rootNamespace,
      gateways: scope.gateways,
      classes,
      waypoints: offer.waypoints.waypoints,
      services: scope.services,
      entries: scope.entries,
      serviceBindings: offer.serviceBindings,
      entryBindings: offer.entryBindings,
    };
    const atZtunnel = converted === undefined ? [] : [ztunnelAccepted(policy, converted.conversion)];
    const atWaypoint =
      policy.targetRefs.length === 0 ? [] : [waypointAccepted(policy, targetOutcomes(get, world, policy))];
    const found = (type: string): readonly Condition[] =>
      policy.conditions.filter((condition) => condition.type === type);
    return [
      ...report('AuthorizationPolicy', 'istio-ambient-ztunnel-policy', policy, atZtunnel, found('ZtunnelAccepted')),
      ...report('AuthorizationPolicy', 'istio-ambient-waypoint-policy', policy, atWaypoint, found('WaypointAccepted')),
    ];
  });

  const onClasses = graph.deriveMany('classReports', classes, (_get, cls) => {
    if (!OWN_CONTROLLERS.has(cls.controllerName)) return [];
    const accepted: Wanted = {
      type: 'Accepted',
      status: 'True',
      reason: 'Accepted',
      message: `accepted by controller ${cls.controllerName}`,
      observedGeneration: cls.generation,
    };
    const made = reportUnlessEqual({
      kind: 'GatewayClass',
      namespace: '',
      name: cls.name,
      manager: 'istio-gateway-class',
      wanted: [accepted],
      found: cls.conditions,
      fields: { kind: 'GatewayClass', wanted: SUPPORTED_FEATURES, found: cls.features },
    });
    return made === undefined ? [] : [[`GatewayClass/${cls.name}`, made]];
  });

  return graph.join('reports', [onServices, onEntries, onWorkloadEntries, onPolicies, onClasses, ...others]);
}
