// Writing: framing from the message and never from its fields, hop-by-hop fields gone, injection impossible.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ChunkedEncoder } from './chunked.ts';
import { Fields } from './fields.ts';
import { CHUNKED, type Framing, NO_CONTENT, TUNNEL, UNTIL_CLOSE } from './head.ts';
import { removeHopByHop } from './hop-by-hop.ts';
import { fieldList, RequestRecorder, ResponseRecorder } from './testing.ts';
import { type RequestToSend, type ResponseToSend, writeRequestHead, writeResponseHead } from './writer.ts';

function fieldsOf(...pairs: [string, string][]): Fields {
  const fields = new Fields();
  for (const [name, value] of pairs) fields.append(name, value);
  return fields;
}
const request = (change: Partial<RequestToSend> = {}): string =>
  writeRequestHead({ method: 'GET', target: '/', authority: 'a', fields: fieldsOf(), framing: NO_CONTENT, ...change });
const response = (change: Partial<ResponseToSend> = {}): string =>
  writeResponseHead({ status: 200, reason: 'OK', fields: fieldsOf(), framing: NO_CONTENT, method: 'GET', ...change });
const linesOf = (text: string): string[] => text.split('\r\n').slice(1, -2);

describe('requests', () => {
  test('what the fields say of connection, framing and host is replaced', () => {
    const fields = fieldsOf(
      ['X-A', '1'],
      ['content-length', '99'],
      ['Transfer-Encoding', 'chunked'],
      ['Host', 'decoy'],
      ['Connection', 'close'],
      ['Keep-Alive', 'timeout=5'],
      ['Upgrade', 'h2c'],
      ['Expect', 'x'],
      ['x-a', '2'],
    );
    assert.deepEqual(linesOf(request({ fields })), ['Host: a', 'X-A: 1', 'x-a: 2']);
    assert.deepEqual(linesOf(request({ framing: { kind: 'fixed', length: 0 } })), ['Host: a', 'Content-Length: 0']);
    assert.deepEqual(linesOf(request({ framing: CHUNKED, close: true, expectContinue: true })), [
      'Host: a',
      'Transfer-Encoding: chunked',
      'Expect: 100-continue',
      'Connection: close',
    ]);
    assert.deepEqual(linesOf(request({ upgrade: 'websocket' })), [
      'Host: a',
      'Connection: Upgrade',
      'Upgrade: websocket',
    ]);
  });

  const impossible: readonly [name: string, change: Partial<RequestToSend>][] = [
    ['a method with a space', { method: 'GET /x' }],
    ['a method in small letters', { method: 'get' }],
    ['no method', { method: '' }],
    ['a target with a space', { target: '/a b' }],
    ['a target with a line end', { target: '/a\r\nX: y' }],
    ['a target with a character whose low byte is a line feed', { target: '/\u010a' }],
    ['a relative target', { target: 'a' }],
    ['asterisk for GET', { target: '*' }],
    ['CONNECT without a port', { method: 'CONNECT', target: 'a' }],
    ['CONNECT with content', { method: 'CONNECT', target: 'a:1', framing: CHUNKED }],
    ['an authority with a line end', { authority: 'a\r\nX: y' }],
    ['no authority', { authority: '' }],
    ['a protocol with a line end', { upgrade: 'a\r\nX: y' }],
    ['a length below 0', { framing: { kind: 'fixed', length: -1 } }],
    ['a length that is no integer', { framing: { kind: 'fixed', length: 1.5 } }],
    ['a length beyond all numbers', { framing: { kind: 'fixed', length: 1e15 } }],
    ['content until the connection ends', { framing: UNTIL_CLOSE }],
  ];
  for (const [name, change] of impossible)
    test(`never written: ${name}`, () => assert.throws(() => request(change), TypeError));
});

describe('responses', () => {
  const cases: readonly [name: string, change: Partial<ResponseToSend>, want: string[]][] = [
    ['a length', { framing: { kind: 'fixed', length: 3 } }, ['Content-Length: 3']],
    ['chunks', { framing: CHUNKED }, ['Transfer-Encoding: chunked']],
    ['until the end', { framing: UNTIL_CLOSE }, ['Connection: close']],
    ['nothing, said so', { framing: NO_CONTENT }, ['Content-Length: 0']],
    ['204', { status: 204, framing: { kind: 'fixed', length: 0 } }, []],
    ['103', { status: 103, framing: CHUNKED }, []],
    ['304 with a length', { status: 304, framing: { kind: 'none', announcedLength: 5 } }, ['Content-Length: 5']],
    ['HEAD with a length', { method: 'HEAD', framing: { kind: 'fixed', length: 5 } }, ['Content-Length: 5']],
    ['HEAD without', { method: 'HEAD', framing: NO_CONTENT }, []],
    ['CONNECT granted', { method: 'CONNECT', framing: TUNNEL }, []],
    ['101', { status: 101, framing: TUNNEL, upgrade: 'websocket' }, ['Connection: Upgrade', 'Upgrade: websocket']],
    [
      'kept for HTTP/1.0',
      { framing: CHUNKED, keepAlive: true },
      ['Transfer-Encoding: chunked', 'Connection: keep-alive'],
    ],
    [
      'what fields say is replaced',
      { fields: fieldsOf(['Content-Length', '9'], ['A', 'b']), framing: CHUNKED },
      ['A: b', 'Transfer-Encoding: chunked'],
    ],
  ];
  for (const [name, change, want] of cases) test(name, () => assert.deepEqual(linesOf(response(change)), want));

  for (const [name, change] of [
    ['a reason with a line end', { reason: 'a\r\nX: y' }],
    ['a status of two digits', { status: 20 }],
    ['a status that is no number', { status: Number.NaN }],
  ] as const)
    test(`never written: ${name}`, () => assert.throws(() => response(change), TypeError));
});

describe('fields', () => {
  for (const [name, value] of [
    ['', 'x'],
    ['A B', 'x'],
    ['A:', 'x'],
    ['A\r\nB', 'x'],
    ['\xc4', 'x'],
    ['A', 'x\r\nB: y'],
    ['A', 'x\n'],
    ['A', 'x\0'],
    ['A', ' x'],
    ['A', 'x\t'],
    ['A', '\u010a'],
    ['A', '\u{1f600}'],
  ] as const)
    test(`${JSON.stringify(name)}: ${JSON.stringify(value)} cannot enter`, () => {
      const fields = fieldsOf(['A', '1']);
      assert.throws(() => fields.append(name, value), TypeError);
      assert.throws(() => fields.set(name, value), TypeError);
      assert.deepEqual(fieldList(fields), [['A', '1']]);
    });

  test('set puts one in the place of all, delete takes all, a clone is its own', () => {
    const fields = fieldsOf(['A', '1'], ['B', '2'], ['a', '3'], ['C', '4'], ['A', '5']);
    const clone = fields.clone();
    fields.set('a', 'x');
    assert.deepEqual(fieldList(fields), [
      ['a', 'x'],
      ['B', '2'],
      ['C', '4'],
    ]);
    assert.deepEqual([fields.delete('b'), fields.delete('b')], [true, false]);
    fields.set('D', 'y');
    assert.deepEqual(fieldList(fields), [
      ['a', 'x'],
      ['C', '4'],
      ['D', 'y'],
    ]);
    assert.equal(clone.count, 5);
    assert.equal(clone.joined('a'), '1,3,5');
  });

  test('hop-by-hop fields go, and those that Connection names; the rest stays', () => {
    const fields = fieldsOf(
      ['Connection', 'close, X-Hop'],
      ['connection', 'x-other'],
      ['Keep-Alive', 'x'],
      ['Proxy-Connection', 'x'],
      ['TE', 'trailers'],
      ['Transfer-Encoding', 'chunked'],
      ['Upgrade', 'x'],
      ['x-hop', '1'],
      ['X-Other', '1'],
      ['X-End', '1'],
    );
    removeHopByHop(fields);
    assert.deepEqual(fieldList(fields), [['X-End', '1']]);
  });
});

describe('properties', () => {
  const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/);
  const value = fc.stringMatching(/^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/);
  const own = /^(?:connection|keep-alive|proxy-connection|content-length|transfer-encoding|upgrade|host|expect)$/i;
  const pairs = fc.array(
    fc.tuple(
      token.filter((name) => !own.test(name)),
      value,
    ),
    { maxLength: 20 },
  );
  const framing: fc.Arbitrary<Framing> = fc.oneof(
    fc.constant(NO_CONTENT),
    fc.constant(CHUNKED),
    fc.nat().map((length): Framing => ({ kind: 'fixed', length: length + 1 })),
  );

  test('a request that was written is read as it was meant', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Z-]{1,20}$/).filter((method) => method !== 'CONNECT'),
        fc.stringMatching(/^\/[!-~]{0,30}$/),
        pairs,
        framing,
        fc.boolean(),
        (method, target, list, how, close) => {
          const recorder = new RequestRecorder();
          recorder.send(
            request({ method, target, authority: 'a.b:1', fields: fieldsOf(...list), framing: how, close }),
          );
          const [head] = recorder.heads;
          assert.ok(head, recorder.refusal?.code);
          assert.deepEqual(
            [head.method, head.path, head.authority, head.framing, head.keepAlive],
            [method, target, 'a.b:1', how, !close],
          );
          const back = fieldList(head.fields).filter(([name]) => !own.test(name));
          assert.deepEqual(back, list);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a response that was written is read as it was meant', () => {
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 999 }), value, pairs, framing, (status, reason, list, how) => {
        const recorder = new ResponseRecorder();
        recorder.send(response({ status, reason, fields: fieldsOf(...list), framing: how }));
        const [head] = recorder.heads;
        assert.ok(head, recorder.refusal?.code);
        assert.deepEqual([head.status, head.reason], [status, reason]);
        assert.deepEqual(
          fieldList(head.fields).filter(([name]) => !own.test(name)),
          list,
        );
        if (status !== 204 && status !== 304)
          assert.deepEqual(head.framing, how.kind === 'none' ? { kind: 'fixed', length: 0 } : how);
      }),
      { numRuns: 300 },
    );
  });

  test('no text at all makes a second field or a second message', () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom('\r', '\n', ':', ' ', 'a', '\0', '\u010d\u010a')).map((all) => all.join('')),
    );
    let entered = 0;
    fc.assert(
      fc.property(fc.oneof(nasty, fc.constantFrom('A', 'x-b')), fc.oneof(nasty, value), (name, text) => {
        const fields = fieldsOf();
        try {
          fields.append(name, text);
        } catch (error) {
          assert.ok(error instanceof TypeError);
          return;
        }
        entered++;
        const recorder = new RequestRecorder().send(Buffer.from(request({ fields }), 'latin1'));
        if (!own.test(name))
          assert.deepEqual(
            recorder.heads.map((head) => fieldList(head.fields)),
            [
              [
                ['Host', 'a'],
                [name, text],
              ],
            ],
          );
        assert.deepEqual([recorder.heads.length, recorder.parser.heldBytes], [1, 0]);
      }),
      { numRuns: 1000 },
    );
    assert.ok(entered > 100, 'some texts are names and values');
  });

  test('chunks that were written are read as they were meant', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), fc.option(pairs), (pieces, trailers) => {
        const safe = trailers?.map(([name, text]): [string, string] => [`x-${name}`, text]);
        const encoder = new ChunkedEncoder();
        const recorder = new RequestRecorder().send(request({ framing: CHUNKED }));
        for (const piece of pieces) recorder.send(encoder.prefix(piece.length), Buffer.from(piece));
        recorder.send(
          encoder.last(
            safe === undefined
              ? undefined
              : fieldsOf(...safe.filter(([name]) => !name.startsWith('x-forwarded-') && !name.startsWith('x-envoy-'))),
          ),
        );
        assert.equal(recorder.refusal, undefined);
        assert.deepEqual(Buffer.concat(recorder.pieces), Buffer.concat(pieces));
        const end = recorder.events.at(-1);
        assert.deepEqual(end, { kind: 'end', trailers: safe === undefined || safe.length === 0 ? undefined : safe });
      }),
      { numRuns: 200 },
    );
  });

  test('trailers that may not be sent are left out', () => {
    const text = new ChunkedEncoder().last(
      fieldsOf(['Content-Length', '5'], ['Grpc-Status', '0'], ['Authorization', 'x']),
    );
    assert.equal(text, '0\r\nGrpc-Status: 0\r\n\r\n');
  });
});
