// Tokens, authorizers, limits and telemetry through the whole engine: bytes of a client, programs of their own as
// authorizer, rate-limit service and collector, reached over the engine's own connections.

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, afterEach, test } from 'node:test';
import { startProgram } from '../../../test/support/program.ts';
import { httpPolicy, policyRule } from '../../model/http/testing/builders.ts';
import { NO_FILTERS } from '../../model/proxy/filters.ts';
import type { AuthorizationProviderConfig, TokenRule } from '../../model/proxy/security.ts';
import { DEFAULT_TELEMETRY, type TelemetryConfig } from '../../model/proxy/telemetry-config.ts';
import { Rig, type RigOptions } from '../testing/rig.ts';

const [authorizer, limiter, collector] = await Promise.all([
  startProgram('authorizer'),
  startProgram('rate-limiter'),
  startProgram('collector'),
]);
after(() => Promise.all([authorizer, limiter, collector].map((program) => program.stop())));

let rig: Rig | undefined;
async function start(proxy: RigOptions['proxy']): Promise<Rig> {
  rig = await Rig.start(proxy === undefined ? {} : { proxy });
  return rig;
}
afterEach(() => {
  rig?.close();
  rig = undefined;
});

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
function token(claims: Record<string, unknown>): string {
  const input = `${part({ alg: 'EdDSA', kid: 'k' })}.${part({ iss: 'https://id', sub: 'ann', ...claims })}`;
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`;
}
const tokens: TokenRule[] = [
  {
    issuer: 'https://id',
    audiences: [],
    keys: { kind: 'set', json: JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k' }] }) },
    from: [
      { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
      { kind: 'query', name: 'access_token' },
    ],
    forward: false,
    payloadToHeader: undefined,
    claimsToHeaders: [{ header: 'x-user', claim: 'sub' }],
    spaceDelimitedClaims: [],
  },
];

test('tokens: taken out of header and query, claims in, 401 with its reason', async () => {
  const r = await start({ security: { policies: [], tokens } });
  const valid = token({});
  const header = await r.get('/a', `Authorization: Bearer ${valid}\r\nX-User: root\r\n`);
  assert.match(header.body, /x-user: ann\r\n/i);
  assert.doesNotMatch(header.body, /authorization|root/i);
  const query = await r.get(`/a?b=1&access_token=${valid}&c=2`);
  assert.match(query.body, /^GET \/a\?b=1&c=2 HTTP\/1\.1\r\n/);
  assert.doesNotMatch(query.body, new RegExp(valid.slice(-20)));
  const expired = await r.get('/a', `Authorization: Bearer ${token({ exp: 1 })}\r\n`);
  assert.deepEqual([expired.status, expired.body], [401, 'Jwt is expired']);
  assert.match(
    expired.head,
    /www-authenticate: Bearer realm="http:\/\/shop\.example\.com\/a", error="invalid_token"\r\n/i,
  );
  assert.equal(r.requests.length, 2);
  assert.equal((await r.get('/a', 'X-User: root\r\n')).status, 200);
  assert.doesNotMatch(r.requests[2] ?? '', /root/);
});

const provider = (protocol: 'http' | 'grpc', set: Partial<AuthorizationProviderConfig> = {}): RigOptions['proxy'] => ({
  security: {
    policies: [httpPolicy('ask', { kind: 'custom', provider: { known: true, name: 'authz' } }, [policyRule()])],
    tokens: [],
  },
  authorizationProviders: [
    {
      name: 'authz',
      protocol,
      host: '127.0.0.1',
      port: authorizer.ports[protocol === 'http' ? 0 : 1] ?? 0,
      timeoutMs: 10_000,
      failOpen: false,
      statusOnError: 403,
      clearsRouteCache: false,
      pathPrefix: '/check',
      requestHeaders: [{ kind: 'exact', value: 'x-authz' }],
      addedHeaders: [],
      toUpstreamOnAllow: [{ kind: 'exact', value: 'x-seen' }],
      toDownstreamOnAllow: [{ kind: 'exact', value: 'set-cookie' }],
      toDownstreamOnDeny: [],
      body: undefined,
      ...set,
    },
  ],
});
const HEAD = 'HTTP/1.1\r\nHost: shop.example.com\r\n';

for (const protocol of ['http', 'grpc'] as const)
  test(`an authorizer over ${protocol}: allowed, refused, slow`, async () => {
    const r = await start(provider(protocol));
    const allowed = await r.get('/a?b=1', 'X-Authz: allow\r\n');
    assert.equal(allowed.status, 200);
    assert.match(
      allowed.body,
      protocol === 'http' ? /x-seen: .*"url":"\/check\/a\?b=1"/i : /x-seen: .*"path":"\/a\?b=1"/i,
    );
    assert.match(allowed.head, protocol === 'http' ? /set-cookie: a=1\r\nset-cookie: b=2/i : /x-policy: p1/i);
    const refused = await r.get('/a');
    assert.deepEqual([refused.status, refused.body], [protocol === 'http' ? 403 : 401, 'denied']);
    assert.match(refused.head, /x-reason: nobody/i);
    assert.equal((await r.get('/a', 'X-Authz: error\r\n')).status, 403);
    assert.equal(r.requests.length, 1, 'what was refused never reached the endpoint');
    r.close();
    const slow = await start(provider(protocol, { timeoutMs: 200 }));
    assert.equal((await slow.get('/a', 'X-Authz: slow\r\n')).status, 403);
    assert.equal(slow.requests.length, 0);
  });

test('an authorizer gets the body: whole, in part, or 413', async () => {
  const body = { maxBytes: 4, allowsPartial: true, asBytes: false };
  const post = (r: Rig, content: string): Promise<{ status: number; body: string }> =>
    r.client(`POST /a ${HEAD}X-Authz: allow\r\nContent-Length: ${content.length}\r\n\r\n${content}`).reader.response();
  const partly = await start(provider('http', { body }));
  const seen = await post(partly, 'abcdef');
  assert.match(seen.body, /x-seen: .*"x-envoy-auth-partial-body":"true".*"body":"abcd"/i);
  assert.match(seen.body, /\r\n\r\nabcdef$/, 'the endpoint gets all of it');
  partly.close();
  const strictly = await start(provider('http', { body: { ...body, allowsPartial: false } }));
  assert.equal((await post(strictly, 'abcdef')).status, 413);
  assert.match((await post(strictly, 'abcd')).body, /"x-envoy-auth-partial-body":"false"/);
});

test('limits: a local bucket, and a service that counts; both flagged RL', async () => {
  const local = {
    origin: 'l',
    maxTokens: 3,
    tokensPerFill: 1,
    fillIntervalMs: 3_600_000,
    status: 429,
    headers: [{ name: 'x-local', value: 'true' }],
    only: [],
  };
  const globalRateLimit = {
    origin: 'g',
    domain: 'engine',
    host: '127.0.0.1',
    port: limiter.ports[0] ?? 0,
    timeoutMs: 10_000,
    failOpen: false,
    descriptors: [[{ kind: 'header', key: 'user', header: 'x-user' } as const]],
  };
  const r = await start({ filters: { ...NO_FILTERS, localRateLimits: [local], globalRateLimit } });
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) statuses.push((await r.get('/', 'X-User: ann\r\n')).status);
  assert.deepEqual(statuses, [200, 200, 429]);
  const fourth = await r.get('/', 'X-User: bob\r\n');
  assert.deepEqual([fourth.status, fourth.body], [429, 'local_rate_limited']);
  assert.match(fourth.head, /x-local: true/i);
  assert.match(r.registry.render(), /istio_requests_total\{[^}]*response_code="429",response_flags="RL"[^}]*\} 2\n/);
});

test('telemetry: the log line, the series, and a span in the collector', async () => {
  const telemetry: TelemetryConfig = {
    ...DEFAULT_TELEMETRY,
    accessLogs: [
      {
        provider: 'envoy',
        filter: undefined,
        sink: { kind: 'stdout' },
        format: { kind: 'defaultText' },
        omitsEmpty: false,
      },
    ],
    tracing: {
      provider: 'otel',
      protocol: 'otlpGrpc',
      host: '127.0.0.1',
      port: collector.ports[1] ?? 0,
      path: '',
      headers: [],
      timeoutMs: 10_000,
      samplingPercent: 100,
      reportsSpans: true,
      propagates: true,
      istioTags: true,
      requestIdDecides: true,
      tags: [],
    },
  };
  const r = await start({ telemetry });
  const { body } = await r.get('/a?b=1', 'User-Agent: test\r\nX-Request-Id: forged\r\n');
  const id = /x-request-id: (\S+)/i.exec(body)?.[1] ?? '';
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-9[0-9a-f]{3}-/, 'an id of our own, marked as traced');
  const [, traceId, spanId] = /traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01/i.exec(body) ?? [];
  assert.match(
    r.lines.join(''),
    new RegExp(
      `^\\[\\S+Z\\] "GET /a\\?b=1 HTTP/1\\.1" 200 - via_upstream - "-" 0 \\d+ \\d+ \\d+ "127\\.0\\.0\\.1" "test" "${id}" "shop\\.example\\.com" "127\\.0\\.0\\.1:${r.endpointPort}" outbound\\|80\\|\\|order\\.shop\\.svc\\.cluster\\.local \\S+ 127\\.0\\.0\\.1:\\d+ 127\\.0\\.0\\.1:\\d+ - \\S+\\n$`,
    ),
  );
  assert.match(
    r.registry.render(),
    /istio_requests_total\{reporter="source",source_workload="gateway",[^}]*destination_workload="order-1"[^}]*destination_service_name="order"[^}]*response_code="200"[^}]*\} 1\n/,
  );
  await r.parts.drain();
  const { kind, content } = JSON.parse(await collector.line()) as { kind: string; content: unknown };
  assert.equal(kind, 'traces over gRPC');
  const spans = JSON.stringify(content);
  assert.ok(spans.includes(`"traceId":"${traceId}"`) && spans.includes(`"spanId":"${spanId}"`));
});
