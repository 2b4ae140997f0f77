import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEchoConfig } from './echo-config.ts';

const parsed = (env: Record<string, string>, args: string[] = []) => {
  const config = parseEchoConfig(env, args);
  assert.ok(config.ok, config.ok ? '' : config.error);
  return config.value;
};

test('without settings the echo server listens on 8080 and answers JSON', () => {
  const config = parsed({});
  assert.deepEqual([config.httpPorts, config.tcpPorts, config.text], [[8080], [], undefined]);
});

test('ports come from the environment, several with commas', () => {
  const config = parsed({ PORT: '80,8081', TCP_PORT: '9000' });
  assert.deepEqual([config.httpPorts, config.tcpPorts], [[80, 8081], [9000]]);
});

test('HTTP_PORT goes before PORT, as in the Gateway API echo image', () =>
  assert.deepEqual(parsed({ HTTP_PORT: '3000', PORT: '1' }).httpPorts, [3000]));

for (const args of [
  ['-text=hi there', '-listen=:5000'],
  ['--text', 'hi there', '--listen', '0.0.0.0:5000'],
])
  test(`http-echo understands ${args.join(' ')}`, () => {
    const config = parsed({ ECHO_FLAVOUR: 'http-echo' }, args);
    assert.deepEqual([config.text, config.httpPorts], ['hi there', [5000]]);
  });

test('tcp-echo takes ports and greeting as arguments', () => {
  const config = parsed({ ECHO_FLAVOUR: 'tcp-echo' }, ['9000,9001', 'hallo']);
  assert.deepEqual([config.tcpPorts, config.tcpGreeting, config.httpPorts], [[9000, 9001], 'hallo', []]);
});

for (const [name, env, args] of [
  ['a port that is no number', { PORT: 'http' }, []],
  ['a port out of range', { PORT: '70000' }, []],
  ['an unknown flavour', { ECHO_FLAVOUR: 'x' }, []],
  ['an unknown flag form', { ECHO_FLAVOUR: 'http-echo' }, ['hello']],
  ['a delay that is no number', { SHUTDOWN_DELAY_MS: 'soon' }, []],
] as [string, Record<string, string>, string[]][])
  test(`${name} is refused with a sentence`, () => {
    const config = parseEchoConfig(env, args);
    assert.ok(!config.ok && config.error.includes('`'), JSON.stringify(config));
  });
