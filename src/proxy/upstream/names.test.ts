import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ip, members, ports, workload } from '../../model/testing/builders.ts';
import type { Exchange } from '../contracts.ts';
import { Bench, client, config, KEY } from './testing.ts';

const external = (hostname: string, name = 'ext') =>
  workload(name, { hostname, tunnelProtocol: 'none', services: members({ [KEY]: ['80:8080'] }) });
const target = { service: KEY, port: 80, subset: undefined };
const asking = (authority: string): Exchange => ({ request: { authority } }) as unknown as Exchange;

async function addresses(bench: Bench, times: number): Promise<string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < times; i++) {
    const picked = await bench.upstream.pick(target, client(), undefined, []);
    seen.add('kind' in picked ? picked.kind : `${picked.endpoint.address.ip}:${picked.endpoint.address.port}`);
  }
  return [...seen].sort();
}

test('endpoints with names: all addresses, asked for again when their time to live is over', async () => {
  const bench = new Bench([external('db.example.com')]);
  bench.config = config({}, { resolution: 'dns' });
  bench.answers.set('db.example.com', { addresses: [ip('192.0.2.1'), ip('192.0.2.2')], ttlMs: 30_000 });
  assert.deepEqual(await addresses(bench, 30), ['192.0.2.1:8080', '192.0.2.2:8080']);
  assert.deepEqual(bench.asked, ['db.example.com'], 'once');

  bench.answers.set('db.example.com', { addresses: [ip('192.0.2.3')], ttlMs: 30_000 });
  bench.nowMs += 29_000;
  assert.deepEqual(await addresses(bench, 30), ['192.0.2.1:8080', '192.0.2.2:8080']);
  bench.nowMs += 2_000;
  bench.pick(); // the old answer serves while the new one is fetched
  await new Promise(setImmediate);
  assert.deepEqual(await addresses(bench, 30), ['192.0.2.3:8080']);
  assert.equal(bench.asked.length, 2);
});

test('a name server that is gone takes no endpoint with it', async () => {
  const bench = new Bench([external('db.example.com')]);
  bench.config = config({}, { resolution: 'dns' });
  bench.answers.set('db.example.com', { addresses: [ip('192.0.2.1')], ttlMs: 1_000 });
  await addresses(bench, 1);
  bench.answers.set('db.example.com', new Error('no answer'));
  bench.nowMs += 10 * 60_000;
  assert.deepEqual(await addresses(bench, 3), ['192.0.2.1:8080']);
});

test('an unknown name has no endpoint, and is not asked for at every request', async () => {
  const bench = new Bench([external('none.example.com')]);
  bench.config = config({}, { resolution: 'dns' });
  assert.deepEqual(await addresses(bench, 20), ['noHealthyEndpoint']);
  assert.equal(bench.asked.length, 1);
});

test('a service by DNS without endpoints is its own name; round robin takes one address', async () => {
  const bench = new Bench([], { ports: ports('80:0') });
  bench.config = config({}, { resolution: 'dnsRoundRobin', hostname: 'api.example.com' });
  bench.answers.set('api.example.com', { addresses: [ip('192.0.2.9'), ip('192.0.2.8')], ttlMs: undefined });
  assert.deepEqual(await addresses(bench, 10), ['192.0.2.9:80']);
});

test('nobody reaches the proxy itself by an endpoint on loopback', async () => {
  const bench = new Bench([
    external('evil.example.com'),
    workload('static', { addresses: [ip('127.0.0.1')], services: members({ [KEY]: ['80:15000'] }) }),
  ]);
  bench.config = config({}, { resolution: 'dns' });
  bench.answers.set('evil.example.com', { addresses: [ip('127.0.0.2'), ip('::1')], ttlMs: 5_000 });
  assert.deepEqual(await addresses(bench, 5), ['noHealthyEndpoint']);
});

test('dynamic DNS: the host of the request, if the service covers it and its address is not our own', async () => {
  const bench = new Bench([], { hostname: '*.example.com' });
  bench.config = config({}, { key: 'shop/*.example.com', hostname: '*.example.com', resolution: 'dynamicDns' });
  bench.answers.set('a.example.com', { addresses: [ip('192.0.2.5')], ttlMs: 5_000 });
  bench.answers.set('evil.example.com', { addresses: [ip('127.0.0.1'), ip('169.254.169.254')], ttlMs: 5_000 });
  const to = async (authority: string): Promise<unknown> => {
    const where = { service: 'shop/*.example.com', port: 80, subset: undefined };
    const picked = await bench.upstream.pick(where, client(), asking(authority), []);
    return 'kind' in picked ? picked.kind : picked.endpoint.address;
  };
  assert.deepEqual(await to('A.example.com:80'), { ip: '192.0.2.5', port: 8080 });
  assert.equal(await to('evil.example.com'), 'noHealthyEndpoint');
  assert.equal(await to('a.example.org'), 'noHealthyEndpoint');
  assert.equal(await to('example.com'), 'noHealthyEndpoint');
  assert.equal(await to('.example.com'), 'noHealthyEndpoint');
});
