// Which upstream connections are shared, and that clients cannot make ever more of them.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
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
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

test('PROXY protocol: a connection names its client, and serves that client alone', async () => {
  const r = await start({ policy: { proxyProtocol: 'v1' } });
  r.answer = (_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  const first = r.client(REQUEST);
  await first.reader.response();
  first.socket.write(REQUEST);
  await first.reader.response();
  assert.equal(r.connections, 1);
  const second = r.client(REQUEST);
  await second.reader.response();
  assert.equal(r.connections, 2);
  const { localPort } = second.socket;
  assert.match(
    r.requests.at(-1) ?? '',
    new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 ${localPort} ${r.port}\\r\\nGET / `),
  );
});

test('clients of their own connections do not pile them up', async () => {
  const r = await start({ policy: { proxyProtocol: 'v1' } });
  r.answer = (_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  for (let i = 0; i < 100; i++) {
    const { socket, reader } = r.client(REQUEST);
    await reader.response();
    socket.destroy();
  }
  assert.ok(r.parts.engine.connections.size <= 65, `${r.parts.engine.connections.size}`);
});

test('limits: one connection, one that waits, the third is refused with 503 UO', async () => {
  const pool = { maxConnections: 1, maxPendingRequests: 1 };
  const r = await start();
  const { state } = r.parts;
  const service = state.service('shop/order.shop.svc.cluster.local');
  assert.ok(service !== undefined);
  const { policy } = service.traffic;
  state.setService(service.key, {
    ...service,
    traffic: { ...service.traffic, policy: { ...policy, pool: { ...policy.pool, ...pool } } },
  });
  let release: (() => void)[] = [];
  r.answer = (_, socket) => void release.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  const first = r.client(REQUEST);
  while (release.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const second = r.client(REQUEST);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const third = await r.client(REQUEST).reader.response();
  assert.equal(third.status, 503);
  assert.match(third.head, /x-envoy-overloaded: true/i);
  assert.match(third.body, /reset reason: overflow/);
  for (const answer of release) answer();
  release = [];
  assert.equal((await first.reader.response()).status, 200);
  while (release.length === 0) await new Promise((resolve) => setImmediate(resolve));
  for (const answer of release) answer();
  assert.equal((await second.reader.response()).status, 200);
  assert.equal(r.connections, 1);
});
