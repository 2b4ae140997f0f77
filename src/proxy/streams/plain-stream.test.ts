// The two makes of a plain connection: past Node's streams, and on them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { localEnd, remoteEnd } from '../../dataplane/endpoints.ts';
import type { HostPort } from '../../model/ip.ts';
import type { ByteSink, ByteStream, StreamError } from './byte-stream.ts';
import { plainStream } from './plain-stream.ts';
import { SocketStream } from './socket-stream.ts';

class Heard implements ByteSink {
  readonly pieces: Buffer[] = [];
  ended = false;
  readonly end$ = Promise.withResolvers<void>();
  readonly drain$ = Promise.withResolvers<void>();
  readonly over = Promise.withResolvers<StreamError | undefined>();
  data(chunk: Buffer): void {
    this.pieces.push(chunk);
  }
  end(): void {
    this.ended = true;
    this.end$.resolve();
  }
  drained(): void {
    this.drain$.resolve();
  }
  closed(error: StreamError | undefined): void {
    this.over.resolve(error);
  }
  get text(): string {
    return Buffer.concat(this.pieces).toString('latin1');
  }
}

type Make = (socket: Socket, local: HostPort, remote: HostPort) => ByteStream;
const makes: readonly (readonly [string, Make])[] = [
  ['past Node’s streams', plainStream],
  ['on a socket', (socket, local, remote) => new SocketStream(socket, local, remote)],
];

for (const [name, make] of makes)
  describe(name, () => {
    const of = (socket: Socket): ByteStream =>
      make(socket, localEnd(socket) as HostPort, remoteEnd(socket) as HostPort);

    async function joined(): Promise<{ client: ByteStream; server: ByteStream }> {
      const accepted = Promise.withResolvers<ByteStream>();
      const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => accepted.resolve(of(socket)));
      listener.listen(0, '127.0.0.1');
      await once(listener, 'listening');
      const { port } = listener.address() as { port: number };
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const client = await new Promise<ByteStream>((resolve) => {
        socket.once('connect', () => resolve(of(socket)));
      });
      const server = await accepted.promise;
      listener.close();
      return { client, server };
    }

    test('each direction ends by itself, and what was read stays as it was', async () => {
      const { client, server } = await joined();
      const [asks, answers] = [new Heard(), new Heard()];
      server.attach(answers);
      client.attach(asks);
      client.cork();
      client.writeText('head \xe9 ');
      client.write(Buffer.from('body'));
      client.uncork();
      client.end();
      await answers.end$.promise;
      assert.equal(answers.text, 'head \xe9 body');
      server.writeText('first');
      server.writeLent(Buffer.from(' second'), () => {});
      server.end();
      assert.equal(await asks.over.promise, undefined);
      assert.equal(await answers.over.promise, undefined);
      assert.equal(asks.text, 'first second');
      assert.equal(answers.text, 'head \xe9 body');
      assert.ok(client.gone && server.gone);
      assert.equal(client.write(Buffer.from('late')), true);
    });

    test('a slow reader fills it, more than the join holds arrives whole, and room is told', async () => {
      const { client, server } = await joined();
      const [writes, reads] = [new Heard(), new Heard()];
      client.attach(writes);
      server.pause();
      server.attach(reads);
      const piece = Buffer.alloc(200 << 10, 'x');
      let written = 0;
      let room = true;
      while (room) {
        client.cork();
        client.writeText('head');
        const taken = client.write(piece);
        room = client.uncork() && taken;
        written += 4 + piece.length;
      }
      assert.equal(reads.pieces.length, 0);
      server.resume();
      await writes.drain$.promise;
      client.end();
      await reads.end$.promise;
      assert.equal(reads.text.length, written);
      assert.equal(reads.text.replaceAll('x', ''), 'head'.repeat(written / (4 + piece.length)));
      server.end();
      await writes.over.promise;
    });

    test('what is put back comes first; a reset is told to the other side alone', async () => {
      const { client, server } = await joined();
      const [told, reads] = [new Heard(), new Heard()];
      client.attach(told);
      server.unread(Buffer.from('before '));
      client.writeText('after');
      client.end();
      server.attach(reads);
      await reads.end$.promise;
      assert.equal(reads.text, 'before after');
      server.reset();
      assert.equal(await reads.over.promise, undefined);
      assert.equal((await told.over.promise)?.kind, 'reset');
      const late = new Heard();
      client.attach(late);
      assert.equal((await late.over.promise)?.kind, 'reset');
    });
  });
