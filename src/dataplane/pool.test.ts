import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ip, workload } from '../model/testing/builders.ts';
import { identityOf } from '../model/workload.ts';
import { ManualClock } from '../platform/clock.ts';
import type { ConnectRequest, TunnelSink, TunnelStream } from '../wire/hbone/index.ts';
import { Pool, type PooledSession, type PoolKey, poolKeyText } from './pool.ts';

const RELEASE_MS = 300_000;
const request: ConnectRequest = { authority: '10.0.0.2:8080', headers: [] };
const sink: TunnelSink = { data() {}, end() {}, reset() {}, writable() {} };

class FakeSession implements PooledSession {
  activeStreams = 0;
  streamLimit = 2;
  drained = 0;
  get capacity(): number {
    return this.drained > 0 ? 0 : this.streamLimit - this.activeStreams;
  }
  open(): TunnelStream {
    assert.ok(this.capacity > 0, 'opened beyond capacity');
    this.activeStreams += 1;
    return { id: this.activeStreams, write: () => true, end() {}, reset() {}, consumed() {} };
  }
  drain(): void {
    this.drained += 1;
  }
}

const key = (set: Partial<PoolKey> = {}): PoolKey => ({
  source: identityOf(workload('order')),
  sourceIp: ip('10.0.0.1'),
  expected: [identityOf(workload('payment'))],
  destination: { ip: ip('10.0.0.2'), port: 15008 },
  ...set,
});

function poolWith(dial: () => Promise<FakeSession>) {
  const clock = new ManualClock();
  const dialed: FakeSession[] = [];
  const pool = new Pool<FakeSession>({
    clock,
    unusedReleaseMs: () => RELEASE_MS,
    dial: async () => {
      const session = await dial();
      dialed.push(session);
      return session;
    },
  });
  return { clock, pool, dialed };
}

test('tunnels that want a connection at once share one dial', async () => {
  const { pool, dialed } = poolWith(async () => new FakeSession());
  const k = key();
  await Promise.all([1, 2].map(() => pool.openSoon(k, poolKeyText(k), request, sink)));
  assert.equal(dialed.length, 1);
  assert.equal(dialed[0]?.activeStreams, 2);
});

test('a full connection is retired for good, and a new one takes over', async () => {
  const { pool, dialed } = poolWith(async () => new FakeSession());
  const k = key();
  const text = poolKeyText(k);
  await Promise.all([1, 2, 3].map(() => pool.openSoon(k, text, request, sink)));
  assert.equal(dialed.length, 2);
  const [first] = dialed as [FakeSession];
  assert.equal(first.drained, 1, 'closes when its tunnels are done');
  first.activeStreams = 0;
  pool.open(text, request, sink);
  assert.equal(first.activeStreams, 0, 'not chosen again although it has room');
});

test('a connection that the peer is ending is replaced', async () => {
  const { pool, dialed } = poolWith(async () => Object.assign(new FakeSession(), { streamLimit: 100 }));
  const k = key();
  const text = poolKeyText(k);
  await pool.openSoon(k, text, request, sink);
  (dialed[0] as FakeSession).drained = 1; // as after its GOAWAY
  assert.equal(pool.open(text, request, sink), undefined);
  await pool.openSoon(k, text, request, sink);
  assert.equal(dialed.length, 2);
});

test('nothing is shared across source identity, source address, destination, expected identities or their order', () => {
  const other = identityOf(workload('other'));
  const expected = key().expected;
  const keys = [
    key(),
    key({ source: other }),
    key({ sourceIp: ip('10.0.0.9') }),
    key({ destination: { ip: ip('10.0.0.2'), port: 15009 } }),
    key({ destination: { ip: ip('10.0.0.3'), port: 15008 } }),
    key({ expected: [other] }),
    key({ expected: [...expected, other] }),
    key({ expected: [other, ...expected] }),
  ];
  assert.equal(new Set(keys.map(poolKeyText)).size, keys.length);
});

test('a failed dial reaches all who waited and is not remembered', async () => {
  let fail = true;
  const { pool } = poolWith(async () => {
    if (fail) throw new Error('refused');
    return new FakeSession();
  });
  const k = key();
  const both = await Promise.allSettled([1, 2].map(() => pool.openSoon(k, poolKeyText(k), request, sink)));
  assert.deepEqual(
    both.map((r) => r.status),
    ['rejected', 'rejected'],
  );
  fail = false;
  assert.equal((await pool.openSoon(k, poolKeyText(k), request, sink)).id, 1);
});

test('a peer that takes no tunnel ends in an error, not in endless dialling', async () => {
  const { pool, dialed } = poolWith(async () => {
    const session = new FakeSession();
    session.streamLimit = 0;
    return session;
  });
  const k = key();
  await assert.rejects(pool.openSoon(k, poolKeyText(k), request, sink), /takes a tunnel/);
  assert.ok(dialed.length <= 64);
});

test('an unused connection leaves the pool after five minutes, a used one stays', async () => {
  const { pool, dialed, clock } = poolWith(async () => Object.assign(new FakeSession(), { streamLimit: 100 }));
  const idle = key();
  const busy = key({ sourceIp: ip('10.0.0.9') });
  await pool.openSoon(idle, poolKeyText(idle), request, sink);
  await pool.openSoon(busy, poolKeyText(busy), request, sink);
  for (let minute = 0; minute < 7; minute++) {
    clock.advance(60_000);
    pool.open(poolKeyText(busy), request, sink);
  }
  assert.deepEqual(
    dialed.map((s) => s.drained),
    [1, 0],
  );
  assert.equal(pool.size, 1);
});

test('a rotated certificate retires the connections made with the old one, and only those', async () => {
  const { pool, dialed } = poolWith(async () => Object.assign(new FakeSession(), { streamLimit: 100 }));
  const mine = key();
  const other = key({ source: identityOf(workload('cart')) });
  await pool.openSoon(mine, poolKeyText(mine), request, sink);
  await pool.openSoon(other, poolKeyText(other), request, sink);
  pool.retire(identityOf(workload('order')));
  assert.deepEqual(
    dialed.map((s) => s.drained),
    [1, 0],
  );
  assert.equal(pool.open(poolKeyText(mine), request, sink), undefined);
});

test('a closed pool drains what it has, also what was being dialled, and leaves no timer', async () => {
  const arrived = Promise.withResolvers<FakeSession>();
  const { pool, clock } = poolWith(() => arrived.promise);
  const k = key();
  const waiting = pool.openSoon(k, poolKeyText(k), request, sink);
  pool.close();
  const session = new FakeSession();
  arrived.resolve(session);
  await assert.rejects(waiting, /closed/);
  assert.equal(session.drained, 1);
  assert.equal(clock.waiting, 0);
});
