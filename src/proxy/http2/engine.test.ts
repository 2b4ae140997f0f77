// HTTP/2, gRPC, WebSocket, and what a DestinationRule asks for, through the whole engine on loopback, with real peers.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { TestAuthority } from '../../dataplane/testing/authority.ts';
import { DEFAULT_TRAFFIC_POLICY, type PortProtocol, type TrafficPolicy } from '../../model/proxy/service-config.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../../wire/gen/istio/v1/auth/citadel_pb.ts';
import { Rig, type RigOptions } from '../testing/rig.ts';

let rig: Rig | undefined;
const closing: (() => void)[] = [];
afterEach(() => {
  rig?.close();
  rig = undefined;
  for (const close of closing.splice(0)) close();
});

/** A gateway whose service has one port of that protocol, and one endpoint at `port`. */
async function start(protocol: PortProtocol, port: number | undefined, options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.start({ ...options, service: { ports: [{ port: 80, name: 'it', protocol }], ...options.service } });
  if (port !== undefined)
    rig.parts.state.applyAddresses([{ kind: 'workload', workload: rig.pod('order-1', port) }], []);
  return rig;
}

async function listen(server: Http2Server | Http2SecureServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  closing.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function endpoint(onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void): Http2Server {
  const server = createServer({ settings: { enableConnectProtocol: true } });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  return server;
}

function nodeClient(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  closing.push(() => session.destroy());
  return session;
}

async function get(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: string }> {
  const stream = session.request({ ':path': '/', ...headers });
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  let body = '';
  for await (const piece of stream) body += String(piece);
  return { status: head[':status'], headers: head, body };
}

test('a client in HTTP/2, an endpoint in HTTP/1.1', async () => {
  const { port } = await start('http', undefined);
  const session = nodeClient(port);
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => get(session, { ':path': `/${i}`, cookie: 'a=1', 'x-i': String(i) })),
  );
  for (const [i, { status, body, headers }] of answers.entries()) {
    assert.equal(status, 200);
    assert.match(body, new RegExp(`^GET /${i} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`, 'i'));
    assert.match(body, new RegExp(`x-i: ${i}\r\n`));
    assert.equal(headers.server, 'istio-envoy');
  }
});

test('an endpoint in HTTP/2: one connection carries all', async () => {
  let sessions = 0;
  const server = endpoint((stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(`${headers[':method']} ${headers[':path']} ${headers[':authority']}`);
  });
  server.on('session', () => sessions++);
  const r = await start('http2', await listen(server));
  const session = nodeClient(r.port);
  const answers = await Promise.all(Array.from({ length: 50 }, () => get(session)));
  for (const { body } of answers) assert.equal(body, `GET / 127.0.0.1:${r.port}`);
  assert.equal((await r.get('/a')).body, 'GET /a shop.example.com', 'also for a client in HTTP/1.1');
  assert.equal(sessions, 1);
});

const grpcServer = (): Http2Server =>
  createServer(
    connectNodeAdapter({
      grpcWeb: false,
      connect: false,
      routes: (router) =>
        router.service(IstioCertificateService, {
          createCertificate: ({ csr }) => {
            if (csr === 'slow') return new Promise(() => {});
            if (csr === 'refuse') throw new ConnectError('no', Code.FailedPrecondition);
            return create(IstioCertificateResponseSchema, { certChain: [csr] });
          },
        }),
    }),
  );
const grpcClient = (r: Rig) =>
  createClient(IstioCertificateService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${r.port}` }));

test('gRPC: answers, errors in trailers, large messages', async () => {
  const client = grpcClient(await start('grpc', await listen(grpcServer())));
  assert.deepEqual((await client.createCertificate({ csr: 'x' })).certChain, ['x']);
  await assert.rejects(client.createCertificate({ csr: 'refuse' }), { code: Code.FailedPrecondition });
  const large = 'y'.repeat(2 << 20);
  assert.equal((await client.createCertificate({ csr: large })).certChain[0], large);
});

test('gRPC: what the proxy says itself is a gRPC status', async () => {
  const r = await start('grpc', undefined);
  r.parts.state.applyAddresses([], [r.pod('order-1', 1).uid]);
  await assert.rejects(grpcClient(r).createCertificate({ csr: 'x' }), { code: Code.Unavailable });
});

test('gRPC: the proxy gives up when the client does', async () => {
  const r = await start('grpc', await listen(grpcServer()));
  const stream = nodeClient(r.port).request({
    ':method': 'POST',
    ':path': '/istio.v1.auth.IstioCertificateService/CreateCertificate',
    'content-type': 'application/grpc',
    'grpc-timeout': '50m',
    te: 'trailers',
  });
  stream.end(Buffer.from([0, 0, 0, 0, 6, 0x0a, 4, ...Buffer.from('slow')]));
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  assert.deepEqual([head[':status'], head['grpc-status']], [200, '4']);
  stream.resume();
  const client = grpcClient(r);
  const answer = await client.createCertificate({ csr: 'x' }, { headers: { 'grpc-timeout': '99999999H' } });
  assert.deepEqual(answer.certChain, ['x'], 'a time beyond all timers is none');
});

test('a stream that the endpoint refused is sent again, whatever the route says of retries', async () => {
  let count = 0;
  const server = endpoint((stream) => {
    count++;
    if (count % 2 === 1)
      stream.close(7); // REFUSED_STREAM
    else {
      stream.respond({ ':status': 200 });
      stream.end('second');
    }
  });
  const r = await start('http2', await listen(server));
  const session = nodeClient(r.port);
  for (let i = 0; i < 3; i++) assert.deepEqual((await get(session)).body, 'second');
  assert.equal(count, 6);
});

test('an endpoint that leaves finishes what it took; what comes next goes to a new connection', async () => {
  const sessions: ServerHttp2Session[] = [];
  const held: ServerHttp2Stream[] = [];
  const server = endpoint((stream) => {
    stream.respond({ ':status': 200 });
    if (held.length === 0) held.push(stream);
    else stream.end('next');
  });
  server.on('session', (session) => sessions.push(session));
  const r = await start('http2', await listen(server));
  const session = nodeClient(r.port);
  const first = get(session);
  while (held.length === 0) await new Promise(setImmediate);
  sessions[0]?.goaway(0);
  const answers = await Promise.all(Array.from({ length: 20 }, () => get(session)));
  for (const { status, body } of answers) assert.deepEqual([status, body], [200, 'next']);
  held[0]?.end('the last');
  assert.equal((await first).body, 'the last');
  assert.ok(sessions.length >= 2);
});

test('WebSocket from HTTP/2 to an endpoint in HTTP/1.1: the key is made, its answer is checked by nobody else', async () => {
  const r = await start('http', undefined);
  r.answer = (request, socket) => {
    const key = /^sec-websocket-key: (.*)$/im.exec(request)?.[1]?.trim() ?? '';
    assert.equal(Buffer.from(key, 'base64').length, 16);
    assert.match(request, /^GET \/chat HTTP\/1\.1\r\n/);
    assert.match(request, /^upgrade: websocket/im);
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhello`,
    );
    socket.removeAllListeners('data');
    socket.on('data', (piece: Buffer) => socket.write(`<${piece}>`));
  };
  const session = nodeClient(r.port);
  await once(session, 'remoteSettings');
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'http',
    ':authority': 'shop.example.com',
    ':path': '/chat',
    'sec-websocket-version': '13',
  });
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  assert.equal(head[':status'], 200);
  let text = '';
  stream.on('data', (piece: Buffer) => {
    text += String(piece);
  });
  stream.write('ping');
  while (text !== 'hello<ping>') await once(stream, 'data');
  stream.close();
});

test('WebSocket from HTTP/1.1 to an endpoint in HTTP/2', async () => {
  const server = endpoint((stream, headers) => {
    assert.equal(headers[':protocol'], 'websocket');
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  const r = await start('http2', await listen(server));
  const { socket, reader } = r.client(
    'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const head = await reader.head();
  assert.match(head, /^HTTP\/1\.1 101 /);
  assert.match(head, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/im);
  socket.write('ping');
  assert.equal(await reader.bytes(4), 'ping');
});

// ---- DestinationRules --------------------------------------------------------------------------------------------

test('a sticky cookie is set once, and holds its client at one endpoint', async () => {
  const balancer: TrafficPolicy['loadBalancer'] = {
    kind: 'ringHash',
    by: { kind: 'cookie', name: 'user', path: '/', ttlMs: 60_000, attributes: [] },
    minimumRingSize: 1024,
  };
  const r = await start('http', undefined, { policy: { loadBalancer: balancer } });
  const ports: number[] = [];
  for (const name of ['b', 'c', 'd']) {
    const port = await r.sockets.listen((socket) => {
      socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${name}`));
    });
    ports.push(port);
  }
  r.parts.state.applyAddresses(
    ['b', 'c', 'd'].map((name, i) => ({ kind: 'workload', workload: r.pod(name, ports[i] as number) }) as const),
    [r.pod('order-1', 1).uid],
  );
  const first = await r.get('/');
  const cookie = /^set-cookie: user="([0-9a-f]{16})"; Max-Age=60; Path=\/; HttpOnly\r$/im.exec(first.head)?.[1];
  assert.ok(cookie, first.head);
  for (let i = 0; i < 10; i++) {
    const again = await r.get('/', `Cookie: user=${cookie}\r\n`);
    assert.equal(again.body, first.body);
    assert.doesNotMatch(again.head, /^set-cookie/im);
  }
});

test('an endpoint that fails is left out; when all are, 503', async () => {
  const r = await start('http', undefined, {
    policy: {
      outlier: {
        consecutive5xx: 2,
        consecutiveGatewayErrors: 0,
        consecutiveLocalOriginFailures: 0,
        splitsLocalOrigin: false,
        intervalMs: 60_000,
        baseEjectionMs: 60_000,
        maxEjectionPercent: 100,
        minHealthPercent: 0,
      },
    },
  });
  r.answer = (_, socket) => void socket.write('HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n');
  assert.equal((await r.get()).status, 500);
  assert.equal((await r.get()).status, 500);
  const refused = await r.get();
  assert.equal(refused.status, 503);
  assert.equal(refused.body, 'no healthy upstream');
  assert.equal(r.requests.length, 2);
});

test('more requests at once than the circuit breaker allows are 503', async () => {
  const { pool } = DEFAULT_TRAFFIC_POLICY;
  const server = endpoint(() => {});
  const r = await start('http2', await listen(server), { policy: { pool: { ...pool, maxRequests: 2 } } });
  const session = nodeClient(r.port);
  const hanging = [0, 1].map(() => session.request({ ':path': '/' }).on('error', () => {}));
  const { status, headers } = await get(session);
  assert.deepEqual([status, headers['x-envoy-overloaded']], [503, 'true']);
  for (const stream of hanging) stream.close();
});

test('TLS that a rule asks for: HTTP/2 by ALPN, and no way around a name that is not there', async () => {
  const authority = await TestAuthority.create();
  const { certificatePem, privateKeyPem } = await authority.server('api.example.com');
  const server = createSecureServer({ cert: certificatePem, key: privateKeyPem });
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('secure');
  });
  const port = await listen(server);
  const tls = (serverName: string): Partial<TrafficPolicy> => ({
    tls: {
      mode: 'simple',
      serverName,
      subjectAltNames: [],
      roots: { kind: 'pem', pem: authority.rootPem },
      certificate: undefined,
    },
  });
  assert.equal((await (await start('http2', port, { policy: tls('api.example.com') })).get()).body, 'secure');
  rig?.close();
  const wrong = await (await start('http2', port, { policy: tls('other.example.com') })).get();
  assert.equal(wrong.status, 503);
  assert.match(wrong.body, /not for `other\.example\.com`/);
});
