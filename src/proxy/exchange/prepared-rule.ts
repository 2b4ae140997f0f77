// A routing rule made ready for requests, once for each version of it.

import type { HeaderFilter, HttpRouteRule, RetryPolicy, RouteFilter, Share } from '../../model/http/route.ts';
import { type Cors, compileCors } from './cors.ts';
import { compileRewrite, type RewritePath } from './paths.ts';

type Of<Kind extends RouteFilter['kind']> = Extract<RouteFilter, { readonly kind: Kind }>;

export interface PreparedRule {
  readonly requestHeaders: readonly HeaderFilter[];
  readonly responseHeaders: readonly HeaderFilter[];
  readonly rewriteHost: string | undefined;
  readonly rewritePath: RewritePath | undefined;
  readonly mirrors: readonly Of<'mirror'>[];
  readonly cors: Cors | undefined;
  readonly delay: Of<'delay'> | undefined;
  readonly abort: Of<'abort'> | undefined;
  readonly session: Of<'session'> | undefined;
  readonly retry: RetryPolicy;
  /** Of a redirect. */
  readonly redirectPath: RewritePath | undefined;
}

/** Istio: what holds without any retry policy of the user's. */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
  statuses: [],
  backoffMs: 25,
  remoteLocalities: false,
  ignorePreviousHosts: true,
};

const prepared = new WeakMap<HttpRouteRule, PreparedRule>();

export function prepareRule(rule: HttpRouteRule): PreparedRule {
  const known = prepared.get(rule);
  if (known !== undefined) return known;
  const of = <Kind extends RouteFilter['kind']>(kind: Kind): Of<Kind>[] =>
    rule.filters.filter((filter): filter is Of<Kind> => filter.kind === kind);
  const rewrite = of('rewrite')[0];
  const cors = of('cors')[0];
  const made: PreparedRule = {
    requestHeaders: of('requestHeaders'),
    responseHeaders: of('responseHeaders'),
    rewriteHost: rewrite?.host,
    rewritePath: rewrite?.path && compileRewrite(rewrite.path),
    mirrors: of('mirror'),
    cors: cors && compileCors(cors),
    delay: of('delay')[0],
    abort: of('abort')[0],
    session: of('session')[0],
    retry: rule.retry ?? DEFAULT_RETRY,
    redirectPath:
      rule.action.kind === 'redirect' && rule.action.path !== undefined ? compileRewrite(rule.action.path) : undefined,
  };
  prepared.set(rule, made);
  return made;
}

export const happens = ({ numerator, denominator }: Share, random: number): boolean => random * denominator < numerator;
