// Which policies, filters and telemetry could concern a proxy or a service, found by what they name instead of by looking
// at all; the closer judgement is l7-security's.

import type { TrafficFilters } from '../../model/proxy/filters.ts';
import type { SecurityConfig } from '../../model/proxy/security.ts';
import type { TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import type { Collection, Graph, Index, Reader } from '../graph/graph.ts';
import type { Inputs } from '../inputs.ts';
import type { Attaching, GatewayTarget } from '../l7-security/attachment.ts';
import { type AttachmentWorld, filtersFor, securityFor, type Target, telemetryFor } from '../l7-security/derive.ts';
import { type KeySource, keySourceName, keySourceOf } from '../l7-security/tokens.ts';
import type { MeshL7 } from '../objects/mesh-l7.ts';
import type { Scope, Settings } from '../scope.ts';

export interface AttachedConfig {
  readonly security: SecurityConfig;
  readonly filters: TrafficFilters;
  /** Undefined for a service that nothing of its own speaks of. */
  readonly telemetry: TelemetryConfig | undefined;
}

export interface Attached {
  for(get: Reader, target: Target): AttachedConfig;
  /** Where keys of tokens are to be fetched from, by name; whoever fetches them files them in `inputs.tokenKeys`. */
  readonly keySources: Collection<KeySource>;
}

const withoutTarget = (namespace: string): string => `selector/${namespace}`;

/** What an object names; one that names nothing is for its namespace. */
const placesOf = (object: Attaching): readonly string[] =>
  object.targetRefs.length === 0
    ? [withoutTarget(object.namespace)]
    : [
        ...new Set(
          object.targetRefs.map(({ kind, namespace, name }) =>
            kind === 'GatewayClass' ? `${kind}/${name}` : `${kind}/${namespace}/${name}`,
          ),
        ),
      ];

const gatewayPlaces = (gateway: GatewayTarget, rootNamespace: string): readonly string[] => [
  `Gateway/${gateway.namespace}/${gateway.name}`,
  `GatewayClass/${gateway.className}`,
  ...new Set([withoutTarget(gateway.namespace), withoutTarget(rootNamespace)]),
];

/** Each object once, though it is filed in several places. */
const find = <T>(get: Reader, index: Index<T>, places: readonly string[]): readonly T[] => [
  ...new Set(places.flatMap((place) => get.all(index, place))),
];

export function deriveAttached(
  graph: Graph,
  scope: Scope,
  inputs: Inputs,
  mesh: Collection<MeshL7>,
  clusterDomain: string,
): Attached {
  const { sources } = inputs;
  const owned = <T extends Attaching>(name: string, from: Collection<T>): Collection<T> =>
    graph.derive(name, from, (get, object) => (scope.owns(get, object) ? object : undefined));
  const requestAuthentications = owned('ownedRequestAuthentications', sources.requestauthentications);
  const places = {
    authorizationPolicies: scope.authorizationPolicies.index('byPlace', placesOf),
    requestAuthentications: requestAuthentications.index('byPlace', placesOf),
    telemetries: owned('ownedTelemetries', sources.telemetries).index('byPlace', placesOf),
    envoyFilters: owned('ownedEnvoyFilters', sources.envoyfilters).index('byPlace', placesOf),
    trafficFilters: owned('ownedTrafficFilters', sources.trafficfilters).index('byPlace', placesOf),
  };

  const byName = graph
    .deriveMany('writtenKeySources', requestAuthentications, (_get, { rules }, key) =>
      rules.flatMap((rule, at) => {
        const from = keySourceOf(rule);
        return from === undefined ? [] : [[`${key} ${at}`, from] as const];
      }),
    )
    .index('byName', (source) => [keySourceName(source)]);
  const keySources = graph.group('keySources', byName, (_get, [source], name) =>
    source === undefined ? [] : [[name, source]],
  );

  return {
    keySources,
    for(get, target) {
      const { rootNamespace, trustDomain } = get.one(scope.settings, '') as Settings;
      const { gateway } = target;
      const wide = gatewayPlaces(gateway, rootNamespace);
      const own =
        target.of === 'proxy' ? wide : [`${target.service.kind}/${target.service.namespace}/${target.service.name}`];
      const reported = target.of === 'proxy' ? wide : [...wide, ...own, withoutTarget(target.service.namespace)];
      const world: AttachmentWorld = {
        objects: {
          authorizationPolicies: find(get, places.authorizationPolicies, own),
          requestAuthentications: find(get, places.requestAuthentications, own),
          telemetries: find(get, places.telemetries, reported),
          envoyFilters: find(get, places.envoyFilters, own),
          trafficFilters: find(get, places.trafficFilters, own),
        },
        mesh: get.one(mesh, '') as MeshL7,
        rootNamespace,
        trustDomain,
        clusterDomain,
        fetchedKeys: (name) => get.one(inputs.tokenKeys, name),
      };
      return {
        security: securityFor(target, world),
        filters: filtersFor(target, world),
        telemetry: telemetryFor(target, world),
      };
    },
  };
}
