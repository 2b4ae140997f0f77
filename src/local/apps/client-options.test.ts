import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClientOptions, wgetToCurl } from './client-options.ts';

const parsed = (...args: string[]) => {
  const options = parseClientOptions(args);
  assert.ok(options.ok, options.ok ? '' : options.error);
  return options.value;
};

test('a bare host is an http URL', () => assert.deepEqual(parsed('shop/x').urls, ['http://shop/x']));

test('short switches may be joined and may end in one with a value', () => {
  const options = parsed('-sSo', '/dev/null', '-w', '%{http_code}', 'http://a');
  assert.deepEqual(
    [options.silent, options.showError, options.output, options.writeOut],
    [true, true, '/dev/null', '%{http_code}'],
  );
});

test('data makes a POST with a form type, unless a header says otherwise', () => {
  assert.equal(parsed('-d', 'a', '-d', 'b', 'x').body, 'a&b');
  assert.equal(parsed('-d', 'a', 'x').method, 'POST');
  const json = parsed('-H', 'Content-Type: application/json', '--data', '{}', 'x').headers.filter(
    ([n]) => n.toLowerCase() === 'content-type',
  );
  assert.deepEqual(json, [['Content-Type', 'application/json']]);
});

test('-X goes before what data implies', () => assert.equal(parsed('-X', 'PUT', '-d', 'a', 'x').method, 'PUT'));
test('times are seconds', () => assert.equal(parsed('-m', '0.5', 'x').maxTimeMs, 500));
test('--resolve maps host and port to an address', () =>
  assert.equal(parsed('--resolve', 'a:80:10.0.0.1', 'a').resolve.get('a:80'), '10.0.0.1'));
test('--loop may carry a number', () =>
  assert.deepEqual([parsed('--loop', 'x').loop, parsed('--loop=3', 'x').loop], [0, 3]));

for (const args of [
  ['--nope', 'x'],
  ['-Z', 'x'],
  ['-m', 'soon', 'x'],
  ['-H', 'novalue', 'x'],
  ['--resolve', 'a', 'x'],
  ['-H'],
  [],
])
  test(`\`${args.join(' ')}\` is refused`, () => assert.equal(parseClientOptions(args).ok, false));

test("wget's common options become curl's", () => {
  assert.deepEqual(wgetToCurl(['-qO-', '-T', '5', 'http://a']), ['-s', '-S', '-L', '-f', '-m', '5', 'http://a']);
  assert.deepEqual(wgetToCurl(['--spider', '--header=x: y', 'a']), [
    '-s',
    '-S',
    '-L',
    '-f',
    '-o',
    '/dev/null',
    '-H',
    'x: y',
    'a',
  ]);
});
