// The gRPC server against peers that are not polite: raw HTTP/2, cut and oversized messages, wrong certificates. Each
// gets its status or is cut off; a call beside it goes on.

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants, type OutgoingHttpHeaders } from 'node:http2';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { systemClock } from '../../platform/clock.ts';
import { configureLogging } from '../../telemetry/log.ts';
import { encodeMessage, MessageReader } from '../../wire/grpc/framing.ts';
import { issueLeaf } from '../ca/authority.ts';
import { readBundle } from '../ca/bundle.ts';
import { createSelfSigned } from '../ca/self-signed.ts';
import { issueServing } from '../ca/serving.ts';
import { rootBundle, type Trust } from '../ca/trust.ts';
import { x509 } from '../ca/x509.ts';
import type { Call, Sender } from './call.ts';
import { encodeStatusMessage, GrpcFailure } from './failure.ts';
import { GrpcServer } from './server.ts';

configureLogging({ filter: 'off' });

const calls: Call[] = [];
const senders: Sender[] = [];
let closed = 0;
const methods = new Map([
  [
    '/test/Echo',
    {
      kind: 'unary' as const,
      async answer(call: Call, request: Uint8Array) {
        calls.push(call);
        const text = Buffer.from(request).toString();
        if (text === 'refuse') throw new GrpcFailure('PermissionDenied', 'nicht für dich: 100%');
        if (text === 'break') throw new Error('a secret of the inside');
        if (text === 'hang') await once(call.signal, 'abort');
        return request;
      },
    },
  ],
  [
    '/test/Chat',
    {
      kind: 'stream' as const,
      async open(call: Call, sender: Sender) {
        if (call.headers['x-refuse'] !== undefined) throw new GrpcFailure('Unauthenticated', 'no');
        senders.push(sender);
        return {
          message: (bytes: Uint8Array) => {
            if (bytes.length === 3) throw new GrpcFailure('InvalidArgument', 'three');
            void sender.send([bytes.subarray(0, 1), bytes.subarray(1)]);
          },
          closed: () => void closed++,
        };
      },
    },
  ],
]);

let server: GrpcServer;
let trust: Trust;
let roots: string;
const credentials = async (of: Trust) => issueServing(of, ['localhost'], Date.now());
async function newTrust(): Promise<Trust> {
  const bundle = readBundle(await createSelfSigned('cluster.local', 0, Date.now()), Date.now());
  assert.ok(bundle.ok);
  return { bundle: bundle.value, previous: undefined };
}
before(async () => {
  trust = await newTrust();
  roots = rootBundle(trust);
  server = await GrpcServer.listen({
    host: '127.0.0.1',
    port: 0,
    credentials: await credentials(trust),
    methods,
    clock: systemClock,
    maxUnusedConnections: 20,
  });
});
const sessions: ClientHttp2Session[] = [];
after(async () => {
  for (const session of sessions) session.destroy();
  await server.stop(100);
});

function dial(options: { cert?: string; key?: string } = {}): ClientHttp2Session {
  const session = connect(`https://localhost:${server.port}`, { ca: roots, ...options });
  session.on('error', () => {});
  sessions.push(session);
  return session;
}

interface Outcome {
  readonly http: number;
  readonly status: string | undefined;
  readonly message: string;
  readonly messages: readonly string[];
}

/** One call of raw bytes; ends the client's side unless told otherwise. */
async function call(
  session: ClientHttp2Session,
  path: string,
  body: readonly Uint8Array[],
  headers: OutgoingHttpHeaders = {},
  end = true,
): Promise<Outcome> {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  const reader = new MessageReader(1e8);
  const messages: string[] = [];
  let status: string | undefined;
  let message = '';
  let http = 0;
  const look = (found: Record<string, unknown>): void => {
    status ??= found['grpc-status'] as string | undefined;
    message ||= decodeURIComponent(String(found['grpc-message'] ?? ''));
  };
  stream.on('response', (found) => {
    http = Number(found[':status']);
    look(found);
  });
  stream.on('trailers', look);
  stream.on('data', (chunk: Buffer) => {
    const read = reader.push(chunk);
    if (read.ok) for (const each of read.value) messages.push(Buffer.from(each).toString());
  });
  stream.on('error', () => {});
  for (const piece of body) stream.write(piece);
  if (end) stream.end();
  await once(stream, 'close');
  return { http, status, message, messages };
}
const message = (text: string): Uint8Array => encodeMessage(Buffer.from(text));

test('a unary call, whole and in single bytes', async () => {
  const session = dial();
  const want = { http: 200, status: '0', message: '', messages: ['hello'] };
  assert.deepEqual(await call(session, '/test/Echo', [message('hello')]), want);
  const bytes = [...message('hello')].map((byte) => Uint8Array.of(byte));
  assert.deepEqual(await call(session, '/test/Echo', bytes), want);
});

test('failures have their status; what was not foreseen tells nothing of the inside', async () => {
  const session = dial();
  const refused = await call(session, '/test/Echo', [message('refuse')]);
  assert.deepEqual([refused.status, refused.message], ['7', 'nicht für dich: 100%']);
  const broken = await call(session, '/test/Echo', [message('break')]);
  assert.equal(broken.status, '13');
  assert.doesNotMatch(broken.message, /secret/);
});

test('a call beyond its deadline', async () => {
  const late = await call(dial(), '/test/Echo', [message('hang')], { 'grpc-timeout': '20m' });
  assert.equal(late.status, '4');
});

const big = Buffer.alloc(5);
big.writeUInt32BE(5 * 1024 * 1024, 1);
const bad: readonly [string, string, readonly Uint8Array[], string][] = [
  ['a method that does not exist', '/test/Nothing', [message('x')], '12'],
  ['no message at all', '/test/Echo', [], '3'],
  ['a message cut off', '/test/Echo', [message('hello').subarray(0, 7)], '3'],
  ['two messages on a unary call', '/test/Echo', [message('a'), message('b')], '3'],
  ['a message over 4 MiB', '/test/Echo', [big], '8'],
  ['a compressed message', '/test/Echo', [Uint8Array.of(1, 0, 0, 0, 1, 9)], '12'],
  ['an unknown flag', '/test/Echo', [Uint8Array.of(7, 0, 0, 0, 1, 9)], '13'],
  ['a message over 4 MiB on a stream', '/test/Chat', [big], '8'],
  ['a compressed message on a stream', '/test/Chat', [Uint8Array.of(1, 0, 0, 0, 1, 9)], '12'],
  ['a message that the service refuses', '/test/Chat', [message('abc')], '3'],
];
for (const [name, path, body, status] of bad)
  test(`${name}: status ${status}, and others are unharmed`, async () => {
    const session = dial();
    const beside = call(session, '/test/Echo', [message('beside')]);
    assert.equal((await call(session, path, body)).status, status);
    assert.deepEqual((await beside).messages, ['beside']);
    assert.deepEqual((await call(session, '/test/Echo', [message('after')])).messages, ['after']);
  });

test('what is not gRPC is told so', async () => {
  const html = await call(dial(), '/test/Echo', [], { 'content-type': 'text/html' });
  assert.equal(html.http, 415);
});

test('a stream that is refused while the client still sends', async () => {
  const refused = await call(dial(), '/test/Chat', [message('x'.repeat(100_000))], { 'x-refuse': '1' }, false);
  assert.deepEqual([refused.status, refused.message], ['16', 'no']);
});

test('a stream: messages in pieces, ended by the server with a status while the client is still there', async () => {
  senders.length = 0;
  const running = call(dial(), '/test/Chat', [message('a'), message('bcde')], {}, false);
  while (senders.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const [sender] = senders;
  assert.ok(sender);
  await sender.send([Buffer.from('last')]);
  sender.end('Unavailable', 'bye');
  const { status, message: text, messages } = await running;
  assert.deepEqual([status, text], ['14', 'bye']);
  assert.deepEqual([...messages].sort(), ['a', 'bcde', 'last']);
});

test('a client that goes away, and one that resets, end their streams', async () => {
  const session = dial();
  const start = closed;
  for (const leave of ['destroy', 'reset'] as const) {
    const stream = session.request({ ':method': 'POST', ':path': '/test/Chat', 'content-type': 'application/grpc' });
    stream.on('error', () => {});
    stream.write(message('hi'));
    await once(stream, 'data');
    if (leave === 'reset') stream.close(constants.NGHTTP2_CANCEL);
    else stream.destroy();
  }
  while (closed < start + 2) await new Promise((resolve) => setImmediate(resolve));
});

test('a reader that does not read holds back the sender, not the memory of others', async () => {
  senders.length = 0;
  const session = dial();
  const stream = session.request({ ':method': 'POST', ':path': '/test/Chat', 'content-type': 'application/grpc' });
  stream.on('error', () => {});
  stream.pause();
  while (senders.length === 0) await new Promise((resolve) => setImmediate(resolve));
  let done = false;
  const sent = senders[0]?.send([randomBytes(8 * 1024 * 1024)]).then(() => {
    done = true;
  });
  assert.deepEqual((await call(dial(), '/test/Echo', [message('meanwhile')])).messages, ['meanwhile']);
  assert.equal(done, false, 'the window of the reader is full');
  stream.destroy();
  await sent;
});

async function clientCertificate(of: Trust): Promise<{ cert: string; key: string }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const cert = await issueLeaf(of.bundle, spki, { uri: 'spiffe://cluster.local/ns/a/sa/b' }, 3600, Date.now());
  return { cert, key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })) };
}

test('a client certificate of ours is handed on; one of others ends the connection', async () => {
  calls.length = 0;
  await call(dial(await clientCertificate(trust)), '/test/Echo', [message('x')]);
  assert.ok(calls[0]?.clientCertificate);
  await call(dial(), '/test/Echo', [message('x')]);
  assert.equal(calls[1]?.clientCertificate, undefined);
  const stranger = dial(await clientCertificate(await newTrust()));
  await once(stranger, 'close');
});

test('a client that does not speak HTTP/2 is refused in the handshake', async () => {
  const options = { port: server.port, host: '127.0.0.1', servername: 'localhost', ca: roots };
  const socket = connectTls({ ...options, ALPNProtocols: ['http/1.1'] });
  await assert.rejects(once(socket, 'secureConnect'), /no application protocol/);
});

test('garbage instead of HTTP/2 ends that connection alone', async () => {
  const socket = connectTls({
    port: server.port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: roots,
    ALPNProtocols: ['h2'],
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.resume().write(randomBytes(10_000));
  await once(socket, 'close');
  assert.deepEqual((await call(dial(), '/test/Echo', [message('still here')])).messages, ['still here']);
});

test('a flood of resets ends that connection alone', async () => {
  const session = dial();
  await once(session, 'connect');
  for (let i = 0; i < 3000 && !session.destroyed; i++) {
    const stream = session.request({ ':method': 'POST', ':path': '/test/Chat', 'content-type': 'application/grpc' });
    stream.on('error', () => {});
    stream.close(constants.NGHTTP2_CANCEL);
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual((await call(dial(), '/test/Echo', [message('still here')])).messages, ['still here']);
});

test('idle connections that never call crowd out only each other', async () => {
  const busy = dial();
  await call(busy, '/test/Echo', [message('x')]);
  const idle = Array.from({ length: 60 }, () => dial());
  await Promise.all(idle.map((session) => once(session, 'connect')));
  while (idle.filter((session) => !session.destroyed).length > 20)
    await new Promise((resolve) => setTimeout(resolve, 2));
  assert.deepEqual((await call(busy, '/test/Echo', [message('served')])).messages, ['served']);
  assert.deepEqual((await call(dial(), '/test/Echo', [message('new')])).messages, ['new']);
  assert.ok(server.connections < 60);
});

test('a new certificate is used for new connections', async () => {
  const old = dial();
  await call(old, '/test/Echo', [message('x')]);
  const other = await newTrust();
  server.setCredentials(await credentials(other));
  const socket = connectTls({
    port: server.port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: rootBundle(other),
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  assert.ok(socket.authorized);
  socket.destroy();
  assert.deepEqual((await call(old, '/test/Echo', [message('goes on')])).messages, ['goes on']);
  server.setCredentials(await credentials(trust));
});

test('status messages as gRPC writes them', () => {
  assert.equal(encodeStatusMessage('a%b\n✓'), 'a%25b%0A%E2%9C%93');
});
