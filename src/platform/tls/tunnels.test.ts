// HBONE sessions over real mesh TLS: against Node's own HTTP/2, which shares no code with ours, in both directions; a
// reader that does not read; many connections that do nothing.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  type ClientSession,
  type HboneError,
  type HboneSession,
  openClientSession,
  openServerSession,
  type ServerSessionEvents,
  type SessionEnvironment,
  type TunnelSink,
  type TunnelStream,
} from '../../wire/hbone/index.ts';
import { createMeshClientContext, secureMeshClient } from './client.ts';
import { createMeshServer } from './server.ts';
import { spiffe, TestAuthority } from './testing.ts';
import type { WorkloadCredential } from './types.ts';

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/order';
const SERVER = 'spiffe://cluster.local/ns/shop/sa/payment';
const MEBIBYTE = 1 << 20;

const environment: SessionEnvironment = {
  now: () => performance.now(),
  defer: (callback) => void setImmediate(callback),
  setTimer: (callback, delayMs) => setTimeout(callback, delayMs).unref(),
  clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

function drive(socket: TLSSocket, session: HboneSession): void {
  socket.on('data', (chunk: Buffer) => session.receive(chunk));
  socket.on('drain', () => session.transportDrained());
  socket.on('error', () => {});
  socket.on('close', () => session.transportClosed());
}

let authority: TestAuthority;
let client: WorkloadCredential;
let server: WorkloadCredential;
const open: { destroy(): void }[] = [];

before(async () => {
  authority = await TestAuthority.create();
  client = await authority.issue(CLIENT);
  server = await authority.issue(SERVER);
});
after(() => {
  for (const one of open) one.destroy();
});

async function listen(tcp: Server): Promise<number> {
  tcp.listen(0, '127.0.0.1', 2048);
  await once(tcp, 'listening');
  open.push({ destroy: () => tcp.close() });
  return (tcp.address() as AddressInfo).port;
}

/** Our server. Returns its port. */
function serve(onConnect: ServerSessionEvents['onConnect']): Promise<number> {
  const mesh = createMeshServer({
    credential: server,
    onFailure: (error) => assert.fail(error),
    onSecured: ({ socket }) => {
      const session = openServerSession({ transport: socket, environment, events: { onConnect, onClosed: () => {} } });
      drive(socket, session);
    },
  });
  return listen(
    createServer((raw) => {
      open.push(raw);
      mesh.accept(raw);
    }),
  );
}

async function dial(port: number): Promise<ClientSession> {
  const raw: Socket = connectTcp(port, '127.0.0.1');
  const secured = await secureMeshClient(raw, createMeshClientContext(client), [spiffe(SERVER)]);
  if (!secured.ok) throw secured.error;
  const { socket } = secured.value;
  open.push(socket);
  const session = openClientSession({ transport: socket, environment, events: { onClosed: () => {} } });
  drive(socket, session);
  return session;
}

/** Sends what it receives back; obeys `write`, so that a client that does not read stops being read. */
class Echo implements TunnelSink {
  readonly #stream: TunnelStream;
  #waiting: Buffer[] = [];
  #room = true;
  #ended = false;

  constructor(stream: TunnelStream) {
    this.#stream = stream;
  }
  data(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#send();
  }
  writable(): void {
    this.#room = true;
    this.#send();
  }
  end(): void {
    this.#ended = true;
    this.#send();
  }
  reset(): void {}
  #send(): void {
    for (let chunk = this.#waiting[0]; chunk !== undefined && this.#room; chunk = this.#waiting[0]) {
      this.#waiting.shift();
      this.#room = this.#stream.write(chunk);
      this.#stream.consumed(chunk.length);
    }
    if (this.#ended && this.#waiting.length === 0) this.#stream.end();
  }
}

/** Offers `payload`, half-closes, and hashes what comes back. */
class Exchange implements TunnelSink {
  readonly done: Promise<{ status: number; digest: string; bytes: number }>;
  stream!: TunnelStream;
  readonly #payload: Buffer;
  readonly #hash = createHash('sha256');
  #sent = 0;
  #bytes = 0;
  #status = 0;
  #resolve!: (result: { status: number; digest: string; bytes: number }) => void;
  #reject!: (error: Error) => void;

  constructor(payload: Buffer) {
    this.#payload = payload;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }
  response(status: number): void {
    this.#status = status;
    this.writable();
  }
  writable(): void {
    while (this.#sent < this.#payload.length) {
      const chunk = this.#payload.subarray(this.#sent, this.#sent + 40_000);
      this.#sent += chunk.length;
      if (!this.stream.write(chunk)) return;
    }
    this.stream.end();
  }
  data(chunk: Buffer): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    this.stream.consumed(chunk.length);
  }
  end(): void {
    this.writable();
    this.#resolve({ status: this.#status, digest: this.#hash.digest('hex'), bytes: this.#bytes });
  }
  reset(error: HboneError): void {
    this.#reject(error);
  }
}

function exchange(session: ClientSession, payload: Buffer): Promise<{ status: number; digest: string; bytes: number }> {
  const sink = new Exchange(payload);
  sink.stream = session.open({ authority: '10.0.0.2:80', headers: [['baggage', 'k8s.namespace.name=shop']] }, sink);
  return sink.done;
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
/** Sizes around every boundary there is: nothing, a frame, a window. */
const SIZES = [0, 1, 9, 8_191, 16_384, 16_385, 65_535, 65_536, 300_000, 3 * MEBIBYTE];

describe('our client, Node`s HTTP/2 as the server', () => {
  let port: number;
  before(async () => {
    const http2 = createSecureServer({
      cert: server.certificateChainPem,
      key: server.privateKeyPem,
      ca: server.rootsPem,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
    });
    http2.on('session', (session) => open.push(session));
    http2.on('stream', (stream: ServerHttp2Stream, headers) => {
      assert.equal(headers[':method'], 'CONNECT');
      stream.on('error', () => {});
      if (headers[':authority'] === 'refused:1') {
        stream.respond({ ':status': 401 }, { endStream: true });
        return;
      }
      assert.equal(headers.baggage, 'k8s.namespace.name=shop');
      stream.respond({ ':status': 200, baggage: 'k8s.cluster.name=a-value-to-be-huffman-coded' });
      stream.pipe(stream);
    });
    port = await listen(http2);
  });

  test('bytes of any amount there and back, many tunnels at once', async () => {
    const session = await dial(port);
    const payloads = [...SIZES, ...SIZES, ...SIZES].map((size) => randomBytes(size));
    const results = await Promise.all(payloads.map((payload) => exchange(session, payload)));
    results.forEach((result, i) => {
      const payload = payloads[i] as Buffer;
      assert.deepEqual(result, { status: 200, digest: digest(payload), bytes: payload.length });
    });
    assert.equal(session.activeStreams, 0);
  });

  test('a refusal', async () => {
    const session = await dial(port);
    const status = await new Promise((resolve) => {
      const sink: TunnelSink = {
        response: resolve,
        data: () => {},
        end: () => {},
        reset: () => {},
        writable: () => {},
      };
      session.open({ authority: 'refused:1', headers: [] }, sink);
    });
    assert.equal(status, 401);
    assert.equal(session.activeStreams, 0);
  });
});

describe('Node`s HTTP/2 as the client, our server', () => {
  test('bytes of any amount there and back, many tunnels at once, then a drain that loses nothing', async () => {
    const port = await serve((request, stream) => {
      if (request.authority === 'refused:1') {
        stream.respond(503, [], true);
        return;
      }
      stream.attach(new Echo(stream));
      stream.respond(200, [['baggage', 'x=y']]);
    });
    const session = connectHttp2('https://mesh.invalid', {
      createConnection: () =>
        connectTls({
          port,
          host: '127.0.0.1',
          cert: client.certificateChainPem,
          key: client.privateKeyPem,
          ca: client.rootsPem,
          checkServerIdentity: () => undefined,
          ALPNProtocols: ['h2'],
        }),
    });
    open.push(session);
    const ask = async (payload: Buffer): Promise<void> => {
      const stream = session.request({ ':method': 'CONNECT', ':authority': '10.0.0.2:80', 'x-custom': 'value' });
      const hash = createHash('sha256');
      stream.on('data', (chunk: Buffer) => hash.update(chunk));
      stream.end(payload);
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      assert.equal(headers[':status'], 200);
      if (!stream.readableEnded) await once(stream, 'end');
      assert.equal(hash.digest('hex'), digest(payload));
    };
    await Promise.all([...SIZES, ...SIZES].map((size) => ask(randomBytes(size))));

    const refused = session.request({ ':method': 'CONNECT', ':authority': 'refused:1' });
    refused.on('error', () => {});
    const [headers] = (await once(refused, 'response')) as [Record<string, unknown>];
    assert.equal(headers[':status'], 503);

    const get = session.request({ ':method': 'GET', ':path': '/' });
    get.on('error', () => {});
    const [answer] = (await once(get, 'response')) as [Record<string, unknown>];
    assert.equal(answer[':status'], 400);
    session.close();
  });
});

/** Lets the event loop run until `done`; a minute is more than any machine needs. */
async function until(done: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, 'it does not come to an end');
    await turn();
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Bytes that this process holds outside and inside the JavaScript heap. */
function heldBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('100 MB offered to a reader that does not read: bounded by the windows, and others are not held up', async () => {
  const stuck: { sink?: TunnelSink; stream?: TunnelStream; bytes: number; held: Buffer[] } = { bytes: 0, held: [] };
  const port = await serve((request, stream) => {
    if (request.authority === 'stuck:1') {
      stuck.stream = stream;
      stream.attach({
        data: (chunk) => {
          stuck.bytes += chunk.length;
          stuck.held.push(chunk);
        },
        end: () => {},
        reset: () => {},
        writable: () => {},
      });
    } else stream.attach(new Echo(stream));
    stream.respond(200, []);
  });
  const session = await dial(port);
  const before = heldBytes();
  const chunk = Buffer.alloc(100_000, 'x');
  let offered = 0;
  let room = true;
  const producer: TunnelStream = session.open(
    { authority: 'stuck:1', headers: [] },
    { data: () => {}, end: () => {}, reset: (error) => assert.fail(error), writable: () => (room = true) },
  );
  const offer = (): void => {
    while (room && offered < 100e6) {
      room = producer.write(chunk);
      offered += chunk.length;
    }
  };
  await until(() => {
    offer();
    return stuck.bytes >= 4 * MEBIBYTE;
  });
  for (let i = 0; i < 100; i++) {
    offer();
    await turn();
  }
  assert.equal(stuck.bytes, 4 * MEBIBYTE, 'exactly one stream window arrived');
  assert.ok(offered < 6e6, `${offered} bytes were taken from the producer`);
  assert.ok(heldBytes() - before < 24e6, `${heldBytes() - before} bytes are held`);

  const payload = randomBytes(5 * MEBIBYTE);
  assert.equal((await exchange(session, payload)).digest, digest(payload), 'another tunnel goes on');

  // the reader wakes up: everything arrives
  const { stream } = stuck;
  assert.ok(stream !== undefined);
  await until(() => {
    stream.consumed(stuck.held.splice(0).reduce((sum, piece) => sum + piece.length, 0));
    offer();
    return stuck.bytes >= 100e6;
  });
  assert.equal(stuck.bytes, 100e6);
  producer.reset();
});

test('1,000 idle connections: what each one costs', async (t) => {
  const port = await serve((_request, stream) => stream.respond(503, [], true));
  await dial(port);
  await turn();
  const before = { held: heldBytes(), rss: process.memoryUsage.rss() };
  const sessions: ClientSession[] = [];
  for (let i = 0; i < 1_000; i += 50)
    sessions.push(...(await Promise.all(Array.from({ length: 50 }, () => dial(port)))));
  await until(() => sessions.every((session) => session.state === 'open'));
  const heldEach = (heldBytes() - before.held) / 1_000;
  const rssEach = (process.memoryUsage.rss() - before.rss) / 1_000;
  t.diagnostic(`both ends together: ${Math.round(heldEach)} bytes held by us, ${Math.round(rssEach)} resident`);
  assert.ok(heldEach < 24_000, 'JavaScript of both ends');
  assert.ok(rssEach < 250_000, 'both ends, with what OpenSSL keeps');
});
