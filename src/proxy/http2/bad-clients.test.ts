// Clients that break rules or wear us out, byte by byte on a socket: each is refused or bounded, told why, and nobody
// else on the proxy is harmed. What breaks framing is held in src/wire/hbone; here is what only messages can break.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../wire/hbone/errors.ts';
import * as frames from '../../wire/hbone/frames.ts';
import { encodeHeaders, type Field, HpackDecoder } from '../../wire/hbone/hpack.ts';
import { CLIENT_HELLO, dataOf, headersOf, rawFrame, type SeenFrame, u32 } from '../../wire/hbone/testing.ts';
import { TestClient, TestServer } from './testing.ts';

const END = frames.END_STREAM;
const HEAD = frames.END_HEADERS;

const get = (...more: Field[]): Field[] => [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'shop.example.com'],
  [':path', '/'],
  ...more,
];
/** `get` with some pseudo-header fields changed or, with undefined, left out. */
const changed = (set: Readonly<Record<string, string | undefined>>, ...more: Field[]): Field[] => [
  ...Object.entries({ ':method': 'GET', ':scheme': 'http', ':authority': 'shop.example.com', ':path': '/', ...set })
    .filter((pair): pair is [string, string] => pair[1] !== undefined)
    .map(([name, value]): Field => [name, value]),
  ...more,
];

/** A client that sends what it likes and remembers what came back. */
class RawClient {
  readonly socket: Socket;
  readonly seen: SeenFrame[] = [];
  readonly #decoder = new HpackDecoder();
  readonly statuses = new Map<number, string>();
  #rest = Buffer.alloc(0);
  closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const end = 9 + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return;
      const frame = {
        type: this.#rest.readUInt8(3),
        flags: this.#rest.readUInt8(4),
        streamId: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(9, end),
      };
      this.#rest = this.#rest.subarray(end);
      this.seen.push(frame);
      if (frame.type !== frames.HEADERS) continue;
      const block = this.#decoder.decode(frame.payload, 65_536);
      const status = block.kind === 'fields' ? block.fields.find(([name]) => name === ':status') : undefined;
      if (status !== undefined) this.statuses.set(frame.streamId, status[1]);
    }
  }

  /** False: the socket takes no more. */
  send(...bytes: Uint8Array[]): boolean {
    return this.socket.destroyed || this.socket.write(Buffer.concat(bytes));
  }

  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 5_000;
    while (!condition() && Date.now() < deadline) await new Promise(setImmediate);
    assert.ok(
      condition(),
      `not seen; frames: ${this.seen.map(({ type, streamId }) => `${type}@${streamId}`).join(' ')}`,
    );
  }

  codeOf(type: number, streamId: number): ErrorCode | undefined {
    const frame = this.seen.find((one) => one.type === type && one.streamId === streamId);
    if (frame === undefined) return undefined;
    const code = frame.payload.readUInt32BE(type === frames.GOAWAY ? 4 : 0);
    return (Object.keys(ERROR_CODES) as ErrorCode[]).find((name) => ERROR_CODES[name] === code);
  }
  get goaway(): ErrorCode | undefined {
    return this.codeOf(frames.GOAWAY, 0);
  }
}

async function withServer(run: (server: TestServer, client: RawClient) => Promise<void>): Promise<void> {
  await using server = await new TestServer().listen();
  using other = await TestClient.connect(server.port);
  const client = await RawClient.connect(server.port);
  try {
    client.send(CLIENT_HELLO);
    await run(server, client);
    // Whoever else is there is served as before.
    server.onRequest = (served) => served.answer(200, 'fine');
    assert.equal(await other.ask().done, 'fine');
  } finally {
    client.socket.destroy();
  }
}

const MALFORMED: readonly (readonly [string, Field[]])[] = [
  ['a name in capitals', get(['X-Upper', '1'])],
  ['a name with a space', get(['x y', '1'])],
  ['an empty name', get(['', '1'])],
  ['a name with a colon in it', get(['a:b', '1'])],
  ['no :method', changed({ ':method': undefined })],
  ['no :scheme', changed({ ':scheme': undefined })],
  ['no :path', changed({ ':path': undefined })],
  ['an empty :path', changed({ ':path': '' })],
  ['an unknown pseudo-header field', get().toSpliced(0, 0, [':version', '2'])],
  ['one of responses', get().toSpliced(0, 0, [':status', '200'])],
  ['one twice', get().toSpliced(1, 0, [':path', '/admin'])],
  ['one after a field', [...get(['x-a', '1']).slice(0, 3), ['x-a', '1'], [':path', '/']]],
  ['connection', get(['connection', 'close'])],
  ['transfer-encoding', get(['transfer-encoding', 'chunked'])],
  ['upgrade', get(['upgrade', 'h2c'])],
  ['keep-alive', get(['keep-alive', '1'])],
  ['proxy-connection', get(['proxy-connection', 'close'])],
  ['te other than trailers', get(['te', 'gzip'])],
  ['two lengths', get(['content-length', '0'], ['content-length', '0'])],
  ['a length that is no number', get(['content-length', '+1'])],
  ['a length without content', get(['content-length', '5'])],
  ['CONNECT with a path', changed({ ':method': 'CONNECT' })],
  [':protocol without CONNECT', get().toSpliced(0, 0, [':protocol', 'websocket'])],
];

test('malformed requests are reset and never reach an exchange', () =>
  withServer(async (server, client) => {
    let id = 1;
    for (const [name, list] of MALFORMED) {
      client.send(headersOf(id, list, HEAD | END));
      await client.until(() => client.codeOf(frames.RST_STREAM, id) === 'PROTOCOL_ERROR');
      assert.equal(client.statuses.has(id), false, name);
      id += 2;
    }
    assert.equal(server.requests.length, 0);
    assert.deepEqual(
      server.refusals.map(({ status }) => status),
      MALFORMED.map(() => 0),
    );
  }));

/** Values that our own encoder would not send. */
function rawList(...pairs: readonly (readonly [string, Buffer])[]): Buffer {
  const parts = [encodeHeaders(get())];
  for (const [name, value] of pairs)
    parts.push(Buffer.from([0x00, name.length]), Buffer.from(name), Buffer.from([value.length]), value);
  return Buffer.concat(parts);
}

test('values with control bytes, or blanks at an end, are reset', () =>
  withServer(async (server, client) => {
    let id = 1;
    for (const value of ['a\r\nx-evil: 1', 'a\nb', 'a\0b', ' a', 'a ', '\ta', 'a\x7f', 'a\x01']) {
      const block = rawList(['x-a', Buffer.from(value, 'latin1')]);
      client.send(rawFrame(frames.HEADERS, HEAD | END, id, block));
      await client.until(() => client.codeOf(frames.RST_STREAM, id) === 'PROTOCOL_ERROR');
      id += 2;
    }
    assert.equal(server.requests.length, 0);
  }));

const REFUSED: readonly (readonly [string, Field[], string])[] = [
  ['a method in small letters', changed({ ':method': 'get' }), '400'],
  ['an absolute path', changed({ ':path': 'http://evil.example/' }), '400'],
  ['a path with a fragment', changed({ ':path': '/a#b' }), '400'],
  ['a path with a blank', changed({ ':path': '/a b' }), '400'],
  ['a path beyond ASCII', changed({ ':path': '/\xe9' }), '400'],
  ['* for another method', changed({ ':path': '*' }), '400'],
  ['no host at all', changed({ ':authority': undefined }), '400'],
  ['a host with user information', changed({ ':authority': 'me@shop.example.com' }), '400'],
  ['a port that is none', changed({ ':authority': 'shop.example.com:0' }), '400'],
  ['two hosts', get(['host', 'shop.example.com'], ['host', 'shop.example.com']), '400'],
  ['a Host that disagrees', get(['host', 'admin.example.com']), '400'],
  ['another scheme', changed({ ':scheme': 'gopher' }), '400'],
  [
    'CONNECT without a port',
    [
      [':method', 'CONNECT'],
      [':authority', 'shop.example.com'],
    ],
    '400',
  ],
  ['an expectation that nobody knows', get(['expect', 'wonders']), '417'],
  ['too many fields', get(...Array.from({ length: 101 }, (_, i): Field => [`x-${i}`, '1'])), '431'],
  ['a path that is too long', changed({ ':path': `/${'a'.repeat(33_000)}` }), '414'],
];

test('requests that are well-formed but not taken are answered', () =>
  withServer(async (server, client) => {
    let id = 1;
    for (const [name, list, status] of REFUSED) {
      const block = encodeHeaders(list);
      client.send(frames.headersFrames(id, block, true, 16_384));
      await client.until(() => client.statuses.has(id));
      assert.equal(client.statuses.get(id), status, name);
      id += 2;
    }
    assert.equal(server.requests.length, 0);
  }));

test('what is taken: Host instead of :authority, cookies joined, te, percent signs as sent', () =>
  withServer(async (server, client) => {
    server.onRequest = (served) => served.answer(200);
    client.send(
      headersOf(
        1,
        changed(
          { ':authority': undefined, ':path': '/a%2Fb/..;x=1//c?q=%00' },
          ['host', 'Shop.Example.com:8080'],
          ['cookie', 'a=1'],
          ['x-a', '1'],
          ['cookie', 'b=2'],
          ['te', 'trailers'],
        ),
        HEAD | END,
      ),
    );
    await client.until(() => client.statuses.get(1) === '200');
    const { start } = server.requests[0]!;
    assert.equal(start.authority, 'Shop.Example.com:8080');
    assert.equal(start.target, '/a%2Fb/..;x=1//c?q=%00');
    assert.deepEqual(start.fields.all('cookie'), ['a=1; b=2']);
    assert.equal(start.takesTrailers, true);
    assert.equal(start.fields.has('te'), false);
  }));

test('a request that is complete is not reset, however soon the answer; one that is not, is', () =>
  withServer(async (server, client) => {
    server.onRequest = (served) => served.answer(200, 'at once');
    client.send(headersOf(1, get(), HEAD | END), headersOf(3, changed({ ':method': 'POST' })));
    await client.until(() => client.codeOf(frames.RST_STREAM, 3) === 'NO_ERROR');
    assert.deepEqual([client.statuses.get(1), client.statuses.get(3)], ['200', '200']);
    assert.equal(client.codeOf(frames.RST_STREAM, 1), undefined);
  }));

test('trailers: with END_STREAM, once, and ordinary fields only', () =>
  withServer(async (server, client) => {
    server.onRequest = () => {};
    const post = changed({ ':method': 'POST' });
    const cases: readonly (readonly [Buffer, ErrorCode])[] = [
      [headersOf(1, [['x-a', '1']], HEAD), 'PROTOCOL_ERROR'],
      [headersOf(3, [[':path', '/']], HEAD | END), 'PROTOCOL_ERROR'],
      [headersOf(5, [['connection', 'x']], HEAD | END), 'PROTOCOL_ERROR'],
    ];
    for (const [i, [trailers, code]] of cases.entries()) {
      const id = 2 * i + 1;
      client.send(headersOf(id, post), dataOf(id, 'x'), trailers);
      await client.until(() => client.codeOf(frames.RST_STREAM, id) === code);
      assert.equal((await server.requests[i]!.abortion).kind, 'protocol');
    }
    client.send(headersOf(7, post), headersOf(7, [['x-a', '1']], HEAD | END));
    await server.requests[3]?.whole;
    await client.until(() => server.requests.length === 4);
    client.send(headersOf(7, [['x-a', '1']], HEAD | END));
    await client.until(() => client.codeOf(frames.RST_STREAM, 7) === 'STREAM_CLOSED');
  }));

test('more or less content than was said is reset', () =>
  withServer(async (server, client) => {
    server.onRequest = () => {};
    const post = changed({ ':method': 'POST' }, ['content-length', '3']);
    client.send(headersOf(1, post), dataOf(1, 'four'));
    client.send(headersOf(3, post), dataOf(3, 'xx', END));
    client.send(headersOf(5, post), dataOf(5, 'xx'), headersOf(5, [['x-a', '1']], HEAD | END));
    for (const id of [1, 3, 5]) await client.until(() => client.codeOf(frames.RST_STREAM, id) === 'PROTOCOL_ERROR');
    for (const served of server.requests) assert.equal((await served.abortion).kind, 'protocol');
  }));

test('more streams than allowed are refused, those there are live on', async () => {
  await using server = await new TestServer({ maxConcurrentStreams: 2 }).listen();
  server.onRequest = () => {};
  const client = await RawClient.connect(server.port);
  client.send(CLIENT_HELLO, ...[1, 3, 5].map((id) => headersOf(id, get(), HEAD | END)));
  await client.until(() => client.codeOf(frames.RST_STREAM, 5) === 'REFUSED_STREAM');
  server.requests[0]?.answer(200);
  await client.until(() => client.statuses.get(1) === '200');
  client.socket.destroy();
});

test('content in large and in tiny frames, to a receiver that stops and goes: in order, whole, and bounded', () =>
  withServer(async (server, client) => {
    const large = 20;
    const sizes = [...Array.from({ length: large }, () => 2_000), ...Array.from({ length: 5_000 }, () => 1)];
    const count = sizes.reduce((a, b) => a + b, 0);
    const sent = Buffer.from(Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    server.onRequest = (served) => {
      const { stream } = served;
      stream.pause();
      let taken = 0;
      served.onData = () => {
        taken++;
        if (taken % 4 === 0) stream.pause();
        if (taken % 8 === 0)
          stream.resume(); // at once, within the event
        else if (taken % 4 === 0) setImmediate(() => stream.resume());
      };
      void served.whole.then(() => served.answer(200));
    };
    client.send(headersOf(1, changed({ ':method': 'POST' }, ['content-length', String(count)])));
    let at = 0;
    const data = sizes.map((size) => {
      const end = at + size;
      const frame = dataOf(1, sent.subarray(at, end), end === count ? END : 0);
      at = end;
      return frame;
    });
    client.send(...data);
    await client.until(() => server.requests.length === 1);
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    server.requests[0]?.stream.resume();
    await client.until(() => client.statuses.get(1) === '200');
    assert.ok(Buffer.concat(server.requests[0]?.pieces ?? []).equals(sent));
  }));

// ---- floods ------------------------------------------------------------------------------------------------------

const ping = rawFrame(frames.PING, 0, 0, Buffer.alloc(8));
const times = (count: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

/** Sends it until the server has had enough. */
async function floods(client: RawClient, piece: (round: number) => Buffer, rounds = 100): Promise<void> {
  for (let i = 0; i < rounds && !client.closed && client.goaway === undefined; i++) {
    if (!client.send(piece(i))) await Promise.race([once(client.socket, 'drain'), once(client.socket, 'close')]);
    await new Promise(setImmediate);
  }
}

const FLOODS: readonly (readonly [string, (round: number) => Buffer])[] = [
  [
    'rapid reset (CVE-2023-44487)',
    (round) =>
      times(100, (i) => {
        const id = 2 * (100 * round + i) + 1;
        return Buffer.concat([headersOf(id, get(), HEAD | END), rawFrame(frames.RST_STREAM, 0, id, u32(8))]);
      }),
  ],
  [
    'resets that we are made to send (CVE-2025-8671)',
    (round) =>
      times(100, (i) => {
        const id = 2 * (100 * round + i) + 1;
        return Buffer.concat([headersOf(id, get(), HEAD), rawFrame(frames.WINDOW_UPDATE, 0, id, u32(0))]);
      }),
  ],
  ['PING', () => times(500, () => ping)],
  ['SETTINGS', () => times(500, () => frames.settingsFrame([[4, 65_535]]))],
  ['WINDOW_UPDATE', () => times(1_000, () => rawFrame(frames.WINDOW_UPDATE, 0, 0, u32(1)))],
  ['PRIORITY', () => times(1_000, () => rawFrame(frames.PRIORITY, 0, 1, Buffer.alloc(5)))],
  ['frames of unknown types', () => times(1_000, () => rawFrame(0x77, 0, 0))],
  [
    'malformed requests',
    (round) => times(100, (i) => headersOf(2 * (100 * round + i) + 1, get(['connection', 'x']), HEAD | END)),
  ],
];

for (const [name, piece] of FLOODS)
  test(`a flood is ended: ${name}`, () =>
    withServer(async (server, client) => {
      server.onRequest = () => {};
      await floods(client, piece);
      await client.until(() => client.goaway === 'ENHANCE_YOUR_CALM');
      await client.until(() => client.closed);
      assert.ok(server.requests.length <= 1_000, `${server.requests.length} requests were begun`);
    }));

test('a flood of empty DATA is ended', () =>
  withServer(async (server, client) => {
    server.onRequest = () => {};
    client.send(headersOf(1, changed({ ':method': 'POST' })));
    await floods(client, () => times(1_000, () => dataOf(1, '')));
    await client.until(() => client.goaway === 'ENHANCE_YOUR_CALM');
  }));

test('CONTINUATION without end is ended early, and little of it is kept (VU#421644)', () =>
  withServer(async (server, client) => {
    client.send(rawFrame(frames.HEADERS, END, 1, encodeHeaders(get())));
    const before = server.sockets.at(-1)!.bytesRead;
    await floods(client, () => rawFrame(frames.CONTINUATION, 0, 1, encodeHeaders([['x-a', 'a'.repeat(1_000)]])));
    await client.until(() => client.goaway === 'ENHANCE_YOUR_CALM');
    assert.ok(server.sockets.at(-1)!.bytesRead - before < 64 << 10);
    const small = await RawClient.connect(server.port);
    small.send(CLIENT_HELLO, rawFrame(frames.HEADERS, END, 1, encodeHeaders(get())));
    await floods(small, () => times(50, () => rawFrame(frames.CONTINUATION, 0, 1)));
    await small.until(() => small.goaway === 'ENHANCE_YOUR_CALM');
    assert.equal(server.requests.length, 0);
  }));

test('an HPACK bomb is answered with 431: a small block that stands for a large list', () =>
  withServer(async (server, client) => {
    // One field of 3,900 bytes goes to the table, and is then named 4,000 times by one byte each: 16 MB.
    const large = Buffer.concat([
      Buffer.from([0x40, 1]),
      Buffer.from('a'),
      Buffer.from([0x7f, 0xbd, 0x1d]), // 127 + 0x3d + 0x1d * 128 = 3,900
      Buffer.alloc(3_900, 'x'),
    ]);
    const before = process.memoryUsage().heapUsed;
    client.send(
      rawFrame(frames.HEADERS, HEAD | END, 1, Buffer.concat([encodeHeaders(get()), large, Buffer.alloc(4_000, 0xbe)])),
    );
    await client.until(() => client.statuses.get(1) === '431');
    assert.ok(process.memoryUsage().heapUsed - before < 8 << 20);
    assert.equal(server.requests.length, 0);
    assert.equal(server.refusals[0]?.status, 431);
  }));

test('answers that are asked for and not read are not piled up', () =>
  withServer(async (_server, client) => {
    client.socket.pause();
    for (let i = 0; i < 2_000 && !client.closed && !client.socket.destroyed; i++) {
      client.send(times(100, () => ping));
      await new Promise(setImmediate);
      if (client.socket.writableLength > 4 << 20) break;
    }
    client.socket.resume();
    await client.until(() => client.goaway === 'ENHANCE_YOUR_CALM' || client.closed);
  }));

test('a slow head is given up after its time', async () => {
  await using server = await new TestServer({ headMs: 500 }).listen();
  const hello = await RawClient.connect(server.port);
  hello.send(frames.PREFACE.subarray(0, 10));
  const head = await RawClient.connect(server.port);
  head.send(CLIENT_HELLO, rawFrame(frames.HEADERS, END, 1, encodeHeaders(get())));
  await head.until(() => head.seen.length >= 2);
  await hello.until(() => server.connections.length === 2);
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  const sweep = (afterMs: number): void => {
    server.sweeper.nowMs += afterMs;
    for (const each of server.connections) (each as unknown as { sweep(ms: number): void }).sweep(server.sweeper.nowMs);
  };
  sweep(1);
  sweep(600);
  await head.until(() => head.closed);
  await hello.until(() => hello.closed);
});
