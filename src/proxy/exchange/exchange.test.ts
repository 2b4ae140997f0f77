// The whole engine on loopback: bytes in at a gateway's port, bytes out at an endpoint, and back.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { RouteFilter } from '../../model/http/route.ts';
import {
  asks,
  exact,
  httpPolicy,
  method,
  path,
  pathPrefix,
  policyRule,
  prefix,
  routeRule,
} from '../../model/http/testing/builders.ts';
import { forwards, listenerRoute, Rig, type RigOptions } from '../testing/rig.ts';

let rig: Rig | undefined;
async function start(options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.start(options);
  return rig;
}
afterEach(() => {
  rig?.close();
  rig = undefined;
});
const withRoute = (...rules: Parameters<typeof listenerRoute>[0]): RigOptions => ({ routes: [listenerRoute(rules)] });
const REQUEST = 'GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n';

test('a request goes to the endpoint of its route, and its answer comes back', async () => {
  const { status, body, head } = await (await start()).get('/a?b=c', 'X-Test: 1\r\n');
  assert.equal(status, 200);
  assert.match(body, /^GET \/a\?b=c HTTP\/1\.1\r\nHost: shop\.example\.com\r\n/);
  assert.match(body, /x-test: 1/i);
  assert.match(head, /server: istio-envoy/i);
  assert.match(head, /x-envoy-upstream-service-time: \d+/i);
});

test('connections of both sides are kept', async () => {
  const r = await start();
  const { socket, reader } = r.client(REQUEST);
  for (let i = 0; i < 5; i++) {
    assert.equal((await reader.response()).status, 200);
    socket.write(REQUEST);
  }
  assert.equal((await reader.response()).status, 200);
  assert.equal(r.connections, 1);
});

test('requests sent ahead are answered in order, one at a time', async () => {
  const r = await start();
  const { reader } = r.client([1, 2, 3].map((i) => `GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
  for (const i of [1, 2, 3]) assert.match((await reader.response()).body, new RegExp(`^GET /${i} `));
  assert.equal(r.connections, 1);
});

test('content passes both ways: of a length, in chunks, with trailers', async () => {
  const r = await start();
  r.answer = (request, socket) => {
    if (!/chunked/i.test(request))
      socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n`);
  };
  const fixed = r.client('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
  const answer = await fixed.reader.until('0\r\nX-Sum: 3\r\n\r\n');
  assert.match(answer, /3\r\nabc\r\n/);
  assert.match(r.requests[0] ?? '', /Content-Length: 5\r\n\r\nhello$/i);
  const got: Buffer[] = [];
  r.answer = (_, socket) => {
    socket.on('data', (chunk) => {
      got.push(chunk);
      if (Buffer.concat(got).includes('0\r\n')) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
  };
  const chunked = r.client('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
  chunked.socket.write('2\r\nab\r\n');
  setTimeout(() => chunked.socket.write('1\r\nc\r\n0\r\nX-T: 1\r\n\r\n'), 20);
  assert.equal((await chunked.reader.response()).status, 204);
  assert.match(Buffer.concat(got).toString(), /0\r\nX-T: 1\r\n\r\n$/);
});

test('100 is said when the content is wanted, and not to a request that is refused', async () => {
  const r = await start(withRoute(forwards({ anyMatch: [[path(exact('/ok'))]] })));
  const { socket, reader } = r.client(
    'POST /ok HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
  );
  assert.equal(await reader.head(), 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('hi');
  assert.equal((await reader.response()).status, 200);
  const refused = await r.exchange('POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
  assert.match(refused, /^HTTP\/1\.1 404 /);
});

test('HEAD has the length of what it does not get; 304 and 204 have no content', async () => {
  const r = await start();
  r.answer = (request, socket) =>
    socket.write(
      request.startsWith('HEAD')
        ? 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n'
        : 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
    );
  const { socket, reader } = r.client('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.match(await reader.head(), /content-length: 10/i);
  socket.write(REQUEST);
  assert.match(await reader.head(), /^HTTP\/1\.1 304 /);
  assert.equal(r.connections, 1);
});

test('HTTP/1.0: without Host, closed unless asked to be kept', async () => {
  const r = await start();
  assert.match(await r.exchange('GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: close/i);
  const { reader } = r.client('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
  assert.match((await reader.response()).head, /connection: keep-alive/i);
});

test('a response without length ends with its connection, and reaches HTTP/1.1 in chunks', async () => {
  const r = await start();
  r.answer = (_, socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\nall of it');
  const { reader } = r.client(REQUEST);
  assert.equal((await reader.response()).body, 'all of it');
});

test('an upgrade: raw bytes both ways, each direction ends by itself', async () => {
  const r = await start();
  r.answer = (request, socket) => {
    assert.match(request, /upgrade: websocket/i);
    assert.match(request, /connection: upgrade/i);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello');
    socket.on('data', (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
  };
  const { socket, reader } = r.client(
    'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n',
  );
  assert.match(await reader.head(), /^HTTP\/1\.1 101 [\s\S]*upgrade: websocket/i);
  assert.equal(await reader.bytes(5), 'hello');
  socket.write('abc');
  assert.equal(await reader.bytes(3), 'ABC');
  socket.end();
  assert.equal(await reader.all(), '');
});

test('no route is 404, and so is another host', async () => {
  const r = await start({
    routes: [listenerRoute([forwards({ anyMatch: [[path(exact('/a'))]] })], { hosts: ['shop.example.com'] })],
  });
  assert.equal((await r.get('/b')).status, 404);
  assert.equal((await r.get('/a')).status, 200);
  assert.match(await r.exchange('GET /a HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 404 /);
});

test('redirects and direct answers', async () => {
  const redirect = {
    ...routeRule('r', [path(pathPrefix('/old'))]),
    action: {
      kind: 'redirect',
      status: 302,
      scheme: 'https',
      host: undefined,
      port: 'ofScheme',
      path: { kind: 'prefix', prefix: '/old', replacement: '/new', by: 'segments' },
    },
  } as const;
  const r = await start(withRoute(redirect, routeRule('hello')));
  const moved = await r.get('/old/x?q=1');
  assert.equal(moved.status, 302);
  assert.match(moved.head, /location: https:\/\/shop\.example\.com\/new\/x\?q=1\r\n/i);
  assert.deepEqual([(await r.get('/')).status, (await r.get('/')).body], [200, 'hello']);
  // Answered at once, the connection is kept, also for a request with content.
  const { socket, reader } = r.client('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc');
  assert.equal((await reader.response()).body, 'hello');
  socket.write(REQUEST);
  assert.equal((await reader.response()).body, 'hello');
});

test('rewrites and header filters', async () => {
  const filters: RouteFilter[] = [
    {
      kind: 'requestHeaders',
      set: [{ name: 'X-Set', value: 'new' }],
      add: [{ name: 'X-Add', value: '1' }],
      remove: ['x-gone'],
    },
    { kind: 'responseHeaders', set: [{ name: 'X-Out', value: 'yes' }], add: [], remove: ['x-secret'] },
    {
      kind: 'rewrite',
      host: 'inner.example.com',
      path: { kind: 'prefix', prefix: '/api', replacement: '/', by: 'segments' },
    },
  ];
  const r = await start(withRoute(forwards({ anyMatch: [[path(pathPrefix('/api'))]] }, filters)));
  r.answer = (request, socket) =>
    socket.write(`HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: ${request.length}\r\n\r\n${request}`);
  const { head, body } = await r.get('/api/v1?x=1', 'X-Set: old\r\nX-Gone: 1\r\n');
  assert.match(body, /^GET \/v1\?x=1 HTTP\/1\.1\r\nHost: inner\.example\.com\r\n/);
  assert.match(body, /X-Set: new\r\n/);
  assert.match(body, /X-Add: 1\r\n/);
  assert.doesNotMatch(body, /x-gone/i);
  assert.match(body, /x-envoy-original-path: \/api\/v1\?x=1/);
  assert.match(head, /X-Out: yes/);
  assert.doesNotMatch(head, /x-secret/i);
});

test('weights: 0 takes nothing, an invalid backend fails its share', async () => {
  const target = {
    kind: 'service',
    service: 'shop/order.shop.svc.cluster.local',
    port: 80,
    subset: undefined,
  } as const;
  const invalid = { kind: 'invalid', status: 500, reason: 'BackendNotFound', detail: 'no such Service' } as const;
  const backends = [
    { target, weight: 1, filters: [] },
    { target: invalid, weight: 1, filters: [] },
    { target: invalid, weight: 0, filters: [] },
  ];
  let die = 0;
  const r = await start({ ...withRoute(forwards({ action: { kind: 'forward', backends } })), random: () => die });
  assert.equal((await r.get()).status, 200);
  die = 0.99;
  assert.equal((await r.get()).status, 500);
});

test("policies judge: 403 in Envoy's words, gRPC as trailers-only", async () => {
  const deny = httpPolicy('no', 'deny', [policyRule({ to: [[asks('paths', 'request.path', prefix('/admin'))]] })]);
  const r = await start({ proxy: { security: { policies: [deny], tokens: [] } } });
  const refused = await r.get('/admin/x');
  assert.deepEqual([refused.status, refused.body], [403, 'RBAC: access denied']);
  assert.equal((await r.get('/x')).status, 200);
  for (const trick of ['/%61dmin', '/x/../admin', '/./admin']) assert.equal((await r.get(trick)).status, 403, trick);
  const grpc = await r.get('/admin', 'Content-Type: application/grpc\r\n');
  assert.equal(grpc.status, 200);
  assert.match(grpc.head, /grpc-status: 7\r\n/i);
  assert.match(grpc.head, /grpc-message: RBAC: access denied/i);
});

test('CORS: preflights are answered, requests get their headers', async () => {
  const cors: RouteFilter = {
    kind: 'cors',
    allowOrigins: [exact('https://a.example')],
    allowCredentials: true,
    allowMethods: ['GET', 'PUT'],
    allowHeaders: ['x-a'],
    exposeHeaders: ['x-b'],
    maxAgeSeconds: 5,
    unmatchedPreflights: 'answer',
  };
  const r = await start(withRoute(forwards({}, [cors])));
  const { reader } = r.client(
    'OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n',
  );
  const { status, head } = await reader.response();
  assert.equal(status, 200);
  for (const line of [
    'allow-origin: https://a.example',
    'allow-credentials: true',
    'allow-methods: GET,PUT',
    'allow-headers: x-a',
    'max-age: 5',
  ])
    assert.ok(head.includes(`access-control-${line}\r\n`), line);
  assert.equal(r.requests.length, 0);
  const actual = await r.get('/', 'Origin: https://a.example\r\n');
  assert.match(actual.head, /access-control-allow-origin: https:\/\/a\.example/);
  assert.match(actual.head, /access-control-expose-headers: x-b/);
  const other = await r.get('/', 'Origin: https://b.example\r\n');
  assert.doesNotMatch(other.head, /access-control/);
});

test('faults: an abort by share, a delay, a gRPC status', async () => {
  const all = { numerator: 100, denominator: 100 };
  const abort: RouteFilter = { kind: 'abort', with: { httpStatus: 418 }, share: all };
  const delay: RouteFilter = { kind: 'delay', delayMs: 30, share: all };
  const r = await start(withRoute(forwards({ anyMatch: [[path(exact('/abort'))]] }, [abort]), forwards({}, [delay])));
  const aborted = await r.get('/abort');
  assert.deepEqual([aborted.status, aborted.body], [418, 'fault filter abort']);
  const began = performance.now();
  assert.equal((await r.get('/')).status, 200);
  assert.ok(performance.now() - began >= 28);
});

test('a mirror gets a copy and never holds up the request', async () => {
  const target = {
    kind: 'service',
    service: 'shop/order.shop.svc.cluster.local',
    port: 80,
    subset: undefined,
  } as const;
  const mirror: RouteFilter = { kind: 'mirror', target, share: { numerator: 1, denominator: 1 } };
  const r = await start(withRoute(forwards({}, [mirror])));
  const { reader } = r.client('POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody');
  assert.equal((await reader.response()).status, 200);
  const both = Date.now() + 2_000;
  while (r.requests.length < 2 && Date.now() < both) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(r.requests.filter((request) => request.endsWith('\r\n\r\nbody')).length, 2);
});

test('time-outs: of the request, of a try', async () => {
  const timeouts = { requestMs: 40, perTryMs: undefined };
  const r = await start(withRoute(forwards({ timeouts })));
  r.answer = () => {};
  const late = await r.get('/');
  assert.deepEqual([late.status, late.body], [504, 'upstream request timeout']);
});

test('retries: by status, up to the number, with the content sent again', async () => {
  const retry = {
    attempts: 2,
    on: ['5xx'],
    statuses: [],
    backoffMs: 1,
    remoteLocalities: false,
    ignorePreviousHosts: true,
  } as const;
  const r = await start(withRoute(forwards({ retry })));
  r.answer = (request, socket) => {
    assert.match(request, /\r\n\r\nabc$/);
    socket.write(
      r.requests.length < 3
        ? 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n'
        : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
  };
  const { reader } = r.client('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc');
  assert.equal((await reader.response()).body, 'ok');
  assert.equal(r.requests.length, 3);
  r.answer = (_, socket) => socket.write('HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno');
  assert.equal((await r.get('/')).status, 500);
  assert.equal(r.requests.length, 6, 'the number of tries has an end');
});

test('a kept connection that is dead is replaced without the client noticing', async () => {
  const r = await start();
  const { socket, reader } = r.client(REQUEST);
  await reader.response();
  r.answer = (request, endpoint, count) => {
    if (count > 1) endpoint.destroy();
    else endpoint.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`);
  };
  socket.write(REQUEST);
  assert.equal((await reader.response()).status, 200);
  assert.equal(r.connections, 2);
});

test('an endpoint that breaks off or talks nonsense', async () => {
  const r = await start(
    withRoute(
      forwards({
        retry: { attempts: 0, on: [], statuses: [], backoffMs: 1, remoteLocalities: false, ignorePreviousHosts: true },
      }),
    ),
  );
  r.answer = (_, socket) => socket.destroy();
  const ended = await r.get('/');
  assert.equal(ended.status, 503);
  assert.match(
    ended.body,
    /^upstream connect error or disconnect\/reset before headers\. reset reason: (?:connection termination|remote reset)$/,
  );
  r.answer = (_, socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab');
  assert.equal((await r.get('/')).status, 502);
  // In the middle of the content: the client sees that it is not whole.
  r.answer = (_, socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', () => socket.destroy());
  const { reader } = r.client(REQUEST);
  await reader.head();
  assert.equal((await reader.all()).length <= 3, true);
});

test('no endpoint, no connection', async () => {
  const r = await start();
  r.parts.state.applyAddresses([{ kind: 'workload', workload: r.pod('order-1', 1) }], []);
  const unreachable = await r.get('/');
  assert.equal(unreachable.status, 503);
  assert.match(unreachable.body, /remote connection failure, transport failure reason: io error: Connection refused/);
  r.parts.state.applyAddresses([], ['Kubernetes//Pod/shop/order-1']);
  assert.deepEqual([(await r.get('/')).status, (await r.get('/')).body], [503, 'no healthy upstream']);
});

test('CONNECT is refused unless a route names it', async () => {
  const r = await start();
  assert.match(
    await r.exchange('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 403 /,
  );
  r.close();
  const open = await start(withRoute(forwards({ anyMatch: [[method('CONNECT')]] })));
  open.answer = (request, socket) => {
    assert.match(request, /^CONNECT a:443 HTTP\/1\.1\r\n/);
    socket.write('HTTP/1.1 200 OK\r\n\r\nraw');
  };
  const { reader } = open.client('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n');
  assert.match(await reader.head(), /^HTTP\/1\.1 200 /);
  assert.equal(await reader.bytes(3), 'raw');
});

test('what a stranger may not say is taken out, and who it is is written', async () => {
  const r = await start();
  const { body } = await r.get(
    '/',
    'X-Envoy-Retry-On: 5xx\r\nX-Forwarded-Client-Cert: By=me\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n',
  );
  assert.doesNotMatch(body, /x-envoy-retry-on|x-forwarded-client-cert/i);
  assert.match(body, /x-forwarded-for: 1\.2\.3\.4,127\.0\.0\.1/i);
  assert.match(body, /x-forwarded-proto: http\r\n/i);
  assert.match(body, /x-request-id: [0-9a-f-]{36}/i);
});

test('a change of routes takes effect, and does not touch what is under way', async () => {
  const r = await start(withRoute(forwards()));
  let release: () => void = () => {};
  r.answer = (_, socket) => {
    release = () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold');
  };
  const { reader } = r.client(REQUEST);
  while (r.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  r.parts.state.setRoute('route-0', listenerRoute([routeRule('new')]));
  r.parts.places.refresh();
  assert.equal((await r.get('/')).body, 'new');
  release();
  assert.equal((await reader.response()).body, 'old');
});

test('a host or path that no server could read fails its request alone', async () => {
  const broken: RouteFilter = { kind: 'rewrite', host: 'not a host', path: undefined };
  const r = await start(withRoute(forwards({ anyMatch: [[path(exact('/broken'))]] }, [broken]), forwards()));
  for (let i = 0; i < 3; i++) assert.equal((await r.get('/broken')).status, 502);
  assert.equal((await r.get('/')).status, 200);
  assert.equal(r.requests.length, 1);
});
