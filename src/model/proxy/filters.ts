// What else happens to requests: rate limits and fixed header changes, by our own resource or by the EnvoyFilter patterns
// that are honoured.

import type { TextPredicate } from '../facts.ts';
import type { HeaderFilter } from '../http/route.ts';

export interface TrafficFilters {
  /** All must have room. */
  readonly localRateLimits: readonly LocalRateLimit[];
  readonly globalRateLimit: GlobalRateLimit | undefined;
  readonly headers: readonly HeaderFilter[];
  /** Changes of responses that this proxy itself makes with 401 or 403. */
  readonly authenticationResponses: readonly HeaderFilter[];
}

export const NO_FILTERS: TrafficFilters = {
  localRateLimits: [],
  globalRateLimit: undefined,
  headers: [],
  authenticationResponses: [],
};

/** A token bucket. */
export interface LocalRateLimit {
  /** `Kind/namespace/name` of the object it comes from. */
  readonly origin: string;
  readonly maxTokens: number;
  readonly tokensPerFill: number;
  readonly fillIntervalMs: number;
  readonly status: number;
  /** Added to refusals. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  /** Every one must hold; none: every request. `field` as facts name it: `request.path`, `request.header:x-user`. */
  readonly only: readonly { readonly field: string; readonly predicate: TextPredicate }[];
}

/** Envoy's rate-limit service protocol (envoy.service.ratelimit.v3). */
export interface GlobalRateLimit {
  readonly origin: string;
  readonly domain: string;
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  /** Each yields one descriptor if all of its entries have a value. */
  readonly descriptors: readonly (readonly RateLimitEntry[])[];
}

export type RateLimitEntry =
  | { readonly kind: 'literal'; readonly key: string; readonly value: string }
  | { readonly kind: 'header'; readonly key: string; readonly header: string }
  | { readonly kind: 'remoteAddress' }
  | { readonly kind: 'path'; readonly key: string };
