// The seams of the L7 engine: what one exchange is, and what its parts (token check, providers, rate limits, endpoint
// choice, telemetry) offer to the core that runs it. Interfaces and plain data only, so that each part is tested alone.
//
//   client side ──> Exchange ──> tokens ─> provider ─> policies ─> rate limits ─> route ──> endpoint ──> upstream side
//                       `────────────────────── telemetry ─────────────────────────────────────────────'

import type { HttpRequest, VerifiedToken } from '../model/http/request.ts';
import type { RouteEntry } from '../model/http/route-table.ts';
import type { HttpVerdict } from '../model/http/verdict.ts';
import type { SpiffeId } from '../model/identity.ts';
import type { HostPort } from '../model/ip.ts';
import type { TrafficFilters } from '../model/proxy/filters.ts';
import type { AuthorizationProviderConfig, TokenRule } from '../model/proxy/security.ts';
import type { ServiceConfig, TrafficPolicy } from '../model/proxy/service-config.ts';
import type { TelemetryConfig } from '../model/proxy/telemetry-config.ts';
import type { Peer } from '../model/traffic.ts';
import type { ServiceKey, Workload } from '../model/workload.ts';
import type { Fields } from '../wire/http1/index.ts';

export type HttpProtocol = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';

/** Who sent a request, as far as its connection says. One object a connection. */
export interface ClientInfo {
  /** The address that the client's application had; at a waypoint the one that the tunnel carries. */
  readonly source: HostPort;
  /** What was dialled: at a waypoint the authority of the tunnel, at a gateway the listener's own address. */
  readonly destination: HostPort;
  /** Proved by mutual TLS of the mesh. */
  readonly identity: SpiffeId | undefined;
  /** The workload behind it, from baggage or the world; undefined: unknown. */
  readonly peer: Peer | undefined;
  /** Server name of TLS that this proxy ended. */
  readonly serverName: string | undefined;
  /** Whether the client came over TLS of any kind. */
  readonly secure: boolean;
  /** Subject names of a certificate that a client showed to a gateway, for x-forwarded-client-cert. */
  readonly clientCertificate: ClientCertificate | undefined;
}

export interface ClientCertificate {
  readonly subject: string;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** SHA-256 of the certificate, lower-case hexadecimal. */
  readonly sha256: string;
}

/** Envoy's flags of responses; an access log shows them joined by commas, `-` for none. */
export type ResponseFlag =
  | 'UH' // no healthy upstream
  | 'UF' // upstream connection failure
  | 'UO' // upstream overflow
  | 'NR' // no route
  | 'URX' // retry or connection limit
  | 'NC' // no cluster
  | 'UC' // upstream connection ended
  | 'UR' // upstream reset
  | 'LR' // local reset
  | 'UT' // upstream timeout
  | 'UPE' // upstream protocol error
  | 'DC' // downstream ended
  | 'DPE' // downstream protocol error
  | 'DT' // duration timeout
  | 'RL' // rate limited
  | 'RLSE' // rate limit service error
  | 'UAEX' // external authorization denied
  | 'FI' // fault: abort
  | 'DI' // fault: delay
  | 'SI' // stream idle timeout
  | 'OM'; // overload

/** One upstream try, or the last of several. */
export interface UpstreamInfo {
  readonly service: ServiceConfig;
  readonly port: number;
  readonly subset: string | undefined;
  readonly endpoint: Endpoint;
  /** Own end of the connection, once there is one. */
  readonly localAddress: HostPort | undefined;
  /** Whether the hop is mutual TLS of the mesh. */
  readonly meshed: boolean;
}

/** One request and its answer, from its head to its last byte. The core writes it; filters and telemetry read it. */
export interface Exchange {
  /** `x-request-id`. */
  readonly id: string;
  /** Unix time, milliseconds with fractions. */
  readonly startedAtMs: number;
  readonly client: ClientInfo;
  readonly protocol: HttpProtocol;
  /** As policies and routes see it; the fields of its headers are those of the request that goes upstream. */
  readonly request: HttpRequest;
  /** Path and query as sent by the client. */
  readonly originalPath: string;
  /** Sent upstream; filters add and remove. */
  readonly requestFields: Fields;
  /** `grpc` by content type. */
  readonly isGrpc: boolean;
  token: VerifiedToken | undefined;
  /** The service that was asked for: at a waypoint by the tunnel, else by the route. */
  service: ServiceConfig | undefined;
  verdict: HttpVerdict | undefined;
  route: RouteEntry | undefined;
  upstream: UpstreamInfo | undefined;
  /** Tries so far, the first included. */
  tries: number;
  /** 0 while there is none. */
  responseStatus: number;
  responseFields: Fields | undefined;
  responseTrailers: Fields | undefined;
  /** Envoy's word for where the response came from: `via_upstream`, `direct_response`, `route_not_found`, … */
  details: string;
  /** Why the connection to the endpoint failed. */
  upstreamFailure: string | undefined;
  readonly flags: Set<ResponseFlag>;
  /** Bytes of bodies. */
  bytesReceived: number;
  bytesSent: number;
  /** gRPC messages; counted for gRPC only. */
  requestMessages: number;
  responseMessages: number;
  /** Milliseconds since `startedAtMs`; undefined until it happened. */
  responseStartedAfterMs: number | undefined;
  endedAfterMs: number | undefined;
}

/** A response that the proxy makes itself. */
export interface LocalReply {
  readonly status: number;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly body: string;
  readonly details: string;
  readonly flag: ResponseFlag | undefined;
  /** For gRPC requests; undefined: by the status. */
  readonly grpcStatus: number | undefined;
}

// ---- tokens (RequestAuthentication) ------------------------------------------------------------------------------

export interface TokenCheck {
  /**
   * Looks for tokens and verifies them; takes tokens out of the request that are not forwarded, and writes the headers
   * that rules ask for. No rules: does nothing, without waiting.
   * @returns undefined: go on with `exchange.token`; a reply (401, 403): answer it
   */
  check(exchange: Exchange): LocalReply | undefined | Promise<LocalReply | undefined>;
}

// ---- external authorizers (CUSTOM) -------------------------------------------------------------------------------

export type ProviderAnswer =
  | { readonly kind: 'allow'; readonly toDownstream: readonly { readonly name: string; readonly value: string }[] }
  | { readonly kind: 'refuse'; readonly reply: LocalReply };

export interface AuthorizationProviders {
  /**
   * Asks; on `allow` the headers for upstream are already written to `exchange.requestFields`.
   * @param body  the beginning of the request's body where the provider wants it
   */
  ask(provider: AuthorizationProviderConfig, exchange: Exchange, body: Uint8Array | undefined): Promise<ProviderAnswer>;
}

// ---- rate limits -------------------------------------------------------------------------------------------------

export interface RateLimits {
  check(exchange: Exchange): LocalReply | undefined | Promise<LocalReply | undefined>;
}

// ---- endpoints ---------------------------------------------------------------------------------------------------

/** Where a try goes. */
export interface Endpoint {
  readonly workload: Workload | undefined;
  /** What is dialled, or named in the tunnel. */
  readonly address: HostPort;
  /** Undefined: a plain connection (perhaps with TLS of the traffic policy). */
  readonly tunnel: { readonly hop: HostPort; readonly expected: readonly SpiffeId[] } | undefined;
}

export type PickFailure =
  | { readonly kind: 'noService' } // 503 NC
  | { readonly kind: 'noHealthyEndpoint' } // 503 UH
  | { readonly kind: 'overflow' }; // 503 UO

/** Hands out endpoints of one service port and subset; `done` returns what it counted. */
export interface Pick {
  readonly endpoint: Endpoint;
  readonly policy: TrafficPolicy;
  /** Set on the response where a consistent hash wants a cookie. */
  readonly setCookie: string | undefined;
  /** Exactly once: how the try went. */
  done(outcome: TryOutcome): void;
}

/** `status`: of the response (gRPC statuses count as their HTTP equals); the others: there was none. */
export type TryOutcome =
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'connectFailure' }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'cancelled' };

export interface EndpointChoice {
  /**
   * @param exchange  undefined for plain connections
   * @param tried     endpoints of earlier tries, avoided if the retry policy says so
   */
  pick(
    target: { readonly service: ServiceKey; readonly port: number; readonly subset: string | undefined },
    client: ClientInfo,
    exchange: Exchange | undefined,
    tried: readonly Endpoint[],
    /** `ip:port` of the endpoint to take, if it is healthy. */
    preferred?: string,
  ): Pick | PickFailure | Promise<Pick | PickFailure>;
}

// ---- telemetry ---------------------------------------------------------------------------------------------------

export interface ExchangeTelemetry {
  /** Before policies: takes over or begins the trace, writes its headers and `x-request-id` to the request. */
  begin(exchange: Exchange): void;
  /** Once, when all is over: counts, logs, reports the span. */
  finish(exchange: Exchange): void;
}

// ---- who makes the parts -----------------------------------------------------------------------------------------

/**
 * Makes the parts that work by configuration. Each is made once for a configuration object and used until that object is
 * replaced, so what a part holds (buckets, keys) lives as long as its configuration.
 */
export interface PartMakers {
  readonly tokens: (rules: readonly TokenRule[]) => TokenCheck;
  readonly rateLimits: (filters: TrafficFilters) => RateLimits;
  readonly telemetry: (config: TelemetryConfig) => ExchangeTelemetry;
}
