import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import type { Ip } from '../../model/ip.ts';
import { hasCode } from '../linux/errors.ts';
import { Netns } from '../linux/netns.ts';
import { listenTcp, localAddress, originalDestination } from '../linux/sockets.ts';
import { handles } from './handles.ts';
import type { StreamUser, TcpStream } from './stream.ts';
import { dialStream, listenStreams } from './streams.ts';

const LOOPBACK = '127.0.0.1' as Ip;
const unwanted = (): never => assert.fail('not to be called');

/** Remembers what it hears. */
class Listener implements StreamUser {
  text = '';
  hasEnded = false;
  readonly over = Promise.withResolvers<{ clean: boolean; error: Error | undefined }>();
  readonly peerEnded = Promise.withResolvers<void>();
  received(chunk: Buffer): void {
    this.text += chunk.toString();
  }
  ended(): void {
    this.hasEnded = true;
    this.peerEnded.resolve();
  }
  drained(): void {}
  closed(clean: boolean, error: Error | undefined): void {
    this.over.resolve({ clean, error });
  }
}

for (const [make, using] of [
  ['on handles', handles],
  ['on sockets', undefined],
] as const)
  describe(make, () => {
    async function joined(): Promise<{ dialled: TcpStream; accepted: TcpStream; close(): void }> {
      using netns = Netns.current();
      const fd = listenTcp(netns, { ip: LOOPBACK, port: 0 });
      const destination = localAddress(fd);
      assert.ok(destination);
      const arrived = Promise.withResolvers<TcpStream>();
      const listener = await listenStreams(fd, 8, arrived.resolve, assert.fail, using);
      const dialled = await new Promise<TcpStream>((resolve, reject) => {
        dialStream(netns, { destination }, resolve, reject, using);
      });
      return { dialled, accepted: await arrived.promise, close: () => listener.close() };
    }

    test('both ends know their addresses, and each direction ends by itself', async () => {
      const { dialled, accepted, close } = await joined();
      assert.deepEqual(dialled.remote(), accepted.local());
      assert.deepEqual(dialled.local(), accepted.remote());
      assert.equal(originalDestination(accepted.fd), undefined);
      const client = new Listener();
      const server = new Listener();
      dialled.start(client, true);
      accepted.start(server);
      dialled.write(Buffer.from('question'));
      dialled.end();
      await server.peerEnded.promise;
      assert.equal(server.text, 'question');
      accepted.write(Buffer.from('answer'));
      accepted.end();
      assert.deepEqual(await client.over.promise, { clean: true, error: undefined });
      assert.deepEqual(await server.over.promise, { clean: true, error: undefined });
      assert.equal(client.text, 'answer');
      assert.equal(accepted.fd, undefined);
      accepted.destroy();
      accepted.reset();
      accepted.end();
      assert.equal(accepted.write(Buffer.from('late')), true);
      close();
      close();
    });

    test('an answer and its end, read together or apart; more than one read holds', async () => {
      for (const size of [10, 200_000]) {
        const { dialled, accepted, close } = await joined();
        const client = new Listener();
        dialled.end();
        const server = new Listener();
        accepted.start(server);
        await server.peerEnded.promise;
        accepted.write(Buffer.alloc(size, 'x'));
        accepted.end();
        dialled.start(client, true);
        assert.deepEqual(await client.over.promise, { clean: true, error: undefined });
        assert.equal(client.text, 'x'.repeat(size));
        close();
      }
    });

    test('nothing is read before the start', async () => {
      const { dialled, accepted, close } = await joined();
      dialled.write(Buffer.from('early'));
      dialled.end();
      await new Promise(setImmediate);
      const server = new Listener();
      accepted.start(server);
      await server.peerEnded.promise;
      assert.equal(server.text, 'early');
      accepted.endAndClose();
      await server.over.promise;
      dialled.destroy();
      close();
    });

    test('a reset breaks the other end, and says why', async () => {
      const { dialled, accepted, close } = await joined();
      const server = new Listener();
      accepted.start(server);
      dialled.reset();
      const { clean, error } = await server.over.promise;
      assert.equal(clean, false);
      assert.ok(hasCode(error, 'ECONNRESET'));
      close();
    });

    test('closed by its owner, a stream says so once', async () => {
      const { dialled, accepted, close } = await joined();
      const client = new Listener();
      dialled.start(client);
      dialled.destroy();
      assert.deepEqual(await client.over.promise, { clean: false, error: undefined });
      accepted.destroy();
      close();
    });

    test('a refused connection is told, a cancelled one is not', async () => {
      using netns = Netns.current();
      const nobody = createServer().listen(0, LOOPBACK);
      await once(nobody, 'listening');
      const { port } = nobody.address() as { port: number };
      nobody.close();
      await once(nobody, 'close');
      const destination = { ip: LOOPBACK, port };
      const error = await new Promise<Error>((resolve) => {
        dialStream(netns, { destination }, unwanted, resolve, using);
      });
      assert.ok(hasCode(error, 'ECONNREFUSED'));
      dialStream(netns, { destination }, unwanted, unwanted, using).cancel();
      await new Promise(setImmediate);
      await new Promise(setImmediate);
    });
  });

/** Five connect before the loop turns. @returns how many were accepted when the turn of the first one ended */
async function acceptedInOneTurn(onFirst: (listener: { close(): void }) => void): Promise<number> {
  using netns = Netns.current();
  const fd = listenTcp(netns, { ip: LOOPBACK, port: 0 });
  const destination = localAddress(fd);
  assert.ok(destination);
  const streams: TcpStream[] = [];
  const turnOver = Promise.withResolvers<number>();
  const accept = (stream: TcpStream): void => {
    streams.push(stream);
    if (streams.length > 1) return;
    onFirst(listener);
    setImmediate(() => turnOver.resolve(streams.length));
  };
  const listener = await listenStreams(fd, 8, accept, assert.fail);
  const diallings = Array.from({ length: 5 }, () =>
    dialStream(
      netns,
      { destination },
      (stream) => stream.destroy(),
      () => {},
    ),
  );
  const accepted = await turnOver.promise;
  for (const { cancel } of diallings) cancel();
  for (const stream of streams) stream.destroy();
  listener.close();
  return accepted;
}

describe('many at once', { skip: handles === undefined && 'libuv accepts one a turn' }, () => {
  test('those that wait are accepted in one turn', async () => {
    assert.equal(await acceptedInOneTurn(() => {}), 5);
  });

  test('a listener that is closed in between accepts no more', async () => {
    assert.equal(await acceptedInOneTurn((listener) => listener.close()), 1);
  });
});
