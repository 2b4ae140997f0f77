// Responses: status lines, framing by request and status, interim responses, reuse of a connection.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Framing } from './head.ts';
import { CONTINUE } from './index.ts';
import type { RefusalCode } from './refusal.ts';
import type { AskedFor } from './response-head.ts';
import { type Event, everyByte, latin1, ResponseRecorder } from './testing.ts';

const response = (first: string, ...lines: string[]): string => [first, ...lines, '', ''].join('\r\n');
const OK = 'HTTP/1.1 200 OK';
const kinds = (events: readonly Event[]): string[] => events.map((event) => event.kind);

describe('status lines', () => {
  for (const [line, status, reason] of [
    ['HTTP/1.1 200 OK', 200, 'OK'],
    ['HTTP/1.0 404 Not Found', 404, 'Not Found'],
    ['HTTP/1.1 200 ', 200, ''],
    ['HTTP/1.1 200', 200, ''],
    ['HTTP/1.1 999 caf\xe9\t!', 999, 'caf\xe9\t!'],
  ] as const)
    test(`read: ${line}`, () => {
      const [head] = new ResponseRecorder().send(response(line)).heads;
      assert.deepEqual([head?.status, head?.reason], [status, reason]);
    });

  const bad: readonly [line: string, code: RefusalCode][] = [
    ['HTTP/2.0 200 OK', 'version'],
    ['HTTP/1.2 200 OK', 'version'],
    ['http/1.1 200 OK', 'statusLine'],
    ['HTTP/1.1 20 OK', 'statusLine'],
    ['HTTP/1.1 2000 OK', 'statusLine'],
    ['HTTP/1.1 099 OK', 'statusLine'],
    ['HTTP/1.1 abc OK', 'statusLine'],
    ['HTTP/1.1  200 OK', 'statusLine'],
    ['HTTP/1.1 200OK', 'statusLine'],
    ['HTTP/1.1', 'statusLine'],
    ['ICY 200 OK', 'statusLine'],
    ['', 'statusLine'],
    ['\r\nHTTP/1.1 200 OK', 'statusLine'],
    ['HTTP/1.1 200 O\0K', 'controlCharacter'],
    ['HTTP/1.1 200 O\rK', 'bareCarriageReturn'],
    ['HTTP/1.1 200 OK\nA: b', 'bareLineFeed'],
  ];
  for (const [line, code] of bad)
    test(`refused with 502: ${JSON.stringify(line)}: ${code}`, () => {
      const want = [{ kind: 'error', code, status: 502 }];
      assert.deepEqual(new ResponseRecorder().send(response(line, 'A: b')).events, want);
      assert.deepEqual(new ResponseRecorder().send(...everyByte(latin1(response(line, 'A: b')))).events, want);
    });
});

describe('how the end is found', () => {
  const cases: readonly [name: string, asked: Partial<AskedFor>, head: string, want: Framing | RefusalCode][] = [
    ['a length', {}, response(OK, 'Content-Length: 3'), { kind: 'fixed', length: 3 }],
    ['chunks', {}, response(OK, 'Transfer-Encoding: Chunked'), { kind: 'chunked' }],
    ['neither: until the connection ends', {}, response(OK), { kind: 'untilClose' }],
    ['HTTP/1.0 without a length', {}, response('HTTP/1.0 200 OK'), { kind: 'untilClose' }],
    ['HEAD', { method: 'HEAD' }, response(OK), { kind: 'none' }],
    ['HEAD with a length', { method: 'HEAD' }, response(OK, 'Content-Length: 9'), { kind: 'none', announcedLength: 9 }],
    ['HEAD with chunks', { method: 'HEAD' }, response(OK, 'Transfer-Encoding: chunked'), { kind: 'none' }],
    ['204 with a length', {}, response('HTTP/1.1 204 No', 'Content-Length: 9'), { kind: 'none' }],
    ['304 with a length', {}, response('HTTP/1.1 304 No', 'Content-Length: 9'), { kind: 'none', announcedLength: 9 }],
    ['205 is ordinary', {}, response('HTTP/1.1 205 x', 'Content-Length: 0'), { kind: 'fixed', length: 0 }],
    ['101 that was asked for', { upgrade: true }, response('HTTP/1.1 101 x', 'Upgrade: y'), { kind: 'tunnel' }],
    ['101 that was not', {}, response('HTTP/1.1 101 x', 'Upgrade: y'), 'upgradeUnasked'],
    ['CONNECT granted', { method: 'CONNECT' }, response(OK, 'Content-Length: 9'), { kind: 'tunnel' }],
    [
      'CONNECT refused',
      { method: 'CONNECT' },
      response('HTTP/1.1 403 x', 'Content-Length: 9'),
      { kind: 'fixed', length: 9 },
    ],
    ['both', {}, response(OK, 'Content-Length: 3', 'Transfer-Encoding: chunked'), 'lengthAndCoding'],
    [
      'both, at a 204',
      {},
      response('HTTP/1.1 204 x', 'Content-Length: 3', 'Transfer-Encoding: chunked'),
      'lengthAndCoding',
    ],
    ['two lengths', {}, response(OK, 'Content-Length: 3', 'Content-Length: 4'), 'contentLengthRepeated'],
    ['a bad length', {}, response(OK, 'Content-Length: -1'), 'contentLength'],
    ['another coding', {}, response(OK, 'Transfer-Encoding: gzip'), 'transferCoding'],
    ['chunks in HTTP/1.0', {}, response('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'), 'transferCodingVersion'],
    ['a continued line', {}, response(OK, 'A: b', ' c'), 'obsoleteFolding'],
    ['a space before the colon', {}, response(OK, 'A : b'), 'spaceBeforeColon'],
    ['Connection that would strip cookies', {}, response(OK, 'Connection: set-cookie'), 'connectionOption'],
    ['too large a head', {}, response(OK, `A: ${'b'.repeat(61 << 10)}`), 'headTooLarge'],
  ];
  for (const [name, asked, head, want] of cases)
    test(name, () => {
      const recorder = new ResponseRecorder(asked).send(head);
      if (typeof want === 'string') assert.deepEqual(recorder.events, [{ kind: 'error', code: want, status: 502 }]);
      else assert.deepEqual([recorder.refusal, recorder.framing], [undefined, want]);
    });

  test('the end of the connection ends a response without a length, and it cannot be used again', () => {
    const recorder = new ResponseRecorder().send(`${response(OK)}abc`, 'def');
    recorder.parser.receiveEnd();
    assert.deepEqual(kinds(recorder.events), ['response', 'data', 'end']);
    assert.equal(recorder.parser.reusable, false);
  });

  test('after 101 and CONNECT everything is raw bytes', () => {
    const recorder = new ResponseRecorder({ upgrade: true }).send(
      `${response('HTTP/1.1 101 x')}HTTP/1.1 200 OK\r\n\r\n`,
      '\0',
    );
    recorder.parser.receiveEnd();
    assert.deepEqual(recorder.events.slice(1), [
      { kind: 'data', text: 'HTTP/1.1 200 OK\r\n\r\n\0' },
      { kind: 'end', trailers: undefined },
    ]);
  });
});

describe('interim responses', () => {
  test('come before the final one, and have no content whatever they say', () => {
    const recorder = new ResponseRecorder().send(
      CONTINUE +
        response('HTTP/1.1 103 Early Hints', 'Link: x', 'Content-Length: 5') +
        response(OK, 'Content-Length: 2'),
      'ab',
    );
    assert.deepEqual(kinds(recorder.events), ['interim', 'interim', 'response', 'data', 'end']);
    assert.equal(recorder.parser.reusable, true);
  });

  test('are bounded', () => {
    const recorder = new ResponseRecorder().send(response('HTTP/1.1 100 x').repeat(16));
    assert.equal(recorder.refusal, undefined);
    assert.equal(recorder.send(response('HTTP/1.1 100 x')).refusal?.code, 'tooManyInterim');
  });
});

describe('reuse of a connection', () => {
  const complete = `${response(OK, 'Content-Length: 2')}ab`;
  test('after a complete response, for the next request', () => {
    const recorder = new ResponseRecorder().send(complete);
    assert.equal(recorder.parser.reusable, true);
    recorder.ask({ method: 'HEAD' }).send(response(OK, 'Content-Length: 7'));
    assert.equal(recorder.parser.reusable, true);
    assert.equal(recorder.refusal, undefined);
  });

  const no: readonly [name: string, bytes: string][] = [
    ['Connection: close', `${response(OK, 'Connection: close', 'Content-Length: 2')}ab`],
    ['HTTP/1.0', `${response('HTTP/1.0 200 OK', 'Content-Length: 2')}ab`],
    ['content still to come', `${response(OK, 'Content-Length: 3')}ab`],
  ];
  for (const [name, bytes] of no)
    test(`not after ${name}`, () => {
      const recorder = new ResponseRecorder().send(bytes);
      assert.equal(recorder.parser.reusable, false);
      assert.equal(recorder.ask().refusal?.code, 'notReusable');
    });

  test('bytes behind a response are never the answer to the next request, even one that is sent at its very end', () => {
    const smuggled = `${response(OK, 'Content-Length: 4')}evil`;
    const recorder = new ResponseRecorder();
    recorder.onEnd = () => {
      assert.equal(recorder.parser.reusable, false);
      recorder.ask();
    };
    recorder.send(complete + smuggled);
    assert.equal(recorder.refusal?.code, 'notReusable');
    assert.equal(recorder.heads.length, 1);
  });

  for (const [name, first] of [
    ['with the response', `${complete}x`],
    ['of a 204', `${response('HTTP/1.1 204 No', 'Content-Length: 1')}x`],
  ] as const)
    test(`bytes that nobody asked for end the connection: ${name}`, () => {
      assert.equal(new ResponseRecorder().send(first).refusal?.code, 'unsolicited');
    });

  test('bytes that nobody asked for end the connection: later', () => {
    const recorder = new ResponseRecorder().send(complete);
    recorder.send(response('HTTP/1.1 408 Request Timeout', 'Content-Length: 0'));
    assert.equal(recorder.refusal?.code, 'unsolicited');
    assert.equal(recorder.parser.reusable, false);
  });

  test('a connection that ends while idle ends quietly', () => {
    const recorder = new ResponseRecorder().send(complete);
    recorder.parser.receiveEnd();
    assert.deepEqual([recorder.refusal, recorder.parser.reusable], [undefined, false]);
  });

  test('an end without a byte of the response is told apart: the request may be safe to repeat', () => {
    const none = new ResponseRecorder();
    none.parser.receiveEnd();
    assert.equal(none.refusal?.code, 'noResponse');
    const some = new ResponseRecorder().send('H');
    some.parser.receiveEnd();
    assert.equal(some.refusal?.code, 'truncated');
    const interim = new ResponseRecorder().send(response('HTTP/1.1 100 x'));
    interim.parser.receiveEnd();
    assert.equal(interim.refusal?.code, 'truncated');
  });
});
