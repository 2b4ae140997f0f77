// One request from its head to the last byte of its answer. The order of what happens:
//
//   hygiene ─> telemetry begins ─> CORS, faults ─> tokens ─> CUSTOM provider ─> policies ─> rate limits ─> route
//     ─> redirect | direct answer | forward: backend ─> tries (endpoint, connection, response) ─> response filters
//
// What is configured is looked up once, at the beginning (`HttpPlace`): a change in the middle does not touch it.
// Hot path: nothing here waits, or makes a promise, unless a part does.

import { type BackendChoice, chooseBackend } from '../../model/http/backend.ts';
import type { RouteResult } from '../../model/http/match-route.ts';
import type { VerifiedToken } from '../../model/http/request.ts';
import type {
  BackendTarget,
  HeaderFilter,
  Redirect,
  RetryPolicy,
  RouteAction,
  RouteTimeouts,
} from '../../model/http/route.ts';
import type { RouteEntry } from '../../model/http/route-table.ts';
import { denialDetails, type HttpVerdict } from '../../model/http/verdict.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import type { Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { grpcTimeoutMs } from '../../wire/grpc/timeout.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type {
  ClientInfo,
  Endpoint,
  Exchange,
  HttpProtocol,
  LocalReply,
  PickFailure,
  ProviderAnswer,
  ResponseFlag,
  UpstreamInfo,
} from '../contracts.ts';
import type { Engine, HttpPlace, Target } from '../engine.ts';
import type {
  ClientStream,
  RequestAbort,
  RequestSink,
  RequestStart,
  ResponseStart,
  ServerStream,
  UpstreamFailure,
  UpstreamRequest,
} from '../streams/http-stream.ts';
import type { UpstreamPick } from '../upstream/index.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import { judgeCors, writeCorsHeaders } from './cors.ts';
import { httpDate } from './date.ts';
import { GrpcMessages } from './grpc-messages.ts';
import { applyHeaderFilter, applyResponseFilters } from './header-filters.ts';
import {
  DEADLINE_EXCEEDED,
  failureReply,
  httpStatusOf,
  INTERNAL_ERROR,
  localResponse,
  NO_CLUSTER,
  NO_HEALTHY_UPSTREAM,
  OVERFLOW,
  PAYLOAD_TOO_LARGE,
  PER_TRY_TIMEOUT,
  REQUEST_TIMEOUT,
  ROUTE_NOT_FOUND,
  reply,
  UPGRADE_REFUSED,
} from './local-reply.ts';
import { Mirror } from './mirror.ts';
import { redirectLocation } from './paths.ts';
import { DEFAULT_RETRY, happens, type PreparedRule, prepareRule } from './prepared-rule.ts';
import type { Received } from './received.ts';
import { RequestBody } from './request-body.ts';
import type { RequestView } from './request-view.ts';
import { backoffMs, isIdempotent, retriesAnswer, retriesFailure } from './retry.ts';
import { sessionIn, writeSession } from './session.ts';
import { speaksHttp2 } from './upstream-protocol.ts';

const log = logger('http');
const NONE: readonly never[] = [];

/** What Istio's proxies call themselves. */
const SERVER = 'istio-envoy';
const TO_HTTPS: Redirect = {
  kind: 'redirect',
  status: 301,
  scheme: 'https',
  host: undefined,
  port: 'ofScheme',
  path: undefined,
};

type Headers = readonly { readonly name: string; readonly value: string }[];

/** Node's timers go no further (24.8 days), and fire at once for more. */
const NEVER_MS = 2 ** 31 - 1;

export class HttpExchange implements Exchange, RequestSink, AttemptOwner {
  // ---- what filters and telemetry see ----
  readonly startedAtMs: number;
  readonly client: ClientInfo;
  readonly protocol: HttpProtocol;
  readonly request: RequestView;
  readonly originalPath: string;
  readonly requestFields: Fields;
  readonly isGrpc: boolean;
  token: VerifiedToken | undefined = undefined;
  service: ServiceConfig | undefined;
  verdict: HttpVerdict | undefined = undefined;
  route: RouteEntry | undefined = undefined;
  upstream: UpstreamInfo | undefined = undefined;
  tries = 0;
  responseStatus = 0;
  responseFields: Fields | undefined = undefined;
  responseTrailers: Fields | undefined = undefined;
  details = '';
  upstreamFailure: string | undefined = undefined;
  readonly flags = new Set<ResponseFlag>();
  bytesReceived = 0;
  bytesSent = 0;
  requestMessages = 0;
  responseMessages = 0;
  responseStartedAfterMs: number | undefined = undefined;
  endedAfterMs: number | undefined = undefined;

  // ---- its own ----
  readonly #engine: Engine;
  readonly #place: HttpPlace | undefined;
  readonly #stream: ServerStream;
  readonly #start: RequestStart;
  readonly #edge: boolean;
  /** Of the monotonic clock, for durations. */
  readonly #startedMs: number;
  readonly #body: RequestBody | undefined;
  readonly #requestCount: GrpcMessages | undefined;
  readonly #responseCount: GrpcMessages | undefined;
  #rule: PreparedRule | undefined = undefined;
  #timeouts: RouteTimeouts | undefined = undefined;
  #corsOrigin: string | undefined = undefined;
  #toDownstream: Headers = NONE;
  #backendFilters: readonly HeaderFilter[] = NONE;
  /** Undefined until the request is forwarded. */
  #target: Target | undefined = undefined;
  #authority: string;
  /** Path and query as they go upstream. */
  #path: string;
  #query: string;
  #attempt: Attempt | undefined = undefined;
  #tried: Endpoint[] = NONE as never[];
  #retries = 0;
  /** Of the client's session, `ip:port`. */
  #knownEndpoint: string | undefined = undefined;
  #replayedStale = false;
  #timer: Timer | undefined = undefined;
  #tryTimer: Timer | undefined = undefined;
  #pause: Timer | undefined = undefined;
  #mirrors: Mirror[] = NONE as never[];
  #awaitedBody: { readonly maxBytes: number; readonly resolve: () => void } | undefined = undefined;
  #requestEnded = false;
  #continued = false;
  /** The answer's head is out. */
  #answered = false;
  #upgraded = false;
  #oneEnded = false;
  #over = false;

  constructor(engine: Engine, place: HttpPlace | undefined, stream: ServerStream, received: Received) {
    const { start, client, view } = received;
    this.#engine = engine;
    this.#place = place;
    this.#stream = stream;
    this.#start = start;
    this.#edge = received.edge;
    this.#startedMs = performance.now();
    this.startedAtMs = performance.timeOrigin + this.#startedMs;
    this.client = client;
    this.protocol = start.protocol;
    this.request = view;
    this.originalPath = start.target;
    this.requestFields = start.fields;
    this.isGrpc = /^application\/grpc(?:$|[+;])/.test(start.fields.get('content-type') ?? '');
    this.service = place?.service;
    this.#authority = view.authority;
    this.#path = view.path + view.query;
    this.#query = view.query;
    this.#body = start.content === 'none' || start.content === 0 ? undefined : new RequestBody();
    this.#requestCount = this.isGrpc ? new GrpcMessages() : undefined;
    this.#responseCount = this.isGrpc ? new GrpcMessages() : undefined;
  }

  /** Telemetry sees to it that there is one. */
  get id(): string {
    return this.requestFields.get('x-request-id') ?? '';
  }

  /** Another query for upstream, with its `?` or empty: what was in it is not for the endpoint. */
  setQuery(query: string): void {
    this.#query = query;
    this.#path = this.request.path + query;
  }

  /** @param refused  what is wrong with the head, if anything: answered without asking anybody */
  begin(refused: LocalReply | undefined): void {
    try {
      const place = this.#place;
      if (place === undefined) this.#reply(refused ?? ROUTE_NOT_FOUND);
      else {
        place.scope.telemetry.begin(this);
        if (refused !== undefined) this.#reply(refused);
        else this.#decide(place);
      }
    } catch (error) {
      this.#fault(error);
    }
  }

  // ---- may it go on? ----

  #decide(place: HttpPlace): void {
    if (place.redirectsToHttps) {
      const { authority, path, query } = this.request;
      const location = redirectLocation(TO_HTTPS, { scheme: 'http', authority, path, query }, undefined);
      this.#reply(reply(301, '', 'direct_response', undefined, [{ name: 'location', value: location }]));
      return;
    }
    const early = place.routes?.actsEarly === true ? place.routes.router.match(this.request) : undefined;
    if (early?.kind === 'matched') this.#actEarly(place, prepareRule(early.entry.rule), early);
    else this.#checkTokens(place, early);
  }

  #actEarly(place: HttpPlace, rule: PreparedRule, early: RouteResult): void {
    const { random, clock } = this.#engine;
    if (rule.cors !== undefined) {
      const cors = judgeCors(rule.cors, this.request.method, this.requestFields);
      if (cors.kind === 'allowed') this.#corsOrigin = cors.origin;
      if (cors.kind === 'answer') {
        this.#reply(cors.reply);
        return;
      }
    }
    const { delay } = rule;
    if (delay === undefined || !happens(delay.share, random())) {
      this.#abortOrGoOn(place, rule, early);
      return;
    }
    this.flags.add('DI');
    this.#pause = clock.after(delay.delayMs, () => {
      this.#pause = undefined;
      this.#guarded(() => this.#abortOrGoOn(place, rule, early));
    });
  }

  #abortOrGoOn(place: HttpPlace, { abort }: PreparedRule, early: RouteResult): void {
    if (abort === undefined || !happens(abort.share, this.#engine.random())) {
      this.#checkTokens(place, early);
      return;
    }
    const status = 'httpStatus' in abort.with ? abort.with.httpStatus : httpStatusOf(abort.with.grpcStatus);
    const made = reply(status, 'fault filter abort', 'fault_filter_abort', 'FI');
    this.#reply('grpcStatus' in abort.with ? { ...made, grpcStatus: abort.with.grpcStatus } : made);
  }

  #checkTokens(place: HttpPlace, early: RouteResult | undefined): void {
    const refused = place.scope.tokens?.check(this);
    if (refused instanceof Promise) this.#later(refused, (late) => this.#tokensChecked(place, early, late));
    else this.#tokensChecked(place, early, refused);
  }

  #tokensChecked(place: HttpPlace, early: RouteResult | undefined, refused: LocalReply | undefined): void {
    if (refused !== undefined) {
      this.#reply(refused);
      return;
    }
    this.request.token = this.token;
    this.#authorize(place, early);
  }

  #authorize(place: HttpPlace, early: RouteResult | undefined): void {
    const { authorizer } = place.scope;
    if (authorizer === undefined) {
      this.#limit(place, early);
      return;
    }
    const verdict = authorizer.authorize(this.request);
    this.verdict = verdict;
    if (verdict.effect === 'ask')
      this.#later(this.#ask(place, verdict.provider), (go) => go && this.#judged(place, early));
    else this.#judged(place, early);
  }

  #judged(place: HttpPlace, early: RouteResult | undefined): void {
    const { verdict } = this;
    if (verdict?.effect === 'allow') this.#limit(place, early);
    else this.#reply(reply(403, 'RBAC: access denied', denialDetails(verdict?.because)));
  }

  /** CUSTOM: the provider is asked, then everything else is judged, with the headers that it set. */
  async #ask(place: HttpPlace, name: string): Promise<boolean> {
    const { proxy, authorizer } = place.scope;
    const provider = proxy.authorizationProviders.find((each) => each.name === name);
    if (provider === undefined) return true; // the verdict `ask` is no permit: refused
    let body: Buffer | undefined;
    if (provider.body !== undefined && this.#body !== undefined) {
      const { maxBytes, allowsPartial } = provider.body;
      await this.#beginningOfBody(maxBytes);
      if (this.#over) return false;
      if (this.#body.bytes > maxBytes && !allowsPartial) {
        this.#reply(PAYLOAD_TOO_LARGE);
        return false;
      }
      body = this.#body.beginning(maxBytes);
    }
    const answer: ProviderAnswer = await this.#engine.providers.ask(provider, this, body);
    if (this.#over) return false;
    if (answer.kind === 'refuse') {
      this.flags.add('UAEX');
      this.#reply(answer.reply);
      return false;
    }
    this.#toDownstream = answer.toDownstream;
    this.verdict = authorizer?.authorize(this.request, 'passed');
    return true;
  }

  /** Waits until that much of the content is here, or all of it. */
  #beginningOfBody(maxBytes: number): Promise<void> {
    const body = this.#body;
    if (body === undefined || body.ended || body.bytes > maxBytes) return Promise.resolve();
    this.#letContinue();
    return new Promise((resolve) => {
      this.#awaitedBody = { maxBytes, resolve };
    });
  }

  #limit(place: HttpPlace, early: RouteResult | undefined): void {
    const { rateLimits } = place.scope;
    for (let i = 0; i < rateLimits.length; i++) {
      const refused = rateLimits[i]?.check(this);
      if (refused instanceof Promise) {
        this.#later(this.#limitFrom(place, refused, i), (late) =>
          late === undefined ? this.#routeIt(place, early) : this.#reply(late),
        );
        return;
      }
      if (refused !== undefined) {
        this.#reply(refused);
        return;
      }
    }
    this.#routeIt(place, early);
  }

  async #limitFrom(
    place: HttpPlace,
    first: Promise<LocalReply | undefined>,
    from: number,
  ): Promise<LocalReply | undefined> {
    let refused = await first;
    for (let i = from + 1; refused === undefined && i < place.scope.rateLimits.length; i++)
      refused = await place.scope.rateLimits[i]?.check(this);
    return refused;
  }

  // ---- where does it go? ----

  #routeIt(place: HttpPlace, early: RouteResult | undefined): void {
    for (const filter of place.scope.headers)
      if (filter.kind === 'requestHeaders')
        this.#authority = applyHeaderFilter(this.requestFields, filter) ?? this.#authority;
    const { routes, target } = place;
    if (routes === undefined) {
      if (target === undefined) this.#reply(ROUTE_NOT_FOUND);
      else if (this.request.method === 'CONNECT') this.#reply(UPGRADE_REFUSED);
      else this.#forwardTo(target, NONE);
      return;
    }
    const result = early === undefined || routes.asksForToken ? routes.router.match(this.request) : early;
    if (result.kind === 'notFound') {
      this.#reply(ROUTE_NOT_FOUND);
      return;
    }
    const { entry } = result;
    this.route = entry;
    const rule = prepareRule(entry.rule);
    this.#rule = rule;
    if (this.request.method === 'CONNECT' && !asksForConnect(entry)) {
      this.#reply(UPGRADE_REFUSED);
      return;
    }
    this.#act(entry.rule.action, rule, entry.rule.timeouts);
  }

  #act(action: RouteAction, rule: PreparedRule, timeouts: RouteTimeouts): void {
    switch (action.kind) {
      case 'redirect': {
        const location = redirectLocation(action, this.request, rule.redirectPath);
        const headers = [{ name: 'location', value: location }];
        this.#reply(reply(action.status, '', 'direct_response', undefined, headers));
        return;
      }
      case 'direct':
        this.#reply(reply(action.status, action.body, 'direct_response'));
        return;
      case 'forward': {
        const choice: BackendChoice = chooseBackend(action.backends, this.#engine.random());
        if (choice.kind === 'fail') {
          this.#reply(choice.status === 503 ? NO_CLUSTER : reply(500, '', 'direct_response'));
          return;
        }
        this.#timeouts = timeouts;
        this.#rewrite(rule);
        this.#forwardTo(choice.backend.target, choice.backend.filters);
      }
    }
  }

  #rewrite(rule: PreparedRule): void {
    for (const filter of rule.requestHeaders)
      this.#authority = applyHeaderFilter(this.requestFields, filter) ?? this.#authority;
    if (rule.rewriteHost !== undefined) this.#authority = rule.rewriteHost;
    const { path, method } = this.request;
    if (rule.rewritePath === undefined || path === '*' || method === 'CONNECT') return;
    const rewritten = rule.rewritePath(path, this.#query);
    if (rewritten === this.#path) return;
    this.requestFields.set('x-envoy-original-path', this.#path);
    this.#path = rewritten;
  }

  #forwardTo(
    target: Exclude<BackendTarget, { readonly kind: 'invalid' }> | Target,
    filters: readonly HeaderFilter[],
  ): void {
    this.#backendFilters = filters;
    for (const filter of filters)
      if (filter.kind === 'requestHeaders')
        this.#authority = applyHeaderFilter(this.requestFields, filter) ?? this.#authority;
    if (this.#authority === '') this.#authority = target.service.slice(target.service.indexOf('/') + 1);
    this.requestFields.set('host', this.#authority);
    this.#target = { service: target.service, port: target.port, subset: target.subset };
    this.#startMirrors();
    if (this.#requestEnded || this.#body === undefined) this.#armTimer();
    this.#try();
  }

  #startMirrors(): void {
    const { mirrors } = this.#rule ?? { mirrors: NONE };
    if (mirrors.length === 0) return;
    const { random } = this.#engine;
    this.#mirrors = [];
    for (const { target, share } of mirrors)
      if (target.kind === 'service' && happens(share, random()))
        this.#mirrors.push(new Mirror(this.#engine, this, target, this.#upstreamRequest(false), this.#body));
  }

  // ---- tries ----

  #try(): void {
    const target = this.#target as Target;
    this.tries += 1;
    const session = this.#rule?.session;
    if (session !== undefined) this.#knownEndpoint = sessionIn(session, this.requestFields);
    const picked = this.#engine.choice.pick(target, this.client, this, this.#tried, this.#knownEndpoint);
    if (picked instanceof Promise) this.#later(picked, (late) => this.#picked(target, late));
    else this.#picked(target, picked);
  }

  #picked(target: Target, picked: UpstreamPick | PickFailure): void {
    if ('kind' in picked) {
      this.#reply(
        picked.kind === 'noService' ? NO_CLUSTER : picked.kind === 'overflow' ? OVERFLOW : NO_HEALTHY_UPSTREAM,
      );
      return;
    }
    const service = this.#engine.service(target.service);
    if (service === undefined) {
      picked.done({ kind: 'cancelled' });
      this.#reply(NO_CLUSTER);
      return;
    }
    this.service ??= service;
    this.#attemptAt(target, service, picked, false);
  }

  #attemptAt(target: Target, service: ServiceConfig, pick: UpstreamPick, fresh: boolean): void {
    const { endpoint } = pick;
    this.upstream = {
      service,
      port: target.port,
      subset: target.subset,
      endpoint,
      localAddress: undefined,
      meshed: endpoint.tunnel !== undefined,
    };
    const http2 = speaksHttp2(service, target.port, pick.policy, this.protocol === 'HTTP/2', this.isGrpc);
    const attempt = new Attempt(this.#engine, this, {
      target,
      service,
      pick,
      http2,
      host: this.#authority,
      client: this.client,
      fresh,
    });
    this.#attempt = attempt;
    attempt.begin();
  }

  requestFor(): UpstreamRequest {
    return this.#upstreamRequest(true);
  }

  #upstreamRequest(upgrades: boolean): UpstreamRequest {
    const { method, scheme } = this.request;
    const { content, upgrade } = this.#start;
    return {
      method,
      scheme: scheme === 'https' ? 'https' : 'http',
      authority: this.#authority,
      target: method === 'CONNECT' ? this.request.authority : this.#path,
      fields: this.requestFields,
      content,
      upgrade: upgrades ? upgrade : undefined,
    };
  }

  opened(attempt: Attempt, stream: ClientStream): void {
    const body = this.#body;
    if (body !== undefined) {
      this.#letContinue();
      if (body.sendTo(stream)) this.#stream.resume();
      if (!this.#mayReplay()) body.forget();
    }
    if (attempt === this.#attempt && (this.#requestEnded || body === undefined)) this.#armTryTimer();
  }

  /** Whether any failure could still lead to another try. */
  #mayReplay(): boolean {
    return this.#retryPolicy.attempts > this.#retries || isIdempotent(this.request.method);
  }

  #letContinue(): void {
    if (!this.#start.expectsContinue || this.#continued) return;
    this.#continued = true;
    this.#stream.interim(100, undefined);
  }

  failed(attempt: Attempt, failure: UpstreamFailure | 'overflow'): void {
    this.#guarded(() => this.#tryFailed(attempt, failure));
  }

  #tryFailed(attempt: Attempt, failure: UpstreamFailure | 'overflow'): void {
    this.#tryTimer?.cancel();
    if (failure === 'overflow') {
      this.#reply(OVERFLOW);
      return;
    }
    this.upstreamFailure = failure.text;
    if (this.#answered) {
      this.#breakOff(failure.kind === 'ended' ? 'UC' : failure.kind === 'protocol' ? 'UPE' : 'UR', failure);
      return;
    }
    if (this.#replayStale(attempt, failure)) return;
    if (this.#canRetry() && retriesFailure(this.#retryPolicy, failure, attempt.sent)) {
      this.#retry(attempt);
      return;
    }
    if (this.#retries > 0) this.flags.add('URX');
    this.#reply(failureReply(failure, this.#retries > 0));
  }

  /** A kept connection that was dead already: the request is sent again at once, on a new one, if that can do no harm. */
  #replayStale(attempt: Attempt, failure: UpstreamFailure): boolean {
    if (this.#replayedStale || failure.answered || !attempt.onUsedConnection) return false;
    if (failure.kind !== 'ended' && failure.kind !== 'reset' && failure.kind !== 'refused') return false;
    const safe = failure.kind === 'refused' || isIdempotent(this.request.method);
    if (!safe || this.#body?.whole === false) return false;
    this.#replayedStale = true;
    const target = this.#target as Target;
    const picked = this.#engine.choice.pick(target, this.client, this, NONE);
    if (picked instanceof Promise || 'kind' in picked) {
      if (picked instanceof Promise) this.#later(picked, (late) => this.#picked(target, late));
      else this.#picked(target, picked);
      return true;
    }
    this.#attemptAt(target, attempt.order.service, picked, true);
    return true;
  }

  get #retryPolicy(): RetryPolicy {
    return this.#rule?.retry ?? DEFAULT_RETRY;
  }

  #canRetry(): boolean {
    return (
      this.#retries < this.#retryPolicy.attempts && this.#body?.whole !== false && this.#start.upgrade === undefined
    );
  }

  #retry(attempt: Attempt): void {
    this.#retries += 1;
    this.#tried = [...this.#tried, attempt.order.pick.endpoint];
    this.#attempt = undefined;
    this.#tryTimer?.cancel();
    const waitMs = backoffMs(this.#retryPolicy, this.#retries, this.#engine.random());
    this.#pause = this.#engine.clock.after(waitMs, () => {
      this.#pause = undefined;
      this.#guarded(() => this.#try());
    });
  }

  // ---- times ----

  /** Both begin when the request is complete (Envoy). */
  #armTimer(): void {
    if (this.#timer !== undefined || this.#over) return;
    const requestMs = this.#timeouts?.requestMs || NEVER_MS;
    // What a gRPC client will wait counts too, but not beyond the route's (Istio: max_grpc_timeout).
    const askedMs = this.isGrpc ? grpcTimeoutMs(this.requestFields.get('grpc-timeout')) : undefined;
    if (askedMs !== undefined && askedMs < Math.min(requestMs, NEVER_MS))
      this.#timer = this.#engine.clock.after(askedMs, () => this.#timedOut(DEADLINE_EXCEEDED));
    else if (requestMs < NEVER_MS)
      this.#timer = this.#engine.clock.after(requestMs, () => this.#timedOut(REQUEST_TIMEOUT));
  }

  #armTryTimer(): void {
    const perTryMs = this.#timeouts?.perTryMs;
    if (perTryMs === undefined || perTryMs === 0 || perTryMs > NEVER_MS || this.#over || this.#answered) return;
    this.#tryTimer?.cancel();
    this.#tryTimer = this.#engine.clock.after(perTryMs, () => this.#tryTimedOut());
  }

  #timedOut(answer: LocalReply): void {
    if (this.#over) return;
    this.#pause?.cancel();
    this.#attempt?.cancel({ kind: 'timeout' });
    this.#attempt = undefined;
    if (this.#answered) this.#breakOff('UT', undefined);
    else this.#reply(answer);
  }

  #tryTimedOut(): void {
    const attempt = this.#attempt;
    if (this.#over || this.#answered || attempt === undefined) return;
    attempt.cancel({ kind: 'timeout' });
    const failure: UpstreamFailure = { kind: 'reset', answered: false, text: 'per-try timeout' };
    if (this.#canRetry() && retriesFailure(this.#retryPolicy, failure, true)) this.#retry(attempt);
    else this.#timedOut(PER_TRY_TIMEOUT);
  }

  // ---- the request's content ----

  data(piece: Buffer): void {
    if (this.#over) return;
    this.bytesReceived += piece.length;
    this.#requestCount?.feed(piece);
    const stream = this.#attempt?.stream;
    if (this.#upgraded) {
      if (stream?.write(piece) === false) this.#stream.pause();
      return;
    }
    const body = this.#body;
    if (body === undefined) return;
    for (const mirror of this.#mirrors) mirror.data(piece);
    body.add(piece);
    if (stream !== undefined) {
      if (!stream.write(piece)) this.#stream.pause();
      body.shrink();
    } else if (body.full) this.#stream.pause();
    const awaited = this.#awaitedBody;
    if (awaited !== undefined && body.bytes > awaited.maxBytes) this.#bodyIsHere();
    else if (awaited !== undefined) this.#stream.resume();
  }

  end(trailers: Fields | undefined): void {
    if (this.#over) return;
    if (this.#upgraded) {
      this.#attempt?.stream?.end(undefined);
      this.#halfEnded();
      return;
    }
    this.#requestEnded = true;
    const body = this.#body;
    if (body === undefined) return;
    body.ended = true;
    body.trailers = trailers;
    for (const mirror of this.#mirrors) mirror.end();
    if (this.#awaitedBody !== undefined) this.#bodyIsHere();
    if (this.#target === undefined) return;
    this.#armTimer();
    const stream = this.#attempt?.stream;
    if (stream === undefined) return;
    stream.end(trailers);
    this.#armTryTimer();
  }

  #bodyIsHere(): void {
    this.#awaitedBody?.resolve();
    this.#awaitedBody = undefined;
  }

  requestWritable(): void {
    this.#stream.resume();
  }

  aborted({ kind, status, details }: RequestAbort): void {
    if (this.#over) return;
    this.flags.add(kind === 'gone' ? 'DC' : kind === 'protocol' ? 'DPE' : 'SI');
    this.details = details;
    if (this.responseStatus === 0) this.responseStatus = status;
    this.#finish();
  }

  // ---- the response ----

  interim(status: number, fields: Fields): void {
    if (!this.#answered && status !== 100) this.#stream.interim(status, fields);
  }

  response(attempt: Attempt, head: ResponseStart, ends: boolean): void {
    try {
      this.#responded(attempt, head, ends);
    } catch (error) {
      this.#fault(error);
    }
  }

  #responded(attempt: Attempt, head: ResponseStart, ends: boolean): void {
    this.#tryTimer?.cancel();
    if ((head.status >= 400 || this.isGrpc) && retriesAnswer(this.#retryPolicy, head.status, head.fields)) {
      if (this.#canRetry()) {
        attempt.discard();
        this.#retry(attempt);
        return;
      }
      if (this.#retries > 0) this.flags.add('URX');
    }
    const { fields, status } = head;
    const { request } = this;
    this.#upgraded = status === 101 || (request.method === 'CONNECT' && status >= 200 && status < 300);
    if (this.#upgraded) this.#timer?.cancel();
    else this.#body?.forget();
    const tookMs = Math.round(performance.now() - attempt.startedMs);
    fields.set('x-envoy-upstream-service-time', String(Math.max(0, tookMs)));
    if (this.#edge) fields.set('server', SERVER);
    const cookie = attempt.order.pick.setCookie;
    if (cookie !== undefined) fields.append('set-cookie', cookie);
    const session = this.#rule?.session;
    if (session !== undefined)
      writeSession(session, fields, attempt.order.pick.endpoint.address, this.#knownEndpoint, this.client.secure);
    this.details = 'via_upstream';
    if (ends) this.#attempt = undefined;
    this.#send(head, ends);
    if (ends) this.#finish();
  }

  /** Every answer goes out here, made here or there. */
  #send(head: ResponseStart, ends: boolean): void {
    const { fields, status } = head;
    const place = this.#place;
    if (this.#corsOrigin !== undefined && this.#rule?.cors !== undefined)
      writeCorsHeaders(fields, this.#rule.cors, this.#corsOrigin);
    if (this.#rule !== undefined) applyResponseFilters(fields, this.#rule.responseHeaders);
    for (const filter of this.#backendFilters) if (filter.kind === 'responseHeaders') applyHeaderFilter(fields, filter);
    if (place !== undefined)
      for (const filter of place.scope.headers)
        if (filter.kind === 'responseHeaders') applyHeaderFilter(fields, filter);
    for (const { name, value } of this.#toDownstream) fields.append(name, value);
    this.#answered = true;
    this.responseStatus = status;
    this.responseFields = fields;
    this.responseStartedAfterMs = performance.now() - this.#startedMs;
    this.#stream.respond(head, ends);
  }

  responseData(piece: Buffer): void {
    this.bytesSent += piece.length;
    this.#responseCount?.feed(piece);
    if (!this.#stream.write(piece)) this.#attempt?.stream?.pause();
  }

  writable(): void {
    this.#attempt?.stream?.resume();
  }

  responseEnd(trailers: Fields | undefined): void {
    this.responseTrailers = trailers;
    if (this.#upgraded) {
      this.#stream.end(undefined);
      this.#halfEnded();
      return;
    }
    this.#attempt = undefined;
    this.#stream.end(trailers);
    this.#finish();
  }

  /** Of an upgraded exchange each direction ends by itself. */
  #halfEnded(): void {
    if (!this.#oneEnded) {
      this.#oneEnded = true;
      return;
    }
    this.#attempt = undefined;
    this.#finish();
  }

  // ---- answers of our own ----

  #reply(made: LocalReply): void {
    if (this.#over || this.#answered) return;
    this.#attempt?.cancel({ kind: 'cancelled' });
    this.#attempt = undefined;
    const { head, body } = localResponse(made, this.isGrpc);
    const { fields } = head;
    fields.set('date', httpDate(this.#engine.sweeper.nowMs));
    fields.set('server', SERVER);
    if (made.status === 401 || made.status === 403)
      for (const filter of this.#place?.scope.authenticationResponses ?? NONE) applyHeaderFilter(fields, filter);
    this.details = made.details;
    if (made.flag !== undefined) this.flags.add(made.flag);
    const ends = body.length === 0 || this.request.method === 'HEAD';
    this.#send(head, ends);
    if (!ends) {
      this.bytesSent += body.length;
      this.#stream.write(body);
      this.#stream.end(undefined);
    }
    this.#finish();
  }

  /** The answer had begun: all that is left is to let the client see that it is not whole. */
  #breakOff(flag: ResponseFlag, failure: UpstreamFailure | undefined): void {
    this.flags.add(flag);
    this.details =
      failure === undefined ? 'response_timeout' : `upstream_reset_after_response_started{${failure.kind}}`;
    this.#stream.reset();
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    this.#tryTimer?.cancel();
    this.#pause?.cancel();
    this.#attempt?.cancel({ kind: 'cancelled' });
    this.#attempt = undefined;
    this.#body?.forget();
    this.#bodyIsHere();
    for (const mirror of this.#mirrors) mirror.requestOver();
    this.requestMessages = this.#requestCount?.count ?? 0;
    this.responseMessages = this.#responseCount?.count ?? 0;
    this.endedAfterMs = performance.now() - this.#startedMs;
    try {
      this.#place?.scope.telemetry.finish(this);
    } catch (error) {
      log.error('telemetry of a request failed', { error: error as Error });
    }
  }

  // ---- what may go wrong in between ----

  #later<T>(promise: Promise<T>, next: (value: T) => void): void {
    promise.then(
      (value) => {
        if (!this.#over && !this.#answered) this.#guarded(() => next(value));
      },
      (error: unknown) => this.#fault(error),
    );
  }

  #guarded(step: () => void): void {
    if (this.#over) return;
    try {
      step();
    } catch (error) {
      this.#fault(error);
    }
  }

  /** A fault of ours: refused, never passed on. */
  #fault(error: unknown): void {
    if (this.#over) return;
    log.error('a request met a fault', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    if (this.#answered) this.#breakOff('LR', undefined);
    else this.#reply(INTERNAL_ERROR);
  }
}

/** Whether a route's match names the method, as it must for CONNECT. */
const asksForConnect = ({ match }: RouteEntry): boolean =>
  match.some(
    ({ field, predicate, negated }) =>
      field === 'request.method' && !negated && predicate.kind === 'exact' && predicate.value === 'CONNECT',
  );
