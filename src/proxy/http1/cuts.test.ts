// However the bytes were cut on their way, the answers are the same; slow clients are not waited for; nothing is left
// behind.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import fc from 'fast-check';
import { ManualClock } from '../../platform/clock.ts';
import { Rig, type RigOptions } from '../testing/rig.ts';

let rig: Rig | undefined;
async function start(options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.start(options);
  return rig;
}
afterEach(() => {
  rig?.close();
  rig = undefined;
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 3_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('too late');
    await turn();
  }
}

test('any cuts of requests and responses: the same answers', async () => {
  const r = await start();
  const requests =
    'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n' +
    'POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' +
    'GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
  const response = (request: string): string =>
    request.startsWith('POST')
      ? 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n'
      : `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${request.slice(4, 6)}`;
  const send = async (
    socket: { write(text: string, encoding: 'latin1'): boolean },
    text: string,
    cuts: readonly number[],
  ) => {
    const at = [...new Set([0, ...cuts.map((cut) => cut % text.length), text.length])].sort((a, b) => a - b);
    for (let i = 1; i < at.length; i++) {
      socket.write(text.slice(at[i - 1], at[i]), 'latin1');
      await turn();
    }
  };
  const cuts = fc.array(fc.nat(400), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(cuts, cuts, async (ofRequests, ofResponses) => {
      r.answer = (request, socket) => void send(socket, response(request), ofResponses);
      const { socket, reader } = r.client();
      await send(socket, requests, ofRequests);
      const bodies = [await reader.response(), await reader.response(), await reader.response()].map(
        ({ body }) => body,
      );
      assert.deepEqual(bodies, ['/1', 'world', '/3']);
    }),
    { numRuns: 60 },
  );
});

test('large content both ways, byte for byte, with a slow reader', async () => {
  const r = await start();
  const size = 3 << 20;
  r.answer = (request, socket) => {
    const body = request.slice(request.indexOf('\r\n\r\n') + 4);
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`, 'latin1');
  };
  const sent = Buffer.alloc(size, 'abcdefg').toString('latin1');
  const { socket, reader } = r.client(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  socket.write(sent, 'latin1');
  socket.pause();
  await turn();
  socket.resume();
  assert.ok((await reader.response()).body === sent);
});

test('slowloris: a head, or content, that does not come is not waited for', async () => {
  const clock = new ManualClock(Date.now());
  const r = await start({ clock });
  const head = r.client('GET / HTTP/1.1\r\nHost: a\r\nX-Slow');
  const body = r.client('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
  await until(() => r.connections === 1);
  for (let s = 0; s < 13; s++) {
    clock.advance(1_000);
    head.socket.write('x');
    await turn();
  }
  assert.match(await head.reader.head(), /^HTTP\/1\.1 408 /);
  for (let s = 0; s < 310; s++) clock.advance(1_000);
  assert.match(await body.reader.head(), /^HTTP\/1\.1 408 /);
});

test('nothing is left: connections of both sides, exchanges, waiting requests', async () => {
  const clock = new ManualClock(Date.now());
  const r = await start({ clock });
  const { sweeper, connections } = r.parts.engine;
  const idle = sweeper.size;
  for (let round = 0; round < 20; round++) {
    // A client that leaves in its head, in its content, while it waits, and in the answer.
    const leaving = [
      r.client('GET / HTTP/1.1\r\nHo'),
      r.client('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc'),
      r.client('GET /wait HTTP/1.1\r\nHost: a\r\n\r\n'),
      r.client('GET /half HTTP/1.1\r\nHost: a\r\n\r\n'),
    ];
    r.answer = (request, socket) => {
      if (request.startsWith('GET /half')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
      else if (!request.startsWith('GET /wait')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    await turn();
    await turn();
    for (const { socket } of leaving) socket.destroy();
    assert.equal((await r.get('/')).status, 200);
  }
  for (let s = 0; s < 20; s++) {
    clock.advance(1_000);
    await turn();
  }
  await until(() => sweeper.size === idle);
  // What is kept upstream is idle, and can be counted.
  await until(() => r.sockets.open.size === connections.size);
  connections.drain();
  await until(() => connections.size === 0 && r.sockets.open.size === 0);
});
