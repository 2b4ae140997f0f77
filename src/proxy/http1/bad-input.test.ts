// Bad input through the real engine: refused clearly, nothing of it reaches an endpoint, others are unharmed.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Rig } from '../testing/rig.ts';

let rig: Rig;
before(async () => {
  rig = await Rig.start();
});
after(() => rig.close());
beforeEach(() => {
  rig.requests.length = 0;
});

const H = 'Host: a\r\n';
/** What is sent, and the status of the one answer. */
const REFUSED: readonly (readonly [what: string, bytes: string, status: number])[] = [
  [
    'both Content-Length and Transfer-Encoding',
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  ['two lengths', `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`, 400],
  ['two equal lengths', `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`, 400],
  ['a list of lengths', `POST / HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc`, 400],
  ['a signed length', `POST / HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc`, 400],
  ['a bare carriage return', `GET / HTTP/1.1\r\n${H}X: a\rb\r\n\r\n`, 400],
  ['a bare line feed', `GET / HTTP/1.1\n${H}\r\n`, 400],
  ['a line feed in a field', `GET / HTTP/1.1\r\n${H}X: a\nY: b\r\n\r\n`, 400],
  ['a space before the colon', `GET / HTTP/1.1\r\n${H}Transfer-Encoding : chunked\r\n\r\n`, 400],
  ['a folded field', `GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`, 400],
  ['NUL in a value', `GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`, 400],
  ['NUL in a name', `GET / HTTP/1.1\r\n${H}X\0: a\r\n\r\n`, 400],
  ['a name that is not ASCII', `GET / HTTP/1.1\r\n${H}X\xe9: a\r\n\r\n`, 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', `GET / HTTP/1.1\r\n${H}Host: b\r\n\r\n`, 400],
  ['a Host that is a list', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400],
  ['user information in Host', 'GET / HTTP/1.1\r\nHost: me@a\r\n\r\n', 400],
  ['a method in small letters', `get / HTTP/1.1\r\n${H}\r\n`, 400],
  ['a method that is no token', `G@T / HTTP/1.1\r\n${H}\r\n`, 400],
  ['two spaces in the request line', `GET  / HTTP/1.1\r\n${H}\r\n`, 400],
  ['an authority without CONNECT', `GET a:80 HTTP/1.1\r\n${H}\r\n`, 400],
  ['an asterisk without OPTIONS', `GET * HTTP/1.1\r\n${H}\r\n`, 400],
  ['a target that is not ASCII', `GET /\xe9 HTTP/1.1\r\n${H}\r\n`, 400],
  ['another version', `GET / HTTP/2.0\r\n${H}\r\n`, 505],
  ['chunked that is not last', `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, gzip\r\n\r\n`, 400],
  ['a coding that is not known', `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
  ['chunked in HTTP/1.0', `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['an expectation that is not known', `POST / HTTP/1.1\r\n${H}Expect: 200-ok\r\nContent-Length: 1\r\n\r\na`, 417],
  ['Connection that names Host', `GET / HTTP/1.1\r\n${H}Connection: close, x-forwarded-for\r\n\r\n`, 400],
  ['too many fields', `GET / HTTP/1.1\r\n${H}${'X: 1\r\n'.repeat(101)}\r\n`, 431],
  ['too large a head', `GET / HTTP/1.1\r\n${H}X: ${'a'.repeat(61 << 10)}\r\n\r\n`, 431],
  ['too long a target', `GET /${'a'.repeat(33 << 10)} HTTP/1.1\r\n${H}\r\n`, 414],
  ['an escaped NUL in the path', `GET /a%00b HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, 400],
  ['a half escape in the path', `GET /a%2 HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, 400],
  ['dot segments with parameters', `GET /a/..;x/b HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, 400],
  ['not HTTP at all', '\x16\x03\x01\x02\x00\x01', 400],
];

for (const [what, bytes, status] of REFUSED)
  test(`refused: ${what}`, async () => {
    const { socket, reader } = rig.client(bytes);
    if (what === 'not HTTP at all') socket.end();
    const answer = await reader.all();
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(answer.split('HTTP/1.1').length, 2, 'one answer, and the connection ends');
    assert.deepEqual(rig.requests, []);
  });

/** Refused when the head has already gone on: the endpoint's request is broken off, never completed. */
const BROKEN_CONTENT: readonly (readonly [what: string, content: string])[] = [
  ['a chunk size that is none', 'xyz\r\nabc\r\n0\r\n\r\n'],
  ['a chunk longer than its size', '3\r\nabcd\r\n0\r\n\r\n'],
  ['a chunk size with a bare line feed', '3\nabc\r\n0\r\n\r\n'],
  ['a huge chunk size', 'fffffffffffffffff\r\nabc'],
  ['a huge chunk extension', `3;${'a'.repeat(2_000)}\r\nabc\r\n0\r\n\r\n`],
  ['a malformed chunk extension', '3;a b\r\nabc\r\n0\r\n\r\n'],
  ['a trailer that says where the message ends', '3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n'],
  ['a trailer that names the host', '3\r\nabc\r\n0\r\nHost: b\r\n\r\n'],
  ['the end before the last chunk', '3\r\nabc\r\n'],
];
for (const [what, content] of BROKEN_CONTENT)
  test(`broken off: ${what}`, async () => {
    const got: Buffer[] = [];
    rig.answer = (_, socket) => void socket.on('data', (chunk) => got.push(chunk));
    const { socket, reader } = rig.client(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n${content}`);
    if (what.startsWith('the end')) socket.end();
    assert.match(await reader.all(), /^HTTP\/1\.1 400 /);
    assert.doesNotMatch(Buffer.concat(got).toString('latin1'), /(?:^|\r\n)0\r\n/, 'the endpoint never sees an end');
  });

test('smuggling: what follows a refused message is never a request', async () => {
  const smuggled = `GET /smuggled HTTP/1.1\r\n${H}\r\n`;
  await rig.exchange(
    `POST / HTTP/1.1\r\n${H}Content-Length: ${smuggled.length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  );
  await rig.exchange(`GET / HTTP/1.1\r\n${H}X: a\r\n\tb\r\n\r\n${smuggled}`);
  assert.deepEqual(rig.requests, []);
});

test('early data behind an upgrade that was not made is no request', async () => {
  rig.answer = (_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno');
  const answer = await rig.exchange(
    `GET /ws HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\n${H}\r\n`,
  );
  assert.equal(rig.requests.length, 1);
  assert.match(answer, /^HTTP\/1\.1 200 /);
});

test('response smuggling: bytes behind a response end its connection and answer nobody', async () => {
  rig.answer = (_, socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
  const { socket, reader } = rig.client(`GET /1 HTTP/1.1\r\n${H}\r\n`);
  assert.equal((await reader.response()).body, 'ok');
  rig.answer = (_, endpoint) => void endpoint.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood');
  socket.write(`GET /2 HTTP/1.1\r\n${H}\r\n`);
  assert.equal((await reader.response()).body, 'good');
});

test('the normal form is what is sent: //, %2F, %5C, .., ;params, #', async () => {
  rig.answer = (request, socket) =>
    void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`);
  const sent: readonly (readonly [string, string])[] = [
    ['/a/../b', '/b'],
    ['/a//b', '/a//b'],
    ['/a%2Fb', '/a%2Fb'],
    ['/a\\b', '/a/b'],
    ['/%61;x=1', '/a;x=1'],
    ['/a?b=/../c', '/a?b=/../c'],
    ['/a#b?c', '/a'],
    ['http://a/../x', '/x'],
  ];
  for (const [target, normal] of sent) {
    const { reader, socket } = rig.client(`GET ${target} HTTP/1.1\r\n${H}\r\n`);
    const { body } = await reader.response();
    assert.equal(body.slice(0, body.indexOf(' HTTP')), `GET ${normal}`, target);
    socket.destroy();
  }
  const { reader } = rig.client('GET http://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.match((await reader.response()).body, /\r\nHost: b\.example\r\n/, 'the target names the host');
});

test('Host with a port, in capitals', async () => {
  rig.answer = (request, socket) =>
    void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${request.length}\r\n\r\n${request}`);
  const { reader } = rig.client('GET / HTTP/1.1\r\nHost: SHOP.Example.COM:8080\r\n\r\n');
  assert.match((await reader.response()).body, /\r\nHost: shop\.example\.com:8080\r\n/);
});
