// External authorizers, asked over real connections: a program of its own answers, by HTTP and by gRPC.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startProgram } from '../../../../test/support/program.ts';
import type { AuthorizationProviderConfig } from '../../../model/proxy/security.ts';
import type { Exchange } from '../../contracts.ts';
import type { HttpCaller } from '../http-caller.ts';
import { client, exchange, NodeCaller } from '../testing.ts';
import { ExternalAuthorizers } from './providers.ts';

const program = await startProgram('authorizer');
after(() => program.stop());
const [httpPort = 0, grpcPort = 0] = program.ports;
const own = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'waypoint' };

const provider = (
  protocol: 'http' | 'grpc',
  change: Partial<AuthorizationProviderConfig> = {},
): AuthorizationProviderConfig => ({
  name: 'authz',
  protocol,
  host: 'authz.shop.svc.cluster.local',
  port: protocol === 'http' ? httpPort : grpcPort,
  timeoutMs: 10_000,
  failOpen: false,
  statusOnError: 403,
  clearsRouteCache: false,
  pathPrefix: '',
  requestHeaders: [],
  addedHeaders: [],
  toUpstreamOnAllow: [],
  toDownstreamOnAllow: [],
  toDownstreamOnDeny: [],
  body: undefined,
  ...change,
});
const ask = (config: AuthorizationProviderConfig, of: Exchange, body?: string, caller: HttpCaller = new NodeCaller()) =>
  new ExternalAuthorizers({ caller, own }).ask(config, of, body === undefined ? undefined : Buffer.from(body));
const request = { method: 'POST', path: '/pay', query: '?x=1' };
const exact = (value: string) => ({ kind: 'exact', value }) as const;
const prefix = (value: string) => ({ kind: 'prefix', value }) as const;

test('HTTP, allowed: what it is told, and what goes on', async () => {
  const e = exchange(
    {
      'X-Authz': 'allow',
      Authorization: 'Bearer t',
      'X-User': 'forged',
      'X-Private': 'p',
      'X-Added': 'client',
      cookie: 'c',
    },
    request,
  );
  const answer = await ask(
    provider('http', {
      pathPrefix: '/check',
      requestHeaders: [exact('X-Authz')],
      addedHeaders: [{ name: 'X-Added', value: 'mesh' }],
      toUpstreamOnAllow: [exact('x-user'), prefix('X-Se'), exact('host')],
      toDownstreamOnAllow: [exact('set-cookie'), exact('content-length')],
    }),
    e,
  );
  assert.deepEqual(answer, {
    kind: 'allow',
    toDownstream: [
      { name: 'set-cookie', value: 'a=1' },
      { name: 'set-cookie', value: 'b=2' },
    ],
  });
  const seen = JSON.parse(e.requestFields.get('x-seen') ?? '') as {
    method: string;
    url: string;
    headers: Record<string, string>;
    body: string;
  };
  assert.deepEqual([seen.method, seen.url, seen.body], ['POST', '/check/pay?x=1', '']);
  const { connection: _, ...headers } = seen.headers;
  assert.deepEqual(headers, {
    host: 'shop.example.com',
    'x-authz': 'allow',
    authorization: 'Bearer t',
    'x-added': 'mesh',
    'content-length': '0',
  });
  assert.deepEqual(
    ['x-user', 'x-private', 'x-other', 'cookie'].map((name) => e.requestFields.get(name)),
    ['ann', 'p', undefined, undefined],
  );
});

test('HTTP, refused: status, body and the headers that may go to the client', async () => {
  const asked = { requestHeaders: [exact('x-authz')] };
  const redirect = await ask(
    provider('http', { ...asked, toDownstreamOnDeny: [exact('x-reason')] }),
    exchange({ 'x-authz': 'redirect' }, request),
  );
  assert.ok(redirect.kind === 'refuse');
  const { reply } = redirect;
  assert.deepEqual(
    [reply.status, reply.body, reply.details, reply.flag],
    [302, 'go there', 'ext_authz_denied', 'UAEX'],
  );
  assert.deepEqual(reply.headers, [
    { name: 'location', value: '/login' },
    { name: 'x-reason', value: 'no session' },
  ]);
  const all = await ask(provider('http', asked), exchange({}, request));
  assert.ok(all.kind === 'refuse' && all.reply.status === 403 && all.reply.body === 'denied');
  assert.ok(all.reply.headers.some(({ name, value }) => name === 'x-reason' && value === 'nobody'));
  assert.ok(!all.reply.headers.some(({ name }) => name === 'content-length' || name === 'transfer-encoding'));
});

test('gRPC, allowed: what it is told, and what goes on', async () => {
  const e = exchange(
    { 'X-Authz': 'allow', 'X-List': ['one', 'two'], 'x-present': 'old', cookie: 'c', host: 'shop.example.com' },
    request,
    { client: client({ serverName: 'shop.example' }) },
  );
  const answer = await ask(provider('grpc'), e);
  assert.deepEqual(answer, { kind: 'allow', toDownstream: [{ name: 'x-policy', value: 'p1' }] });
  assert.deepEqual(JSON.parse(e.requestFields.get('x-seen') ?? ''), {
    attributes: {
      source: {
        address: { socket: { address: '10.0.0.1', port: 40000 } },
        principal: 'spiffe://cluster.local/ns/shop/sa/order',
      },
      destination: {
        address: { socket: { address: '10.0.0.2', port: 8080 } },
        principal: 'spiffe://cluster.local/ns/shop/sa/waypoint',
      },
      request: {
        time: { seconds: 1767323045, nanos: 678000000 },
        http: {
          id: e.id,
          method: 'POST',
          headers: [
            { key: ':method', value: 'POST' },
            { key: ':path', value: '/pay?x=1' },
            { key: ':scheme', value: 'http' },
            { key: ':authority', value: 'shop.example.com' },
            { key: 'x-request-id', value: e.id },
            { key: 'x-authz', value: 'allow' },
            { key: 'x-list', value: 'one,two' },
            { key: 'x-present', value: 'old' },
            { key: 'cookie', value: 'c' },
          ],
          path: '/pay?x=1',
          host: 'shop.example.com',
          scheme: 'http',
          size: -1,
          protocol: 'HTTP/1.1',
        },
      },
      tls: { sni: 'shop.example' },
    },
  });
  assert.deepEqual(
    ['x-user', 'x-list', 'x-absent', 'x-present', 'x-missing', 'host', 'content-length', 'cookie', 'x-split'].map((n) =>
      e.requestFields.joined(n),
    ),
    ['ann', 'one,two,more', 'kept', 'changed', undefined, 'shop.example.com', undefined, undefined, undefined],
  );
});

test('gRPC, refused: its status, headers and body; a bare refusal is 403', async () => {
  const answer = await ask(provider('grpc'), exchange({}, request));
  assert.deepEqual(answer, {
    kind: 'refuse',
    reply: {
      status: 401,
      headers: [{ name: 'x-reason', value: 'nobody' }],
      body: 'denied',
      details: 'ext_authz_denied',
      flag: 'UAEX',
      grpcStatus: undefined,
    },
  });
  const bare = await ask(provider('grpc'), exchange({ 'x-authz': 'bare' }, request));
  assert.ok(bare.kind === 'refuse' && bare.reply.status === 403);
});

for (const protocol of ['http', 'grpc'] as const)
  for (const fault of ['slow', 'error', 'down', ...(protocol === 'grpc' ? ['garbage'] : [])])
    test(`${protocol}, ${fault}: refused, unless the provider fails open`, async () => {
      const config = provider(protocol, {
        requestHeaders: [exact('x-authz')],
        timeoutMs: fault === 'slow' ? 100 : 10_000,
        statusOnError: 503,
        ...(fault === 'down' ? { port: 1 } : {}),
      });
      const of = (): Exchange => exchange({ 'x-authz': fault }, request);
      const refused = await ask(config, of());
      assert.ok(refused.kind === 'refuse');
      assert.deepEqual([refused.reply.status, refused.reply.details], [503, 'ext_authz_error']);
      assert.deepEqual(await ask({ ...config, failOpen: true }, of()), { kind: 'allow', toDownstream: [] });
    });

test('bodies: whole, in part, and too large', async () => {
  const body = (allowsPartial: boolean, asBytes = false) => ({ maxBytes: 4, allowsPartial, asBytes });
  const of = (bytesReceived: number): Exchange =>
    exchange({ 'x-authz': 'allow', 'content-length': '6' }, request, { bytesReceived });
  const seenBy = async (protocol: 'http' | 'grpc', sent: string, received: number, config: ReturnType<typeof body>) => {
    const e = of(received);
    const asked = provider(protocol, {
      body: config,
      requestHeaders: [exact('x-authz')],
      toUpstreamOnAllow: [exact('x-seen')],
    });
    const answer = await ask(asked, e, sent);
    return answer.kind === 'refuse' ? String(answer.reply.status) : (e.requestFields.get('x-seen') ?? '');
  };
  const http = JSON.parse(await seenBy('http', 'abcd', 6, body(true))) as {
    body: string;
    headers: Record<string, string>;
  };
  assert.deepEqual([http.body, http.headers['x-envoy-auth-partial-body']], ['abcd', 'true']);
  const whole = JSON.parse(await seenBy('http', 'abcd', 4, body(false))) as { headers: Record<string, string> };
  assert.equal(whole.headers['x-envoy-auth-partial-body'], 'false');
  assert.match(await seenBy('grpc', 'abcd', 6, body(true)), /"size":6.*"body":"abcd"/);
  assert.match(await seenBy('grpc', 'ab', 2, body(false, true)), /"rawBody":"6162"/);
  assert.equal(await seenBy('grpc', 'abcd', 6, body(false)), '413');
});
