// Which failures and answers are tried again, and when (Envoy: x-envoy-retry-on and its gRPC form).

import type { RetryCondition, RetryPolicy } from '../../model/http/route.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type { UpstreamFailure } from '../streams/http-stream.ts';

/** Backoff never grows beyond this many times its base (Envoy). */
const MAX_BACKOFF_FACTOR = 10;

const GRPC: ReadonlyMap<string, RetryCondition> = new Map([
  ['1', 'cancelled'],
  ['4', 'deadline-exceeded'],
  ['13', 'internal'],
  ['8', 'resource-exhausted'],
  ['14', 'unavailable'],
]);

/** @param fields  of the response: a gRPC status is looked at only where headers hold it, before any content */
export function retriesAnswer({ on, statuses }: RetryPolicy, status: number, fields: Fields): boolean {
  if (status < 400) {
    const code = fields.get('grpc-status');
    const condition = code === undefined ? undefined : GRPC.get(code);
    return condition !== undefined && on.includes(condition);
  }
  if (statuses.includes(status)) return true;
  if (status >= 500 && on.includes('5xx')) return true;
  if ((status === 502 || status === 503 || status === 504) && on.includes('gateway-error')) return true;
  return status === 409 && on.includes('retriable-4xx');
}

/** @param sent  whether the request's head may have reached the endpoint */
export function retriesFailure({ on }: RetryPolicy, { kind }: UpstreamFailure, sent: boolean): boolean {
  if (on.includes('5xx') || on.includes('gateway-error') || on.includes('reset')) return true;
  if (!sent && on.includes('reset-before-request')) return true;
  if (kind === 'connect') return on.includes('connect-failure');
  return kind === 'refused' && on.includes('refused-stream');
}

/** Full jitter under a doubling bound. @param retry  1 for the first */
export function backoffMs({ backoffMs: base }: RetryPolicy, retry: number, random: number): number {
  return random * Math.min(base * (2 ** retry - 1), base * MAX_BACKOFF_FACTOR);
}

/** RFC 9110 §9.2.2: what may be sent again when nobody knows whether it was processed. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);
export const isIdempotent = (method: string): boolean => IDEMPOTENT.has(method);
