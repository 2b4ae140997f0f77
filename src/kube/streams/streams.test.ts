import assert from 'node:assert/strict';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { type Duplex, PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import WebSocket from 'ws';
import { type ExecOptions, type RemoteCommand, serveExec } from './exec.ts';
import { servePortForward } from './portforward.ts';
import {
  dataFrame,
  dictionary,
  HeaderReader,
  HeaderWriter,
  pingFrame,
  SpdyDecoder,
  SpdyError,
  type SpdyFrame,
  synStreamFrame,
} from './spdy-frames.ts';

test('the dictionary is the one that the draft names by its checksum', () => {
  // A zlib stream made with a dictionary carries the dictionary's Adler-32 after its two bytes of header.
  const named = deflateSync('x', { dictionary }).readUInt32BE(2);
  assert.equal(named.toString(16), 'e3c6a7c2');
  assert.equal(dictionary.length, 1423);
});

test('frames decode alike however the bytes were cut', () => {
  const bytes = Buffer.concat([
    synStreamFrame(1, Buffer.from('block'), true),
    dataFrame(1, Buffer.from('hello'), false),
    pingFrame(7),
    dataFrame(1, Buffer.alloc(0), true),
  ]);
  const want = [...new SpdyDecoder().decode(bytes)].map(shown);
  assert.deepEqual(want, ['synStream 1 true block', 'data 1 false hello', 'ping', 'data 1 true ']);
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const decoder = new SpdyDecoder();
      const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const got = edges.slice(1).flatMap((edge, i) => [...decoder.decode(bytes.subarray(edges[i], edge))]);
      assert.deepEqual(got.map(shown), want);
    }),
  );
});

function shown(frame: SpdyFrame): string {
  if (frame.kind === 'data') return `data ${frame.stream} ${frame.fin} ${frame.data}`;
  if (frame.kind === 'synStream') return `synStream ${frame.stream} ${frame.fin} ${frame.block}`;
  return frame.kind;
}

test('any bytes decode or are a SpdyError', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        [...new SpdyDecoder().decode(Buffer.from(bytes))];
      } catch (error) {
        assert.ok(error instanceof SpdyError);
      }
    }),
  ));

test('header blocks keep their state from one to the next; garbage is refused', async () => {
  const [writer, reader] = [new HeaderWriter(), new HeaderReader()];
  for (const port of ['80', '8080', '443']) {
    const headers = new Map([
      ['streamtype', 'data'],
      ['port', port],
    ]);
    assert.deepEqual(await reader.read(await writer.write(headers)), headers);
  }
  await assert.rejects(reader.read(Buffer.from('garbage that is no zlib')), SpdyError);
  writer.close();
  const bomb = new HeaderReader();
  await assert.rejects(bomb.read(deflateSync(Buffer.alloc(1 << 20), { dictionary })), SpdyError);
});

/** A kubelet's server for one handler. @returns its WebSocket URL */
async function kubelet(t: TestContext, onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void) {
  const server = createServer();
  server.on('upgrade', onUpgrade);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An echo server that ends its side when it has echoed everything. */
async function echo(t: TestContext): Promise<number> {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const dial = (port: number) =>
  new Promise<Duplex>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

test('port-forward over SPDY in a WebSocket: streams in pairs, half-close, an error for a port that refuses', {
  timeout: 10_000,
}, async (t) => {
  const port = await echo(t);
  const url = await kubelet(
    t,
    (request, socket, head) => void servePortForward(request, socket, head, { dial, describe: 'pod shop/web' }),
  );
  const socket = await rawWebSocket(`${url}/portForward/shop/web`, 'SPDY/3.1+portforward.k8s.io');
  const writer = new HeaderWriter();
  const received = new Map<number, string>();
  const ended = new Set<number>();
  const pongs: SpdyFrame[] = [];
  const decoder = new SpdyDecoder();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  socket.onMessage((message) => {
    for (const frame of decoder.decode(message)) {
      if (frame.kind === 'ping') pongs.push(frame);
      if (frame.kind !== 'data') continue;
      received.set(frame.stream, (received.get(frame.stream) ?? '') + frame.data.toString());
      if (frame.fin) ended.add(frame.stream);
      if (ended.size === 4) resolve();
    }
  });
  const open = async (id: number, type: string, to: number, request: string, fin: boolean) => {
    const headers = new Map([
      ['streamtype', type],
      ['port', String(to)],
      ['requestid', request],
    ]);
    socket.send(synStreamFrame(id, await writer.write(headers), fin));
  };
  await open(1, 'error', port, '0', true);
  await open(3, 'data', port, '0', false);
  socket.send(pingFrame(9));
  socket.send(Buffer.concat([dataFrame(3, Buffer.from('hello '), false), dataFrame(3, Buffer.from('pod'), true)]));
  await open(5, 'error', 1, '1', true);
  await open(7, 'data', 1, '1', false);
  await done;
  assert.equal(received.get(3), 'hello pod');
  assert.equal(received.get(1), '');
  assert.match(received.get(5) ?? '', /^error forwarding port 1 to pod shop\/web: connect ECONNREFUSED/);
  assert.equal(pongs.length, 1);
  socket.close();
});

test('port-forward over channels: a preamble a channel, then data', { timeout: 10_000 }, async (t) => {
  const port = await echo(t);
  const url = await kubelet(
    t,
    (request, socket, head) => void servePortForward(request, socket, head, { dial, describe: 'pod' }),
  );
  const socket = new WebSocket(`${url}/portForward/shop/web?ports=${port}`, ['v4.channel.k8s.io']);
  const got: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('message', (message: Buffer) => {
    got.push(message);
    if (got.length === 2) socket.send(Buffer.from('\0hi'));
    if (got.length === 3) resolve();
  });
  await promise;
  assert.deepEqual(got, [
    Buffer.from([0, port & 255, port >> 8]),
    Buffer.from([1, port & 255, port >> 8]),
    Buffer.from('\0hi'),
  ]);
  socket.terminate();
});

test('a protocol that nobody speaks is refused before the upgrade', async (t) => {
  const url = await kubelet(
    t,
    (request, socket, head) => void servePortForward(request, socket, head, { dial, describe: 'pod' }),
  );
  const socket = new WebSocket(url, ['v9.channel.k8s.io']);
  await assert.rejects(new Promise((_, reject) => socket.once('error', reject)), /Unexpected server response: 400/);
});

/** A client for a subprotocol that the library refuses to ask for: small messages, masked with zeros. */
async function rawWebSocket(url: string, protocol: string) {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const request = httpRequest(url.replace('ws:', 'http:'), {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
      'sec-websocket-protocol': protocol,
    },
  });
  request.on('upgrade', (response, socket) => {
    assert.equal(response.headers['sec-websocket-protocol'], protocol);
    resolve(socket);
  });
  request.on('error', reject);
  request.end();
  const socket = await promise;
  return {
    send(data: Buffer) {
      const length = data.length < 126 ? [0x80 | data.length] : [0x80 | 126, data.length >> 8, data.length & 255];
      socket.write(Buffer.concat([Buffer.from([0x82, ...length, 0, 0, 0, 0]), data]));
    },
    onMessage(handler: (data: Buffer) => void) {
      let rest = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk]);
        for (;;) {
          const start = rest[1] === 126 ? 4 : 2;
          const length = start === 4 ? rest.readUInt16BE(2) : (rest[1] ?? 0);
          if (rest.length < 2 || rest.length < start + length) return;
          if ((rest[0]! & 15) === 2) handler(rest.subarray(start, start + length));
          rest = rest.subarray(start + length);
        }
      });
    },
    close: () => socket.destroy(),
  };
}

/** Runs one exec session and gathers what comes back by channel. */
async function exec(
  t: TestContext,
  query: string,
  protocol: string,
  start: (options: ExecOptions) => Promise<RemoteCommand>,
  talk: (socket: WebSocket) => void = () => {},
) {
  const url = await kubelet(t, (request, socket, head) => void serveExec(request, socket, head, start));
  const socket = new WebSocket(`${url}/exec/shop/web/app?${query}`, [protocol]);
  const channels: Record<number, string> = {};
  socket.on('message', (message: Buffer) => {
    channels[message[0]!] = (channels[message[0]!] ?? '') + message.subarray(1).toString();
  });
  socket.once('open', () => talk(socket));
  await new Promise((resolve) => socket.once('close', resolve));
  return { channels, status: JSON.parse(channels[3] ?? '{}') };
}

test('exec: input until the client closes it, output to its end, then the exit code', {
  timeout: 10_000,
}, async (t) => {
  let asked: ExecOptions | undefined;
  const start = async (options: ExecOptions): Promise<RemoteCommand> => {
    asked = options;
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const exit = (async () => {
      let text = '';
      for await (const chunk of stdin) text += chunk;
      stdout.end(text.toUpperCase());
      stderr.end('done');
      return { kind: 'exited', code: 3 } as const;
    })();
    return { stdin, stdout, stderr, exit, hangUp: () => {} };
  };
  const { channels, status } = await exec(
    t,
    'command=tr&command=a-z&stdin=true&stdout=true&stderr=true&container=app',
    'v5.channel.k8s.io',
    start,
    (socket) => {
      socket.send(Buffer.from('\0hello'));
      socket.send(Buffer.from([255, 0]));
    },
  );
  assert.deepEqual(asked, {
    command: ['tr', 'a-z'],
    container: 'app',
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
  });
  assert.deepEqual([channels[1], channels[2]], ['HELLO', 'done']);
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.deepEqual(status.details.causes, [{ reason: 'ExitCode', message: '3' }]);
});

test('exec: sizes of the terminal arrive, nonsense does not; success is Success', { timeout: 10_000 }, async (t) => {
  const sizes: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<{ kind: 'exited'; code: number }>();
  const start = async (): Promise<RemoteCommand> => ({
    exit: promise,
    hangUp: () => {},
    resize: (size) => {
      sizes.push(size);
      resolve({ kind: 'exited', code: 0 });
    },
  });
  const { status } = await exec(t, 'command=sh&tty=true&stdin=true', 'v4.channel.k8s.io', start, (socket) => {
    socket.send(Buffer.from('\u0004nonsense'));
    socket.send(Buffer.from('\u0004{"Width":80,"Height":0}'));
    socket.send(Buffer.from('\u0004{"Width":80,"Height":24}'));
  });
  assert.deepEqual(sizes, [{ columns: 80, rows: 24 }]);
  assert.equal(status.status, 'Success');
});

test('exec: what cannot start is told; a client that goes away hangs up', { timeout: 10_000 }, async (t) => {
  const { status } = await exec(t, 'command=x', 'v5.channel.k8s.io', () =>
    Promise.reject(new Error('no container `app`')),
  );
  assert.deepEqual([status.status, status.message], ['Failure', 'no container `app`']);
  const hung = Promise.withResolvers<void>();
  await exec(
    t,
    'command=x',
    'v5.channel.k8s.io',
    async () => ({ exit: new Promise(() => {}), hangUp: () => hung.resolve() }),
    (socket) => socket.terminate(),
  );
  await hung.promise;
});
