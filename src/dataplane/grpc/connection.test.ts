// The gRPC connection against servers that misbehave below gRPC: no HTTP/2, old TLS, silence, broken framing.

import assert from 'node:assert/strict';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { after, test } from 'node:test';
import { createServer as createTlsServer, type SecureVersion } from 'node:tls';
import { type Clock, ManualClock, systemClock } from '../../platform/clock.ts';
import { encodeMessage } from '../../wire/grpc/framing.ts';
import { TestAuthority } from '../testing/authority.ts';
import { connectGrpc, type GrpcConnection, GrpcError, type GrpcTarget } from './connection.ts';

const authority = await TestAuthority.create();
const identity = await authority.server('localhost', '127.0.0.1', '::1');
const secrets = { cert: identity.certificatePem, key: identity.privateKeyPem };

const servers: (Server | Http2SecureServer)[] = [];
after(() => {
  for (const server of servers) server.close();
});
async function listen(server: Server | Http2SecureServer, host = '127.0.0.1'): Promise<number> {
  servers.push(server);
  server.on('error', () => {});
  await new Promise<void>((listening) => server.listen(0, host, listening));
  return (server.address() as AddressInfo).port;
}
const target = (port: number, change: Partial<GrpcTarget> = {}): GrpcTarget => ({
  host: 'localhost',
  port,
  roots: authority.rootPem,
  tls12: false,
  ...change,
});

/** A server whose streams the test answers. */
async function http2(answer: (stream: ServerHttp2Stream) => void): Promise<number> {
  const server = createSecureServer(secrets);
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    answer(stream);
  });
  server.on('session', (session) => session.on('error', () => {}));
  return listen(server);
}
const ok = { ':status': 200, 'content-type': 'application/grpc' };

async function call(port: number, clock: Clock = systemClock, maxMessageBytes = 100) {
  const connection = await connectGrpc(target(port), clock);
  try {
    return await connection.unary('/a/b', {}, Uint8Array.of(1), { timeoutMs: 1000, maxMessageBytes });
  } finally {
    connection.close();
  }
}
const failsWith =
  (status: string, message: RegExp, stage: 'start' | 'stream', transport = false) =>
  (error: unknown) => {
    assert.ok(error instanceof GrpcError);
    assert.match(error.message, message);
    assert.deepEqual([error.status, error.stage, error.transport], [status, stage, transport]);
    return true;
  };

test('a message there and back', async () => {
  const port = await http2((stream) => {
    stream.respond(ok, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.on('data', () => {});
    stream.on('end', () => stream.end(encodeMessage(Uint8Array.of(7))));
  });
  assert.deepEqual([...(await call(port))], [7]);
});

test('a server at an IPv6 address', { skip: !(await hasIpv6()) && 'no IPv6 on this machine' }, async () => {
  const port = await listen(createSecureServer(secrets), '::1');
  (await connectGrpc(target(port, { host: '::1' }), systemClock)).close();
});
async function hasIpv6(): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(0, '::1', () => server.close(() => resolve(true)));
  });
}

test('a TLS server that does not speak HTTP/2 is refused', async () => {
  const port = await listen(createTlsServer(secrets));
  await assert.rejects(
    connectGrpc(target(port), systemClock),
    failsWith('Unavailable', /does not speak HTTP\/2|no application protocol/i, 'start', true),
  );
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as SecureVersion[])
  for (const tls12 of [false, true])
    test(`a server with ${version} only, TLS 1.2 ${tls12 ? 'allowed' : 'not allowed'}`, async () => {
      const port = await listen(
        createTlsServer({ ...secrets, ALPNProtocols: ['h2'], minVersion: version, maxVersion: version }),
      );
      const connecting = connectGrpc(target(port, { tls12 }), systemClock);
      if (version === 'TLSv1.3' || tls12) (await connecting).close();
      else await assert.rejects(connecting, failsWith('Unavailable', /no connection to localhost/, 'start', true));
    });

test('a server that accepts and is silent is given up after 5 s', async () => {
  const clock = new ManualClock();
  const server = createServer();
  const accepted = new Promise((r) => server.once('connection', r));
  const port = await listen(server);
  const connecting = connectGrpc(target(port), clock);
  connecting.catch(() => {});
  await accepted;
  await new Promise((r) => setImmediate(r));
  clock.advance(5000);
  await assert.rejects(connecting, failsWith('Unavailable', /no (answer|TLS handshake) in 5 s/, 'start', true));
  assert.equal(clock.waiting, 0);
});

test('connecting ends when it is no longer wanted', async () => {
  const stop = new AbortController();
  const port = await listen(createServer());
  const connecting = connectGrpc(target(port), systemClock, stop.signal);
  stop.abort();
  await assert.rejects(connecting, /not wanted/);
  await assert.rejects(connectGrpc(target(port), systemClock, stop.signal), /not wanted/);
});

test('a peer that answers no ping is cut after 40 s, its calls end as broken', async () => {
  const clock = new ManualClock();
  const port = await listen(
    createTlsServer({ ...secrets, ALPNProtocols: ['h2'] }, (socket) => void socket.on('error', () => {}).resume()),
  );
  const connection = await connectGrpc(target(port), clock);
  const ended = new Promise<GrpcError | undefined>((onEnd) => {
    connection.stream('/a/b', {}, 10, { onMessage() {}, onEnd });
  });
  clock.advance(30_000);
  assert.equal(connection.usable, true);
  clock.advance(10_000);
  failsWith('Unavailable', /did not answer a ping in 10 s/, 'start', true)(await ended);
  assert.equal(connection.usable, false);
  assert.equal(clock.waiting, 0);
});

const endings: { name: string; answer: (stream: ServerHttp2Stream) => void; wanted: Parameters<typeof failsWith> }[] = [
  {
    name: 'a web page',
    answer: (s) => s.respond({ ':status': 404, 'content-type': 'text/html' }, { endStream: true }),
    wanted: ['Unimplemented', /HTTP status 404/, 'start'],
  },
  {
    name: 'status in the headers',
    answer: (s) => s.respond({ ...ok, 'grpc-status': '7', 'grpc-message': 'no' }, { endStream: true }),
    wanted: ['PermissionDenied', /^no$/, 'start'],
  },
  {
    name: 'no status at all',
    answer: (s) => {
      s.respond(ok);
      s.end();
    },
    wanted: ['Unavailable', /lost/, 'stream', true],
  },
  {
    name: 'an answer without a message',
    answer: (s) => {
      s.respond(ok, { waitForTrailers: true });
      s.on('wantTrailers', () => s.sendTrailers({ 'grpc-status': '0' }));
      s.end();
    },
    wanted: ['Internal', /without an answer/, 'stream'],
  },
  {
    name: 'the end in the middle of a message',
    answer: (s) => {
      s.respond(ok, { waitForTrailers: true });
      s.on('wantTrailers', () => s.sendTrailers({ 'grpc-status': '0' }));
      s.end(Uint8Array.of(0, 0, 0, 0, 9, 1));
    },
    wanted: ['Internal', /middle of a message/, 'stream'],
  },
  {
    name: 'a compressed message',
    answer: (s) => {
      s.respond(ok);
      s.write(Uint8Array.of(1, 0, 0, 0, 1, 1));
    },
    wanted: ['Internal', /compressed/, 'stream'],
  },
  {
    name: 'a message over the bound',
    answer: (s) => {
      s.respond(ok);
      s.write(Uint8Array.of(0, 0, 0, 1, 0));
    },
    wanted: ['Internal', /256 bytes; at most 100/, 'stream'],
  },
  {
    name: 'a reset',
    answer: (s) => s.close(2),
    wanted: ['Unavailable', /NGHTTP2_INTERNAL_ERROR|code 2|closed/, 'start', true],
  },
];
for (const c of endings)
  test(`a call that is answered with ${c.name}`, async () => {
    await assert.rejects(call(await http2(c.answer)), failsWith(...c.wanted));
  });

test('metadata that no header may hold is a call that does not start', async () => {
  const port = await http2(() => {});
  const connection: GrpcConnection = await connectGrpc(target(port), systemClock);
  const limits = { timeoutMs: 1000, maxMessageBytes: 10 };
  await assert.rejects(
    connection.unary('/a/b', { authorization: 'a\nb' }, Uint8Array.of(), limits),
    failsWith('Unavailable', /not started: metadata `authorization` has characters/, 'start', true),
  );
  connection.close();
  await assert.rejects(
    connection.unary('/a/b', {}, Uint8Array.of(), limits),
    failsWith('Unavailable', /not started|session has been destroyed/, 'start', true),
  );
});
