// The system's resolver against a small name server on loopback.

import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { ip } from '../../model/testing/builders.ts';
import { decodeMessage } from '../../wire/dns/decode.ts';
import { encodeMessage } from '../../wire/dns/encode.ts';
import { CLASS_IN, type DnsRecord, RCODE, TYPE } from '../../wire/dns/message.ts';
import type { Resolve } from './names.ts';
import { systemResolver } from './resolver.ts';

let socket: Socket;
let resolve: Resolve;
const zone = new Map<string, readonly DnsRecord[]>();
let asked = 0;

const record = (type: 'A' | 'AAAA', name: string, address: string, ttl: number): DnsRecord => ({
  name,
  ttl,
  class: CLASS_IN,
  type,
  address: ip(address),
});

before(async () => {
  socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.on('message', (bytes, from) => {
    const query = decodeMessage(bytes);
    assert.ok(query.ok);
    asked++;
    const [question] = query.value.questions;
    const records = zone.get(question?.name.replace(/\.$/, '') ?? '');
    const wanted = question?.type === TYPE.A ? 'A' : 'AAAA';
    const reply = {
      ...query.value,
      response: true,
      recursionAvailable: true,
      rcode: records === undefined ? RCODE.nxDomain : RCODE.noError,
      answers: (records ?? []).filter(({ type }) => type === wanted),
      edns: undefined,
    };
    socket.send(encodeMessage(reply), from.port, from.address);
  });
  resolve = systemResolver([`127.0.0.1:${socket.address().port}`]);
});
after(() => socket.close());

test('all addresses, for the shortest time to live among them', async () => {
  zone.set('db.example.com', [
    record('A', 'db.example.com', '192.0.2.1', 30),
    record('A', 'db.example.com', '192.0.2.2', 7),
    record('AAAA', 'db.example.com', '2001:db8::1', 5),
  ]);
  const { addresses, ttlMs } = await resolve('db.example.com.');
  assert.deepEqual([...addresses].sort(), ['192.0.2.1', '192.0.2.2']);
  assert.equal(ttlMs, 7_000);
});

test('IPv6 where there is no IPv4', async () => {
  zone.set('six.example.com', [record('AAAA', 'six.example.com', '2001:db8:0::1', 9)]);
  assert.deepEqual(await resolve('six.example.com'), { addresses: ['2001:db8::1'], ttlMs: 9_000 });
});

test('an unknown name is an empty answer, an address is its own, and nobody is asked for it', async () => {
  assert.deepEqual((await resolve('none.example.com')).addresses, []);
  asked = 0;
  assert.deepEqual(await resolve('192.0.2.9'), { addresses: ['192.0.2.9'], ttlMs: undefined });
  assert.equal(asked, 0);
});
