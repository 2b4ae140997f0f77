// Request heads: every rule of RFC 9112 §2-3 and §6, by the bytes that break it, whole and one byte at a time.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RefusalCode } from './refusal.ts';
import { everyByte, fieldList, latin1, RequestRecorder } from './testing.ts';

const get = (...lines: string[]): string => ['GET / HTTP/1.1', 'Host: a', ...lines, '', ''].join('\r\n');
const line = (first: string, ...lines: string[]): string => [first, 'Host: a', ...lines, '', ''].join('\r\n');

describe('refused', () => {
  const cases: readonly [name: string, bytes: string, code: RefusalCode, status?: number][] = [
    // line ends and characters
    ['bare line feeds throughout', 'GET / HTTP/1.1\nHost: a\n\n', 'bareLineFeed'],
    ['a bare line feed between fields', get('A: b\nC: d'), 'bareLineFeed'],
    ['a bare line feed in a value', get('A: b\n'), 'bareLineFeed'],
    ['a bare carriage return in a value', get('A: b\rX: y'), 'bareCarriageReturn'],
    ['two carriage returns before a line feed', 'GET / HTTP/1.1\r\nHost: a\r\r\n\r\n', 'bareCarriageReturn'],
    ['NUL in a value', get('A: b\0c'), 'controlCharacter'],
    ['NUL in a name', get('A\0: b'), 'controlCharacter'],
    ['NUL in the target', line('GET /\0 HTTP/1.1'), 'controlCharacter'],
    ['DEL in a value', get('A: \x7f'), 'controlCharacter'],
    ['a vertical tab in a value', get('A: \v'), 'controlCharacter'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 'controlCharacter'],
    // request line
    ['two empty lines before it', `\r\n\r\n${get()}`, 'requestLine'],
    ['no version (HTTP/0.9)', 'GET /\r\n\r\n', 'requestLine'],
    ['a target with a space', line('GET /a b HTTP/1.1'), 'requestLine'],
    ['two spaces', line('GET  / HTTP/1.1'), 'requestLine'],
    ['a space at the end', line('GET / HTTP/1.1 '), 'requestLine'],
    ['a space at the front', line(' GET / HTTP/1.1'), 'method'],
    ['tabs for spaces', line('GET\t/\tHTTP/1.1'), 'requestLine'],
    ['a version in small letters', line('GET / http/1.1'), 'requestLine'],
    ['HTTP/1.1 with more digits', line('GET / HTTP/1.10'), 'requestLine'],
    ['HTTP/1.2', line('GET / HTTP/1.2'), 'version', 505],
    ['HTTP/2.0', 'PRI * HTTP/2.0\r\n\r\n', 'version', 505],
    ['HTTP/0.9 by name', line('GET / HTTP/0.9'), 'version', 505],
    ['a method in small letters', line('get / HTTP/1.1'), 'methodCase'],
    ['a method in odd case', line('GeT / HTTP/1.1'), 'methodCase'],
    ['a method that is no token', line('GE(T / HTTP/1.1'), 'method'],
    ['a method with non-ASCII letters', line('G\xcbT / HTTP/1.1'), 'method'],
    ['a method that is too long', line(`${'X'.repeat(33)} / HTTP/1.1`), 'methodTooLong', 501],
    // target
    ['a relative target', line('GET a HTTP/1.1'), 'target'],
    ['a target that begins with a backslash', line('GET \\a HTTP/1.1'), 'target'],
    ['non-ASCII in the target', line('GET /\xe4 HTTP/1.1'), 'target'],
    ['asterisk without OPTIONS', line('GET * HTTP/1.1'), 'target'],
    ['authority form without CONNECT', line('GET a:80 HTTP/1.1'), 'target'],
    ['CONNECT with a path', line('CONNECT / HTTP/1.1'), 'target'],
    ['CONNECT with an absolute target', line('CONNECT http://a:80/ HTTP/1.1'), 'target'],
    ['CONNECT without a port', line('CONNECT a HTTP/1.1'), 'target'],
    ['CONNECT to port 0', line('CONNECT a:0 HTTP/1.1'), 'target'],
    ['an absolute target of another scheme', line('GET ftp://a/ HTTP/1.1'), 'target'],
    ['an absolute target without a host', line('GET http:///x HTTP/1.1'), 'target'],
    ['an absolute target with user information', line('GET http://u:p@a/ HTTP/1.1'), 'target'],
    ['an absolute target with a bad port', line('GET http://a:70000/ HTTP/1.1'), 'target'],
    ['a target that is too long', line(`GET /${'a'.repeat(32 << 10)} HTTP/1.1`), 'targetTooLong', 414],
    ['a target longer than any head', `GET /${'a'.repeat(70 << 10)}`, 'targetTooLong', 414],
    // field lines
    ['a field continued on the next line', get('A: b', ' c'), 'obsoleteFolding'],
    ['a field continued with a tab', get('A: b', '\tc: d'), 'obsoleteFolding'],
    ['a first field line with a space before it', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', 'obsoleteFolding'],
    ['a space before the colon', get('A : b'), 'spaceBeforeColon'],
    ['a tab before the colon', get('A\t: b'), 'spaceBeforeColon'],
    ['a space before the colon of a length', get('Content-Length : 5'), 'spaceBeforeColon'],
    ['a space in a name', get('A B: c'), 'fieldName'],
    ['a name with non-ASCII letters', get('\xc4: b'), 'fieldName'],
    ['a name with a bracket', get('A[0]: b'), 'fieldName'],
    ['no name', get(': b'), 'emptyFieldName'],
    ['no colon', get('abc'), 'noColon'],
    ['no colon, where a later line has one', get('abc', 'D: e'), 'noColon'],
    // Host
    ['HTTP/1.1 without Host', 'GET / HTTP/1.1\r\n\r\n', 'hostMissing'],
    ['an absolute target without Host', 'GET http://a/ HTTP/1.1\r\n\r\n', 'hostMissing'],
    ['Host twice', get('Host: b'), 'hostRepeated'],
    ['Host twice, the same', get('host: a'), 'hostRepeated'],
    ['Host twice in HTTP/1.0', 'GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n', 'hostRepeated'],
    ...[
      '',
      'a b',
      'a,b',
      'a/b',
      'u@a',
      'a:',
      'a:b',
      'a:0',
      'a:65536',
      'a:80:80',
      '[::1',
      '[::1]x',
      '[zz]',
      '[1.2.3.4]',
      'a?b',
      'a#b',
      'a%20b',
      'h\xf6st',
      'a\tb',
      'x'.repeat(256),
    ].map((host): [string, string, RefusalCode] => [
      `the host ${JSON.stringify(host.slice(0, 20))}`,
      `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      'host',
    ]),
    // framing
    ['both length and coding', get('Content-Length: 5', 'Transfer-Encoding: chunked'), 'lengthAndCoding'],
    ['both, the other way round', get('Transfer-Encoding: chunked', 'Content-Length: 0'), 'lengthAndCoding'],
    ['two lengths that differ', get('Content-Length: 5', 'Content-Length: 6'), 'contentLengthRepeated'],
    ['two lengths that agree', get('Content-Length: 5', 'Content-Length: 5'), 'contentLengthRepeated'],
    ['two lengths in one field', get('Content-Length: 5, 5'), 'contentLengthRepeated'],
    ...['', '+5', '-5', '5 5', '0x5', '5.0', '5e1', '1'.repeat(16), 'five', '\xb2', '5;'].map(
      (length): [string, string, RefusalCode] => [
        `the length ${JSON.stringify(length)}`,
        get(`Content-Length: ${length}`),
        'contentLength',
      ],
    ),
    [
      'a coding that we do not have, then chunked',
      get('Transfer-Encoding: gzip, chunked'),
      'transferCodingUnknown',
      501,
    ],
    [
      'the same in two fields',
      get('Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'),
      'transferCodingUnknown',
      501,
    ],
    ...[
      'gzip',
      'identity',
      'chunked, gzip',
      'chunked, chunked',
      'chunked,',
      ',chunked',
      'xchunked',
      'chunked;x=1',
      '"chunked"',
      '',
      'chunked\xa0',
      '\xa0chunked',
      'ch unked',
      'x\x80, chunked',
    ].map((coding): [string, string, RefusalCode] => [
      `the coding ${JSON.stringify(coding)}`,
      get(`Transfer-Encoding: ${coding}`),
      'transferCoding',
    ]),
    ['chunked twice in two fields', get('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), 'transferCoding'],
    ['chunked in HTTP/1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 'transferCodingVersion'],
    ['CONNECT with content', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n', 'connectContent'],
    [
      'CONNECT with chunks',
      'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n',
      'connectContent',
    ],
    // the rest
    ['an expectation that nobody knows', get('Expect: 200-ok'), 'expectation', 417],
    ['two expectations', get('Expect: 100-continue', 'Expect: x'), 'expectation', 417],
    ['Connection that would strip Host', get('Connection: close, Host'), 'connectionOption'],
    ['Connection that would strip a length', get('Connection: content-length'), 'connectionOption'],
    ['Connection that would strip what a proxy wrote', get('Connection: X-Forwarded-Client-Cert'), 'connectionOption'],
    [
      'Connection that would strip credentials',
      get('Connection: keep-alive', 'Connection: Authorization'),
      'connectionOption',
    ],
    ['Connection with too many names', get(`Connection: ${'x,'.repeat(40)}`), 'connectionOption'],
    ['too many fields', get(...Array.from({ length: 100 }, (_, i) => `A${i}: b`)), 'tooManyFields', 431],
    ['a head that is too large', get(`A: ${'b'.repeat(60 << 10)}`), 'headTooLarge', 431],
    ['a head that never ends', `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(20_000)}`, 'headTooLarge', 431],
    ['no request line in all that may be', 'G'.repeat(61 << 10), 'headTooLarge', 431],
  ];
  for (const [name, bytes, code, status = 400] of cases)
    test(`${name}: ${status} ${code}`, () => {
      const want = [{ kind: 'error', code, status }];
      const whole = new RequestRecorder().send(bytes);
      assert.deepEqual(whole.events, want);
      assert.equal(whole.parser.state, 'over');
      assert.equal(whole.parser.receive(latin1(get())), false);
      assert.deepEqual(whole.events, want, 'nothing follows a refusal');
      if (bytes.length < 4000) assert.deepEqual(new RequestRecorder().send(...everyByte(latin1(bytes))).events, want);
    });

  test('a head without hope is refused before it is whole', () => {
    assert.equal(new RequestRecorder().send('GET / HTTP/1.1\nHost: a\n').refusal?.code, 'bareLineFeed');
    assert.equal(new RequestRecorder().send('\x16\x03\x01').refusal?.code, 'controlCharacter');
    assert.equal(new RequestRecorder().send('GET / HTTP/1.1\r').send('X').refusal?.code, 'bareCarriageReturn');
  });
});

describe('accepted', () => {
  const read = (bytes: string) => {
    const recorder = new RequestRecorder().send(bytes);
    assert.equal(recorder.refusal, undefined);
    const [head] = recorder.heads;
    assert.ok(head);
    return head;
  };

  const targets: readonly [line: string, host: string, want: unknown[]][] = [
    ['GET /a?b=c', 'x.y', ['origin', undefined, 'x.y', '/a?b=c']],
    ['GET //a/../b;c#d', 'x', ['origin', undefined, 'x', '//a/../b;c#d']],
    ['GET /{}|\\^', 'x', ['origin', undefined, 'x', '/{}|\\^']],
    ['OPTIONS *', 'x', ['asterisk', undefined, 'x', '*']],
    ['CONNECT a.b:443', 'a.b', ['authority', undefined, 'a.b:443', '']],
    ['CONNECT [::1]:443', 'a.b', ['authority', undefined, '[::1]:443', '']],
    ['GET http://a:81/b?c', 'a:81', ['absolute', 'http', 'a:81', '/b?c']],
    ['GET HTTPS://A.B', 'a.b', ['absolute', 'https', 'A.B', '/']],
    ['GET http://a?q', 'a', ['absolute', 'http', 'a', '/?q']],
    ['OPTIONS http://a', 'a', ['absolute', 'http', 'a', '*']],
  ];
  for (const [first, host, want] of targets)
    test(`target: ${first}`, () => {
      const head = read(`${first} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert.deepEqual([head.form, head.scheme, head.authority, head.path], want);
    });

  test('an absolute target beats Host, and no other host is left to be judged', () => {
    const head = read('GET http://real/ HTTP/1.1\r\nA: b\r\nHost: decoy\r\n\r\n');
    assert.equal(head.authority, 'real');
    assert.deepEqual(head.fields.all('host'), ['real']);
    assert.deepEqual(read('GET http://real/ HTTP/1.0\r\n\r\n').fields.all('host'), ['real']);
  });

  const hosts: readonly [text: string, host: string, port: number | undefined][] = [
    ['example.com', 'example.com', undefined],
    ['EXAMPLE.com:8080', 'example.com', 8080],
    ['10.0.0.1:80', '10.0.0.1', 80],
    ['[2001:DB8::1]:15008', '2001:db8::1', 15008],
    ['under_score.x.', 'under_score.x.', undefined],
  ];
  for (const [text, host, port] of hosts)
    test(`host: ${text}`, () => {
      const head = read(`GET / HTTP/1.1\r\nHost:${text}\r\n\r\n`);
      assert.deepEqual(head.host, { host, port });
      assert.equal(head.authority, text, 'as it was sent');
    });

  test('fields keep order, casing and duplicates; blanks round values go; bytes above 0x7f stay', () => {
    const head = read(get('X-A:1', 'x-a: \t 2 \t', 'X-Empty:', 'B: \xe9\xff', 'C: a\tb: c'));
    assert.deepEqual(fieldList(head.fields), [
      ['Host', 'a'],
      ['X-A', '1'],
      ['x-a', '2'],
      ['X-Empty', ''],
      ['B', '\xe9\xff'],
      ['C', 'a\tb: c'],
    ]);
    assert.deepEqual(head.fields.all('x-a'), ['1', '2']);
    assert.equal(head.fields.joined('x-a'), '1,2');
    assert.equal(head.fields.get('x-empty'), '');
    assert.equal(head.fields.get('X-A'), undefined, 'keys are lower case');
  });

  test('one empty line before a request is forgiven', () => {
    assert.equal(read(`\r\n${get()}`).method, 'GET');
    assert.equal(new RequestRecorder().send(...everyByte(latin1(`\r\n${get()}`))).heads.length, 1);
  });

  const kept: readonly [version: string, connection: string | undefined, want: boolean][] = [
    ['1.1', undefined, true],
    ['1.1', 'close', false],
    ['1.1', 'Close', false],
    ['1.1', 'keep-alive, x , CLOSE', false],
    ['1.1', 'xclose', true],
    ['1.1', 'keep-alive', true],
    ['1.0', undefined, false],
    ['1.0', 'Keep-Alive', true],
    ['1.0', 'keep-alive, close', false],
  ];
  for (const [version, connection, want] of kept)
    test(`HTTP/${version} with Connection ${connection}: ${want ? 'kept' : 'closed'}`, () => {
      const field = connection === undefined ? '' : `Connection: ${connection}\r\n`;
      assert.equal(read(`GET / HTTP/${version}\r\nHost: a\r\n${field}\r\n`).keepAlive, want);
    });

  test('Upgrade counts only where Connection names it, and in HTTP/1.1', () => {
    assert.equal(read(get('Connection: Upgrade', 'Upgrade: WebSocket')).upgrade, 'websocket');
    assert.equal(read(get('Upgrade: websocket')).upgrade, undefined);
    const old = 'GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
    assert.equal(read(old).upgrade, undefined);
  });

  test('Expect counts with content, in HTTP/1.1', () => {
    assert.equal(read(get('Content-Length: 3', 'Expect: 100-Continue')).expectContinue, true);
    assert.equal(read(get('Expect: 100-continue')).expectContinue, false);
    assert.equal(read('POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: x\r\n\r\n').expectContinue, false);
  });

  test('a head of exactly the bound, whole and cut', () => {
    const bound = 60 << 10;
    const frame = get('A: ').length;
    const exact = get(`A: ${'b'.repeat(bound - frame)}`);
    assert.equal(exact.length, bound);
    assert.equal(read(exact).fields.count, 2);
    const cut = new RequestRecorder().send(exact.slice(0, 40_000), exact.slice(40_000));
    assert.equal(cut.heads.length, 1);
    assert.equal(new RequestRecorder().send(get(`A: ${'b'.repeat(bound - frame + 1)}`)).refusal?.code, 'headTooLarge');
  });
});
