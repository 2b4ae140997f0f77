// HTTP routes as the L7 engine holds them: what HTTPRoute, GRPCRoute and VirtualService come to after derivation.

import type { RequestField, TextPredicate } from '../facts.ts';
import type { ServiceKey } from '../workload.ts';

/** The object that a route came from. */
export interface RouteOrigin {
  readonly kind: 'HTTPRoute' | 'GRPCRoute' | 'VirtualService';
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
}

/** One object of the user's. */
export interface HttpRoute {
  readonly origin: RouteOrigin;
  /** `a.example.com`, `*.example.com` or `*`, in lower case, already intersected with the listener's. */
  readonly hosts: readonly string[];
  readonly rules: readonly HttpRouteRule[];
}

export interface HttpRouteRule {
  /** As the user named it; empty where not. */
  readonly name: string;
  /** Alternatives; none: every request. */
  readonly anyMatch: readonly RouteMatch[];
  readonly filters: readonly RouteFilter[];
  readonly action: RouteAction;
  readonly timeouts: RouteTimeouts;
  /** Undefined: the mesh's default. */
  readonly retry: RetryPolicy | undefined;
}

/** All conditions must hold; none: every request. */
export type RouteMatch = readonly RouteCondition[];

export interface RouteCondition {
  readonly field: RequestField;
  readonly predicate: TextPredicate;
  /** Holds where the predicate does not, also for an absent field (VirtualService: withoutHeaders). */
  readonly negated: boolean;
}

export type RouteAction =
  | { readonly kind: 'forward'; readonly backends: readonly Backend[] }
  | Redirect
  | { readonly kind: 'direct'; readonly status: number; readonly body: string };

export interface Redirect {
  readonly kind: 'redirect';
  /** 301, 302, 303, 307 or 308. */
  readonly status: number;
  /** Undefined: as in the request. */
  readonly scheme: 'http' | 'https' | undefined;
  readonly host: string | undefined;
  /** `requested`: the port of the request; `ofScheme`: the scheme's own, which is not written. */
  readonly port: number | 'requested' | 'ofScheme';
  readonly path: PathRewrite | undefined;
}

export type PathRewrite =
  | { readonly kind: 'full'; readonly path: string }
  /** Whole segments (Gateway API) or characters (VirtualService). */
  | {
      readonly kind: 'prefix';
      readonly prefix: string;
      readonly replacement: string;
      readonly by: 'segments' | 'characters';
    }
  | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string };

export interface Backend {
  readonly target: BackendTarget;
  /** Not negative; relative to the others. */
  readonly weight: number;
  /** Header modifications of this backend alone. */
  readonly filters: readonly HeaderFilter[];
}

export type BackendTarget =
  | {
      readonly kind: 'service';
      readonly service: ServiceKey;
      readonly port: number;
      readonly subset: string | undefined;
    }
  /** A reference that leads nowhere: its share is answered. 500 for Gateway API, 503 for VirtualService. */
  | { readonly kind: 'invalid'; readonly status: 500 | 503; readonly reason: InvalidBackend; readonly detail: string };

export type InvalidBackend =
  | 'InvalidKind'
  | 'RefNotPermitted'
  | 'BackendNotFound'
  | 'InvalidDestination'
  | 'InvalidFilter';

export interface HeaderFilter {
  readonly kind: 'requestHeaders' | 'responseHeaders';
  readonly set: readonly HeaderValue[];
  readonly add: readonly HeaderValue[];
  /** Lower-case names. */
  readonly remove: readonly string[];
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
}

export type RouteFilter =
  | HeaderFilter
  | { readonly kind: 'rewrite'; readonly host: string | undefined; readonly path: PathRewrite | undefined }
  | { readonly kind: 'mirror'; readonly target: BackendTarget; readonly share: Share }
  | CorsFilter
  | SessionFilter
  | { readonly kind: 'delay'; readonly delayMs: number; readonly share: Share }
  | {
      readonly kind: 'abort';
      readonly with: { readonly httpStatus: number } | { readonly grpcStatus: number };
      readonly share: Share;
    };

/** Keeps a client at the endpoint that answered it first, as long as that is healthy. */
export interface SessionFilter {
  readonly kind: 'session';
  readonly by: /** `ttlMs` undefined: as long as the client's own session. */
    | { readonly kind: 'cookie'; readonly name: string; readonly ttlMs: number | undefined }
    /** In lower case. */
    | { readonly kind: 'header'; readonly name: string };
}

/** `numerator` of `denominator` requests. */
export interface Share {
  readonly numerator: number;
  readonly denominator: number;
}

export interface CorsFilter {
  readonly kind: 'cors';
  readonly allowOrigins: readonly TextPredicate[];
  readonly allowCredentials: boolean;
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  /** Undefined: not told to browsers. */
  readonly maxAgeSeconds: number | undefined;
  /** What becomes of a preflight whose origin is not allowed. */
  readonly unmatchedPreflights: 'forward' | 'answer';
}

/** Undefined: none. */
export interface RouteTimeouts {
  readonly requestMs: number | undefined;
  readonly perTryMs: number | undefined;
}

export interface RetryPolicy {
  /** Beside the first try; 0: never. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  /** Beside `on`. */
  readonly statuses: readonly number[];
  readonly backoffMs: number;
  readonly remoteLocalities: boolean;
  readonly ignorePreviousHosts: boolean;
}

export type RetryCondition =
  | '5xx'
  | 'gateway-error'
  | 'reset'
  | 'reset-before-request'
  | 'connect-failure'
  | 'retriable-4xx'
  | 'refused-stream'
  | 'retriable-status-codes'
  | 'retriable-headers'
  | 'http3-post-connect-failure'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'internal'
  | 'resource-exhausted'
  | 'unavailable';
