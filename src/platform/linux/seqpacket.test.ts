import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { addressOf, libc } from './libc.ts';
import { MAX_PACKET_BYTES, receivePacket, sendPacket } from './message.ts';
import { SeqpacketConnection, SeqpacketListener } from './seqpacket.ts';
import { encodeUnix } from './sockaddr.ts';
import { countDescriptors } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'ambit-seqpacket-'));
const path = join(folder, 'zds.sock');
after(() => rmSync(folder, { recursive: true }));

async function pair(): Promise<[client: SeqpacketConnection, server: SeqpacketConnection]> {
  using listener = SeqpacketListener.listen(path);
  const accepted = listener.accept();
  return [SeqpacketConnection.connect(path), await accepted];
}

/** A client below SeqpacketConnection, for packets that it would not send. */
function rawClient(): number {
  const fd = libc.socket(1, 5, 0);
  const address = encodeUnix(path) as Buffer;
  assert.equal(libc.connect(fd, address, address.length), 0);
  return fd;
}

/** One packet with `count` copies of a descriptor, as struct msghdr by hand. */
function sendDescriptors(socket: number, count: number): void {
  const length = 16 + 4 * count;
  const block = Buffer.alloc(512);
  const base = addressOf(block);
  block.writeBigUInt64LE(base + 64n, 16);
  block.writeBigUInt64LE(1n, 24);
  block.writeBigUInt64LE(base + 128n, 32);
  block.writeBigUInt64LE(BigInt((length + 7) & ~7), 40);
  block.writeBigUInt64LE(base + 256n, 64);
  block.writeBigUInt64LE(4n, 72);
  block.writeBigUInt64LE(BigInt(length), 128);
  block.writeInt32LE(1, 136);
  block.writeInt32LE(1, 140);
  for (let i = 0; i < count; i++) block.writeInt32LE(socket, 144 + 4 * i);
  assert.equal(Number(libc.sendmsg(socket, block, 0)), 4);
}

test('packets keep their borders, in both directions', async () => {
  const [client, server] = await pair();
  await client.send(Buffer.from('one'));
  await client.send(Buffer.from('two'));
  assert.equal((await server.receive())?.data.toString(), 'one');
  await server.send(Buffer.alloc(MAX_PACKET_BYTES, 7));
  assert.equal((await server.receive())?.data.toString(), 'two');
  assert.deepEqual((await client.receive())?.data, Buffer.alloc(MAX_PACKET_BYTES, 7));
  client.close();
  server.close();
});

test('a descriptor arrives as another descriptor of the same file', async () => {
  const [client, server] = await pair();
  const file = join(folder, 'passed');
  writeFileSync(file, 'content');
  const sent = openSync(file, 'r');
  await client.send(Buffer.from('add'), { fd: sent });
  closeSync(sent);
  const packet = await server.receive();
  assert.equal(packet?.data.toString(), 'add');
  assert.equal(readFileSync(packet?.fd as number, 'utf8'), 'content');
  const children = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
  assert.ok(!children.includes(file), 'close-on-exec');
  closeSync(packet?.fd as number);
  client.close();
  server.close();
});

test('a packet that comes later wakes the receiver', async () => {
  const [client, server] = await pair();
  const waiting = server.receive(5000);
  await new Promise(setImmediate);
  await client.send(Buffer.from('later'));
  assert.equal((await waiting)?.data.toString(), 'later');
  client.close();
  server.close();
});

test('the end of the peer is told, to a receiver that waits and to one that comes later', async () => {
  const [client, server] = await pair();
  const waiting = server.receive();
  client.close();
  assert.equal(await waiting, undefined);
  assert.equal(await server.receive(), undefined);
  await assert.rejects(server.send(Buffer.from('x')), { code: 'EPIPE' });
  server.close();
});

test('a deadline ends waiting, and no packet is lost by it', async () => {
  const [client, server] = await pair();
  await assert.rejects(server.receive(1), { code: 'timeout' });
  await client.send(Buffer.from('kept'));
  assert.equal((await server.receive(1000))?.data.toString(), 'kept');
  client.close();
  server.close();
});

test('a full peer holds the sender back, until its deadline or until there is room', async () => {
  const [client, server] = await pair();
  let sent = 0;
  await assert.rejects(
    async () => {
      for (;;) {
        await client.send(Buffer.alloc(MAX_PACKET_BYTES), { timeoutMs: 5 });
        sent++;
      }
    },
    { code: 'timeout' },
  );
  assert.ok(sent > 0 && sent < 10_000, `${sent} packets`);
  const blocked = client.send(Buffer.from('last'), { timeoutMs: 5000 });
  for (let i = 0; i < sent; i++) await server.receive(1000);
  await blocked;
  assert.equal((await server.receive(1000))?.data.toString(), 'last');
  client.close();
  server.close();
});

test('a packet that is too long is refused on both sides, and the connection goes on', async () => {
  const [client, server] = await pair();
  await assert.rejects(client.send(Buffer.alloc(MAX_PACKET_BYTES + 1)), RangeError);
  using listener = SeqpacketListener.listen(path);
  const accepted = listener.accept();
  const fd = rawClient();
  const raw = await accepted;
  assert.equal(
    Number(libc.send(fd, Buffer.alloc(MAX_PACKET_BYTES + 1), MAX_PACKET_BYTES + 1, 0)),
    MAX_PACKET_BYTES + 1,
  );
  await assert.rejects(raw.receive(1000), { code: 'refused', message: /longer than 1024/ });
  assert.ok(sendPacket(fd, Buffer.from('fine'), undefined));
  assert.equal((await raw.receive(1000))?.data.toString(), 'fine');
  await raw.send(Buffer.from('answer'));
  const answer = receivePacket(fd);
  assert.equal(answer.kind === 'packet' ? answer.data.toString() : answer.kind, 'answer');
  closeSync(fd);
  for (const connection of [client, server, raw]) connection.close();
});

test('several descriptors in one packet are refused and closed', async () => {
  using listener = SeqpacketListener.listen(path);
  const accepted = listener.accept();
  const fd = rawClient();
  const connection = await accepted;
  const before = countDescriptors();
  for (const count of [2, 9]) {
    sendDescriptors(fd, count);
    await assert.rejects(connection.receive(5000), { code: 'refused', message: /more than one descriptor/ });
  }
  sendPacket(fd, Buffer.from('ok'), undefined);
  assert.equal((await connection.receive(5000))?.data.toString(), 'ok');
  assert.equal(countDescriptors(), before);
  connection.close();
  closeSync(fd);
});

test('a stale socket is replaced, a file is not; the path is private and goes with the listener', async () => {
  const stale = libc.socket(1, 5, 0);
  const address = encodeUnix(path) as Buffer;
  assert.equal(libc.bind(stale, address, address.length), 0);
  closeSync(stale);
  const listener = SeqpacketListener.listen(path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const newer = SeqpacketListener.listen(path);
  listener.close();
  assert.ok(existsSync(path), 'the newer listener`s path stays');
  newer.close();
  newer.close();
  assert.ok(!existsSync(path));
  await assert.rejects(newer.accept(), { code: 'closed' });
  writeFileSync(path, 'a file');
  assert.throws(() => SeqpacketListener.listen(path), { code: 'EADDRINUSE' });
  rmSync(path);
  assert.throws(() => SeqpacketConnection.connect(path), { code: 'ENOENT' });
  assert.throws(() => SeqpacketListener.listen(`/tmp/${'x'.repeat(200)}`), { code: 'ENAMETOOLONG' });
});

test('connections leave neither descriptors nor a live event loop behind', async () => {
  for (const connection of await pair()) connection.close();
  const before = countDescriptors();
  for (let i = 0; i < 30; i++) {
    const [client, server] = await pair();
    const waiting = server.receive();
    server.close();
    await assert.rejects(waiting, { code: 'closed' });
    await assert.rejects(server.receive(), { code: 'closed' });
    client.close();
  }
  assert.equal(countDescriptors(), before);
});
