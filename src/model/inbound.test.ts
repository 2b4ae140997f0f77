import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAuthority, parseAuthority } from './authority.ts';
import { decideInboundHbone, decideInboundPlaintext, type InboundHbone, type TunnelRequest } from './inbound.ts';
import { plainWorld } from './plain-world.ts';
import { ip, members, ports, service, workload } from './testing/builders.ts';
import type { Service, Workload } from './workload.ts';

const ORDER = 'shop/order.shop.svc.cluster.local';
const self = workload('order-1', { addresses: [ip('10.0.0.2')], services: members({ [ORDER]: ['80:8080'] }) });
const order = service('order', {
  vips: [{ network: '', ip: ip('10.96.0.1') }],
  ports: ports('80:8080', '81:0', '82:8082', '83:15008'),
});
const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'shopper' };
const peer = { ip: ip('10.0.0.1'), port: 40000 };
const shopper = workload('shopper', { addresses: [ip('10.0.0.1')] });
const request = (authority: string, set: Partial<TunnelRequest> = {}): TunnelRequest => ({
  authority,
  localIp: ip('10.0.0.2'),
  peer,
  identity,
  forwardedNetwork: undefined,
  forwardedHost: undefined,
  ...set,
});
const decide = (
  authority: string,
  own: Workload = self,
  services: readonly Service[] = [order],
  set: Partial<TunnelRequest> = {},
  localhost = true,
): InboundHbone =>
  decideInboundHbone(plainWorld('', [shopper, own], services, []), own, request(authority, set), {
    localhostApplicationTunnel: localhost,
  });
const brief = (result: InboundHbone): string =>
  result.kind === 'refuse'
    ? `${result.status} ${result.why}`
    : `${result.dial.ip}:${result.dial.port}${result.keepSource ? ' keeping source' : ''}`;
const tunnel = (protocol: 'none' | 'proxy', port: number): Workload => ({
  ...self,
  applicationTunnel: { protocol, port },
});
const behind = (uid: string): Service =>
  service('api', {
    vips: [{ network: '', ip: ip('10.96.0.9') }],
    waypoint: { destination: { kind: 'hostname', namespace: 'shop', hostname: uid }, hbonePort: 15008 },
  });

const cases: readonly [rule: string, got: InboundHbone, want: string][] = [
  ["the pod's own address: that port of the pod", decide('10.0.0.2:9000'), '10.0.0.2:9000 keeping source'],
  ['no authority at all', decide(''), '400 authority'],
  ['an authority without port', decide('10.0.0.2'), '400 authority'],
  ['an authority with port 0', decide('10.0.0.2:0'), '400 authority'],
  ["another pod's address", decide('10.0.0.3:80'), '400 ipMismatch'],
  ['the virtual address of a service that this pod is no waypoint of', decide('10.96.0.1:80'), '400 ipMismatch'],
  [
    'the virtual address of a service whose waypoint this pod is',
    decide('10.96.0.9:80', self, [behind('order.shop.svc.cluster.local'), order]),
    '10.0.0.2:80 keeping source',
  ],
  [
    'the virtual address of a service that another is the waypoint of',
    decide('10.96.0.9:80', self, [behind('other.shop.svc.cluster.local'), order]),
    '400 ipMismatch',
  ],
  [
    'with an application tunnel any address may be asked for',
    decide('10.9.9.9:80', tunnel('none', 0)),
    '10.0.0.2:80 keeping source',
  ],
  [
    'an application tunnel replaces the port',
    decide('10.0.0.2:80', tunnel('none', 15088)),
    '10.0.0.2:15088 keeping source',
  ],
  [
    'a PROXY tunnel is dialled at loopback without spoofing',
    decide('10.0.0.2:80', tunnel('proxy', 15088)),
    '127.0.0.1:15088',
  ],
  [
    'a PROXY tunnel may be dialled at the pod instead',
    decide('10.0.0.2:80', tunnel('proxy', 15088), [order], {}, false),
    '10.0.0.2:15088 keeping source',
  ],
  [
    "a hostname: this pod's mapping of the service port",
    decide('order.shop.svc.cluster.local:80'),
    '10.0.0.2:8080 keeping source',
  ],
  [
    "a hostname: else the service's target port",
    decide('order.shop.svc.cluster.local:82'),
    '10.0.0.2:8082 keeping source',
  ],
  ['a hostname in capitals', decide('Order.shop.svc.cluster.local:80'), '10.0.0.2:8080 keeping source'],
  ['a hostname with a named port that this pod does not map', decide('order.shop.svc.cluster.local:81'), '503 noPort'],
  ['a hostname without that port', decide('order.shop.svc.cluster.local:99'), '503 noPort'],
  ['an unknown hostname', decide('nobody.shop.svc.cluster.local:80'), '503 unknownService'],
  [
    'a hostname not visible from here',
    decide('hidden.bank.svc.cluster.local:80', self, [
      service('hidden', { namespace: 'bank', visibility: 'namespace', ports: ports('80:80') }),
    ]),
    '503 unknownService',
  ],
  ["the proxy's own ports", decide('10.0.0.2:15008'), '503 ownPort'],
  ["the proxy's own outbound port", decide('10.0.0.2:15001'), '503 ownPort'],
  ["the proxy's own ports behind a service port", decide('order.shop.svc.cluster.local:83'), '503 ownPort'],
];
for (const [rule, got, want] of cases) test(rule, () => assert.equal(brief(got), want));

test('policy judges the port after mapping and after the application tunnel', () => {
  const result = decide('order.shop.svc.cluster.local:80', tunnel('none', 15088));
  assert.ok(result.kind === 'forward');
  assert.deepEqual(result.connection, { source: peer, identity, destination: { ip: ip('10.0.0.2'), port: 15088 } });
});
test('a PROXY header tells the peer, the target that was asked for, and the identity', () => {
  const byName = decide('order.shop.svc.cluster.local:80', tunnel('proxy', 15088));
  assert.ok(byName.kind === 'forward');
  assert.deepEqual(byName.proxyHeader, { source: peer, destination: { ip: ip('10.96.0.1'), port: 80 }, identity });
  const headless = decide('order.shop.svc.cluster.local:80', tunnel('proxy', 15088), [{ ...order, vips: [] }]);
  assert.equal(brief(headless), '503 noVip');
});
test('the source is looked up by address, but not behind a gateway of another network', () => {
  const source = (set: Partial<TunnelRequest>) => {
    const result = decide('10.0.0.2:80', self, [order], set);
    return result.kind === 'forward' ? result.source?.name : result.why;
  };
  assert.equal(source({}), 'shopper');
  assert.equal(source({ forwardedNetwork: 'remote' }), undefined);
  assert.equal(source({ forwardedNetwork: '' }), 'shopper');
});
test("service for metrics: the named one if it is the pod's, else the first with the port, else none", () => {
  const name = (authority: string, forwardedHost?: string) => {
    const result = decide(authority, self, [order], { forwardedHost });
    return result.kind === 'forward' ? result.service?.name : result.why;
  };
  assert.equal(name('10.0.0.2:9', 'order.shop.svc.cluster.local'), 'order');
  assert.equal(name('10.0.0.2:9', 'bank.shop.svc.cluster.local'), undefined);
  assert.equal(name('10.0.0.2:8080'), 'order');
  assert.equal(name('10.0.0.2:9'), undefined);
});

test('plaintext: dialled as it came, judged without identity; own ports are dropped', () => {
  const world = plainWorld('', [shopper, self], [order], []);
  const to = { ip: ip('10.0.0.2'), port: 8080 };
  const result = decideInboundPlaintext(world, self, peer, to);
  assert.ok(result.kind === 'forward');
  assert.deepEqual([result.dial, result.connection], [to, { source: peer, identity: undefined, destination: to }]);
  assert.deepEqual([result.source?.name, result.service?.name], ['shopper', 'order']);
  for (const port of [15001, 15006, 15008])
    assert.equal(decideInboundPlaintext(world, self, peer, { ...to, port }).kind, 'refuse');
});

test('authorities: what is read is written back', () => {
  for (const text of ['10.0.0.1:80', '[fd00::1]:65535', 'a.b-c.d:1', 'localhost:8080']) {
    const parsed = parseAuthority(text);
    assert.ok(parsed, text);
    assert.equal(formatAuthority(parsed), text);
  }
  for (const text of [
    ':80',
    'fd00::1:80',
    '[10.0.0.1]:80',
    '[fd00::1]',
    'a b:80',
    '10.0.0.1:080000',
    '1.2.3.4.5:80',
    'a:65536',
    'a:-1',
    'user@a:80',
    'a/b:80',
    '[::1%lo]:80',
  ])
    assert.equal(parseAuthority(text), undefined, text);
});
test('any authority is decided without a throw', () =>
  fc.assert(fc.property(fc.string(), (text) => assert.ok(decide(text).kind))));
