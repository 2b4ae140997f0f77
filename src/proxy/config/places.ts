// The places where requests and connections are judged and routed, compiled from what the control plane sent. A place is
// made when it is first asked for, and made anew, in the background and as a whole, when something that it stands on
// changes; until then the old one serves.

import { compileHttpPolicies, type HttpAuthorizer } from '../../model/http/compiled-policies.ts';
import { compileRoutes } from '../../model/http/compiled-routes.ts';
import type { ProxyConfig } from '../../model/proxy/proxy-config.ts';
import type {
  HttpRouteResource,
  RouteAttachment,
  RouteResource,
  TcpRouteResource,
  TlsRouteResource,
} from '../../model/proxy/route-resource.ts';
import type { SecurityConfig } from '../../model/proxy/security.ts';
import type { BoundService } from '../../model/proxy/service-config.ts';
import type { ServiceKey } from '../../model/workload.ts';
import { logger } from '../../telemetry/log.ts';
import type { PartMakers, RateLimits, TokenCheck } from '../contracts.ts';
import type { HttpPlace, HttpRoutes, Scope } from '../engine.ts';
import { policiesForConnections } from './connection-policies.ts';
import { HostRouters } from './host-routers.ts';
import { listenerKey, type ProxyState, serviceRoutesKey } from './state.ts';

const log = logger('config');

/** What a place is for connections without requests. */
export interface ConnectionRoutes {
  readonly tcp: readonly TcpRouteResource[];
  readonly tls: readonly TlsRouteResource[];
}

export interface Place extends HttpPlace {
  readonly connections: ConnectionRoutes;
  /** Of this place; hosts of TLS routes are its attachments'. */
  readonly attachment: string;
}

interface Entry {
  readonly make: () => Place | undefined;
  place: Place | undefined;
  dirty: boolean;
}

interface Part {
  readonly authorizer: HttpAuthorizer | undefined;
  readonly connectionAuthorizer: HttpAuthorizer | undefined;
  readonly tokens: TokenCheck | undefined;
}

export class Places {
  readonly #state: ProxyState;
  readonly #makers: PartMakers;
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #rateLimits = new WeakMap<object, RateLimits>();
  readonly #telemetry = new WeakMap<object, Scope['telemetry']>();
  readonly #own = new WeakMap<SecurityConfig, WeakMap<SecurityConfig, Part>>();
  /** What is compiled of each place's routes, so that the next change costs only what it changed. */
  readonly #routers = new Map<string, HostRouters>();
  #scheduled = false;

  constructor(state: ProxyState, makers: PartMakers) {
    this.#state = state;
    this.#makers = makers;
  }

  /** A gateway's listener; undefined: there is none of that name. */
  listener(name: string): Place | undefined {
    const key = listenerKey(name);
    return this.#get(key, '', () => this.#makeListener(name, key));
  }

  /** A service that this waypoint stands before; undefined: it does not. */
  service(service: ServiceKey, port: number): Place | undefined {
    const key = serviceRoutesKey(service);
    return this.#get(key, String(port), () => this.#makeService(service, port, key));
  }

  /** What comes for no service and no listener that is known: the proxy's own policies, and no route. */
  own(): Place | undefined {
    return this.#get('own', '', () => {
      const { proxy } = this.#state;
      if (proxy === undefined) return undefined;
      return {
        scope: this.#scope(proxy, undefined),
        routes: undefined,
        connections: { tcp: [], tls: [] },
        service: undefined,
        target: undefined,
        redirectsToHttps: false,
        attachment: '',
      };
    });
  }

  #get(key: string, part: string, make: () => Place | undefined): Place | undefined {
    let entries = this.#entries.get(key);
    const known = entries?.get(part);
    if (known !== undefined) return known.place;
    const place = make();
    // What is not there takes no room: names come from clients.
    if (place === undefined) return undefined;
    if (entries === undefined) {
      entries = new Map();
      this.#entries.set(key, entries);
    }
    entries.set(part, { make, place, dirty: false });
    return place;
  }

  /** @param keys  undefined: everything */
  changed(keys: ReadonlySet<string> | undefined): void {
    for (const key of keys ?? this.#entries.keys())
      for (const entry of this.#entries.get(key)?.values() ?? []) entry.dirty = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.refresh());
  }

  /** Makes what changed, all of it between two turns. */
  refresh(): void {
    this.#scheduled = false;
    for (const [key, entries] of this.#entries) {
      for (const [part, entry] of entries) {
        if (!entry.dirty) continue;
        entry.dirty = false;
        try {
          entry.place = entry.make();
        } catch (error) {
          log.error('a change of configuration cannot be used; what was there stays', {
            place: key,
            error: error as Error,
          });
        }
        if (entry.place !== undefined) continue;
        entries.delete(part);
        this.#routers.delete(part === '' ? key : `${key} ${part}`);
      }
      if (entries.size === 0) this.#entries.delete(key);
    }
  }

  #makeListener(name: string, key: string): Place | undefined {
    const { proxy } = this.#state;
    const listener = proxy?.listeners.find((each) => each.name === name);
    if (proxy === undefined || listener === undefined) return undefined;
    const isHere = (attachment: RouteAttachment): boolean =>
      attachment.kind === 'listener' && attachment.listener === name;
    return {
      scope: this.#scope(proxy, undefined),
      // A listener without a route answers 404, it has nowhere to send to.
      routes: this.#httpRoutes(key, key, isHere, undefined) ?? NO_ROUTES,
      connections: this.#connectionRoutes(key, isHere),
      service: undefined,
      target: undefined,
      redirectsToHttps: listener.redirectsToHttps,
      attachment: key,
    };
  }

  #makeService(service: ServiceKey, port: number, key: string): Place | undefined {
    const { proxy } = this.#state;
    const config = this.#state.service(service);
    if (proxy === undefined || config?.bound === undefined) return undefined;
    const isHere = (attachment: RouteAttachment): boolean =>
      attachment.kind === 'service' &&
      attachment.service === service &&
      (attachment.port === undefined || attachment.port === port);
    return {
      scope: this.#scope(proxy, config.bound),
      routes: this.#httpRoutes(key, `${key} ${port}`, isHere, ['*']),
      connections: this.#connectionRoutes(key, isHere),
      service: config,
      target: { service, port, subset: undefined },
      redirectsToHttps: false,
      attachment: key,
    };
  }

  /** @param hosts  undefined: those of the attachments */
  #httpRoutes(
    key: string,
    part: string,
    isHere: (attachment: RouteAttachment) => boolean,
    hosts: readonly string[] | undefined,
  ): HttpRoutes | undefined {
    const resources = [...this.#state.attached(key)].filter(
      (entry): entry is [string, HttpRouteResource] => entry[1].kind === 'http',
    );
    const routes: { source: HttpRouteResource; hosts: readonly string[] }[] = [];
    for (const [, source] of resources.sort(compareRoutes)) {
      const here = source.attachments.filter(isHere);
      if (here.length === 0) continue;
      routes.push({ source, hosts: hosts ?? here.flatMap((each) => (each.kind === 'listener' ? each.hosts : [])) });
    }
    let routers = this.#routers.get(part);
    if (routers === undefined) {
      routers = new HostRouters();
      this.#routers.set(part, routers);
    }
    const compiled = routers.compile(routes);
    if (compiled === undefined) this.#routers.delete(part);
    return compiled;
  }

  #connectionRoutes(key: string, isHere: (attachment: RouteAttachment) => boolean): ConnectionRoutes {
    const here = [...this.#state.attached(key)]
      .filter(([, { attachments }]) => attachments.some(isHere))
      .sort(compareRoutes)
      .map(([, route]) => route);
    return {
      tcp: here.filter((route) => route.kind === 'tcp'),
      tls: here.filter((route) => route.kind === 'tls'),
    };
  }

  #scope(proxy: ProxyConfig, bound: BoundService | undefined): Scope {
    const filters = bound === undefined ? [proxy.filters] : [proxy.filters, bound.filters];
    return {
      proxy,
      ...this.#security(proxy.security, bound?.security ?? NO_SECURITY),
      rateLimits: filters
        .filter(({ localRateLimits, globalRateLimit }) => localRateLimits.length > 0 || globalRateLimit !== undefined)
        .map((each) => made(this.#rateLimits, each, this.#makers.rateLimits)),
      headers: filters.flatMap(({ headers }) => headers),
      authenticationResponses: filters.flatMap(({ authenticationResponses }) => authenticationResponses),
      telemetry: made(this.#telemetry, bound?.telemetry ?? proxy.telemetry, this.#makers.telemetry),
    };
  }

  /** The proxy's own and the service's, judged as one. */
  #security(own: SecurityConfig, added: SecurityConfig): Part {
    let byAdded = this.#own.get(own);
    if (byAdded === undefined) {
      byAdded = new WeakMap();
      this.#own.set(own, byAdded);
    }
    return made(byAdded, added, () => {
      const policies = [...own.policies, ...added.policies];
      const tokens = [...own.tokens, ...added.tokens];
      return {
        authorizer: policies.length === 0 ? undefined : compileHttpPolicies(policies),
        connectionAuthorizer: policies.length === 0 ? undefined : compileHttpPolicies(policiesForConnections(policies)),
        tokens: tokens.length === 0 ? undefined : this.#makers.tokens(tokens),
      };
    });
  }
}

const NO_SECURITY: SecurityConfig = { policies: [], tokens: [] };
const NO_ROUTES: HttpRoutes = { router: compileRoutes({ hosts: [] }), actsEarly: false, asksForToken: false };

function made<K extends object, V>(known: WeakMap<K, V>, key: K, make: (key: K) => V): V {
  let value = known.get(key);
  if (value === undefined) {
    value = make(key);
    known.set(key, value);
  }
  return value;
}

/** Private before exported before public (`order`); then the older; then by name, so that arrival does not count. */
function compareRoutes([nameA, a]: [string, RouteResource], [nameB, b]: [string, RouteResource]): number {
  if (a.order !== b.order) return a.order - b.order;
  if (a.origin.createdAtMs !== b.origin.createdAtMs) return a.origin.createdAtMs - b.origin.createdAtMs;
  return nameA < nameB ? -1 : nameA > nameB ? 1 : 0;
}
