// The normal form of paths: what each mode changes, what none lets through, and that doing it twice changes nothing.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_PATH_NORMALIZATION, normalizePath, type PathFault, type PathNormalization } from './index.ts';

const MODES: readonly PathNormalization[] = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'];

function normal(target: string, mode: PathNormalization): string {
  const result = normalizePath(target, mode);
  return result.ok ? result.value.path + result.value.query : result.error;
}

describe('what each mode makes of a path', () => {
  // Received, then: BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES. NONE leaves each as it is.
  const cases: readonly [name: string, received: string, base: string, merge: string, decode: string][] = [
    ['an ordinary path', '/a/b.html', '/a/b.html', '/a/b.html', '/a/b.html'],
    ['the root', '/', '/', '/', '/'],
    ['two slashes', '/a//b', '/a//b', '/a/b', '/a/b'],
    ['many slashes at the front and the end', '///a//', '///a//', '/a/', '/a/'],
    ['dot segments', '/a/./b/../c', '/a/c', '/a/c', '/a/c'],
    ['a single dot at the end', '/foo/.', '/foo/', '/foo/', '/foo/'],
    ['two dots at the end', '/foo/bar/..', '/foo/', '/foo/', '/foo/'],
    ['above the root', '/foo/../../..', '/', '/', '/'],
    [
      'dots that are part of a name',
      '/foo/..bar/.x/...',
      '/foo/..bar/.x/...',
      '/foo/..bar/.x/...',
      '/foo/..bar/.x/...',
    ],
    ['dots over an empty segment', '/a//../b', '/a/b', '/a/b', '/a/b'],
    ['a backslash', '/some\\data', '/some/data', '/some/data', '/some/data'],
    ['dots behind a backslash', '/a\\..\\b', '/b', '/b', '/b'],
    ['escaped letters and digits', '/some/%61%62%63%31', '/some/abc1', '/some/abc1', '/some/abc1'],
    ['escaped unreserved marks', '/%2D%2e%5f%7E', '/-._~', '/-._~', '/-._~'],
    ['escaped dots are dots', '/a/%2e%2E/b', '/b', '/b', '/b'],
    ['an escaped slash', '/a%2fb', '/a%2fb', '/a%2fb', '/a/b'],
    ['an escaped slash next to a slash', '/a/%2F/b', '/a/%2F/b', '/a/%2F/b', '/a/b'],
    ['an escaped backslash', '/a%5Cb', '/a%5Cb', '/a%5Cb', '/a/b'],
    ['dots between escaped slashes', '/a%2f..%2fb', '/a%2f..%2fb', '/a%2f..%2fb', '/b'],
    ['no double decoding of dots', '/a/%252e%252e/b', '/a/%252e%252e/b', '/a/%252e%252e/b', '/a/%252e%252e/b'],
    ['no double decoding of slashes', '/a%252fb', '/a%252fb', '/a%252fb', '/a%252fb'],
    ['other escapes stay, in their case', '/%c3%A4%20', '/%c3%A4%20', '/%c3%A4%20', '/%c3%A4%20'],
    [
      'characters that no URI has',
      '/{a}|"<^`>',
      '/%7Ba%7D%7C%22%3C%5E%60%3E',
      '/%7Ba%7D%7C%22%3C%5E%60%3E',
      '/%7Ba%7D%7C%22%3C%5E%60%3E',
    ],
    ['parameters stay', '/a;v=1/b;x', '/a;v=1/b;x', '/a;v=1/b;x', '/a;v=1/b;x'],
    [
      'the query is never touched',
      '/a//b?x=/../%2f\\//',
      '/a//b?x=/../%2f\\//',
      '/a/b?x=/../%2f\\//',
      '/a/b?x=/../%2f\\//',
    ],
    ['a query of nothing', '/a?', '/a?', '/a?', '/a?'],
    ['asterisk', '*', '*', '*', '*'],
  ];
  for (const [name, received, base, merge, decode] of cases)
    test(name, () => {
      assert.deepEqual(
        MODES.map((mode) => normal(received, mode)),
        [received, base, merge, decode],
      );
    });

  for (const [received, want] of [
    ['/a#/../b', '/a'],
    ['/a?x#y', '/a?x'],
    ['/admin#?public', '/admin'],
    ['/#', '/'],
  ] as const)
    test(`a fragment is dropped in every mode: ${received}`, () => {
      for (const mode of MODES) assert.equal(normal(received, mode), want);
    });
});

test('without a word in the mesh configuration, slashes are kept and dots are not', () => {
  assert.equal(normal('/a//b/../c%2f', DEFAULT_PATH_NORMALIZATION), '/a//c%2f');
});

describe('what is refused', () => {
  const always: readonly [target: string, fault: PathFault][] = [
    ['', 'relative'],
    ['a', 'relative'],
    ['?x', 'relative'],
    ['#/a', 'relative'],
    ['*?x', 'relative'],
    ['\\a', 'relative'],
    ['http://a/b', 'relative'],
    ['/a%00b', 'nul'],
    ['/a b', 'character'],
    ['/a\u0000', 'character'],
    ['/a\r\nb', 'character'],
    ['/ä', 'character'],
    ['/a?\n', 'character'],
    ['/\u012f', 'character'],
  ];
  for (const [target, fault] of always)
    test(`${JSON.stringify(target)} in every mode: ${fault}`, () => {
      for (const mode of MODES) assert.deepEqual(normalizePath(target, mode), { ok: false, error: fault });
    });

  const normalising: readonly [target: string, fault: PathFault][] = [
    ['/100%', 'malformedEscape'],
    ['/%2', 'malformedEscape'],
    ['/%2%65', 'malformedEscape'],
    ['/%zz', 'malformedEscape'],
    ['/a/..;/b', 'dotSegmentParams'],
    ['/a/.;x=1/b', 'dotSegmentParams'],
    ['/a/%2e%2e;x', 'dotSegmentParams'],
    ['/a\\..;b', 'dotSegmentParams'],
  ];
  for (const [target, fault] of normalising)
    test(`${target} where paths are normalised: ${fault}`, () => {
      assert.equal(normal(target, 'NONE'), target);
      for (const mode of MODES.slice(1)) assert.deepEqual(normalizePath(target, mode), { ok: false, error: fault });
    });

  test('dots between escaped slashes with parameters are found once the slashes are decoded', () => {
    assert.equal(normal('/a%2f..;%2fb', 'DECODE_AND_MERGE_SLASHES'), 'dotSegmentParams');
  });
});

describe('properties', () => {
  const alphabet = ['/', '.', '..', '%2e', '%2F', '%5c', '%25', '%', '2', 'e', '\\', ';', 'a', '{', '?', '#', '%00'];
  const targets = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...alphabet)).map((parts) => `/${parts.join('')}`),
  );

  test('any text gives a path or a fault; a normal form is its own normal form', () => {
    let normalised = 0;
    fc.assert(
      fc.property(targets, fc.constantFrom(...MODES), (target, mode) => {
        const once = normalizePath(target, mode);
        if (!once.ok) return;
        normalised++;
        assert.deepEqual(normalizePath(once.value.path + once.value.query, mode), once);
      }),
      { numRuns: 2000 },
    );
    assert.ok(normalised > 200, 'the property was tried');
  });

  test('a normal form has nothing left that a server could resolve', () => {
    fc.assert(
      fc.property(targets, fc.constantFrom(...MODES.slice(1)), (target, mode) => {
        const result = normalizePath(target, mode);
        if (!result.ok) return;
        const { path } = result.value;
        assert.doesNotMatch(path, /\\|%2e|%00|[#?]|(?:^|\/)\.\.?(?:[/;]|$)/i);
        if (mode !== 'BASE') assert.doesNotMatch(path, /\/\//);
        if (mode === 'DECODE_AND_MERGE_SLASHES') assert.doesNotMatch(path, /%2f|%5c/i);
      }),
      { numRuns: 2000 },
    );
  });
});
