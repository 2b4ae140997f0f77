import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { readLent } from './lent-reads.ts';

test('what came before, what comes after, and the end: all of it, in order, in lent memory', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connect({ port, host: '127.0.0.1' });
  const [socket] = (await once(server, 'connection')) as [Socket];
  client.write('before ');
  await once(socket, 'readable');
  const got: string[] = [];
  const memory = new Set<ArrayBufferLike>();
  const receive = (chunk: Buffer): void => {
    got.push(chunk.toString());
    memory.add(chunk.buffer);
  };
  assert.equal(readLent(socket, { receive }), true);
  assert.deepEqual(got, ['before ']);
  memory.clear();
  socket.resume();
  for (const piece of ['one ', 'two ', 'three']) {
    client.write(piece);
    while (!got.join('').endsWith(piece)) await new Promise(setImmediate);
  }
  assert.equal(memory.size, 1);
  client.end();
  await once(socket, 'end');
  assert.equal(got.join(''), 'before one two three');
  socket.destroy();
  server.close();
});

test('a socket without a handle is left to its stream', async () => {
  const { Socket: Unopened } = await import('node:net');
  assert.equal(readLent(new Unopened(), { receive: () => assert.fail() }), false);
});
