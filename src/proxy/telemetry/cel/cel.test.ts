import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CelNames, type CelValue, compileCel, FAULT } from './compile.ts';

const headers: CelValue = { kind: 'map', get: (name) => (name === 'x-a' ? 'b' : undefined) };
const VALUES: Readonly<Record<string, CelValue>> = {
  'request.headers': headers,
  'request.path': '/x/1',
  'response.code': 404,
  'request.duration': { kind: 'duration', ms: 1500 },
  'request.time': { kind: 'timestamp', ms: Date.UTC(2026, 0, 1) },
  'connection.mtls': true,
  plain: 'p',
};
const names: CelNames<null> = {
  resolve(path) {
    const name = path.join('.');
    if (name === 'response.absent') return () => FAULT;
    const value = VALUES[name];
    if (value !== undefined) return () => value;
    return path.length === 1 && ['request', 'response', 'connection'].includes(name) ? 'prefix' : undefined;
  },
};
const evaluate = (text: string): CelValue | 'fault' | undefined => {
  const compiled = compileCel(text, names);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.error);
  const value = compiled.value(null);
  return value === FAULT ? 'fault' : value;
};

const cases: [string, CelValue | 'fault'][] = [
  ['response.code >= 400', true],
  ['response.code >= 400 && response.code < 404', false],
  ["request.headers['x-a'] == 'b'", true],
  ["request.headers['none'] == 'b'", 'fault'],
  ["request.headers['none'] == 'b' || connection.mtls", true],
  ["connection.mtls || request.headers['none'] == 'b'", true],
  ["request.headers['none'] == 'b' && !connection.mtls", false],
  ["request.headers['none'] == 'b' && connection.mtls", 'fault'],
  ["'x-a' in request.headers && !('y' in request.headers)", true],
  ["has(request.headers['none'])", false],
  ['has(request.headers.none) ? 1 : 2', 2],
  ['has(response.absent)', false],
  ["request.path.startsWith('/x') && request.path.endsWith('1') && request.path.contains('/')", true],
  ["request.path.matches('^/x/[0-9]+$')", true],
  ["request.path.matches('x')", true],
  ["matches(request.path, '^x')", false],
  ['response.code / 100 == 4 && response.code % 100 == 4', true],
  ['1 / 0 == 1', 'fault'],
  ['1.5 + 2.25', 3.75],
  ['2 + 3 * 4 - 1', 13],
  ['(2 + 3) * 4', 20],
  ['-3 + 1', -2],
  ['!!true', true],
  ['!1', 'fault'],
  ['response.code in [404, 503]', true],
  ["'a' + 'b' + string(response.code)", 'ab404'],
  ["int('12') + 1", 13],
  ["request.duration > duration('1s') && request.duration < duration('1m30s')", true],
  ["request.time >= timestamp('2025-12-31T23:00:00Z')", true],
  ["size('abc') == 3 && 'abc'.size() == 3", true],
  [`"a\\"b\\n" == 'a"b\\u000a'`, true],
  ["r'\\d' == '\\\\d'", true],
  ['0x10 == 16 // sixteen', true],
  ["'1' == 1", false],
  ["'1' < 1", 'fault'],
  ['null == null', true],
  ["true ? 'a' : 'b'", 'a'],
  ["plain == 'p'", true],
];
for (const [text, wanted] of cases) test(`CEL: ${text}`, () => assert.deepEqual(evaluate(text), wanted));

const refused: [string, RegExp][] = [
  ['', /ends early/],
  ['response.code >=', /ends early/],
  ['response.code = 4', /cannot be read|not expected/],
  ['a && b', /`a` is no attribute/],
  ['response.cod == 1', /`response.cod` is no attribute/],
  ['response', /`response` is no value/],
  ["request.path.matches(request.headers['x-a'])", /written out/],
  ["request.path.matches('(')", /not a regular expression/],
  ['[1].exists(x, x == 1)', /exists/],
  [`${'('.repeat(60)}1${')'.repeat(60)}`, /nested/],
  ["'open", /cannot be read/],
  [`'${'a'.repeat(5000)}'`, /characters/],
];
for (const [text, wanted] of refused)
  test(`CEL refuses: ${text.slice(0, 40)}`, () => {
    const compiled = compileCel(text, names);
    assert.ok(!compiled.ok);
    assert.match(compiled.error, wanted);
  });

test('any text is compiled or refused', () => {
  const words = fc.constantFrom(
    'request.path',
    'response.code',
    '==',
    '(',
    ')',
    '&&',
    '!',
    "'a'",
    '[',
    ']',
    '?',
    ':',
    '.',
    '-',
    '1',
    'in',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words, { maxLength: 12 }).map((w) => w.join(' ')),
      ),
      (text) => {
        const compiled = compileCel(text, names);
        if (compiled.ok) compiled.value(null);
      },
    ),
  );
});

test('a pattern that makes others backtrack takes no time', () => {
  const compiled = compileCel("request.headers['x-a'].matches('(a+)+$')", {
    resolve: (path) =>
      path.join('.') === 'request.headers' ? () => ({ kind: 'map', get: () => `${'a'.repeat(2000)}b` }) : 'prefix',
  });
  assert.ok(compiled.ok);
  const started = performance.now();
  assert.equal(compiled.value(null), false);
  assert.ok(performance.now() - started < 5000);
});
