// Why a gateway or waypoint would answer a request as it does: policies and routes asked as the proxy asks them, with the
// working shown, in plain data and in sentences. For people; the proxies run the compiled forms of the same decisions.

import {
  describeHttpCondition,
  describeRequestPredicate,
  explainHttpAuthorization,
  type HttpAuthorizationTrace,
} from '../http/explain.ts';
import { explainRoute, type RouteExplanation } from '../http/match-route.ts';
import { type HttpRequest, requestFacts } from '../http/request.ts';
import type { HttpRoute, RouteAction, RouteFilter } from '../http/route.ts';
import { buildRouteTable, type RouteEntry } from '../http/route-table.ts';
import { principalOf } from '../identity.ts';
import type { ServiceKey } from '../workload.ts';
import type { ProxyConfig } from './proxy-config.ts';
import type { HttpRouteResource, RouteAttachment, RouteResource } from './route-resource.ts';
import type { ServiceConfig } from './service-config.ts';

/** Everything that a proxy was told. */
export interface ProxyKnowledge {
  readonly proxy: ProxyConfig;
  readonly routes: readonly RouteResource[];
  readonly services: readonly ServiceConfig[];
}

/** Where the request comes to. */
export type RequestPlace =
  | { readonly kind: 'service'; readonly service: ServiceKey; readonly port: number }
  | { readonly kind: 'listener'; readonly listener: string };

export type RequestOutcome =
  /** It goes on to an endpoint. */
  | { readonly kind: 'forwarded' }
  /** The proxy answers itself. */
  | { readonly kind: 'answered'; readonly status: number }
  /** An external authorizer decides. */
  | { readonly kind: 'asks'; readonly provider: string };

export interface RequestExplanation {
  readonly outcome: RequestOutcome;
  readonly authorization: HttpAuthorizationTrace | undefined;
  /** Undefined: nothing routes here, the service that was asked for takes it. */
  readonly route: RouteExplanation | undefined;
  /** In order of what happens. */
  readonly words: readonly string[];
}

/** Routes of a place in the order in which they are asked: by exposure, age, name. */
export function httpRoutesAt(routes: readonly RouteResource[], place: RequestPlace): readonly HttpRoute[] {
  const isHere = (attachment: RouteAttachment): boolean =>
    attachment.kind === 'service'
      ? place.kind === 'service' &&
        attachment.service === place.service &&
        (attachment.port === undefined || attachment.port === place.port)
      : place.kind === 'listener' && attachment.listener === place.listener;
  const nameOf = ({ origin }: RouteResource): string => `${origin.kind}/${origin.namespace}/${origin.name}`;
  return routes
    .filter((route): route is HttpRouteResource => route.kind === 'http' && route.attachments.some(isHere))
    .sort(
      (a, b) => a.order - b.order || a.origin.createdAtMs - b.origin.createdAtMs || (nameOf(a) < nameOf(b) ? -1 : 1),
    )
    .map(({ origin, rules, attachments }) => ({
      origin,
      rules,
      hosts:
        place.kind === 'service'
          ? ['*']
          : attachments
              .filter(isHere)
              .flatMap((attachment) => (attachment.kind === 'listener' ? attachment.hosts : [])),
    }));
}

/** The tokens are taken as they are in the request: whether one is valid is not known here. */
export function explainRequest(known: ProxyKnowledge, place: RequestPlace, request: HttpRequest): RequestExplanation {
  const { proxy, routes, services } = known;
  const facts = requestFacts(request);
  const service = place.kind === 'service' ? services.find(({ key }) => key === place.service) : undefined;
  const words: string[] = [`${request.method} ${request.authority}${request.path}${request.query}`];
  const policies = [...proxy.security.policies, ...(service?.bound?.security.policies ?? [])];
  const authorization = policies.length === 0 ? undefined : explainHttpAuthorization(policies, facts);
  words.push(
    ...(authorization === undefined ? ['no policy on requests applies'] : sentencesOf(authorization, request)),
  );
  const here = httpRoutesAt(routes, place);
  const route = here.length === 0 ? undefined : explainRoute(buildRouteTable(here), facts);
  const verdict = authorization?.verdict;
  if (verdict?.effect === 'deny') return { outcome: { kind: 'answered', status: 403 }, authorization, route, words };
  const outcome = routed(route, place, words);
  return {
    outcome: verdict?.effect === 'ask' ? { kind: 'asks', provider: verdict.provider } : outcome,
    authorization,
    route,
    words,
  };
}

function routed(route: RouteExplanation | undefined, place: RequestPlace, words: string[]): RequestOutcome {
  if (route === undefined) {
    if (place.kind === 'listener') {
      words.push(`no route is attached to the listener ${place.listener}: answered with 404`);
      return { kind: 'answered', status: 404 };
    }
    words.push(`no route acts on ${place.service}: it goes to the service itself`);
    return { kind: 'forwarded' };
  }
  const { result } = route;
  if (result.kind === 'notFound') {
    const why =
      result.why === 'noHost'
        ? `no route is for its host (there are: ${route.hosts.join(', ') || 'none'})`
        : `none of ${route.tried.length} matches for ${result.host} holds`;
    words.push(
      `${why}: answered with 404`,
      ...route.tried.slice(0, 5).map(({ entry, conditions }) => missed(entry, conditions)),
    );
    return { kind: 'answered', status: 404 };
  }
  const { entry } = result;
  words.push(
    `${nameOf(entry)} takes it`,
    ...entry.rule.filters.flatMap(describeFilter),
    describeAction(entry.rule.action),
  );
  const abort = entry.rule.filters.find(
    (filter) =>
      filter.kind === 'abort' && filter.share.numerator === filter.share.denominator && 'httpStatus' in filter.with,
  );
  if (abort?.kind === 'abort' && 'httpStatus' in abort.with) return { kind: 'answered', status: abort.with.httpStatus };
  return outcomeOf(entry.rule.action);
}

function outcomeOf(action: RouteAction): RequestOutcome {
  if (action.kind !== 'forward') return { kind: 'answered', status: action.status };
  const live = action.backends.filter(({ weight }) => weight > 0);
  if (live.length === 0) return { kind: 'answered', status: 500 };
  const [first] = live;
  return live.every(({ target }) => target.kind === 'invalid') && first?.target.kind === 'invalid'
    ? { kind: 'answered', status: first.target.status }
    : { kind: 'forwarded' };
}

const nameOf = ({ origin, ruleIndex, rule, matchIndex }: RouteEntry): string =>
  `${origin.kind} ${origin.namespace}/${origin.name}, rule ${ruleIndex + 1}${rule.name === '' ? '' : ` (${rule.name})`}` +
  (matchIndex === undefined ? '' : `, match ${matchIndex + 1}`);

type Tried = RouteExplanation['tried'][number];

function missed(entry: RouteEntry, conditions: Tried['conditions']): string {
  const failed = conditions.find(({ holds }) => !holds)?.condition;
  const wants =
    failed === undefined
      ? 'does not hold'
      : `wants ${failed.field}${failed.negated ? ' not' : ''} ${describeRequestPredicate(failed.predicate)}`;
  return `${nameOf(entry)} ${wants}`;
}

function describeAction(action: RouteAction): string {
  switch (action.kind) {
    case 'redirect':
      return `answered with ${action.status}, a redirect`;
    case 'direct':
      return `answered with ${action.status} by the rule itself`;
    default: {
      const live = action.backends.filter(({ weight }) => weight > 0);
      const total = live.reduce((sum, { weight }) => sum + weight, 0);
      if (live.length === 0) return 'it has no backend with a weight: answered with 500';
      const named = live.map(({ target, weight }) => {
        const share = live.length === 1 ? '' : ` (${Math.round((weight * 100) / total)} %)`;
        return target.kind === 'service'
          ? `${target.service}:${target.port}${target.subset === undefined ? '' : ` subset ${target.subset}`}${share}`
          : `nowhere, ${target.detail}: answered with ${target.status}${share}`;
      });
      return `goes to ${named.join(', ')}`;
    }
  }
}

function describeFilter(filter: RouteFilter): readonly string[] {
  switch (filter.kind) {
    case 'abort':
      return [`a fault answers ${percentOf(filter.share)} with ${JSON.stringify(filter.with)}`];
    case 'delay':
      return [`a fault delays ${percentOf(filter.share)} by ${filter.delayMs} ms`];
    case 'mirror':
      return [`${percentOf(filter.share)} is mirrored`];
    case 'rewrite':
      return [`its ${filter.path === undefined ? 'host' : 'path'} is rewritten`];
    default:
      return [];
  }
}

const percentOf = ({ numerator, denominator }: { readonly numerator: number; readonly denominator: number }): string =>
  `${(numerator * 100) / denominator} %`;

function sentencesOf({ verdict, policies }: HttpAuthorizationTrace, request: HttpRequest): readonly string[] {
  const { identity } = request.connection;
  const who = identity === undefined ? 'a client without identity' : principalOf(identity);
  const words = [
    verdict.effect === 'allow'
      ? `allowed for ${who}: ${verdict.reason}`
      : verdict.effect === 'deny'
        ? `refused for ${who} with 403: ${verdict.reason}`
        : `${verdict.reason}; the rest holds if it says yes`,
  ];
  if (verdict.because !== undefined) {
    words.push(`rule ${verdict.because.rule + 1} of ${verdict.because.policy} matched`);
    return words;
  }
  if (verdict.effect !== 'deny') return words;
  for (const { policy, action, dryRun, rules } of policies) {
    if (action.kind !== 'allow' || dryRun) continue;
    for (const { index, from, to, when } of rules) {
      const failing = [...from, ...to, when].flatMap(({ conditions }) => conditions).find(({ holds }) => !holds);
      if (failing !== undefined) words.push(`rule ${index + 1} of ${policy} wants ${describeHttpCondition(failing)}`);
    }
    if (rules.length === 0) words.push(`${policy} has no rules, so it allows nothing`);
  }
  return words;
}
