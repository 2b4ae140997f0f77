import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';
import type { Ip } from '../model/ip.ts';
import { dialOutside, mayDial, resolveOutside } from './outside.ts';

for (const [ip, may] of [
  ['127.0.0.1', false],
  ['169.254.169.254', false],
  ['10.244.1.5', false],
  ['10.96.0.1', false],
  ['172.31.0.1', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['0.0.0.0', false],
  ['::1', false],
  ['fe80::1', false],
  ['192.0.2.1', true],
  ['10.0.0.1', true],
  ['2001:db8::1', true],
] as const)
  test(`a pod ${may ? 'may' : 'may not'} reach ${ip} through the host`, () => assert.equal(mayDial(ip as Ip), may));

test('what is forbidden is not dialled', async () => {
  await assert.rejects(dialOutside('127.0.0.1', 1), { code: 'EACCES' });
  await assert.rejects(dialOutside('::ffff:127.0.0.1', 1), { code: 'EACCES' });
  await assert.rejects(dialOutside('localhost', 1), { code: 'EACCES' });
});

// A resolver that answers over UDP with the truncation bit when the question says so, and in full over TCP.
const TRUNCATED = 0x02;
let udp: UdpSocket;
let tcp: Server;
let port: number;
before(async () => {
  tcp = createServer((socket) => {
    socket.on('data', (chunk) => {
      const query = chunk.subarray(2);
      const answer = Buffer.concat([query, Buffer.from('over tcp')]);
      const head = Buffer.alloc(2);
      head.writeUInt16BE(answer.length);
      socket.write(head);
      setImmediate(() => socket.end(answer)); // in two pieces
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  port = (tcp.address() as AddressInfo).port;
  udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    const wrong = Buffer.from(query);
    wrong.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
    udp.send(wrong, from.port, from.address); // an answer to another question comes first
    const answer = Buffer.from(query);
    if (query[12] === 1) answer[2] = TRUNCATED;
    udp.send(Buffer.concat([answer, Buffer.from('over udp')]), from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, '127.0.0.1', resolve));
});
after(() => {
  udp.close();
  tcp.close();
});

const query = (big: boolean): Buffer => Buffer.from([7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, big ? 1 : 0]);

test('the answer to this very question counts, over TCP when it did not fit', async () => {
  const small = await resolveOutside(query(false), ['127.0.0.1'], port);
  assert.equal(small.readUInt16BE(0), 0x0709);
  assert.match(small.toString('latin1'), /over udp$/);
  assert.match((await resolveOutside(query(true), ['127.0.0.1'], port)).toString('latin1'), /over tcp$/);
});

test('no resolver at all is a failure', async () => {
  await assert.rejects(resolveOutside(query(false), [], port), /no resolver/);
});
