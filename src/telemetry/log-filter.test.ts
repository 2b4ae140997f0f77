import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addDirectives, DEFAULT_FILTER, formatFilter, parseFilter, verbosityFor } from './log-filter.ts';

const filterOf = (text: string) => {
  const parsed = parseFilter(text);
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.error);
  return parsed.value;
};

const cases: { text: string; scope: string; wanted: number }[] = [
  { text: '', scope: 'xds', wanted: 3 },
  { text: 'debug', scope: 'xds', wanted: 4 },
  { text: 'WARN', scope: 'xds', wanted: 2 },
  { text: 'info,xds=debug', scope: 'xds', wanted: 4 },
  { text: 'info,xds=debug', scope: 'xds::client', wanted: 4 },
  { text: 'info,xds=debug', scope: 'xdsx', wanted: 3 },
  { text: 'info,ztunnel::xds=trace', scope: 'xds', wanted: 5 },
  { text: 'xds=off', scope: 'xds', wanted: 0 },
  { text: 'xds', scope: 'xds', wanted: 5 },
  { text: 'xds=debug,xds::client=error', scope: 'xds::client', wanted: 1 },
  { text: ' info , access=off ,', scope: 'access', wanted: 0 },
];
for (const c of cases)
  test(`RUST_LOG \`${c.text}\` gives scope ${c.scope} verbosity ${c.wanted}`, () =>
    assert.equal(verbosityFor(filterOf(c.text), c.scope), c.wanted));

for (const bad of ['xds=loud', '=debug', 'a b=debug', 'xds[span]=debug', `${'a=info,'.repeat(101)}`])
  test(`RUST_LOG \`${bad.slice(0, 20)}\` is refused`, () => assert.equal(parseFilter(bad).ok, false));

test('a bad directive changes nothing', () => {
  const before = formatFilter(DEFAULT_FILTER);
  assert.equal(addDirectives(DEFAULT_FILTER, 'debug,xds=loud').ok, false);
  assert.equal(formatFilter(DEFAULT_FILTER), before);
});

test('what a filter is formatted to parses to the same filter', () =>
  fc.assert(
    fc.property(
      fc.constantFrom('off', 'error', 'warn', 'info', 'debug', 'trace'),
      fc.dictionary(fc.stringMatching(/^[a-z]{1,5}(::[a-z]{1,5})?$/), fc.constantFrom('off', 'info', 'trace')),
      (fallback, scopes) => {
        const text = [fallback, ...Object.entries(scopes).map(([s, l]) => `${s}=${l}`)].join(',');
        assert.deepEqual(filterOf(formatFilter(filterOf(text))), filterOf(text));
      },
    ),
  ));

test('any text is parsed or refused, never thrown at', () =>
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => typeof parseFilter(text).ok === 'boolean')));
