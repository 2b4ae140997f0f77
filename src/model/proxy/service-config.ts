// What a proxy must know of a service beside its addresses and endpoints (those come as `istio.workload.Address`): how to
// send to it, and, at its waypoint, what holds for those who come. Name of the resource: the service's key.

import type { TextPredicate } from '../facts.ts';
import type { ServiceKey, WorkloadUid } from '../workload.ts';
import type { TrafficFilters } from './filters.ts';
import type { SecurityConfig } from './security.ts';
import type { TelemetryConfig } from './telemetry-config.ts';

/** `unknown`: found out from the first bytes. `https` is TLS on the wire as `tls` is. */
export type PortProtocol = 'http' | 'http2' | 'grpc' | 'grpcWeb' | 'tls' | 'tcp' | 'unknown';

export interface ServiceConfig {
  readonly key: ServiceKey;
  /** What the proxy calls the service: the host name of destinations. */
  readonly hostname: string;
  readonly ports: readonly ServicePortConfig[];
  /** How endpoints are found. `none`: the address that was asked for is the endpoint (ServiceEntry NONE). */
  readonly resolution: 'endpoints' | 'dns' | 'dnsRoundRobin' | 'dynamicDns' | 'none';
  readonly traffic: TrafficConfig;
  /** Set where the receiving proxy is this service's waypoint. */
  readonly bound: BoundService | undefined;
  /** ServiceEntry subjectAltNames; empty: by the endpoint's identity. */
  readonly subjectAltNames: readonly string[];
}

export interface ServicePortConfig {
  readonly port: number;
  readonly name: string;
  readonly protocol: PortProtocol;
}

/** What a waypoint does for those who come to a service. */
export interface BoundService {
  /** targetRefs to the Service or ServiceEntry; beside the proxy's own. */
  readonly security: SecurityConfig;
  readonly filters: TrafficFilters;
  /** Undefined: as the proxy's. */
  readonly telemetry: TelemetryConfig | undefined;
}

/** DestinationRule and BackendTLSPolicy come to this: whole policies, nothing is left to inherit. */
export interface TrafficConfig {
  readonly policy: TrafficPolicy;
  /** By port of the service; takes the place of `policy`. */
  readonly ports: Readonly<Record<string, TrafficPolicy>>;
  readonly subsets: readonly Subset[];
}

export interface Subset {
  readonly name: string;
  /** The endpoints whose labels fit. */
  readonly members: readonly WorkloadUid[];
  readonly policy: TrafficPolicy;
  readonly ports: Readonly<Record<string, TrafficPolicy>>;
}

export interface TrafficPolicy {
  readonly loadBalancer: LoadBalancer;
  /** Undefined: as the Service's traffic distribution says, else all alike. */
  readonly locality: LocalityPolicy | undefined;
  /** Undefined: off. */
  readonly slowStart: SlowStart | undefined;
  readonly pool: ConnectionPool;
  /** Undefined: off. */
  readonly outlier: OutlierDetection | undefined;
  /** Undefined: HBONE to endpoints in the mesh, else plaintext. */
  readonly tls: UpstreamTls | undefined;
  /** Before the first byte of a connection. */
  readonly proxyProtocol: 'v1' | 'v2' | undefined;
  readonly retryBudget: RetryBudget | undefined;
}

export type LoadBalancer =
  | { readonly kind: 'roundRobin' }
  | { readonly kind: 'leastRequest' }
  | { readonly kind: 'random' }
  /** To the address that was asked for. */
  | { readonly kind: 'passthrough' }
  | {
      readonly kind: 'ringHash';
      readonly by: HashKey;
      readonly minimumRingSize: number;
    }
  | { readonly kind: 'maglev'; readonly by: HashKey; readonly tableSize: number };

export type HashKey =
  | { readonly kind: 'header'; readonly name: string }
  /** `ttlMs` undefined: the cookie must come from the client; 0: a session cookie is set. */
  | {
      readonly kind: 'cookie';
      readonly name: string;
      readonly path: string;
      readonly ttlMs: number | undefined;
      readonly attributes: readonly { readonly name: string; readonly value: string }[];
    }
  | { readonly kind: 'sourceIp' }
  | { readonly kind: 'query'; readonly name: string };

/** Exactly one of the three; localities are `region[/zone[/subzone]]`, `*` at the end stands for any. */
export type LocalityPolicy =
  /** The closest first; as always where outliers are detected, unless it was switched off. */
  | { readonly kind: 'prefer' }
  | {
      readonly kind: 'distribute';
      readonly rules: readonly { readonly from: string; readonly to: Readonly<Record<string, number>> }[];
    }
  | { readonly kind: 'failover'; readonly rules: readonly { readonly from: string; readonly to: string }[] }
  /** failoverPriority: endpoints that agree with the proxy in all labels first, then in all but the last, and so on. */
  | { readonly kind: 'priority'; readonly labels: readonly PriorityLabel[] };

export interface PriorityLabel {
  /** `topology.kubernetes.io/region`, `…/zone`, `topology.istio.io/subzone`, `…/network`: compared by the proxy itself. */
  readonly name: string;
  /** Written as `name=value`; undefined: the proxy's own value. */
  readonly value: string | undefined;
  /** Of any other label: the endpoints that carry the value. */
  readonly members: readonly WorkloadUid[];
}

export interface SlowStart {
  readonly durationMs: number;
  readonly minimumPercent: number;
  readonly aggression: number;
}

export interface ConnectionPool {
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  readonly tcpKeepalive:
    | { readonly probes: number; readonly idleSeconds: number; readonly intervalSeconds: number }
    | undefined;
  /** Undefined: any age. */
  readonly maxConnectionMs: number | undefined;
  readonly tcpIdleMs: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** 0: any number. */
  readonly maxRequestsPerConnection: number;
  readonly idleMs: number;
  /** `http2`: requests are sent as HTTP/2 whatever the port says (UPGRADE, or HTTP2 of the port). */
  readonly http2: 'byPort' | 'always' | 'never';
  readonly usesClientProtocol: boolean;
  readonly maxConcurrentStreams: number;
  /** PINGs on idle HTTP/2 connections; undefined: none. */
  readonly http2Keepalive: Http2Keepalive | undefined;
}

/** Time between PINGs, and for their answers. */
export interface Http2Keepalive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export interface OutlierDetection {
  /** 0: off; so for the two below. */
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly consecutiveLocalOriginFailures: number;
  readonly splitsLocalOrigin: boolean;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
  readonly minHealthPercent: number;
}

export interface UpstreamTls {
  readonly mode: 'simple' | 'mutual';
  /** Empty: the host of the request for HTTP, else none is sent. */
  readonly serverName: string;
  /** The peer's certificate must have one of these names; empty: `serverName`. */
  readonly subjectAltNames: readonly TextPredicate[];
  /** PEM; `system`: the library's. A hop whose roots cannot be had is `unusable`: it fails, it is never plain. */
  readonly roots:
    | { readonly kind: 'pem'; readonly pem: string }
    | { readonly kind: 'system' }
    | { readonly kind: 'unverified' }
    | { readonly kind: 'unusable'; readonly why: string };
  /** Name of a certificate resource, for `mutual`. */
  readonly certificate: string | undefined;
}

export interface RetryBudget {
  /** 0-100: of active requests. */
  readonly percent: number;
  readonly minRetries: number;
}

/** What holds without any DestinationRule. */
export const DEFAULT_TRAFFIC_POLICY: TrafficPolicy = {
  loadBalancer: { kind: 'leastRequest' },
  locality: undefined,
  slowStart: undefined,
  pool: {
    maxConnections: 2 ** 32 - 1,
    connectTimeoutMs: 10_000,
    tcpKeepalive: undefined,
    maxConnectionMs: undefined,
    tcpIdleMs: 3_600_000,
    maxPendingRequests: 2 ** 32 - 1,
    maxRequests: 2 ** 32 - 1,
    maxRetries: 2 ** 32 - 1,
    maxRequestsPerConnection: 0,
    idleMs: 3_600_000,
    http2: 'byPort',
    usesClientProtocol: false,
    maxConcurrentStreams: 2 ** 31 - 1,
    http2Keepalive: undefined,
  },
  outlier: undefined,
  tls: undefined,
  proxyProtocol: undefined,
  retryBudget: undefined,
};
