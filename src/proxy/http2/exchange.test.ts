// Our server and our client of HTTP/2 over real sockets on loopback: what exchanges rely on.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { fields, type Served, TestClient, TestServer } from './testing.ts';

const names = (served: Served | undefined, key: string): string[] => served?.start.fields.all(key) ?? [];

test('a request and its response: head, content, and what the codec adds', async () => {
  await using server = await new TestServer().listen();
  using client = await TestClient.connect(server.port);
  const asked = client.ask(
    { target: '/a?b=c', fields: fields({ 'X-Upper': 'Value', host: 'ignored', connection: 'close', te: 'gzip' }) },
    'content',
  );
  assert.equal(await asked.done, 'hello');
  assert.equal(asked.head?.status, 200);
  assert.equal(asked.head?.content, 5);
  const [served] = server.requests;
  assert.equal(served?.body, 'content');
  const { start } = served!;
  assert.deepEqual(
    [start.protocol, start.method, start.scheme, start.authority, start.target, start.content],
    ['HTTP/2', 'POST', 'http', 'shop.example.com', '/a?b=c', 7],
  );
  assert.deepEqual(names(served, 'host'), ['shop.example.com']);
  assert.deepEqual(names(served, 'x-upper'), ['Value']);
  assert.deepEqual(names(served, 'connection'), []);
  assert.deepEqual(names(served, 'content-length'), ['7']);
});

test('without content: no content, and the head ends the response', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => served.answer(204);
  using client = await TestClient.connect(server.port);
  const asked = client.ask();
  assert.equal(await asked.done, '');
  assert.equal(asked.head?.status, 204);
  assert.equal(server.requests[0]?.start.content, 'none');
});

test('HEAD and 304 tell a length that is not sent', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = ({ stream, start }) =>
    stream.respond(
      { status: start.target === '/304' ? 304 : 200, fields: fields(), content: 42, upgrade: undefined },
      true,
    );
  using client = await TestClient.connect(server.port);
  for (const [method, target] of [
    ['HEAD', '/'],
    ['GET', '/304'],
  ] as const) {
    const asked = client.ask({ method, target });
    assert.equal(await asked.done, '');
    assert.equal(asked.head?.content, 42);
  }
});

test('trailers go both ways, also after an empty body', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) =>
    void served.whole.then(() => served.answer(200, 'x', {}, fields({ 'Grpc-Status': '0', 'content-length': '9' })));
  using client = await TestClient.connect(server.port);
  const asked = client.ask({ method: 'POST', content: 'unknown' });
  asked.stream.write(Buffer.from('abc'));
  asked.stream.end(fields({ 'X-Sum': '1' }));
  assert.equal(await asked.done, 'x');
  assert.equal(asked.trailers?.get('grpc-status'), '0');
  assert.equal(asked.trailers?.has('content-length'), false);
  assert.equal(server.requests[0]?.trailers?.get('x-sum'), '1');
});

test('interim responses come before the final one', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => {
    served.stream.interim(100, undefined);
    served.stream.interim(103, fields({ link: '</a.css>' }));
    served.answer(200, 'x');
  };
  using client = await TestClient.connect(server.port);
  const asked = client.ask({ fields: fields({ expect: '100-continue' }) }, 'body');
  await asked.done;
  assert.deepEqual(
    asked.interims.map(({ status }) => status),
    [100, 103],
  );
  assert.equal(asked.interims[1]?.fields.get('link'), '</a.css>');
  assert.equal(server.requests[0]?.start.expectsContinue, true);
});

test('many requests at once on one connection, up to what the server takes', async () => {
  await using server = await new TestServer({ maxConcurrentStreams: 8 }).listen();
  using client = await TestClient.connect(server.port);
  await client.ask().done;
  assert.equal(client.connection.capacity, 8);
  server.onRequest = () => {};
  for (let i = 0; i < 8; i++) client.ask();
  assert.equal(client.connection.capacity, 0);
  await assert.rejects(client.ask().done, /refused/);
  while (server.requests.length < 9) await new Promise(setImmediate);
  const before = client.available;
  server.requests[1]?.answer(200, 'now');
  while (client.available === before) await new Promise(setImmediate);
  assert.equal(client.connection.capacity, 1);
});

test('before the server has said what it takes, a hundred', async () => {
  await using server = await new TestServer().listen();
  using client = await TestClient.connect(server.port, 2 ** 31 - 1);
  assert.equal(client.connection.capacity, 100);
  await client.ask().done;
});

test('a server that answers before requests are whole is no nuisance, however often', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => served.answer(200, 'x');
  using client = await TestClient.connect(server.port);
  for (let i = 0; i < 120; i++)
    await Promise.all(
      Array.from({ length: 100 }, () => {
        const asked = client.ask({ method: 'POST', content: 'unknown' });
        return asked.done.then(() => asked.stream.end(undefined));
      }),
    );
  assert.equal(client.connection.closing, false);
});

test('a slow reader stops the sender: memory is bounded by windows, nothing is lost', async () => {
  await using server = await new TestServer().listen();
  const PIECE = Buffer.alloc(64 << 10, 'x');
  let written = 0;
  server.onRequest = (served) => {
    served.stream.respond({ status: 200, fields: fields(), content: 'unknown', upgrade: undefined }, false);
    const more = (): void => {
      while (written < 8 << 20) {
        written += PIECE.length;
        if (!served.stream.write(PIECE)) return;
      }
      served.stream.end(undefined);
    };
    served.onWritable = more;
    more();
  };
  using client = await TestClient.connect(server.port);
  const asked = client.ask();
  await asked.started;
  asked.stream.pause();
  for (let i = 0; i < 200; i++) await new Promise(setImmediate);
  assert.ok(written <= 1 << 20, `${written} bytes were taken from the server`);
  const got = asked.pieces.reduce((sum, piece) => sum + piece.length, 0);
  assert.ok(got < 512 << 10);
  asked.stream.resume();
  assert.equal((await asked.done).length, 8 << 20);
});

test('a paused request holds its client, and goes on', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => {
    served.stream.pause();
    void served.whole.then(() => served.answer(200, String(served.body.length)));
  };
  using client = await TestClient.connect(server.port);
  const asked = client.ask({ method: 'POST', content: 'unknown' });
  let sent = 0;
  const more = (): void => {
    while (sent < 4 << 20) {
      sent += 32 << 10;
      if (!asked.stream.write(Buffer.alloc(32 << 10))) return;
    }
    asked.stream.end(undefined);
  };
  asked.onWritable = more;
  more();
  for (let i = 0; i < 200; i++) await new Promise(setImmediate);
  assert.equal(server.requests[0]?.body.length, 0, 'paused from the start');
  assert.ok(sent < 1 << 20, `${sent} bytes were taken from the client`);
  server.requests[0]?.stream.resume();
  assert.equal(await asked.done, String(4 << 20));
});

test('an answer before the request is whole ends the rest of it', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => served.answer(413, 'too much');
  using client = await TestClient.connect(server.port);
  const asked = client.ask({ method: 'POST', content: 'unknown' });
  asked.stream.write(Buffer.alloc(1000));
  assert.equal(await asked.done, 'too much');
  assert.equal(asked.head?.status, 413);
  asked.stream.reset();
  server.onRequest = (served) => served.answer(200, 'still here');
  assert.equal(await client.ask().done, 'still here');
  assert.equal(server.requests[0]?.aborted_, undefined, 'who has answered hears nothing more');
});

test('a client that gives up is told; the connection goes on', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = () => {};
  using client = await TestClient.connect(server.port);
  const asked = client.ask();
  while (server.requests.length === 0) await new Promise(setImmediate);
  asked.stream.reset();
  const why = await server.requests[0]!.abortion;
  assert.deepEqual([why.kind, why.details], ['gone', 'downstream_remote_reset']);
  server.onRequest = (served) => served.answer(200, 'next');
  assert.equal(await client.ask().done, 'next');
});

test('a server that resets is told as a reset, one that goes as an end', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => served.stream.reset();
  using client = await TestClient.connect(server.port);
  await assert.rejects(client.ask().done, /^Error: reset/);
  server.onRequest = () => {
    for (const socket of server.sockets) socket.resetAndDestroy();
  };
  await assert.rejects(client.ask().done, /^Error: ended/);
  await client.closed;
  assert.equal(client.connection.closing, true);
});

test('a server that leaves finishes what it has taken and takes no more', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = () => {};
  using client = await TestClient.connect(server.port);
  const asked = client.ask();
  while (server.requests.length === 0) await new Promise(setImmediate);
  server.connections[0]?.drain();
  while (!client.connection.closing) await new Promise(setImmediate);
  assert.equal(client.connection.capacity, 0);
  await assert.rejects(client.ask().done, /^Error: refused/, 'safe to send elsewhere');
  server.requests[0]?.answer(200, 'the last');
  assert.equal(await asked.done, 'the last');
  await client.closed;
});

test('content that is not as long as it says is refused, either way', async () => {
  await using server = await new TestServer().listen();
  using client = await TestClient.connect(server.port);
  server.onRequest = () => {};
  const short = client.ask({ method: 'POST', content: 10 });
  short.stream.write(Buffer.from('abc'));
  short.stream.end(undefined);
  await assert.rejects(short.done, /reset: .*PROTOCOL_ERROR/);
  assert.equal((await server.requests[0]!.abortion).kind, 'protocol');
  server.onRequest = ({ stream }) => {
    stream.respond({ status: 200, fields: fields(), content: 2, upgrade: undefined }, false);
    stream.write(Buffer.from('abc'));
    stream.end(undefined);
  };
  await assert.rejects(client.ask().done, /protocol: .*content-length/);
});

test('WebSocket: extended CONNECT is a GET with an upgrade, its keys are made on either side', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => {
    served.stream.respond(
      { status: 101, fields: fields({ 'x-a': '1' }), content: 'none', upgrade: 'websocket' },
      false,
    );
    served.onData = (piece) => served.stream.write(Buffer.from(`<${piece}>`));
    void served.whole.then(() => served.stream.end(undefined));
  };
  using client = await TestClient.connect(server.port);
  const asked = client.ask({
    upgrade: 'websocket',
    target: '/chat',
    fields: fields({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version': '13' }),
  });
  const head = await asked.started;
  assert.deepEqual([head.status, head.upgrade, head.fields.get('x-a')], [101, 'websocket', '1']);
  assert.equal(head.fields.get('sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  const [served] = server.requests;
  assert.deepEqual([served?.start.method, served?.start.upgrade, served?.start.target], ['GET', 'websocket', '/chat']);
  assert.equal(names(served, 'sec-websocket-key').length, 1);
  assert.notEqual(names(served, 'sec-websocket-key')[0], 'dGhlIHNhbXBsZSBub25jZQ==', 'the key ends with its hop');
  asked.stream.write(Buffer.from('ping'));
  while (asked.pieces.length === 0) await new Promise(setImmediate);
  asked.stream.end(undefined);
  assert.equal(await asked.done, '<ping>');
});

test('CONNECT carries bytes, each direction with an end of its own', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = (served) => {
    served.stream.respond({ status: 200, fields: fields(), content: 'none', upgrade: undefined }, false);
    served.stream.write(Buffer.from('first'));
    void served.whole.then(() => {
      served.stream.write(Buffer.from(`, then ${served.body}`));
      served.stream.end(undefined);
    });
  };
  using client = await TestClient.connect(server.port);
  const asked = client.ask({ method: 'CONNECT', target: 'db.example.com:5432', content: 'unknown' });
  await asked.started;
  asked.stream.write(Buffer.from('bytes'));
  asked.stream.end(undefined);
  assert.equal(await asked.done, 'first, then bytes');
  assert.deepEqual(
    [server.requests[0]?.start.method, server.requests[0]?.start.authority, server.requests[0]?.start.target],
    ['CONNECT', 'db.example.com:5432', ''],
  );
});

test('keepalive: an endpoint that answers PINGs is kept, a silent one is not', async () => {
  await using server = await new TestServer().listen();
  server.onRequest = () => {};
  const times = { intervalMs: 10, timeoutMs: 40 };
  using lively = await TestClient.connect(server.port, 100, times);
  lively.ask();
  await using silent = createServer((socket) => void socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  using client = await TestClient.connect((silent.address() as AddressInfo).port, 100, times);
  const asked = client.ask();
  await assert.rejects(asked.done, /^Error: ended: no answer to PING in time/);
  await client.closed;
  assert.equal(lively.connection.closing, false);
});

test('times: a stream that is idle too long, a connection that is', async () => {
  await using server = await new TestServer({ streamIdleMs: 500, idleMs: 1_000 }).listen();
  server.onRequest = () => {};
  using client = await TestClient.connect(server.port);
  const asked = client.ask();
  while (server.requests.length === 0) await new Promise(setImmediate);
  const sweep = (afterMs: number): void => {
    server.sweeper.nowMs += afterMs;
    (server.connections[0] as unknown as { sweep(ms: number): void }).sweep(server.sweeper.nowMs);
  };
  sweep(400);
  const kind = (): string | undefined => server.requests[0]?.aborted_?.kind;
  assert.equal(kind(), undefined);
  sweep(200);
  assert.equal(kind(), 'timeout');
  await asked.done;
  assert.equal(asked.head?.status, 408);
  sweep(1_100);
  await client.closed;
});
