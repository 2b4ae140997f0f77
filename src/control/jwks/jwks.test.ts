import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { FetchedKeys } from '../../derive/l7-security/tokens.ts';
import { parseRequestAuthentication } from '../../derive/objects/request-authentication.ts';
import { parseCidr } from '../../model/ip.ts';
import { ManualClock } from '../../platform/clock.ts';
import { type FetchLimits, fetchJson, refusalOf } from './guarded-fetch.ts';
import { KeyFetcher } from './key-fetcher.ts';
import { wantedKeys } from './wanted.ts';

const LIMITS: FetchLimits = { timeoutMs: 2_000, maxBytes: 1_000, refused: [], allowsLoopback: true };

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('addresses that are never dialled', () => {
  const refused = [
    '169.254.169.254',
    '127.0.0.1',
    '::1',
    'fe80::1',
    '::ffff:169.254.169.254',
    '0.0.0.0',
    'fd00:ec2::254',
  ];
  for (const address of refused) assert.match(refusalOf(address, { refused: [] }) ?? '', /not dialled/, address);
  for (const address of ['10.96.0.7', '203.0.113.1', 'fd00::1'])
    assert.equal(refusalOf(address, { refused: [] }), undefined);
  const own = parseCidr('10.0.0.0/8');
  assert.ok(own.ok);
  assert.match(refusalOf('10.96.0.7', { refused: [own.value] }) ?? '', /not dialled/);
});

test('a name or a redirect that leads to such an address is refused, whatever it is called', async (t) => {
  await assert.rejects(fetchJson('http://localhost:1/', { ...LIMITS, allowsLoopback: false }), /localhost refused/);
  await assert.rejects(fetchJson('http://[::1]:1/', { ...LIMITS, allowsLoopback: false }), /not dialled/);
  const url = await serve(t, (_request, response) =>
    response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
  );
  await assert.rejects(fetchJson(url, LIMITS), /169\.254\.169\.254 is link-local/);
});

test('bounds: status, size, time, redirects, form', async (t) => {
  const url = await serve(t, (request, response) => {
    switch (request.url) {
      case '/ok':
        response.end('{"keys":[]}');
        break;
      case '/big':
        response.end('x'.repeat(2_000));
        break;
      case '/text':
        response.end('<html>');
        break;
      case '/loop':
        response.writeHead(302, { location: '/loop' }).end();
        break;
      case '/slow':
        break;
      default:
        response.writeHead(404).end();
    }
  });
  assert.deepEqual(await fetchJson(`${url}/ok`, LIMITS), { keys: [] });
  await assert.rejects(fetchJson(`${url}/gone`, LIMITS), /answered 404/);
  await assert.rejects(fetchJson(`${url}/big`, LIMITS), /more than 1000 bytes/);
  await assert.rejects(fetchJson(`${url}/text`, LIMITS), /something else than JSON/);
  await assert.rejects(fetchJson(`${url}/loop`, LIMITS), /redirected more than 3 times/);
  await assert.rejects(fetchJson(`${url}/slow`, { ...LIMITS, timeoutMs: 30 }), /did not answer in time/);
  await assert.rejects(fetchJson('file:///etc/passwd', LIMITS), /no http or https address/);
});

const wanted = (...rules: readonly Record<string, unknown>[]) =>
  wantedKeys([parseRequestAuthentication({ metadata: { name: 'a', namespace: 'b' }, spec: { jwtRules: rules } })]);

function follow(answers: Record<string, () => unknown>) {
  const clock = new ManualClock();
  const published = new Map<string, FetchedKeys | undefined>();
  const asked: string[] = [];
  const fetcher = new KeyFetcher({
    clock,
    refreshMs: 20 * 60_000,
    fetch: (url) => {
      asked.push(url);
      const answer = answers[url];
      return answer === undefined ? Promise.reject(new Error(`${url} answered 404`)) : Promise.resolve().then(answer);
    },
    publish: (name, keys) => published.set(name, keys),
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await turn();
  };
  return { clock, published, asked, fetcher, settle };
}

test('keys are fetched at once, again every 20 minutes, and stay while later tries fail', async () => {
  let keys: unknown = { keys: [{ kid: '1' }] };
  const { clock, published, asked, fetcher, settle } = follow({
    'http://k/jwks': () => {
      if (keys === undefined) throw new Error('down');
      return keys;
    },
  });
  fetcher.want(wanted({ issuer: 'a', jwksUri: 'http://k/jwks' }, { issuer: 'b', jwks: '{"keys":[]}' }));
  await settle();
  const name = 'jwks http://k/jwks';
  assert.deepEqual(published.get(name), { kind: 'set', json: '{"keys":[{"kid":"1"}]}' });
  keys = { keys: [{ kid: '2' }] };
  clock.advance(20 * 60_000);
  await settle();
  assert.deepEqual(published.get(name), { kind: 'set', json: '{"keys":[{"kid":"2"}]}' });
  keys = undefined;
  clock.advance(20 * 60_000);
  await settle();
  assert.equal(asked.length, 3);
  assert.equal(published.get(name)?.kind, 'set');
  keys = { keys: [{ kid: '3' }] };
  clock.advance(1_000);
  await settle();
  assert.deepEqual(published.get(name), { kind: 'set', json: '{"keys":[{"kid":"3"}]}' });
  fetcher.want([]);
  assert.equal(published.get(name), undefined);
  assert.equal(clock.waiting, 0);
});

test('an issuer without address is asked for it; what cannot be had says why and is tried again', async () => {
  const found: Record<string, () => unknown> = {
    'https://issuer/.well-known/openid-configuration': () => ({ jwks_uri: 'https://issuer/keys' }),
  };
  const { clock, published, fetcher, settle } = follow(found);
  fetcher.want(wanted({ issuer: 'https://issuer/' }));
  await settle();
  const name = 'discovery https://issuer/';
  assert.deepEqual(published.get(name), { kind: 'missing', why: 'https://issuer/keys answered 404' });
  found['https://issuer/keys'] = () => ({ keys: [] });
  clock.advance(1_000);
  await settle();
  assert.deepEqual(published.get(name), { kind: 'set', json: '{"keys":[]}' });
  fetcher.stop();
});
