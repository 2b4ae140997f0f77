import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { readClientHello } from './client-hello.ts';

/** What OpenSSL really sends. */
function capture(servername: string, protocols: string[]): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.once('data', (chunk) => {
        resolve(chunk);
        socket.destroy();
        server.close();
      });
      socket.on('error', () => {});
    });
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (typeof address !== 'object' || address === null) return;
      const raw = connect(address.port, '127.0.0.1');
      const options = { socket: raw, ...(servername === '' ? {} : { servername }), ALPNProtocols: protocols };
      connectTls(options).on('error', () => {});
    });
  });
}

test('a ClientHello tells its server name and protocols', async () => {
  const bytes = await capture('Shop.Example.COM', ['h2', 'http/1.1']);
  assert.deepEqual(readClientHello(bytes), {
    kind: 'hello',
    serverName: 'shop.example.com',
    protocols: ['h2', 'http/1.1'],
  });
  const nameless = readClientHello(await capture('', ['h2']));
  assert.equal(nameless.kind === 'hello' && nameless.serverName, undefined);
});

test('cut anywhere it is partial; in several records it is the same', async () => {
  const bytes = await capture('a.example', ['h2']);
  for (let at = 0; at < bytes.length; at++)
    assert.equal(readClientHello(bytes.subarray(0, at)).kind, 'partial', `${at}`);
  const body = bytes.subarray(5);
  const record = (part: Buffer): Buffer =>
    Buffer.concat([Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 255]), part]);
  const split = Buffer.concat([record(body.subarray(0, 3)), record(body.subarray(3, 100)), record(body.subarray(100))]);
  assert.deepEqual(readClientHello(split), readClientHello(bytes));
});

test('any bytes: an answer, nothing thrown', async () => {
  const bytes = await capture('a.example', ['h2']);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (any) => void readClientHello(Buffer.from(any))));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const bent = Buffer.from(bytes);
      bent[at] = value;
      readClientHello(bent);
    }),
  );
  assert.equal(readClientHello(Buffer.from('GET / HTTP/1.1\r\n')).kind, 'none');
  assert.equal(readClientHello(Buffer.from([0x16, 3, 1, 0xff, 0xff])).kind, 'none');
});
