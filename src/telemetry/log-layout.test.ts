import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bare, formatLine, formatTime } from './log-layout.ts';

const at = '2026-05-04T09:08:07.123456Z';

test('plain: tabs between the parts, blanks between fields, texts quoted, addresses and numbers bare', () =>
  assert.equal(
    formatLine('plain', at, 'info', 'access', 'connection complete', {
      'src.addr': bare('10.1.2.3:40112'),
      'src.workload': 'cart-7c9',
      'dst.service': undefined,
      bytes_sent: 512,
    }),
    `${at}\tinfo\taccess\tconnection complete\tsrc.addr=10.1.2.3:40112 src.workload="cart-7c9" bytes_sent=512\n`,
  ));

test('plain: a line without fields ends after the message', () =>
  assert.equal(formatLine('plain', at, 'warn', 'xds', 'gone', undefined), `${at}\twarn\txds\tgone\n`));

test('json: level, time, scope, message, then the fields', () =>
  assert.equal(
    formatLine('json', at, 'error', 'access', 'x "y"', { 'src.addr': bare('[::1]:1'), n: 1, big: 2n ** 60n, ok: true }),
    `{"level":"error","time":"${at}","scope":"access","message":"x \\"y\\"","src.addr":"[::1]:1","n":1,"big":1152921504606846976,"ok":true}\n`,
  ));

test('an error shows its causes', () => {
  const error = new Error('stream ended', { cause: new Error('connect ECONNREFUSED') });
  assert.match(formatLine('plain', at, 'warn', 'xds', 'm', { error }), /error="stream ended: connect ECONNREFUSED"\n$/);
});

test('time has microseconds and keeps them across a change of second', () => {
  const start = Date.UTC(2026, 4, 4, 9, 8, 7) * 1000;
  assert.equal(formatTime(start + 123456), at);
  assert.equal(formatTime(start + 1_000_000), '2026-05-04T09:08:08.000000Z');
  assert.equal(formatTime(start + 1), '2026-05-04T09:08:07.000001Z');
});

const anyText = fc.string({ unit: 'binary' });
test('whatever a peer writes, a line is one line without control characters', () =>
  fc.assert(
    fc.property(
      fc.constantFrom('plain' as const, 'json' as const),
      anyText,
      anyText,
      anyText,
      (format, message, key, text) => {
        const line = formatLine(format, at, 'info', 's', message, {
          [key]: text,
          other: bare(text),
          e: new Error(text),
        });
        assert.ok(line.endsWith('\n'));
        assert.doesNotMatch(line.slice(0, -1).replaceAll('\t', ''), /[\x00-\x1f\x7f-\x9f\u2028\u2029]/);
        if (format === 'json') {
          const parsed: unknown = JSON.parse(line);
          assert.equal((parsed as { message: string }).message, message);
        }
      },
    ),
  ));
