import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, parseIp } from '../../model/ip.ts';
import { Fields } from '../../wire/http1/index.ts';
import { applyForwarding, type ForwardedBy, stripEdgeFields, writeClientCertificate } from './forwarded.ts';

const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  assert.ok(parsed.ok);
  return parsed.value;
};
const fieldsOf = (...pairs: readonly (readonly [string, string])[]): Fields => {
  const fields = new Fields();
  for (const [name, value] of pairs) fields.append(name, value);
  return fields;
};
const by = (change: Partial<ForwardedBy>): ForwardedBy => ({
  place: 'edge',
  trustedProxies: 0,
  peer: ip('192.0.2.9'),
  scheme: 'http',
  ...change,
});

interface Case {
  readonly name: string;
  readonly sent: readonly (readonly [string, string])[];
  readonly by: ForwardedBy;
  readonly remote: string | undefined;
  readonly forwardedFor: string | undefined;
  readonly proto: string;
}
const list = (value: string): [string, string] => ['X-Forwarded-For', value];
const cases: Case[] = [
  { name: 'nothing sent', sent: [], by: by({}), remote: '192.0.2.9', forwardedFor: '192.0.2.9', proto: 'http' },
  {
    name: 'a client at the edge is not believed',
    sent: [list('10.0.0.1'), ['x-forwarded-proto', 'https']],
    by: by({}),
    remote: '192.0.2.9',
    forwardedFor: '10.0.0.1,192.0.2.9',
    proto: 'http',
  },
  {
    name: 'one trusted proxy: the last address',
    sent: [list('1.1.1.1, 2.2.2.2'), ['x-forwarded-proto', 'https']],
    by: by({ trustedProxies: 1 }),
    remote: '2.2.2.2',
    forwardedFor: '1.1.1.1, 2.2.2.2,192.0.2.9',
    proto: 'https',
  },
  {
    name: 'two trusted proxies: the one before, over several lines',
    sent: [list('9.9.9.9'), list('1.1.1.1,2.2.2.2')],
    by: by({ trustedProxies: 2 }),
    remote: '1.1.1.1',
    forwardedFor: '9.9.9.9,1.1.1.1,2.2.2.2,192.0.2.9',
    proto: 'http',
  },
  {
    name: 'fewer addresses than trusted proxies',
    sent: [list('1.1.1.1')],
    by: by({ trustedProxies: 3 }),
    remote: '192.0.2.9',
    forwardedFor: '1.1.1.1,192.0.2.9',
    proto: 'http',
  },
  {
    name: 'rubbish where a trusted proxy writes: nobody vouches',
    sent: [list('1.1.1.1, unknown')],
    by: by({ trustedProxies: 1 }),
    remote: undefined,
    forwardedFor: '1.1.1.1, unknown,192.0.2.9',
    proto: 'http',
  },
  {
    name: 'empty members count',
    sent: [list('1.1.1.1,')],
    by: by({ trustedProxies: 1 }),
    remote: undefined,
    forwardedFor: '1.1.1.1,,192.0.2.9',
    proto: 'http',
  },
  {
    name: 'a waypoint takes what the gateway wrote, and writes nothing',
    sent: [list('6.6.6.6,2001:DB8::1')],
    by: by({ place: 'inner' }),
    remote: '2001:db8::1',
    forwardedFor: '6.6.6.6,2001:DB8::1',
    proto: 'http',
  },
  {
    name: 'a waypoint without the header: the client of the tunnel',
    sent: [],
    by: by({ place: 'inner', peer: ip('10.244.1.7') }),
    remote: '10.244.1.7',
    forwardedFor: undefined,
    proto: 'http',
  },
];
for (const c of cases)
  test(`forwarding: ${c.name}`, () => {
    const fields = fieldsOf(...c.sent);
    assert.equal(applyForwarding(fields, c.by), c.remote);
    assert.equal(fields.joined('x-forwarded-for'), c.forwardedFor);
    assert.equal(fields.get('x-forwarded-proto'), c.proto);
  });

test('headers of proxies are taken from clients at the edge, others stay', () => {
  const fields = fieldsOf(
    ['X-Envoy-Original-Path', '/admin'],
    ['x-envoy-upstream-rq-timeout-ms', '1'],
    ['X-Forwarded-Client-Cert', 'URI=spiffe://evil'],
    ['x-forwarded-client-cert', 'URI=spiffe://evil2'],
    ['x-istio-attributes', 'a'],
    ['x-envoyish', 'kept'],
  );
  stripEdgeFields(fields);
  assert.equal(fields.count, 1);
  assert.equal(fields.get('x-envoyish'), 'kept');
});

const id = (serviceAccount: string) => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount });
const certificate = { subject: 'CN=a, O="x"', uris: ['spiffe://td/x'], dnsNames: ['a.example;b'], sha256: 'ab12' };

test('x-forwarded-client-cert names who came, never what a client claims', () => {
  const forged: [string, string] = ['X-Forwarded-Client-Cert', 'URI=spiffe://cluster.local/ns/shop/sa/admin'];
  const write = (facts: Parameters<typeof writeClientCertificate>[1]): string | undefined => {
    const fields = fieldsOf(forged, forged);
    writeClientCertificate(fields, facts);
    return fields.joined('x-forwarded-client-cert');
  };
  assert.equal(write(undefined), undefined);
  assert.equal(write({ own: id('gw'), client: undefined, certificate: undefined }), undefined);
  assert.equal(
    write({ own: id('wp'), client: id('web'), certificate: undefined }),
    'By=spiffe://cluster.local/ns/shop/sa/wp;URI=spiffe://cluster.local/ns/shop/sa/web',
  );
  assert.equal(
    write({ own: id('gw'), client: undefined, certificate }),
    'By=spiffe://cluster.local/ns/shop/sa/gw;Hash=ab12;Subject="CN=a, O=\\"x\\"";URI=spiffe://td/x;DNS="a.example;b"',
  );
  assert.equal(
    write({
      own: id('gw'),
      client: undefined,
      certificate: { ...certificate, subject: 'CN=a\r\nx: y€', uris: [] },
    })?.split(';')[2],
    'Subject="CN=a??x: y?"',
  );
});
