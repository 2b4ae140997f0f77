// What every exchange and connection of one proxy works with, and the places where they are judged and routed. Nothing is
// reached by a global.

import type { HttpAuthorizer } from '../model/http/compiled-policies.ts';
import type { HttpRouter } from '../model/http/compiled-routes.ts';
import type { HeaderFilter } from '../model/http/route.ts';
import type { SpiffeId } from '../model/identity.ts';
import type { ProxyConfig } from '../model/proxy/proxy-config.ts';
import type { ServiceConfig } from '../model/proxy/service-config.ts';
import type { ServiceKey } from '../model/workload.ts';
import type { Clock } from '../platform/clock.ts';
import type {
  AuthorizationProviders,
  ClientInfo,
  Endpoint,
  Exchange,
  ExchangeTelemetry,
  PickFailure,
  RateLimits,
  TokenCheck,
} from './contracts.ts';
import type { Connections } from './pools/connections.ts';
import type { Sweeper } from './streams/sweeper.ts';
import type { UpstreamPick } from './upstream/index.ts';

/** A service port, or one subset's endpoints of it. */
export interface Target {
  readonly service: ServiceKey;
  readonly port: number;
  readonly subset: string | undefined;
}

/** Hands out endpoints; `EndpointChoice` with the counters that connections take part in. */
export interface Choice {
  pick(
    target: Target,
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
    /** `ip:port` of the endpoint to take, if it is healthy. */
    preferred?: string,
  ): UpstreamPick | PickFailure | Promise<UpstreamPick | PickFailure>;
}

export interface Engine {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly sweeper: Sweeper;
  readonly own: SpiffeId;
  readonly providers: AuthorizationProviders;
  readonly choice: Choice;
  readonly connections: Connections;
  service(key: ServiceKey): ServiceConfig | undefined;
}

/** What holds for all that comes to one place: a gateway's listener, or a service behind a waypoint. Immutable. */
export interface Scope {
  readonly proxy: ProxyConfig;
  /** Undefined: no policies, everything is allowed. */
  readonly authorizer: HttpAuthorizer | undefined;
  /** The same policies as far as they judge connections without requests. */
  readonly connectionAuthorizer: HttpAuthorizer | undefined;
  readonly tokens: TokenCheck | undefined;
  readonly rateLimits: readonly RateLimits[];
  readonly headers: readonly HeaderFilter[];
  /** For 401 and 403 that are made here. */
  readonly authenticationResponses: readonly HeaderFilter[];
  readonly telemetry: ExchangeTelemetry;
}

/** The routes of a place, and what must be known of them before they are asked. */
export interface HttpRoutes {
  readonly router: HttpRouter;
  /** Some route answers or delays requests before they are judged (CORS, faults). */
  readonly actsEarly: boolean;
  /** Some match looks at the token. */
  readonly asksForToken: boolean;
}

/** Where requests are judged and routed. Replaced as a whole; an exchange keeps the one that it began with. */
export interface HttpPlace {
  readonly scope: Scope;
  /** Undefined: everything goes to `service`. */
  readonly routes: HttpRoutes | undefined;
  /** The service that was asked for, at a waypoint. */
  readonly service: ServiceConfig | undefined;
  readonly target: Target | undefined;
  readonly redirectsToHttps: boolean;
}
