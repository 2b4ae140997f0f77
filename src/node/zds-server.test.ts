import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, mock, test } from 'node:test';
import { ManualClock } from '../platform/clock.ts';
import { Netns, sameNetns } from '../platform/linux/netns.ts';
import { SeqpacketConnection } from '../platform/linux/seqpacket.ts';
import { countDescriptors, namespacedTests } from '../platform/linux/testing.ts';
import { configureLogging, logger } from '../telemetry/log.ts';
import { decodeRequest, encodeAck, encodeHello, type ZdsRequest } from '../wire/zds/messages.ts';
import { type ZdsPod, ZdsServer } from './zds-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'ambit-zds-'));
after(() => rmSync(folder, { recursive: true }));
configureLogging({ filter: 'off' });
const log = logger('test');

/** A proxy below the level of ours, so that it can misbehave. */
class RawProxy {
  readonly connection: SeqpacketConnection;

  constructor(path: string) {
    this.connection = SeqpacketConnection.connect(path);
  }

  static async greeted(path: string): Promise<RawProxy> {
    const proxy = new RawProxy(path);
    await proxy.connection.send(encodeHello());
    return proxy;
  }

  /** The next request, with the namespace that came along. */
  async next(): Promise<{ request: ZdsRequest; netns: Netns | undefined }> {
    const packet = await this.connection.receive(2000);
    assert.ok(packet, 'the server hung up');
    const request = decodeRequest(packet.data);
    assert.ok(request.ok, request.ok ? '' : request.error);
    return { request: request.value, netns: packet.fd === undefined ? undefined : Netns.fromFd(packet.fd) };
  }

  /** Answers the next request, which carries no namespace. */
  async answer(error?: string): Promise<ZdsRequest> {
    const { request, netns } = await this.next();
    netns?.close();
    await this.connection.send(encodeAck({ error }));
    return request;
  }

  /** Whether the server ended the connection. */
  async hungUp(): Promise<boolean> {
    for (;;) {
      const packet = await this.connection.receive(2000);
      if (packet === undefined) return true;
      if (packet.fd !== undefined) closeSync(packet.fd);
    }
  }
}

const pod = (uid: string, netns: Netns | undefined): ZdsPod => ({
  uid,
  info: { name: `pod-${uid}`, namespace: 'shop', serviceAccount: 'default' },
  netns,
});

function start(pods: ZdsPod[] = [], clock = new ManualClock()) {
  const path = join(folder, `${Math.random()}.sock`);
  const refused: string[] = [];
  const counts: number[] = [];
  const server = new ZdsServer({
    path,
    snapshot: () => pods,
    onRefused: (uid, error) => refused.push(`${uid}: ${error}`),
    onConnections: (count) => counts.push(count),
    clock,
    log,
  });
  server.listen();
  return { server, path, refused, counts, clock };
}

/** Lets pending packets and promises pass. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000 && !condition(); i++) await new Promise(setImmediate);
  assert.ok(condition(), 'in time');
}

namespacedTests(import.meta.url, () => {
  test('a proxy gets every pod with its namespace, `keep` for one without, then the end of the snapshot', async () => {
    using netns = Netns.create();
    const { server, path } = start([pod('a', netns), pod('b', undefined)]);
    const proxy = await RawProxy.greeted(path);
    const first = await proxy.next();
    const info = { name: 'pod-a', namespace: 'shop', serviceAccount: 'default' };
    assert.deepEqual(first.request, { kind: 'add', uid: 'a', pod: info });
    assert.ok(first.netns && sameNetns(first.netns.identity, netns.identity));
    first.netns.close();
    await assert.rejects(proxy.connection.receive(5), { code: 'timeout' }, 'nothing before the acknowledgement');
    await proxy.connection.send(encodeAck({ error: undefined }));
    assert.deepEqual(await proxy.answer(), { kind: 'keep', uid: 'b' });
    assert.deepEqual(await proxy.answer(), { kind: 'snapshotSent' });
    server.close();
    assert.equal(await proxy.hungUp(), true);
    proxy.connection.close();
  });

  test('a refused pod of the snapshot is told, and the snapshot goes on', async () => {
    using netns = Netns.create();
    const { server, path, refused } = start([pod('a', netns), pod('b', netns)]);
    const proxy = await RawProxy.greeted(path);
    await proxy.answer('port 15008 is busy');
    await proxy.answer();
    assert.equal((await proxy.answer()).kind, 'snapshotSent');
    await until(() => refused.length > 0);
    assert.deepEqual(refused, ['a: port 15008 is busy']);
    proxy.connection.close();
    server.close();
  });

  test('`add` goes to the newest proxy only, `del` to all', async () => {
    using netns = Netns.create();
    const { server, path, counts } = start();
    const older = await RawProxy.greeted(path);
    await older.answer();
    const newer = await RawProxy.greeted(path);
    await newer.answer();
    const added = server.add({ ...pod('a', netns), netns });
    assert.equal((await newer.answer()).kind, 'add');
    await added;
    const deleted = server.del('a');
    assert.deepEqual(await older.answer(), { kind: 'del', uid: 'a' });
    assert.deepEqual(await newer.answer('unknown'), { kind: 'del', uid: 'a' });
    await deleted;
    newer.connection.close();
    await until(() => server.connections === 1);
    const again = server.add({ ...pod('b', netns), netns });
    assert.equal((await older.answer()).kind, 'add');
    await again;
    assert.deepEqual(counts, [1, 2, 1]);
    older.connection.close();
    server.close();
  });

  test('without a proxy `add` fails at once, or waits for one as long as it may', async () => {
    using netns = Netns.create();
    const { server, path, clock } = start();
    const added = () => server.add({ ...pod('a', netns), netns }, 1000);
    await assert.rejects(server.add({ ...pod('a', netns), netns }), { code: 'noProxy' });
    const late = assert.rejects(added(), { code: 'noProxy' });
    clock.advance(1000);
    await late;
    const waiting = added();
    const proxy = await RawProxy.greeted(path);
    assert.equal((await proxy.answer()).kind, 'snapshotSent');
    assert.equal((await proxy.answer('no room')).kind, 'add');
    await assert.rejects(waiting, { code: 'refused', message: /no room/ });
    proxy.connection.close();
    server.close();
  });

  test('a proxy that goes in midst of a request fails it, and the older one serves the next', async () => {
    using netns = Netns.create();
    const { server, path } = start();
    const older = await RawProxy.greeted(path);
    await older.answer();
    const newer = await RawProxy.greeted(path);
    await newer.answer();
    const first = server.add({ ...pod('a', netns), netns });
    const queued = server.add({ ...pod('b', netns), netns });
    (await newer.next()).netns?.close();
    newer.connection.close();
    for (const lost of [first, queued]) await assert.rejects(lost, { code: 'disconnected' });
    await until(() => server.connections === 1);
    const again = server.add({ ...pod('a', netns), netns });
    await older.answer();
    await again;
    older.connection.close();
    server.close();
  });

  test('a pod that ends while it waits for its turn is left out', async () => {
    using netns = Netns.create();
    const ending = Netns.create();
    const { server, path, refused } = start([pod('a', netns), pod('b', ending)]);
    const proxy = await RawProxy.greeted(path);
    (await proxy.next()).netns?.close();
    ending.close();
    await proxy.connection.send(encodeAck({ error: undefined }));
    assert.equal((await proxy.answer()).kind, 'snapshotSent');
    await until(() => refused.length > 0);
    assert.match(refused.join(), /b: the pod has gone/);
    proxy.connection.close();
    server.close();
  });

  test('five seconds without an acknowledgement, or without a greeting, end the connection', async () => {
    using netns = Netns.create();
    const { server, path } = start();
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const silent = new RawProxy(path);
      const slow = await RawProxy.greeted(path);
      assert.equal((await slow.answer()).kind, 'snapshotSent');
      const added = assert.rejects(server.add({ ...pod('a', netns), netns }), {
        code: 'disconnected',
        message: /5000 ms/,
      });
      (await slow.next()).netns?.close();
      mock.timers.tick(4999);
      await new Promise(setImmediate);
      assert.equal(server.connections, 1);
      mock.timers.tick(1);
      await added;
      mock.timers.reset();
      assert.equal(await slow.hungUp(), true);
      assert.equal(await silent.hungUp(), true);
      silent.connection.close();
      slow.connection.close();
    } finally {
      mock.timers.reset();
      server.close();
    }
  });

  const misbehaviour: Record<string, (proxy: RawProxy) => Promise<void>> = {
    'no greeting but garbage': async (proxy) => proxy.connection.send(Buffer.from('GET / HTTP/1.1')),
    'a greeting of another version': async (proxy) => proxy.connection.send(Buffer.from([8, 7])),
    'a greeting with a descriptor': async (proxy) => proxy.connection.send(encodeHello(), { fd: 0 }),
    'hanging up at once': async () => {},
    'words without a question': async (proxy) => {
      await proxy.connection.send(encodeHello());
      await proxy.answer();
      await proxy.connection.send(encodeAck({ error: undefined }));
    },
    'two answers to one question': async (proxy) => {
      await proxy.connection.send(encodeHello());
      await proxy.next();
      await proxy.connection.send(encodeAck({ error: undefined }));
      await proxy.connection.send(encodeAck({ error: undefined }));
    },
    'an answer that is none': async (proxy) => {
      await proxy.connection.send(encodeHello());
      await proxy.next();
      await proxy.connection.send(Buffer.from([0xff, 0xff]));
    },
    'an answer with a descriptor': async (proxy) => {
      await proxy.connection.send(encodeHello());
      await proxy.next();
      await proxy.connection.send(encodeAck({ error: undefined }), { fd: 0 });
    },
  };
  for (const [name, misbehave] of Object.entries(misbehaviour))
    test(`${name}: that connection ends, others go on, nothing stays open`, async () => {
      const { server, path } = start();
      const good = await RawProxy.greeted(path);
      await good.answer();
      const before = countDescriptors();
      const bad = new RawProxy(path);
      await misbehave(bad);
      if (name !== 'hanging up at once') assert.equal(await bad.hungUp(), true);
      bad.connection.close();
      await until(() => server.connections === 1 && countDescriptors() === before);
      const deleted = server.del('x');
      assert.deepEqual(await good.answer(), { kind: 'del', uid: 'x' });
      await deleted;
      good.connection.close();
      server.close();
    });

  test('the sixth connection of a second waits for the next second', async () => {
    const { server, path, clock } = start();
    const proxies: RawProxy[] = [];
    for (let i = 0; i < 6; i++) proxies.push(await RawProxy.greeted(path));
    await until(() => server.connections === 5);
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.equal(server.connections, 5);
    clock.advance(1000);
    await until(() => server.connections === 6);
    for (const proxy of proxies) proxy.connection.close();
    await until(() => server.connections === 0);
    server.close();
  });
});
