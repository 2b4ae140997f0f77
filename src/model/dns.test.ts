import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DnsOptions, dnsLookup } from './dns.ts';
import { plainWorld } from './plain-world.ts';
import { cidr, ip, members, service, workload } from './testing/builders.ts';
import type { Service, Workload } from './workload.ts';

const OPTIONS: DnsOptions = { clusterDomain: 'cluster.local', ipv6: true };
const client = workload('client');
const vips = (...list: string[]): Service['vips'] => list.map((text) => ({ network: '', ip: ip(text) }));
const order = service('order', { vips: vips('10.96.0.1', 'fd00::1') });
const bank = service('vault', { namespace: 'bank', vips: vips('10.96.0.2') });
const api = service('api', { hostname: 'api.example.com', vips: vips('240.0.0.1') });
const wild = service('wild', { hostname: '*.example.com', vips: vips('240.0.0.2') });
const headless = service('db');
const DB = 'shop/db.shop.svc.cluster.local';
const dbPods = [1, 2].map((n) =>
  workload(`db-${n}`, {
    addresses: [ip(`10.0.0.${n}`), ip(`10.1.0.${n}`), ip(`fd00::a${n}`)],
    services: members({ [DB]: [] }),
  }),
);

function ask(
  name: string,
  type = 'A',
  services: readonly Service[] = [order, bank, api, wild, headless],
  set: Partial<DnsOptions> = {},
  from: Workload = client,
): string {
  const answer = dnsLookup(plainWorld('', dbPods, services, []), from, name, type, { ...OPTIONS, ...set });
  if (answer.kind === 'forward') return 'forward';
  return (
    answer.records
      .map((r) => (r.type === 'CNAME' ? `${r.owner} CNAME ${r.target}` : `${r.owner} ${r.type} ${r.ip}`))
      .join(', ') || 'empty'
  );
}

const cases: readonly [rule: string, got: string, want: string][] = [
  ['the full name', ask('order.shop.svc.cluster.local'), 'order.shop.svc.cluster.local A 10.96.0.1'],
  ['any case, trailing dot', ask('Order.Shop.svc.cluster.local.'), 'order.shop.svc.cluster.local A 10.96.0.1'],
  ['one label: a service of the own namespace', ask('order'), 'order A 10.96.0.1'],
  ["one label: not another namespace's", ask('vault'), 'forward'],
  ['two labels: name and namespace', ask('vault.bank'), 'vault.bank A 10.96.0.2'],
  ['three labels ending in svc', ask('vault.bank.svc'), 'vault.bank.svc A 10.96.0.2'],
  ['IPv6', ask('order', 'AAAA'), 'order AAAA fd00::1'],
  ['no address of the family: an empty answer, never "no such name"', ask('vault.bank', 'AAAA'), 'empty'],
  ['IPv6 off: an empty answer', ask('order', 'AAAA', undefined, { ipv6: false }), 'empty'],
  [
    'a family that the service excludes: an empty answer',
    ask('order', 'AAAA', [{ ...order, ipFamilies: 'ipv4' }]),
    'empty',
  ],
  ['other types are forwarded', ask('order', 'MX'), 'forward'],
  ['unknown names are forwarded', ask('www.example.org'), 'forward'],
  ['an exact name before a wildcard', ask('api.example.com'), 'api.example.com A 240.0.0.1'],
  ['a wildcard: records under the name that was asked', ask('a.b.example.com'), 'a.b.example.com A 240.0.0.2'],
  ['a wildcard does not cover its own parent', ask('example.com'), 'forward'],
  [
    'a search domain taken off: an alias to what is left',
    ask('api.example.com.shop.svc.cluster.local'),
    'api.example.com.shop.svc.cluster.local CNAME api.example.com, api.example.com A 240.0.0.1',
  ],
  [
    'a search domain taken off and a wildcard: no alias',
    ask('x.example.com.svc.cluster.local'),
    'x.example.com.svc.cluster.local A 240.0.0.2',
  ],
  ['a headless service: the first address of each endpoint', ask('db'), 'db A 10.0.0.1, db A 10.0.0.2'],
  ['a headless service, IPv6', ask('db', 'AAAA'), 'db AAAA fd00::a1, db AAAA fd00::a2'],
  [
    'a service outside the cluster without address is for the real DNS',
    ask('ext.example.org', 'A', [service('ext', { hostname: 'ext.example.org' })]),
    'forward',
  ],
  [
    'ranges are no answer',
    ask('ext.example.org', 'A', [
      service('ext', { hostname: 'ext.example.org', cidrVips: [{ network: '', range: cidr('10.0.0.0/8') }] }),
    ]),
    'forward',
  ],
  [
    "addresses of another network are not the client's",
    ask('order', 'A', [{ ...order, vips: [{ network: 'other', ip: ip('10.96.9.9') }] }]),
    'empty',
  ],
  ['not visible from here: forwarded', ask('vault.bank', 'A', [{ ...bank, visibility: 'namespace' }]), 'forward'],
  [
    'among several of a name: the own namespace',
    ask('api.example.com', 'A', [{ ...api, namespace: 'bank', vips: vips('1.1.1.1') }, api]),
    'api.example.com A 240.0.0.1',
  ],
  [
    'among several of a name: the preferred namespace as a tie-break',
    ask(
      'api.example.com',
      'A',
      [
        { ...api, namespace: 'a', canonical: false },
        { ...api, namespace: 'bank', canonical: false, vips: vips('1.1.1.1') },
      ],
      { preferredNamespace: 'bank' },
    ),
    'api.example.com A 1.1.1.1',
  ],
  [
    'search domains given: those count',
    ask('api.example.com.lan', 'A', undefined, { searchDomains: ['lan'] }),
    'api.example.com.lan CNAME api.example.com, api.example.com A 240.0.0.1',
  ],
  ['names of workloads are not answered', ask('db-1.shop.svc.cluster.local'), 'forward'],
];
for (const [rule, got, want] of cases) test(rule, () => assert.equal(got, want));

test('any name is answered without a throw', () =>
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (name) => assert.ok(ask(name, 'A')))));
