// Requests, routes and policies for tests: every field has a plain default, a test names what it is about.

import type { TextPredicate } from '../../facts.ts';
import { ip } from '../../testing/builders.ts';
import type { HttpCondition, HttpPolicy, HttpPolicyRule } from '../policy.ts';
import type { HeaderLines, HttpRequest } from '../request.ts';
import { headerField, queryField } from '../request.ts';
import type { HttpRoute, HttpRouteRule, RouteCondition, RouteMatch, RouteOrigin } from '../route.ts';

export const exact = (value: string): TextPredicate => ({ kind: 'exact', value });
export const prefix = (value: string): TextPredicate => ({ kind: 'prefix', value });
export const suffix = (value: string): TextPredicate => ({ kind: 'suffix', value });
export const regex = (pattern: string): TextPredicate => ({ kind: 'regex', pattern });
export const pathPrefix = (value: string): TextPredicate => ({ kind: 'pathPrefix', value });
export const present: TextPredicate = { kind: 'present' };

/** `lines({ 'x-a': ['1', '2'] })` */
export function lines(fields: Readonly<Record<string, readonly string[]>>): HeaderLines {
  const all = new Map(Object.entries(fields));
  return { all: (key) => all.get(key) ?? [], joined: (key) => all.get(key)?.join(',') };
}

/** `GET http://shop.example.com/` from shop/order. */
export const request = (set: Partial<HttpRequest> = {}): HttpRequest => ({
  connection: {
    source: { ip: ip('10.0.0.1'), port: 40000 },
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' },
    destination: { ip: ip('10.0.0.2'), port: 8080 },
  },
  method: 'GET',
  scheme: 'http',
  authority: 'shop.example.com',
  path: '/',
  query: '',
  headers: lines({}),
  remoteIp: undefined,
  sni: undefined,
  token: undefined,
  ...set,
});

const condition = (field: RouteCondition['field'], predicate: TextPredicate, negated = false): RouteCondition => ({
  field,
  predicate,
  negated,
});
export const path = (predicate: TextPredicate): RouteCondition => condition('request.path', predicate);
export const method = (value: string): RouteCondition => condition('request.method', exact(value));
export const header = (name: string, predicate: TextPredicate, negated = false): RouteCondition =>
  condition(headerField(name), predicate, negated);
export const query = (name: string, predicate: TextPredicate): RouteCondition => condition(queryField(name), predicate);

/** A rule named `name`, answering 200, for any of the matches. */
export const routeRule = (name: string, ...anyMatch: RouteMatch[]): HttpRouteRule => ({
  name,
  anyMatch,
  filters: [],
  action: { kind: 'direct', status: 200, body: name },
  timeouts: { requestMs: undefined, perTryMs: undefined },
  retry: undefined,
});

/** An HTTPRoute `shop/<name>` for every host. */
export const route = (
  name: string,
  rules: readonly HttpRouteRule[],
  set: Partial<RouteOrigin> & { readonly hosts?: readonly string[] } = {},
): HttpRoute => {
  const { hosts = ['*'], ...origin } = set;
  return { origin: { kind: 'HTTPRoute', namespace: 'shop', name, createdAtMs: 0, ...origin }, hosts, rules };
};

/** One list of a policy: `asks('paths', 'request.path', exact('/a'))`; `not…` is negated. */
export const asks = (
  list: string,
  field: HttpCondition['anyOf'][number]['field'],
  ...predicates: TextPredicate[]
): HttpCondition => ({
  list,
  negated: /^not[A-Z]/.test(list),
  anyOf: predicates.map((predicate) => ({ field, predicate })),
});

export const policyRule = (set: Partial<HttpPolicyRule> = {}): HttpPolicyRule => ({
  from: [],
  to: [],
  when: [],
  ...set,
});

/** A policy `shop/<name>` that is enforced. */
export const httpPolicy = (
  name: string,
  action: 'allow' | 'deny' | 'audit' | HttpPolicy['action'],
  anyRule: readonly HttpPolicyRule[],
  dryRun = false,
): HttpPolicy => ({
  key: `shop/${name}`,
  action: typeof action === 'string' ? { kind: action } : action,
  dryRun,
  anyRule,
});
