// Both makes of streams, one suite.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Failure } from '../dataplane/failure.ts';
import type { Ip } from '../model/ip.ts';
import { Netns } from '../platform/linux/netns.ts';
import { listenTcp, localAddress } from '../platform/linux/sockets.ts';
import { handles } from '../platform/tcp/handles.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { listenStreams, type StreamListener } from '../platform/tcp/streams.ts';
import { HboneError, type ResetCode, type TunnelStream } from '../wire/hbone/index.ts';
import { StreamPair, TunnelRelay } from './copy.ts';

test('this Node has the handles that the fast make needs', () => {
  assert.notEqual(handles, undefined);
});

for (const [make, using] of [
  ['on handles', handles],
  ['on sockets', undefined],
] as const)
  describe(make, () => suite(using));

function suite(using: typeof handles): void {
  let listener: StreamListener;
  let port = 0;
  const accepted: ((stream: TcpStream) => void)[] = [];
  before(async () => {
    using netns = Netns.current();
    const fd = listenTcp(netns, { ip: '127.0.0.1' as Ip, port: 0 });
    port = localAddress(fd)?.port ?? 0;
    listener = await listenStreams(fd, 128, (stream) => accepted.shift()?.(stream), assert.fail, using);
  });
  after(() => {
    listener.close();
  });

  /** An application's socket and the proxy's end of it, which nobody reads yet. */
  async function socketPair(): Promise<{ app: Socket; proxy: TcpStream }> {
    const arrived = new Promise<TcpStream>((resolve) => accepted.push(resolve));
    const app = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const [proxy] = await Promise.all([arrived, once(app, 'connect')]);
    app.on('error', () => {});
    return { app, proxy };
  }

  async function tunnelled() {
    const { app, proxy } = await socketPair();
    const tunnel = new FakeTunnel();
    const meter = { toServer: 0, toClient: 0 };
    const done = Promise.withResolvers<Failure | undefined>();
    const relay = new TunnelRelay(proxy, 'outbound', meter, done.resolve);
    relay.bind(tunnel);
    relay.start();
    return { app, proxy, tunnel, meter, relay, done: done.promise };
  }

  test('bytes pass both ways and are counted by who sent them', async () => {
    const { app, tunnel, relay, meter } = await tunnelled();
    app.write('question');
    await tunnel.until(() => tunnel.text === 'question');
    relay.data(Buffer.from('ans'));
    relay.data(Buffer.from('wer'));
    assert.equal(await read(app, 6), 'answer');
    assert.deepEqual(meter, { toServer: 8, toClient: 6 });
    assert.equal(tunnel.credit, 6);
    app.destroy();
  });

  test('each half closes on its own, and the end is clean', async () => {
    const { app, tunnel, relay, done } = await tunnelled();
    app.end('last words');
    await tunnel.until(() => tunnel.ended);
    assert.equal(tunnel.text, 'last words');
    relay.data(Buffer.from('still here'));
    const [chunk] = (await once(app, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'still here');
    relay.end();
    await once(app, 'end');
    assert.equal(await done, undefined);
    assert.deepEqual(tunnel.resets, []);
  });

  test('the other half first', async () => {
    const { app, tunnel, relay, done } = await tunnelled();
    relay.end();
    app.resume();
    await once(app, 'end');
    app.end('late');
    await tunnel.until(() => tunnel.ended);
    assert.equal(tunnel.text, 'late');
    assert.equal(await done, undefined);
  });

  test('a full tunnel stops the application, and room lets it go on', async () => {
    const { app, tunnel, relay } = await tunnelled();
    tunnel.full = true;
    app.write('a');
    await tunnel.until(() => tunnel.text === 'a');
    const before = tunnel.sent.length;
    for (let i = 0; i < 100; i++) app.write(Buffer.alloc(64 * 1024));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.equal(tunnel.sent.length, before, 'nothing is read while the tunnel is full');
    tunnel.full = false;
    relay.writable();
    await tunnel.until(() => tunnel.sent.reduce((n, b) => n + b.length, 0) === 1 + 100 * 64 * 1024);
    app.destroy();
  });

  test('window is given back only for what a slow application takes', async () => {
    const { app, tunnel, relay } = await tunnelled();
    app.pause();
    const sent = 64 << 20;
    for (let i = 0; i < sent >> 20; i++) relay.data(Buffer.alloc(1 << 20)); // a peer that ignored its window
    await new Promise(setImmediate);
    assert.ok(tunnel.credit < sent / 2, `gave back ${tunnel.credit} of ${sent}`);
    app.resume();
    await tunnel.until(() => tunnel.credit === sent);
    app.destroy();
  });

  test('a slow application gets every byte in order, whatever the pieces', async () => {
    const { app, tunnel, relay } = await tunnelled();
    const source = Buffer.allocUnsafe(24 << 20);
    for (let i = 0; i < source.length; i += 4) source.writeUInt32LE(i, i);
    const piece = Buffer.alloc(300 << 10); // lent: changes after every call
    const got: Buffer[] = [];
    app.on('data', (chunk: Buffer) => {
      got.push(chunk);
      app.pause();
      setImmediate(() => app.resume());
    });
    const sizes = [1, 100, 16_384, 16_384, 9_000, 65_536, 16_384, 250_000, 8_192, 32_768];
    for (let at = 0, i = 0; at < source.length; i++) {
      const size = Math.min(sizes[i % sizes.length] as number, source.length - at);
      source.copy(piece, 0, at, at + size);
      relay.data(piece.subarray(0, size));
      piece.fill(0xee, 0, size);
      at += size;
      if (i % 7 === 0) await new Promise(setImmediate);
    }
    relay.end();
    await once(app, 'end');
    assert.ok(Buffer.concat(got).equals(source));
    assert.equal(tunnel.credit, source.length);
    app.destroy();
  });

  test('a reset of the application is CONNECT_ERROR to the peer and no failure', async () => {
    const { app, tunnel, done } = await tunnelled();
    app.write('x');
    await tunnel.until(() => tunnel.text === 'x');
    app.resetAndDestroy();
    assert.equal(await done, undefined);
    assert.ok(tunnel.resets.length > 0 && tunnel.resets.every((code) => code === 'CONNECT_ERROR'));
  });

  for (const [name, code, source, failure] of [
    ['a TCP reset behind the peer resets the application and is no failure', 'CONNECT_ERROR', 'peer', undefined],
    ['a lost connection resets the application and is no failure', 'INTERNAL_ERROR', 'transport', undefined],
    [
      'a refusal in the middle resets the application and is reported',
      'REFUSED_STREAM',
      'peer',
      'H2_HANDSHAKE_FAILURE',
    ],
  ] as const) {
    test(name, async () => {
      const { app, relay, done } = await tunnelled();
      const closed = once(app, 'error');
      relay.reset(new HboneError(code, source, 'why'));
      const [error] = (await closed) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNRESET');
      assert.equal((await done)?.flag, failure);
    });
  }

  test('CANCEL reads as the end of data: what was sent before it arrives', async () => {
    const { app, relay, done } = await tunnelled();
    relay.data(Buffer.from('all of it'));
    relay.reset(new HboneError('CANCEL', 'peer', 'gone'));
    let got = '';
    app.on('data', (chunk) => (got += chunk));
    await once(app, 'end');
    assert.equal(got, 'all of it');
    app.end();
    assert.equal(await done, undefined);
  });

  test('cutting tells the peer, resets the application and reports nothing by itself', async () => {
    const { app, tunnel, relay, proxy, done } = await tunnelled();
    const error = once(app, 'error');
    relay.cut('REFUSED_STREAM');
    assert.equal(((await error)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
    while (proxy.fd !== undefined) await new Promise(setImmediate);
    assert.deepEqual(tunnel.resets, ['REFUSED_STREAM']);
    assert.equal(await Promise.race([done.then(() => 'finished'), Promise.resolve('silent')]), 'silent');
  });

  async function paired() {
    const client = await socketPair();
    const upstream = await socketPair();
    const meter = { toServer: 0, toClient: 0 };
    const done = Promise.withResolvers<Failure | undefined>();
    const pair = new StreamPair(client.proxy, upstream.proxy, meter, done.resolve);
    return { client: client.app, upstream: upstream.app, meter, pair, done: done.promise };
  }

  test('two sockets: half-close each way, counted', async () => {
    const { client, upstream, meter, done } = await paired();
    client.end('request');
    let asked = '';
    upstream.on('data', (chunk) => (asked += chunk));
    await once(upstream, 'end');
    assert.equal(asked, 'request');
    upstream.end('response');
    let answered = '';
    client.on('data', (chunk) => (answered += chunk));
    await once(client, 'end');
    assert.equal(answered, 'response');
    assert.equal(await done, undefined);
    assert.deepEqual(meter, { toServer: 7, toClient: 8 });
  });

  test('two sockets: a reset of one is a reset of the other', async () => {
    const { client, upstream, done } = await paired();
    const error = once(client, 'error');
    upstream.resetAndDestroy();
    assert.equal(((await error)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
    assert.equal(await done, undefined);
  });

  test('two sockets: a slow reader stops the writer', async () => {
    const { client, upstream, meter } = await paired();
    upstream.pause();
    let stopped = false;
    for (let i = 0; i < 2000 && !stopped; i++) {
      client.write(Buffer.alloc(64 * 1024));
      await new Promise(setImmediate);
      stopped = client.writableLength > 8 << 20;
    }
    assert.ok(stopped, 'the client was slowed down');
    assert.ok(meter.toServer < 64 << 20);
    client.destroy();
    upstream.destroy();
  });

  test('two sockets: cutting resets both', async () => {
    const { client, upstream, pair } = await paired();
    const errors = Promise.all([once(client, 'error'), once(upstream, 'error')]);
    pair.cut();
    for (const [error] of (await errors) as unknown as [NodeJS.ErrnoException][])
      assert.equal(error.code, 'ECONNRESET');
  });
}

/** A tunnel that records what it was told, and can be full. */
class FakeTunnel implements TunnelStream {
  readonly id = 1;
  sent: Buffer[] = [];
  ended = false;
  resets: ResetCode[] = [];
  credit = 0;
  full = false;
  readonly #changed: (() => void)[] = [];
  write(chunk: Uint8Array): boolean {
    this.sent.push(Buffer.from(chunk));
    this.#wake();
    return !this.full;
  }
  end(): void {
    this.ended = true;
    this.#wake();
  }
  reset(code: ResetCode = 'CANCEL'): void {
    this.resets.push(code);
    this.#wake();
  }
  consumed(bytes: number): void {
    this.credit += bytes;
    this.#wake();
  }
  get text(): string {
    return Buffer.concat(this.sent).toString();
  }
  #wake(): void {
    for (const changed of this.#changed.splice(0)) changed();
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }
}

/** Reads until `characters` have come. */
async function read(socket: Socket, characters: number): Promise<string> {
  let got = '';
  while (got.length < characters) got += String(((await once(socket, 'data')) as [Buffer])[0]);
  return got;
}
