// Content and the order of messages: framing, chunks, trailers, pauses, pipelines, protocol switches, bounds.

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import type { RefusalCode } from './refusal.ts';
import { type Event, everyByte, latin1, RequestRecorder, ResponseRecorder } from './testing.ts';

const post = (...lines: string[]): string => ['POST / HTTP/1.1', 'Host: a', ...lines, '', ''].join('\r\n');
const chunked = post('Transfer-Encoding: chunked');
const get = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n';
const kinds = (events: readonly Event[]): string[] => events.map((event) => event.kind);
const texts = (events: readonly Event[]): string =>
  events.map((event) => (event.kind === 'data' ? event.text : '')).join('');

describe('content of fixed length', () => {
  test('is passed on in the pieces that came, without a copy', () => {
    const recorder = new RequestRecorder();
    const first = latin1(`${post('Content-Length: 10')}abc`);
    const second = latin1('defg');
    const third = latin1('hijXXX');
    recorder.send(first, second, third);
    assert.deepEqual(recorder.pieces.map(String), ['abc', 'defg', 'hij']);
    assert.equal(recorder.pieces[1], second, 'a whole chunk is passed on itself');
    assert.equal(recorder.pieces[0]?.buffer, first.buffer, 'a part is a view');
    assert.equal(recorder.parser.heldBytes, 3);
    assert.deepEqual(kinds(recorder.events), ['request', 'data', 'end']);
  });

  test('of 0 was said, and is told apart from none', () => {
    assert.deepEqual(new RequestRecorder().send(post('Content-Length: 0')).framing, { kind: 'fixed', length: 0 });
    const none = new RequestRecorder().send(post());
    assert.deepEqual(none.framing, { kind: 'none' });
    assert.deepEqual(kinds(none.events), ['request', 'end']);
  });

  test('leading zeros are still one number', () => {
    const recorder = new RequestRecorder().send(`${post('Content-Length: 0003')}abc`);
    assert.deepEqual(kinds(recorder.events), ['request', 'data', 'end']);
  });

  test('cut short by the end of the connection', () => {
    const recorder = new RequestRecorder().send(`${post('Content-Length: 10')}abc`);
    recorder.parser.receiveEnd();
    assert.equal(recorder.refusal?.code, 'truncated');
  });
});

describe('chunks', () => {
  const good: readonly [name: string, content: string, want: string, trailers?: [string, string][]][] = [
    ['none but the last', '0\r\n\r\n', ''],
    ['one', '3\r\nabc\r\n0\r\n\r\n', 'abc'],
    [
      'sizes in hexadecimal of either case',
      'a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n',
      '01234567890123456789a',
    ],
    ['leading zeros', '0003\r\nabc\r\n000\r\n\r\n', 'abc'],
    ['line ends in the data', '4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n'],
    ['extensions are dropped', '3;a;b=c; d="e;\\"f"\r\nabc\r\n0;z\r\n\r\n', 'abc'],
    [
      'trailers',
      '1\r\nx\r\n0\r\nGrpc-Status: 0\r\nX-Sum:  1 \r\n\r\n',
      'x',
      [
        ['Grpc-Status', '0'],
        ['X-Sum', '1'],
      ],
    ],
  ];
  for (const [name, content, want, trailers] of good)
    test(`read: ${name}`, () => {
      for (const bytes of [[latin1(chunked + content)], everyByte(latin1(chunked + content))]) {
        const recorder = new RequestRecorder().send(...bytes);
        assert.equal(texts(recorder.events), want);
        assert.deepEqual(recorder.events.at(-1), { kind: 'end', trailers });
        assert.equal(recorder.parser.heldBytes, 0);
      }
    });

  const bad: readonly [name: string, content: string, code: RefusalCode, status?: number][] = [
    ['no size', '\r\nabc\r\n', 'chunkSize'],
    ['a size that is no number', 'x\r\n', 'chunkSize'],
    ['a sign', '+3\r\nabc\r\n', 'chunkSize'],
    ['a prefix', '0x3\r\nabc\r\n', 'chunkSize'],
    ['a space before the size', ' 3\r\nabc\r\n', 'chunkSize'],
    ['a space after the size', '3 \r\nabc\r\n', 'chunkSize'],
    ['an underscore in the size', '1_0\r\n', 'chunkSize'],
    ['a size beyond all numbers', 'fffffffffffffffff\r\n', 'chunkSize'],
    ['a size that a 64-bit reader would wrap to 0', '10000000000000000\r\n', 'chunkSize'],
    ['a line feed alone after the size', '3\nabc\r\n', 'bareLineFeed'],
    ['a carriage return inside the size line', '3\rx\r\nabc\r\n', 'bareCarriageReturn'],
    ['NUL in the size', '3\0\r\nabc\r\n', 'controlCharacter'],
    ['data longer than its size', '3\r\nabcd\r\n', 'chunkEnd'],
    ['a line feed alone after the data', '3\r\nabc\n0\r\n\r\n', 'chunkEnd'],
    ['a carriage return alone after the data', '3\r\nabc\r0\r\n\r\n', 'chunkEnd'],
    ['nothing after the data', '3\r\nabc0\r\n\r\n', 'chunkEnd'],
    ['a space before an extension', '3 ;a\r\nabc\r\n', 'chunkSize'],
    ['an extension without a name', '3;\r\nabc\r\n', 'chunkExtension'],
    ['an extension with an open quote', '3;a="b\r\nabc\r\n', 'chunkExtension'],
    ['a line feed alone inside an extension', '3;a\nabc\r\n', 'bareLineFeed'],
    ['a carriage return alone inside an extension', '3;a\rb\r\nabc\r\n', 'bareCarriageReturn'],
    ['a size line that is too long', `3;a=${'b'.repeat(1 << 10)}\r\n`, 'chunkLineTooLong'],
    ['a size line without end', '0'.repeat(4 << 10), 'chunkLineTooLong'],
    ['extensions beyond all bounds', `1;a=${'b'.repeat(1000)}\r\nx\r\n`.repeat(20), 'chunkExtensionsTooLarge'],
    ['trailers: a line feed alone', '0\r\nA: b\n\r\n', 'bareLineFeed'],
    ['trailers: a line feed alone at the end', '0\r\nA: b\r\n\n', 'bareLineFeed'],
    ['trailers: a control character', '0\r\nA: \x01\r\n\r\n', 'controlCharacter'],
    ['trailers: a continued line', '0\r\nA: b\r\n c\r\n\r\n', 'obsoleteFolding'],
    ['trailers: a space before the colon', '0\r\nA : b\r\n\r\n', 'spaceBeforeColon'],
    ['trailers: no colon', '0\r\nGET / HTTP/1.1\r\n\r\n', 'noColon'],
    ['trailers: too many', `0\r\n${'A: b\r\n'.repeat(33)}\r\n`, 'tooManyFields', 431],
    ['trailers: one too large', `0\r\nA: ${'b'.repeat(9 << 10)}\r\n\r\n`, 'trailersTooLarge', 431],
    ['trailers: too large together', `0\r\n${`A: ${'b'.repeat(3000)}\r\n`.repeat(3)}\r\n`, 'trailersTooLarge', 431],
    ...[
      'Transfer-Encoding',
      'content-length',
      'Host',
      'Authorization',
      'Trailer',
      'Connection',
      'Content-Type',
      'Cookie',
      'If-Match',
      'X-Forwarded-For',
    ].map((name): [string, string, RefusalCode] => [
      `trailers: ${name}`,
      `0\r\n${name}: x\r\n\r\n`,
      'forbiddenTrailer',
    ]),
  ];
  for (const [name, content, code, status = 400] of bad)
    test(`refused: ${name}: ${code}`, () => {
      for (const bytes of [[latin1(chunked + content)], everyByte(latin1(chunked + content))]) {
        const recorder = new RequestRecorder().send(...bytes);
        assert.deepEqual(recorder.events.at(-1), { kind: 'error', code, status });
        assert.equal(kinds(recorder.events).includes('end'), false);
      }
    });

  test('a chunk of any size passes on what there is of it', () => {
    const recorder = new RequestRecorder().send(chunked, 'fffffffffffff\r\nabc', 'def');
    assert.equal(texts(recorder.events), 'abcdef');
    recorder.parser.receiveEnd();
    assert.equal(recorder.refusal?.code, 'truncated');
  });

  test('data is a view of the chunk that came', () => {
    const bytes = latin1(`${chunked}3\r\nabc\r\n0\r\n\r\n`);
    const recorder = new RequestRecorder().send(bytes);
    assert.equal(recorder.pieces[0]?.buffer, bytes.buffer);
  });
});

describe('one message after another', () => {
  test('a request waits until the one before it was answered', () => {
    const recorder = new RequestRecorder().send(`${post('Content-Length: 1')}x${get}`);
    assert.equal(recorder.heads.length, 1);
    assert.equal(recorder.parser.receive(latin1('GET /third')), false, 'read no more for now');
    recorder.parser.next();
    assert.deepEqual(
      recorder.heads.map((head) => head.path),
      ['/', '/next'],
    );
    recorder.parser.next();
    assert.equal(recorder.parser.receive(latin1(' HTTP/1.1\r\nHost: a\r\n\r\n')), false);
    assert.deepEqual(
      recorder.heads.map((head) => head.path),
      ['/', '/next', '/third'],
    );
  });

  test('next from within the end of a message', () => {
    const recorder = new RequestRecorder().answering().send(get.repeat(50));
    assert.equal(recorder.heads.length, 50);
    assert.equal(recorder.parser.state, 'head');
  });

  test('no event comes from within another, however long the pipeline', () => {
    const recorder = new RequestRecorder().answering();
    let depth = 0;
    recorder.onData = () => {
      assert.equal(depth++, 0);
      recorder.parser.pause();
      recorder.parser.resume();
      depth--;
    };
    recorder.send(`${post('Content-Length: 1')}x`.repeat(20_000));
    assert.equal(recorder.heads.length, 20_000);
  });

  test('nothing is read after a message that was to be the last', () => {
    const recorder = new RequestRecorder().answering().send(post('Connection: close'), get);
    assert.deepEqual(kinds(recorder.events), ['request', 'end']);
    assert.equal(recorder.parser.state, 'over');
  });

  test('what waits is bounded: bytes', () => {
    const recorder = new RequestRecorder({ maxHeldBytes: 1000 }).send(get);
    for (let i = 0; i < 11; i++) recorder.send(Buffer.alloc(100, 'G'));
    assert.equal(recorder.refusal, undefined);
    assert.deepEqual([recorder.send('G').refusal?.code, recorder.parser.heldBytes], ['overrun', 0]);
  });

  test('what waits is bounded: chunks', () => {
    const recorder = new RequestRecorder().send(get);
    for (let i = 0; i < 1024; i++) recorder.send('G');
    assert.equal(recorder.refusal, undefined);
    assert.equal(recorder.send('G').refusal?.code, 'overrun');
  });

  test('the end of the connection between messages is clean, and so after a last empty line', () => {
    for (const rest of ['', '\r', '\r\n']) {
      const recorder = new RequestRecorder().answering().send(get, rest);
      recorder.parser.receiveEnd();
      assert.deepEqual([recorder.refusal, recorder.parser.state], [undefined, 'over']);
    }
    const cut = new RequestRecorder().answering().send(get, 'GET');
    cut.parser.receiveEnd();
    assert.equal(cut.refusal?.code, 'truncated');
  });

  test('a request that came before the end of the connection is still read', () => {
    const recorder = new RequestRecorder().send(get, get);
    recorder.parser.receiveEnd();
    assert.equal(recorder.heads.length, 1);
    recorder.parser.next();
    assert.equal(recorder.heads.length, 2);
    recorder.parser.next();
    assert.deepEqual([recorder.refusal, recorder.parser.state], [undefined, 'over']);
  });
});

describe('pause', () => {
  test('no event until resume, and then all in order', () => {
    const recorder = new RequestRecorder();
    recorder.onData = () => recorder.parser.pause();
    recorder.send(`${chunked}1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`);
    assert.equal(texts(recorder.events), 'a');
    assert.equal(recorder.parser.receive(latin1(get)), false);
    recorder.parser.resume();
    assert.equal(texts(recorder.events), 'abc');
    recorder.parser.resume();
    assert.deepEqual(kinds(recorder.events), ['request', 'data', 'end']);
    recorder.parser.next();
    assert.equal(recorder.heads.length, 2);
  });

  test('also for the end of a message, and of the connection', () => {
    const recorder = new ResponseRecorder();
    recorder.send('HTTP/1.1 200 OK\r\n\r\n');
    recorder.parser.pause();
    recorder.send('abc');
    recorder.parser.receiveEnd();
    assert.deepEqual(kinds(recorder.events), ['response']);
    recorder.parser.resume();
    assert.deepEqual(kinds(recorder.events), ['response', 'data', 'end']);

    const fixed = new RequestRecorder();
    fixed.onData = () => fixed.parser.pause();
    fixed.send(`${post('Content-Length: 1')}x`);
    assert.deepEqual(kinds(fixed.events), ['request', 'data']);
    fixed.parser.resume();
    assert.deepEqual(kinds(fixed.events), ['request', 'data', 'end']);
  });

  test('resume from within an event goes on', () => {
    const recorder = new RequestRecorder();
    recorder.onData = () => {
      recorder.parser.pause();
      recorder.parser.resume();
    };
    recorder.send(`${chunked}1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`);
    assert.deepEqual(kinds(recorder.events), ['request', 'data', 'end']);
  });

  test('close from within an event ends everything', () => {
    const recorder = new RequestRecorder();
    recorder.onData = () => recorder.parser.close();
    recorder.send(`${chunked}1\r\na\r\n2\r\nbc\r\n0\r\n\r\n`);
    assert.deepEqual([texts(recorder.events), recorder.parser.heldBytes], ['a', 0]);
    assert.deepEqual(kinds(recorder.events), ['request', 'data']);
  });
});

describe('other protocols on a client`s connection', () => {
  const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const connect = 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n';
  for (const [name, request] of [
    ['Upgrade', upgrade],
    ['CONNECT', connect],
  ] as const) {
    test(`${name}: once switched, all is raw bytes, beginning with those that wait`, () => {
      const recorder = new RequestRecorder().send(`${request}\0raw\r\n\r\n`);
      assert.deepEqual(kinds(recorder.events), ['request', 'end']);
      recorder.parser.switchProtocol();
      recorder.send(get);
      recorder.parser.receiveEnd();
      assert.deepEqual(kinds(recorder.events), ['request', 'end', 'data', 'end']);
      assert.equal(texts(recorder.events), `\0raw\r\n\r\n${get}`);
    });

    test(`${name}: not switched, bytes that came before the answer are never read as a request`, () => {
      const recorder = new RequestRecorder().send(request + get);
      recorder.parser.next();
      assert.equal(recorder.refusal?.code, 'earlyData');
      assert.equal(recorder.heads.length, 1);
    });

    test(`${name}: not switched, and nothing came: the connection goes on`, () => {
      const recorder = new RequestRecorder().send(request);
      recorder.parser.next();
      recorder.send(get);
      assert.equal(recorder.heads.length, 2);
    });
  }

  test('no switch that was not asked for', () => {
    const recorder = new RequestRecorder().send(get);
    recorder.parser.switchProtocol();
    assert.equal(recorder.parser.state, 'idle');
  });
});
