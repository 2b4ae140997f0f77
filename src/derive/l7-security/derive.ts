// What holds for a proxy or for a service behind it, from all objects that could: the places where the graph joins.

import { NO_FILTERS, type TrafficFilters } from '../../model/proxy/filters.ts';
import type { SecurityConfig } from '../../model/proxy/security.ts';
import type { TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import type { MeshL7 } from '../objects/mesh-l7.ts';
import { byAge } from '../objects/meta.ts';
import type { RequestAuthentication } from '../objects/request-authentication.ts';
import type { AuthorizationPolicy } from '../objects/security.ts';
import type { TelemetryResource } from '../objects/telemetry.ts';
import type { EnvoyFilterResource, TrafficFilterResource } from '../objects/traffic-filter.ts';
import {
  type Attaching,
  attachesToGateway,
  attachesToService,
  type GatewayTarget,
  type ServiceTarget,
} from './attachment.ts';
import { type AuthorizationContext, toHttpPolicy } from './authorization.ts';
import { join, readEnvoyFilter } from './envoy-patches.ts';
import { deriveTelemetry, telemetriesFor } from './telemetry.ts';
import { type FetchedKeys, toTokenRules } from './tokens.ts';
import { readTrafficFilter } from './traffic-filter.ts';

/** All objects of the kinds that attach; order does not matter. */
export interface AttachedObjects {
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly telemetries: readonly TelemetryResource[];
  readonly envoyFilters: readonly EnvoyFilterResource[];
  readonly trafficFilters: readonly TrafficFilterResource[];
}

export interface AttachmentWorld {
  readonly objects: AttachedObjects;
  readonly mesh: MeshL7;
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly clusterDomain: string;
  /** Keys of RequestAuthentications, by `keySourceName`. */
  fetchedKeys(name: string): FetchedKeys | undefined;
}

/** The proxy itself, or one service at this waypoint. */
export type Target =
  | { readonly of: 'proxy'; readonly gateway: GatewayTarget }
  | { readonly of: 'service'; readonly gateway: GatewayTarget; readonly service: ServiceTarget };

const pick = <T extends Attaching>(all: readonly T[], target: Target, rootNamespace: string): readonly T[] =>
  all.filter((object) =>
    target.of === 'proxy'
      ? attachesToGateway(object, target.gateway, rootNamespace)
      : attachesToService(object, target.service),
  );

export function securityFor(target: Target, world: AttachmentWorld): SecurityConfig {
  const { objects, mesh, rootNamespace, trustDomain } = world;
  const providers = new Set(mesh.authorizationProviders.map(({ name }) => name));
  const context: AuthorizationContext = {
    trustDomain,
    trustDomainAliases: mesh.trustDomainAliases,
    knowsProvider: (name) => providers.has(name),
  };
  return {
    policies: pick(objects.authorizationPolicies, target, rootNamespace).map(
      (policy) => toHttpPolicy(policy, context).policy,
    ),
    tokens: [...pick(objects.requestAuthentications, target, rootNamespace)]
      .sort(byAge)
      .flatMap((source) => toTokenRules(source, world.fetchedKeys)),
  };
}

/** @returns undefined for a service that no Telemetry of its own speaks of: the proxy's holds */
export function telemetryFor(target: Target, world: AttachmentWorld): TelemetryConfig | undefined {
  const { objects, mesh, rootNamespace } = world;
  const { gateway } = target;
  const role = gateway.kind === 'waypoint' ? 'server' : 'client';
  if (target.of === 'proxy')
    return deriveTelemetry(telemetriesFor(objects.telemetries, gateway, undefined, rootNamespace), mesh, role);
  const own = telemetriesFor(objects.telemetries, gateway, target.service, rootNamespace);
  const proxys = telemetriesFor(objects.telemetries, gateway, undefined, rootNamespace);
  return own.length === proxys.length ? undefined : deriveTelemetry(own, mesh, role);
}

/** TrafficFilters and the honoured parts of EnvoyFilters: root namespace first, by priority and age. */
export function filtersFor(target: Target, world: AttachmentWorld): TrafficFilters {
  const { objects, rootNamespace, clusterDomain } = world;
  const rootFirst = (a: Attaching, b: Attaching): number =>
    Number(b.namespace === rootNamespace) - Number(a.namespace === rootNamespace);
  let filters = NO_FILTERS;
  const envoy = [...pick(objects.envoyFilters, target, rootNamespace)].sort(
    (a, b) => rootFirst(a, b) || a.priority - b.priority || byAge(a, b),
  );
  for (const object of envoy) filters = join(filters, readEnvoyFilter(object, target.gateway.kind).filters);
  for (const object of [...pick(objects.trafficFilters, target, rootNamespace)].sort(byAge)) {
    const read = readTrafficFilter(object, clusterDomain);
    if (read.ok) filters = join(filters, read.value);
  }
  return filters;
}
