// Rate limits of one proxy: local token buckets, and a service that counts for many proxies (Envoy's rate-limit protocol).
// Buckets outlive configurations, so that an unrelated change gives nobody a full bucket.

import type { RequestField } from '../../../model/facts.ts';
import { requestFacts } from '../../../model/http/request.ts';
import type { GlobalRateLimit, LocalRateLimit, RateLimitEntry, TrafficFilters } from '../../../model/proxy/filters.ts';
import type { Clock } from '../../../platform/clock.ts';
import { logger } from '../../../telemetry/log.ts';
import { isFieldValue, isToken } from '../../../wire/http1/index.ts';
import type { Exchange, LocalReply, RateLimits } from '../../contracts.ts';
import { isFraming } from '../authorizer/header-names.ts';
import { callGrpc, type HttpCaller } from '../http-caller.ts';
import { Seldom } from '../seldom.ts';
import { type Descriptor, decodeRateLimit, encodeRateLimit } from './ratelimit-bytes.ts';
import { TokenBucket } from './token-bucket.ts';

const log = logger('ratelimit');

const SHOULD_RATE_LIMIT = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';
const MOST_ANSWER_BYTES = 64 * 1024;
/** Buckets of configurations that went are dropped when they are full again and there are more than this. */
const MANY_BUCKETS = 1000;

export interface RequestLimitsOptions {
  readonly clock: Clock;
  readonly caller: HttpCaller;
}

export class RequestLimits {
  readonly #options: RequestLimitsOptions;
  readonly #seldom = new Seldom();
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(options: RequestLimitsOptions) {
    this.#options = options;
  }

  /** What the filters of one proxy or service come to; without limits everything passes. */
  of({ localRateLimits, globalRateLimit }: TrafficFilters): RateLimits {
    const local = localRateLimits.map((limit) => ({ limit, bucket: this.#bucket(limit) }));
    const { clock, caller } = this.#options;
    const seldom = this.#seldom;
    return {
      check(exchange) {
        const refused = checkLocal(local, exchange, clock);
        if (refused !== undefined || globalRateLimit === undefined) return refused;
        return checkGlobal(globalRateLimit, exchange, { caller, seldom });
      },
    };
  }

  #bucket({ origin, maxTokens, tokensPerFill, fillIntervalMs, only }: LocalRateLimit): TokenBucket {
    const key = JSON.stringify([origin, maxTokens, tokensPerFill, fillIntervalMs, only]);
    const nowMs = this.#options.clock.nowMs();
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      if (this.#buckets.size >= MANY_BUCKETS)
        for (const [old, other] of this.#buckets) if (other.isFull(nowMs)) this.#buckets.delete(old);
      bucket = new TokenBucket({ maxTokens, tokensPerFill, fillIntervalMs }, nowMs);
      this.#buckets.set(key, bucket);
    }
    return bucket;
  }
}

interface Limited {
  readonly limit: LocalRateLimit;
  readonly bucket: TokenBucket;
}

/** All that apply must have room; nothing is taken from any where one has none. */
function checkLocal(local: readonly Limited[], exchange: Exchange, clock: Clock): LocalReply | undefined {
  if (local.length === 0) return undefined;
  const facts = requestFacts(exchange.request);
  const applying = local.filter(({ limit }) =>
    limit.only.every(({ field, predicate }) => facts.test(field as RequestField, predicate)),
  );
  const nowMs = clock.nowMs();
  for (const { limit, bucket } of applying)
    if (!bucket.has(nowMs))
      return {
        status: limit.status,
        headers: limit.headers,
        body: 'local_rate_limited',
        details: 'local_rate_limited',
        flag: 'RL',
        grpcStatus: undefined,
      };
  for (const { bucket } of applying) bucket.take();
  return undefined;
}

async function checkGlobal(
  limit: GlobalRateLimit,
  exchange: Exchange,
  { caller, seldom }: { readonly caller: HttpCaller; readonly seldom: Seldom },
): Promise<LocalReply | undefined> {
  const descriptors = limit.descriptors
    .map((entries) => descriptorOf(entries, exchange))
    .filter((d) => d !== undefined);
  if (descriptors.length === 0) return undefined;
  const { host, port, timeoutMs } = limit;
  try {
    const message = encodeRateLimit(limit.domain, descriptors);
    const call = {
      host,
      port,
      method: SHOULD_RATE_LIMIT,
      headers: [],
      message,
      timeoutMs,
      maxAnswerBytes: MOST_ANSWER_BYTES,
    };
    const answer = decodeRateLimit(await callGrpc(caller, call));
    if (answer.code === 'unknown') throw new Error('the rate-limit service answered neither OK nor OVER_LIMIT');
    if (answer.code === 'overLimit')
      return {
        status: 429,
        headers: [{ name: 'x-envoy-ratelimited', value: 'true' }, ...answer.toDownstream.filter(isSendable)],
        body: answer.body,
        details: 'request_rate_limited',
        flag: 'RL',
        grpcStatus: undefined,
      };
    for (const header of answer.toUpstream)
      if (isSendable(header)) exchange.requestFields.set(header.name, header.value);
    return undefined;
  } catch (error) {
    seldom.warn(limit.origin, (unsaid) =>
      log.warn('rate-limit service cannot be asked', { origin: limit.origin, error: error as Error, before: unsaid }),
    );
    if (limit.failOpen) return undefined;
    return { status: 500, headers: [], body: '', details: 'rate_limiter_error', flag: 'RLSE', grpcStatus: undefined };
  }
}

const isSendable = ({ name, value }: { readonly name: string; readonly value: string }): boolean =>
  isToken(name) && isFieldValue(value) && !isFraming(name);

/** A descriptor counts only where each entry has a value (Envoy: actions). */
function descriptorOf(entries: readonly RateLimitEntry[], exchange: Exchange): Descriptor | undefined {
  const descriptor: { key: string; value: string }[] = [];
  for (const entry of entries) {
    const made = entryOf(entry, exchange);
    if (made === undefined || made.value === '') return undefined;
    descriptor.push(made);
  }
  return descriptor.length === 0 ? undefined : descriptor;
}

function entryOf(
  entry: RateLimitEntry,
  { request, requestFields, client }: Exchange,
): { key: string; value: string } | undefined {
  switch (entry.kind) {
    case 'literal':
      return { key: entry.key, value: entry.value };
    case 'remoteAddress':
      return { key: 'remote_address', value: request.remoteIp ?? client.source.ip };
    case 'path':
      return { key: entry.key, value: request.path };
    case 'header': {
      const value = pseudoHeader(entry.header, request) ?? requestFields.joined(entry.header.toLowerCase());
      return value === undefined ? undefined : { key: entry.key, value };
    }
  }
}

function pseudoHeader(name: string, { method, authority, path, query }: Exchange['request']): string | undefined {
  switch (name) {
    case ':method':
      return method;
    case ':authority':
      return authority;
    case ':path':
      return path + query;
    default:
      return undefined;
  }
}
