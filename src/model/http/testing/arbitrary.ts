// Random routes, policies and requests for property tests. Names come from small pools on purpose, so that they meet.

import fc from 'fast-check';
import type { RequestField, TextPredicate } from '../../facts.ts';
import { someConnection } from '../../testing/arbitrary.ts';
import { cidr, ip } from '../../testing/builders.ts';
import { parsePathTemplate } from '../path-template.ts';
import type { ConditionSet, HttpCondition, HttpPolicy, HttpPolicyRule } from '../policy.ts';
import { claimField, type HttpRequest, headerField, queryField } from '../request.ts';
import type { HttpRoute, RouteCondition, RouteOrigin } from '../route.ts';
import { lines, routeRule } from './builders.ts';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });

const PATHS = ['/', '/a', '/a/', '/a/b', '/ab', '/a/b/c', '/A', '//', '/a//b', '*', ''];
const HOSTS = ['a.example.com', 'b.example.com', 'x.b.example.com', 'example.com', 'other.org'];
const HOST_PATTERNS = [...HOSTS, '*.example.com', '*.b.example.com', '*.com', '*'];
const VALUES = ['a', 'b', 'ab', 'A', '', 'a,b'];
const METHODS = ['GET', 'POST', 'get'];
const ACCOUNTS = [
  'cluster.local/ns/shop/sa/order',
  'cluster.local/ns/bank/sa/payment',
  'other.domain/ns/shop/sa/order',
];
const ISSUED = ['https://issuer/alice', 'https://issuer/bob'];
const TEMPLATES = ['/{*}', '/a/{*}', '/{**}', '/a/{**}', '/{*}/{**}/c'];

const template = (text: string): TextPredicate => {
  const parsed = parsePathTemplate(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return { kind: 'pathTemplate', parts: parsed.value };
};

const textFrom = (values: readonly string[]): fc.Arbitrary<TextPredicate> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...values).map((value): TextPredicate => ({ kind: 'exact', value })) },
    fc.constantFrom(...values).map((value): TextPredicate => ({ kind: 'prefix', value: value.slice(0, 2) })),
    fc.constantFrom(...values).map((value): TextPredicate => ({ kind: 'suffix', value: value.slice(-2) })),
    fc
      .constantFrom(...values)
      .map((value): TextPredicate => ({ kind: 'exactIgnoringCase', value: value.toLowerCase() })),
    fc.constantFrom('a.*', '.*b', '[ab]+', '/a|/b', '.*').map((pattern): TextPredicate => ({ kind: 'regex', pattern })),
    fc.constant<TextPredicate>({ kind: 'present' }),
  );
const pathText: fc.Arbitrary<TextPredicate> = fc.oneof(
  { weight: 2, arbitrary: textFrom(PATHS) },
  {
    weight: 2,
    arbitrary: fc.constantFrom('', '/a', '/a/b', '/ab').map((value): TextPredicate => ({ kind: 'pathPrefix', value })),
  },
  fc.constantFrom(...TEMPLATES).map(template),
  fc.constantFrom('/a', '/').map((value): TextPredicate => ({ kind: 'prefixIgnoringCase', value })),
);
const range = fc
  .constantFrom('10.0.0.0/8', '10.0.0.1/32', 'fd00::/64', '0.0.0.0/0')
  .map((text): TextPredicate => ({ kind: 'cidr', range: cidr(text) }));
const port = fc.constantFrom(80, 8080).map((number): TextPredicate => ({ kind: 'port', port: number }));

const asked = (field: RequestField, predicate: fc.Arbitrary<TextPredicate>) => ({ field, predicate });
/** Every field with predicates that suit it. */
const QUESTIONS: readonly { readonly field: RequestField; readonly predicate: fc.Arbitrary<TextPredicate> }[] = [
  asked('source.principal', textFrom(ACCOUNTS)),
  asked('source.namespace', textFrom(['shop', 'bank'])),
  asked('source.serviceAccount', textFrom(['shop/order', 'bank/payment'])),
  asked('source.trustDomain', textFrom(['cluster.local', 'other.domain'])),
  asked('source.ip', range),
  asked('destination.ip', range),
  asked('remote.ip', range),
  asked('destination.port', port),
  asked('connection.sni', textFrom(HOSTS)),
  asked('request.method', textFrom(METHODS)),
  asked('request.scheme', textFrom(['http', 'https'])),
  asked('request.authority', textFrom([...HOSTS, 'a.example.com:8080'])),
  asked('request.host', textFrom(HOSTS)),
  asked('request.path', pathText),
  asked('request.principal', textFrom(ISSUED)),
  asked('request.presenter', textFrom(['web', 'app'])),
  asked('request.audience', textFrom(['shop', 'bank'])),
  asked(claimField(['group']), textFrom(['a', 'b'])),
  asked(claimField(['realm', 'roles']), textFrom(['a', 'b'])),
  asked(headerField('X-A'), textFrom(VALUES)),
  asked(headerField('x-b'), textFrom(VALUES)),
  asked(queryField('a'), textFrom(VALUES)),
];

/** Routes ask most about paths, so that paths decide and conditions beside them still matter. */
const routeCondition: fc.Arbitrary<RouteCondition> = fc
  .oneof(
    { weight: 3, arbitrary: fc.constant(asked('request.path', pathText)) },
    { weight: 2, arbitrary: fc.constantFrom(...QUESTIONS.filter(({ field }) => field.startsWith('request.'))) },
  )
  .chain(({ field, predicate }) =>
    record<RouteCondition>({
      field: fc.constant(field),
      predicate,
      negated: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    }),
  );

export const someRoute: fc.Arbitrary<HttpRoute> = record<HttpRoute>({
  origin: record<RouteOrigin>({
    kind: fc.constantFrom('HTTPRoute', 'HTTPRoute', 'GRPCRoute', 'VirtualService'),
    namespace: fc.constantFrom('shop', 'bank'),
    name: fc.constantFrom('a', 'b', 'c'),
    createdAtMs: fc.constantFrom(1, 2),
  }),
  hosts: fc.array(fc.constantFrom(...HOST_PATTERNS), { minLength: 1, maxLength: 2 }),
  rules: fc.array(
    fc
      .array(fc.array(routeCondition, { minLength: 1, maxLength: 3 }), { maxLength: 3 })
      .map((anyMatch) => routeRule('', ...anyMatch)),
    { minLength: 1, maxLength: 4 },
  ),
});

/** Often about paths, by which rules are found. */
const policyQuestion = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...QUESTIONS) },
  { weight: 1, arbitrary: fc.constant(asked('request.path', pathText)) },
);
const policyCondition: fc.Arbitrary<HttpCondition> = policyQuestion.chain(({ field, predicate }) =>
  fc.tuple(fc.boolean(), fc.array(predicate, { minLength: 1, maxLength: 3 })).map(
    ([negated, predicates]): HttpCondition => ({
      list: negated ? 'notList' : 'list',
      negated,
      anyOf: predicates.map((each) => ({ field, predicate: each })),
    }),
  ),
);
const conditionSet: fc.Arbitrary<ConditionSet> = fc.array(policyCondition, { maxLength: 2 });

export const someHttpPolicy: fc.Arbitrary<HttpPolicy> = record<HttpPolicy>({
  key: fc.constantFrom('shop/a', 'shop/b', 'shop/c', 'bank/a'),
  action: fc.constantFrom<HttpPolicy['action'][]>(
    { kind: 'allow' },
    { kind: 'deny' },
    { kind: 'allow' },
    { kind: 'deny' },
    { kind: 'audit' },
    { kind: 'custom', provider: { name: 'opa', known: true } },
    { kind: 'custom', provider: { name: 'other', known: true } },
    { kind: 'custom', provider: { name: 'gone', known: false } },
  ),
  dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  anyRule: fc.array(
    record<HttpPolicyRule>({
      from: fc.array(conditionSet, { maxLength: 2 }),
      to: fc.array(conditionSet, { maxLength: 2 }),
      when: conditionSet,
    }),
    { maxLength: 3 },
  ),
});

/** At most one policy a key, as a cluster has it. */
export const somePolicies = (most: number): fc.Arbitrary<readonly HttpPolicy[]> =>
  fc.uniqueArray(someHttpPolicy, { maxLength: most, selector: ({ key }) => key });

const headerLines = fc.array(fc.constantFrom(...VALUES), { maxLength: 3 });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const claimed = fc.oneof(
  fc.constantFrom<unknown[]>('a', 'b', 7, true, null),
  fc.array(fc.constantFrom<unknown[]>('a', 'b', 7), { maxLength: 2 }),
);

export const someRequest: fc.Arbitrary<HttpRequest> = record<HttpRequest>({
  connection: someConnection,
  method: fc.constantFrom(...METHODS),
  scheme: fc.constantFrom('http', 'https'),
  authority: fc.constantFrom(...HOSTS, ...HOSTS.map((host) => `${host}:8080`), '[fd00::1]:80'),
  path: fc.constantFrom(...PATHS),
  query: fc.constantFrom('', '?', '?a=a', '?b=1&a=ab', '?a', '?aa=b&a=&a=b'),
  headers: fc
    .tuple(headerLines, headerLines)
    .map(([a, b]) => lines({ ...(a.length === 0 ? {} : { 'x-a': a }), ...(b.length === 0 ? {} : { 'x-b': b }) })),
  remoteIp: maybe(fc.constantFrom(ip('10.0.0.1'), ip('10.9.0.1'), ip('fd00::1'))),
  sni: maybe(fc.constantFrom(...HOSTS)),
  token: maybe(
    fc.record(
      {
        principal: fc.constantFrom(...ISSUED),
        presenter: maybe(fc.constantFrom('web', 'app')),
        audiences: fc.array(fc.constantFrom('shop', 'bank'), { maxLength: 2 }),
        claims: fc.record(
          { group: claimed, realm: fc.oneof(claimed, fc.record({ roles: claimed })) },
          { requiredKeys: [] },
        ),
      },
      { noNullPrototype: true },
    ),
  ),
});
