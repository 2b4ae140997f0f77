// A waypoint on loopback: tunnels in, policies and routes, tunnels out with its own identity.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { asks, exact, httpPolicy, path, policyRule } from '../../model/http/testing/builders.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import { ip, ports, service, workload } from '../../model/testing/builders.ts';
import { forwards, SERVICE } from '../testing/rig.ts';
import { VIP, type WaypointOptions, WaypointRig } from '../testing/waypoint-rig.ts';

let rig: WaypointRig | undefined;
async function start(options: WaypointOptions = {}): Promise<WaypointRig> {
  rig = await WaypointRig.start(options);
  return rig;
}
afterEach(async () => {
  await rig?.close();
  rig = undefined;
});
const GET = 'GET /a HTTP/1.1\r\nHost: order\r\n\r\n';
const whole = (text: string): boolean => /\r\n\r\n$/.test(text) && text.split('\r\n\r\n').length >= 3;

test('HBONE in, HBONE out: the endpoint sees the waypoint, and who is behind it', async () => {
  const r = await start();
  const tunnel = r.open(await r.client(), `${VIP}:80`, GET);
  assert.equal(await tunnel.answered.promise, 200);
  const answer = await tunnel.until(whole);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /\r\n\r\nGET \/a HTTP\/1\.1\r\nHost: order\r\n/);
  const [hop] = r.tunnels;
  assert.equal(hop?.peer, 'spiffe://cluster.local/ns/shop/sa/waypoint');
  assert.equal(hop?.request.authority, '127.0.0.2:8080');
  const forwarded = hop?.request.headers.find(([name]) => name === 'forwarded')?.[1];
  assert.match(forwarded ?? '', /^for="127\.0\.0\.1:\d+";host=order\.shop\.svc\.cluster\.local$/);
});

test('one connection of a client carries many requests, one tunnel of the waypoint too', async () => {
  const r = await start();
  const tunnel = r.open(await r.client(), `${VIP}:80`, GET);
  for (let i = 1; i <= 3; i++) {
    await tunnel.until(whole);
    tunnel.text = '';
    tunnel.write(GET);
  }
  await tunnel.until(whole);
  assert.equal(r.tunnels.length, 1);
});

test('by name as by address; HTTP/2 is told by its preface', async () => {
  const r = await start();
  const session = await r.client();
  const byName = r.open(session, 'order.shop.svc.cluster.local:80', GET);
  assert.equal(await byName.answered.promise, 200);
  await byName.until(whole);
  const preface = r.open(session, `${VIP}:80`, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  assert.match(await preface.until((text) => text.length >= 9), /^\0\0.\x04/s);
});

test("policies of the service see the client's identity", async () => {
  const policy = httpPolicy('only-client', 'allow', [
    policyRule({ from: [[asks('principals', 'source.principal', exact('cluster.local/ns/shop/sa/client'))]] }),
  ]);
  const r = await start({ bound: { security: { policies: [policy], tokens: [] } } });
  const allowed = r.open(await r.client('client'), `${VIP}:80`, GET);
  assert.match(await allowed.until(whole), /^HTTP\/1\.1 200 /);
  const denied = r.open(await r.client('other'), `${VIP}:80`, GET);
  assert.match(await denied.until((text) => text.includes('RBAC')), /^HTTP\/1\.1 403 [\s\S]*RBAC: access denied$/);
  assert.equal(r.requests.length, 1);
});

test('routes of the service act; what fits none is 404; without routes everything goes to the service', async () => {
  const route: RouteResource = {
    kind: 'http',
    origin: { kind: 'HTTPRoute', namespace: 'shop', name: 'r', createdAtMs: 0 },
    attachments: [{ kind: 'service', service: SERVICE, port: undefined }],
    order: 0,
    rules: [forwards({ anyMatch: [[path(exact('/a'))]] })],
  };
  const r = await start({ routes: [route] });
  const session = await r.client();
  assert.match(await r.open(session, `${VIP}:80`, GET).until(whole), /^HTTP\/1\.1 200 /);
  const other = r.open(session, `${VIP}:80`, 'GET /b HTTP/1.1\r\nHost: order\r\n\r\n');
  assert.match(await other.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 404 /);
  r.parts.state.setRoute('route-0', undefined);
  r.parts.places.refresh();
  assert.match(await r.open(session, `${VIP}:80`, GET.replace('/a', '/b')).until(whole), /^HTTP\/1\.1 200 /);
});

test("refused: what is not ours, not known, not an address; a stranger's trust domain gets no connection", async () => {
  const r = await start();
  const session = await r.client();
  for (const [authority, status] of [
    ['10.1.2.3:80', 503],
    ['nobody.shop.svc.cluster.local:80', 503],
    [`${VIP}:81`, 503],
    ['127.0.0.2:8080', 400],
    ['nonsense', 400],
  ] as const)
    assert.equal(await r.open(session, authority).answered.promise, status, authority);
  r.parts.state.setService(SERVICE, undefined);
  r.parts.places.refresh();
  assert.equal(await r.open(session, `${VIP}:80`).answered.promise, 400, 'no longer bound');
  const stranger = await r.client('client', 'evil.local');
  const tunnel = r.open(stranger, `${VIP}:80`, GET);
  await tunnel.answered.promise;
  assert.notEqual(tunnel.status, 200);
});

test('TCP: a port that is no HTTP is passed on; policies about requests do not open it', async () => {
  const tcp = { service: { ports: [{ port: 80, name: 'tcp', protocol: 'tcp' as const }] } };
  const r = await start(tcp);
  r.answer = (request, write) => write(`got ${request.length}`);
  const tunnel = r.open(await r.client(), `${VIP}:80`, 'raw bytes\r\n\r\n');
  assert.equal(await tunnel.until((text) => text.length >= 6), 'got 13');
  await r.close();
  const policy = httpPolicy('get-only', 'allow', [
    policyRule({ to: [[asks('methods', 'request.method', exact('GET'))]] }),
  ]);
  const closed = await start({ ...tcp, bound: { security: { policies: [policy], tokens: [] } } });
  const refused = closed.open(await closed.client(), `${VIP}:80`, 'raw bytes\r\n\r\n');
  await assert.rejects(
    refused.until((text) => text.length > 0),
    /ended/,
  );
  assert.equal(closed.tunnels.length, 0);
});

test('a drained waypoint finishes what is under way and takes no more', async () => {
  const r = await start();
  let release: () => void = () => {};
  r.answer = (_, write) => {
    release = () => write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast');
  };
  const session = await r.client();
  const tunnel = r.open(session, `${VIP}:80`, GET);
  while (r.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  r.server.drain();
  release();
  assert.match(await tunnel.until((text) => text.endsWith('last')), /connection: close/i);
  tunnel.end();
  await r.server.live.idle();
  assert.equal(r.server.live.size, 0);
  assert.notEqual(session.state, 'open');
});

test('a workload that is bound to this waypoint is reached by its own address, any other is refused', async () => {
  const r = await start();
  const waypoint = {
    destination: { kind: 'hostname', namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' },
    hbonePort: 15008,
  } as const;
  const bound = workload('order', { addresses: [ip('127.0.0.2')], waypoint });
  r.parts.state.applyAddresses([{ kind: 'workload', workload: bound }], []);
  const session = await r.client();
  const tunnel = r.open(session, '127.0.0.2:8080', GET);
  assert.match(await tunnel.until(whole), /^HTTP\/1\.1 200 /);
  assert.equal(r.tunnels[0]?.request.authority, '127.0.0.2:8080');
  // Known by name, and somebody else's.
  const other = { ...waypoint, destination: { ...waypoint.destination, hostname: 'other.shop.svc.cluster.local' } };
  r.parts.state.applyAddresses(
    [
      { kind: 'service', service: service('other', { ports: ports('15008:15008') }) },
      { kind: 'workload', workload: { ...bound, waypoint: other } },
    ],
    [],
  );
  assert.equal(await r.open(session, '127.0.0.2:8080').answered.promise, 400);
});

test('nothing is left of tunnels that were ended, reset or left alone', async () => {
  const r = await start();
  const { sweeper, connections } = r.parts.engine;
  const before = sweeper.size;
  for (let round = 0; round < 10; round++) {
    const session = await r.client();
    const used = r.open(session, `${VIP}:80`, GET);
    await used.until(whole);
    r.open(session, `${VIP}:80`);
    r.open(session, `${VIP}:80`, 'GET / HT');
    used.end();
    session.abort();
  }
  const deadline = Date.now() + 3_000;
  while (r.server.live.size > 0 || sweeper.size > before) {
    assert.ok(Date.now() < deadline, `live ${r.server.live.size}, swept ${sweeper.size}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(connections.size <= 10);
});
