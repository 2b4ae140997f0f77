import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { after, before, test } from 'node:test';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { decodeMessage } from '../../wire/dns/decode.ts';
import { encodeMessage } from '../../wire/dns/encode.ts';
import type { DnsView } from './records.ts';
import { DnsServer } from './server.ts';

const service = (name: string, spec: Partial<NonNullable<IService['spec']>>): IService => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: spec as NonNullable<IService['spec']>,
});
const services = [
  service('order', { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'], ports: [{ name: 'http', port: 80 }] }),
  service('db', { clusterIP: 'None', ports: [{ name: 'pg', port: 5432 }] }),
  service('early', { clusterIP: 'None', publishNotReadyAddresses: true }),
  service('bank', { type: 'ExternalName', externalName: 'api.bank.example' }),
  service('alias', { type: 'ExternalName', externalName: 'order.shop.svc.cluster.local' }),
];
const slice = (of: string, endpoints: NonNullable<IEndpointSlice['endpoints']>): IEndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${of}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  endpoints,
  ports: [{ name: 'pg', port: 5432, protocol: 'TCP' }],
});
const slices = [
  slice('db', [
    { addresses: ['10.244.1.5'], hostname: 'db-0', conditions: { ready: true } },
    { addresses: ['10.244.2.6'], conditions: { ready: true } },
    { addresses: ['10.244.2.7'], conditions: { ready: false } },
  ]),
  slice('early', [{ addresses: ['10.244.2.9'], conditions: { ready: false } }]),
];
const view: DnsView = {
  service: (namespace, name) => services.find((s) => namespace === 'shop' && s.metadata?.name === name),
  slices: (_namespace, name) => slices.filter((s) => s.metadata?.labels?.['kubernetes.io/service-name'] === name),
  services: () => services,
  allSlices: () => slices,
  hasNamespace: (name) => name === 'shop',
};

let server: DnsServer;
const resolver = new Resolver({ tries: 1, timeout: 2000 });
const asked: string[] = [];
before(async () => {
  server = await DnsServer.start({
    address: '127.0.0.1',
    port: 0,
    view,
    domain: 'cluster.local',
    ranges: ['10.96.0.0/16', '10.244.0.0/16'],
    outside: async (query) => {
      const decoded = decodeMessage(query);
      if (!decoded.ok) throw new Error(decoded.error);
      const name = decoded.value.questions[0]?.name ?? '';
      asked.push(name);
      if (name === 'dead.example') throw new Error('nobody answers');
      return Buffer.from(
        encodeMessage({
          ...decoded.value,
          response: true,
          answers: [{ name, ttl: 1, class: 1, type: 'A', address: '192.0.2.1' as never }],
        }),
      );
    },
  });
  resolver.setServers([`127.0.0.1:${server.port}`]);
});
after(() => server.close());

const code = async (work: Promise<unknown>): Promise<string> => {
  try {
    return JSON.stringify(await work);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
};

test('a service has its cluster address; asked for IPv6 it exists and has none', async () => {
  assert.deepEqual(await resolver.resolve4('order.shop.svc.cluster.local'), ['10.96.0.7']);
  assert.deepEqual(await resolver.resolve4('ORDER.shop.svc.Cluster.Local.'), ['10.96.0.7']);
  assert.equal(await code(resolver.resolve6('order.shop.svc.cluster.local')), 'ENODATA');
});

test('a headless service has its ready endpoints, each also by its own name; unready ones only where the service publishes them', async () => {
  assert.deepEqual((await resolver.resolve4('db.shop.svc.cluster.local')).sort(), ['10.244.1.5', '10.244.2.6']);
  assert.deepEqual(await resolver.resolve4('db-0.db.shop.svc.cluster.local'), ['10.244.1.5']);
  assert.deepEqual(await resolver.resolve4('10-244-2-6.db.shop.svc.cluster.local'), ['10.244.2.6']);
  assert.equal(await code(resolver.resolve4('nobody.db.shop.svc.cluster.local')), 'ENOTFOUND');
  assert.deepEqual(await resolver.resolve4('early.shop.svc.cluster.local'), ['10.244.2.9']);
});

test('what is not there does not exist; a namespace alone exists without records', async () => {
  assert.equal(await code(resolver.resolve4('order.other.svc.cluster.local')), 'ENOTFOUND');
  assert.equal(await code(resolver.resolve4('order.shop.cluster.local')), 'ENOTFOUND');
  assert.equal(await code(resolver.resolve4('shop.svc.cluster.local')), 'ENODATA');
});

test('an external name is an alias, followed outside or inside', async () => {
  assert.deepEqual(await resolver.resolve4('bank.shop.svc.cluster.local'), ['192.0.2.1']);
  assert.deepEqual(await resolver.resolve4('alias.shop.svc.cluster.local'), ['10.96.0.7']);
  assert.deepEqual(await resolver.resolveCname('bank.shop.svc.cluster.local'), ['api.bank.example']);
});

test('service records name the port and where it is', async () => {
  const [own] = await resolver.resolveSrv('_http._tcp.order.shop.svc.cluster.local');
  assert.equal(own?.name, 'order.shop.svc.cluster.local');
  assert.equal(own?.port, 80);
  const headless = await resolver.resolveSrv('_pg._tcp.db.shop.svc.cluster.local');
  assert.deepEqual(headless.map((r) => r.name).sort(), [
    '10-244-2-6.db.shop.svc.cluster.local',
    'db-0.db.shop.svc.cluster.local',
  ]);
});

test('pods by address, and addresses back to names', async () => {
  assert.deepEqual(await resolver.resolve4('10-244-1-5.shop.pod.cluster.local'), ['10.244.1.5']);
  assert.deepEqual(await resolver.reverse('10.96.0.7'), ['order.shop.svc.cluster.local']);
  assert.deepEqual(await resolver.reverse('10.244.1.5'), ['db-0.db.shop.svc.cluster.local']);
  assert.equal(await code(resolver.reverse('10.96.0.99')), 'ENOTFOUND');
});

test('other names go outside, and nobody answering there is a failure, not an absence', async () => {
  assert.deepEqual(await resolver.resolve4('example.org'), ['192.0.2.1']);
  assert.ok(asked.includes('example.org'));
  assert.equal(await code(resolver.resolve4('dead.example')), 'ESERVFAIL');
});
