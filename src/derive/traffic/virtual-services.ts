// VirtualServices -> routes of one proxy: which objects count there, delegates put in their place, each rule read.

import type { HttpRouteRule } from '../../model/http/route.ts';
import { parseCidr } from '../../model/ip.ts';
import type {
  HttpRouteResource,
  RouteAttachment,
  RouteResource,
  TcpMatch,
  TcpRouteRule,
  TlsRouteRule,
  WeightedTarget,
} from '../../model/proxy/route-resource.ts';
import { metaKey } from '../objects/meta.ts';
import type { VirtualService } from '../objects/routing.ts';
import { integer, type Json, list, optionalRecord, record, text, texts } from '../read.ts';
import { exposure, hostCovers, resolveHost } from './host.ts';
import { appliesAt, type ReadMatch, type RuleSite, readHttpMatch } from './virtual-service-match.ts';
import { type KnownServices, type RuleBody, readRuleBody, toRules } from './virtual-service-rule.ts';

/** Where routes of one place come in the order in which they are concatenated at a waypoint. */
export const ROUTE_ORDER = { private: 0, named: 1, sameNamespace: 2, public: 3 } as const;

export interface VirtualServiceWorld {
  readonly clusterDomain: string;
  readonly services: KnownServices;
  /** A VirtualService without hosts, by `<namespace>/<name>`. */
  delegate(key: string): VirtualService | undefined;
  /** `meshConfig.defaultVirtualServiceExportTo`. */
  readonly defaultExportTo: readonly string[];
}

export interface TranslatedVirtualService {
  readonly routes: readonly RouteResource[];
  /** What was not understood, with its field: `http[2].retries.retryOn: …`. */
  readonly problems: readonly string[];
}

/** A service that a waypoint stands before. */
export interface RoutedService {
  readonly key: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly ports: readonly number[];
}

/**
 * Whether a VirtualService counts at a waypoint for a service, and where among others. Waypoints look into their own
 * namespace and that of the service (Istio), at objects for the mesh that are exported to the waypoint's namespace.
 */
export function orderAtWaypoint(
  object: VirtualService,
  service: Pick<RoutedService, 'namespace' | 'hostname'>,
  waypointNamespace: string,
  world: Pick<VirtualServiceWorld, 'clusterDomain' | 'defaultExportTo'>,
): number | undefined {
  if (object.namespace !== service.namespace && object.namespace !== waypointNamespace) return undefined;
  if (!usesGateway(object, 'mesh')) return undefined;
  const hosts = object.hosts.map((host) => resolveHost(host, object.namespace, world.clusterDomain));
  if (!hosts.some((host) => hostCovers(host, service.hostname))) return undefined;
  const seen = exposure(object.exportTo, object.namespace, waypointNamespace, world.defaultExportTo);
  return seen === undefined ? undefined : ROUTE_ORDER[seen];
}

/** By the object's list, or by that of one of its matches. */
const usesGateway = (object: VirtualService, gateway: string): boolean =>
  object.gateways.includes(gateway) ||
  [...object.http, ...object.tls, ...object.tcp].some((rule) =>
    list(rule.match).some((match) => texts(record(match).gateways).includes(gateway)),
  );

/** The routes of one object for a service at its waypoint. */
export function virtualServiceAtWaypoint(
  object: VirtualService,
  order: number,
  service: RoutedService,
  waypointNamespace: string,
  world: VirtualServiceWorld,
): TranslatedVirtualService {
  const attachment: RouteAttachment = { kind: 'service', service: service.key, port: undefined };
  const site: RuleSite = { gateway: 'mesh', proxyNamespace: waypointNamespace };
  return translate(object, order, site, attachment, service.ports, world);
}

/**
 * The routes of one object at a gateway's listener.
 * @param gateway  as VirtualServices name it, `<namespace>/<name>`
 * @param hosts    those of the object that the listener's host name admits, intersected
 */
export function virtualServiceAtListener(
  object: VirtualService,
  gateway: string,
  listener: { readonly name: string; readonly port: number },
  hosts: readonly string[],
  world: VirtualServiceWorld,
): TranslatedVirtualService {
  const site: RuleSite = { gateway, proxyNamespace: gateway.slice(0, gateway.indexOf('/')) };
  const attachment: RouteAttachment = { kind: 'listener', listener: listener.name, hosts };
  return translate(object, 0, site, attachment, [listener.port], world);
}

function translate(
  object: VirtualService,
  order: number,
  site: RuleSite,
  attachment: RouteAttachment,
  ports: readonly number[],
  world: VirtualServiceWorld,
): TranslatedVirtualService {
  const reader = new Reader(object, site, ports, world);
  const origin = {
    kind: 'VirtualService',
    namespace: object.namespace,
    name: object.name,
    createdAtMs: object.createdMs,
  } as const;
  const shared = { attachments: [attachment], order, origin };
  const routes: RouteResource[] = [];
  const http = object.http.flatMap((rule, at) => reader.http(rule, `http[${at}]`));
  if (http.length > 0) routes.push({ kind: 'http', ...shared, rules: http } satisfies HttpRouteResource);
  const tls = object.tls.flatMap((rule, at) => reader.tls(rule, `tls[${at}]`));
  if (tls.length > 0) routes.push({ kind: 'tls', ...shared, rules: tls });
  const tcp = object.tcp.flatMap((rule, at) => reader.tcp(rule, `tcp[${at}]`));
  if (tcp.length > 0) routes.push({ kind: 'tcp', ...shared, rules: tcp });
  return { routes, problems: reader.problems };
}

class Reader {
  readonly problems: string[] = [];
  private readonly object: VirtualService;
  private readonly site: RuleSite;
  private readonly ports: readonly number[];
  private readonly world: VirtualServiceWorld;

  constructor(object: VirtualService, site: RuleSite, ports: readonly number[], world: VirtualServiceWorld) {
    this.object = object;
    this.site = site;
    this.ports = ports;
    this.world = world;
  }

  http(rule: Json, place: string): readonly HttpRouteRule[] {
    const matches = this.matches(rule, this.object.gateways, place);
    if (matches.length === 0) return [];
    const delegate = optionalRecord(rule.delegate);
    return delegate === undefined
      ? this.rulesFor(rule, matches, this.object, place)
      : this.delegated(rule, delegate, matches, place);
  }

  /** Matches that can hold here; an empty list: the rule is for others. No match written: one that always holds. */
  private matches(rule: Json, gateways: readonly string[], place: string): readonly ReadMatch[] {
    const written = list(rule.match).map(record);
    const always: Json = {};
    return (written.length === 0 ? [always] : written).flatMap((entry, at) => {
      const read = readHttpMatch(entry, this.site, gateways);
      if (read.ok) return read.value === undefined ? [] : [read.value];
      this.problems.push(`${place}.match[${at}].${read.error}; the match is left out`);
      return [];
    });
  }

  /** Rules of the delegate, each narrowed by the matches of the rule that delegates; what it leaves out it inherits. */
  private delegated(rule: Json, delegate: Json, outer: readonly ReadMatch[], place: string): readonly HttpRouteRule[] {
    const key = `${text(delegate.namespace) || this.object.namespace}/${text(delegate.name)}`;
    const target = this.world.delegate(key);
    const refuse = (why: string): readonly HttpRouteRule[] => {
      this.problems.push(`${place}.delegate: ${why}; requests that it takes are answered with 503`);
      return this.refusing(outer, why);
    };
    if (target === undefined) return refuse(`there is no VirtualService ${key}`);
    if (target.hosts.length > 0) return refuse(`${key} has hosts of its own`);
    if (exposure(target.exportTo, target.namespace, this.object.namespace, this.world.defaultExportTo) === undefined)
      return refuse(`${key} is not exported to ${this.object.namespace}`);
    const { delegate: _delegate, match: _match, ...inherited } = rule;
    return target.http.flatMap((inner, at) => {
      if (optionalRecord(inner.delegate) !== undefined) return refuse(`${key} delegates itself; one level is allowed`);
      const innerPlace = `${metaKey(target)}: http[${at}]`;
      const matches = this.matches(inner, [this.site.gateway], innerPlace);
      const joined = outer.flatMap((wide) =>
        matches.map((narrow) => ({
          match: [...wide.match, ...narrow.match],
          path: narrow.match.some(({ field }) => field === 'request.path') ? narrow.path : wide.path,
        })),
      );
      return this.rulesFor({ ...inherited, ...inner }, joined, target, innerPlace);
    });
  }

  /** Where a destination names no port, the rule means another one for each port that was asked for. */
  private rulesFor(
    rule: Json,
    matches: readonly ReadMatch[],
    owner: VirtualService,
    place: string,
  ): readonly HttpRouteRule[] {
    const bodies = this.ports.map((requestedPort) => {
      const { clusterDomain, services } = this.world;
      return {
        port: requestedPort,
        body: readRuleBody(rule, { namespace: owner.namespace, clusterDomain, services, requestedPort }),
      };
    });
    const [first] = bodies;
    if (first === undefined) return [];
    const same = bodies.every(({ body }) => JSON.stringify(body) === JSON.stringify(first.body));
    const made = same
      ? [{ matches, body: first.body }]
      : bodies.map(({ port, body }) => ({
          matches: matches.map((one) => ({
            ...one,
            match: [
              ...one.match,
              { field: 'destination.port', predicate: { kind: 'port', port }, negated: false } as const,
            ],
          })),
          body,
        }));
    return made.flatMap((one) => {
      const rules = one.body.ok ? toRules(rule, one.body.value satisfies RuleBody, one.matches) : one.body;
      if (rules.ok) return rules.value;
      this.problems.push(`${place}: ${rules.error}; requests that it takes are answered with 503`);
      return this.refusing(one.matches, rules.error);
    });
  }

  /** A rule that cannot be read still takes its requests: others must not get what was not meant for them. */
  private refusing(matches: readonly ReadMatch[], detail: string): readonly HttpRouteRule[] {
    return [
      {
        name: '',
        anyMatch: matches.map(({ match }) => match),
        filters: [],
        action: {
          kind: 'forward',
          backends: [
            {
              target: { kind: 'invalid', status: 503, reason: 'InvalidDestination', detail },
              weight: 1,
              filters: [],
            },
          ],
        },
        timeouts: { requestMs: undefined, perTryMs: undefined },
        retry: undefined,
      },
    ];
  }

  tcp(rule: Json, place: string): readonly TcpRouteRule[] {
    const anyMatch = this.connectionMatches(rule, place);
    return anyMatch === undefined ? [] : this.perPort(rule, anyMatch);
  }

  tls(rule: Json, place: string): readonly TlsRouteRule[] {
    const entries = list(rule.match).map(record);
    return entries.flatMap((entry, at) => {
      const anyMatch = this.connectionMatches({ match: [entry] }, `${place}.match[${at}]`);
      if (anyMatch === undefined) return [];
      const serverNames = texts(entry.sniHosts).map((name) => name.toLowerCase());
      return this.perPort(rule, anyMatch).map((one) => ({ ...one, serverNames }));
    });
  }

  /** @returns undefined where no match can hold here */
  private connectionMatches(rule: Json, place: string): readonly TcpMatch[] | undefined {
    const written = list(rule.match).map(record);
    if (written.length === 0) return appliesAt({}, this.site, this.object.gateways) ? [] : undefined;
    const matches = written.flatMap((entry, at) => {
      if (!appliesAt(entry, this.site, this.object.gateways)) return [];
      const destinations = texts(entry.destinationSubnets).flatMap((range) => {
        const parsed = parseCidr(range);
        if (parsed.ok) return [parsed.value];
        this.problems.push(`${place}.match[${at}].destinationSubnets: \`${range}\` is no address range`);
        return [];
      });
      // Of ranges that were written and cannot be read nothing is left to match.
      if (destinations.length === 0 && texts(entry.destinationSubnets).length > 0) return [];
      return [{ destinations, port: integer(entry.port) || undefined }];
    });
    return matches.length === 0 ? undefined : matches;
  }

  private perPort(rule: Json, anyMatch: readonly TcpMatch[]): readonly TcpRouteRule[] {
    const made = this.ports.map((requestedPort) => ({ requestedPort, backends: this.targets(rule, requestedPort) }));
    const [first] = made;
    if (first === undefined) return [];
    if (made.every(({ backends }) => JSON.stringify(backends) === JSON.stringify(first.backends)))
      return [{ anyMatch, backends: first.backends }];
    return made
      .map(({ requestedPort, backends }) => ({
        anyMatch: (anyMatch.length === 0 ? [{ destinations: [], port: undefined }] : anyMatch)
          .filter(({ port }) => port === undefined || port === requestedPort)
          .map((match) => ({ ...match, port: requestedPort })),
        backends,
      }))
      .filter((one) => one.anyMatch.length > 0);
  }

  private targets(rule: Json, requestedPort: number): readonly WeightedTarget[] {
    const { clusterDomain, services } = this.world;
    const body = readRuleBody(
      { route: rule.route },
      { namespace: this.object.namespace, clusterDomain, services, requestedPort },
    );
    if (!body.ok || body.value.action.kind !== 'forward') return [];
    return body.value.action.backends.map(({ target, weight }) => ({ target, weight }));
  }
}
