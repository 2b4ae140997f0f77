import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEPLOYMENTS, PODS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/client/resources.ts';
import { MemoryKubeClient } from '../../kube/testing/memory-client.ts';
import type { Policy } from '../../model/policy.ts';
import { ip, match, members, policy, ports, rule, service, workload } from '../../model/testing/builders.ts';
import type { Service, Workload } from '../../model/workload.ts';
import { formatLine } from '../../telemetry/log-layout.ts';
import { staticConfigJson } from '../../ztunnel/admin/state-json.ts';
import { Failure } from '../failure.ts';
import { Proxies, type ProxyAccess } from './proxies.ts';
import { explain, type WhyReport } from './report.ts';
import { inWords } from './words.ts';

const KEY = 'shop/payment.shop.svc.cluster.local';
const shopper = workload('shopper-1', { addresses: [ip('10.0.1.1')], serviceAccount: 'shopper', node: 'node-1' });
const order = workload('order-1', { addresses: [ip('10.0.1.2')], serviceAccount: 'order', node: 'node-1' });
const plain = workload('batch-1', { addresses: [ip('10.0.1.3')], tunnelProtocol: 'none', node: 'node-1' });
const payments = ['10.0.2.1', '10.0.2.2'].map((address, i) =>
  workload(`payment-${i + 1}`, {
    addresses: [ip(address)],
    serviceAccount: 'payment',
    node: 'node-2',
    services: members({ [KEY]: ['80:8080', '9090:9090'], 'shop/ledger.shop.svc.cluster.local': ['80:8080'] }),
  }),
);
const services = [
  service('payment', { vips: [{ network: '', ip: ip('10.96.0.1') }], ports: ports('80:8080', '9090:9090') }),
  service('ledger', { ports: ports('80:8080') }),
];
const orderOnly = policy('order-only', 'allow', {
  anyRule: [rule(match({ principals: [{ kind: 'exact', value: 'cluster.local/ns/shop/sa/order' }] }))],
});
const all = [shopper, order, plain, ...payments];

interface Mesh {
  readonly client: MemoryKubeClient;
  readonly dumps: Record<string, () => string>;
  readonly logs: Record<string, string[]>;
}

const dump = (
  workloads: readonly Workload[],
  policies: readonly Policy[],
  svcs: readonly Service[] = services,
): string => JSON.stringify(staticConfigJson(workloads, svcs, policies));

function mesh(policies: readonly Policy[] = [orderOnly]): Mesh {
  const client = new MemoryKubeClient();
  for (const w of all) {
    const redirection: Record<string, string> =
      w.tunnelProtocol === 'hbone' ? { 'ambient.istio.io/redirection': 'enabled' } : {};
    client.put(PODS, {
      metadata: {
        name: w.name,
        namespace: w.namespace,
        labels: { app: w.serviceAccount },
        annotations: redirection,
      },
      spec: { nodeName: w.node, serviceAccountName: w.serviceAccount, containers: [{ name: 'app' }] },
      status: {
        phase: 'Running',
        podIP: w.addresses[0] ?? '',
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    });
  }
  for (const name of ['shopper', 'payment'])
    client.put(DEPLOYMENTS, {
      metadata: { name, namespace: 'shop' },
      spec: { selector: { matchLabels: { app: name } }, template: {} },
    });
  client.put(SERVICE_ACCOUNTS, { metadata: { name: 'order', namespace: 'shop' } });
  const port = (name: string, number: number) => ({ name, port: number });
  client.put(SERVICES, {
    metadata: { name: 'payment', namespace: 'shop' },
    spec: { clusterIP: '10.96.0.1', selector: { app: 'payment' }, ports: [port('http', 80), port('admin', 9090)] },
  });
  client.put(SERVICES, {
    metadata: { name: 'alias', namespace: 'shop' },
    spec: { type: 'ExternalName', externalName: 'payment.shop.svc.cluster.local' },
  });
  client.put(SERVICES, {
    metadata: { name: 'loop', namespace: 'shop' },
    spec: { type: 'ExternalName', externalName: 'loop.shop.svc.cluster.local' },
  });
  const held = dump(all, policies);
  return { client, dumps: { 'ztunnel-a': () => held, 'ztunnel-b': () => held }, logs: {} };
}

function ask(mesh: Mesh, source: string, destination: string, namespace = 'shop'): Promise<WhyReport> {
  const access: ProxyAccess = {
    list: async () => [
      { node: 'node-1', pod: 'ztunnel-a' },
      { node: 'node-2', pod: 'ztunnel-b' },
    ],
    dump: async (pod) => (mesh.dumps[pod] as () => string)(),
    log: async (pod) => mesh.logs[pod] ?? [],
  };
  const resolveHost = async (name: string): Promise<string[]> => {
    if (name === 'api.example.com') return ['192.0.2.1'];
    throw new Error(`getaddrinfo ENOTFOUND ${name}`);
  };
  return explain(
    { source, destination, namespace, request: { method: 'GET', path: '/', headers: [] } },
    {
      client: mesh.client,
      proxies: new Proxies(access),
      waypoints: { knowledge: () => Promise.reject(new Error('none here')) },
      resolveHost,
    },
  );
}

const down = (): never => {
  throw new Error('connection refused');
};

test('refused: the policies of the destination, every endpoint asked', async () => {
  const report = await ask(mesh(), 'deploy/shopper', 'payment:80');
  assert.equal(report.outcome, 'refused');
  assert.deepEqual(
    [report.question.source, report.question.destination, report.answers.length],
    ['deployment shop/shopper', 'service shop/payment', 2],
  );
  assert.deepEqual(report.asked, { routing: 'ztunnel-a', authorization: ['ztunnel-b'] });
  assert.equal(report.source.identity, 'spiffe://cluster.local/ns/shop/sa/shopper');
  assert.deepEqual(report.words, report.answers[0]?.words);
  assert.deepEqual(report.notes, []);
  const words = inWords(report);
  assert.match(words, /^refused: deployment shop\/shopper to service shop\/payment\n/);
  assert.match(words, /shop\/payment-1 refuses it: allow policies exist, but none allowed/);
  assert.match(words, /rule 1 of shop\/order-only wants principals: `cluster.local\/ns\/shop\/sa\/order`/);
  assert.match(words, /the same holds for shop\/payment-2/);
  assert.match(
    words,
    /to allow it: add the principal cluster.local\/ns\/shop\/sa\/shopper to a rule of shop\/order-only/,
  );
});

const sources = ['order-1', 'pod/order-1', 'shop/order-1', 'order', 'sa/order', '10.0.1.2', 'order-1.shop'];
for (const source of sources)
  test(`source \`${source}\` is the pod of order`, async () => {
    const report = await ask(mesh(), source, 'payment:http', source.includes('shop') ? 'bank' : 'shop').catch(
      (error: unknown) => assert.fail(String(error)),
    );
    assert.deepEqual([report.outcome, report.answers[0]?.source.name], ['allowed', 'order-1']);
  });

const destinations = [
  'payment.shop:80',
  'payment.shop.svc:80',
  'payment.shop.svc.cluster.local:80',
  'shop/payment:80',
  'svc/payment:http',
  '10.96.0.1:80',
  'alias:80',
  'deploy/payment:8080',
  'pod/payment-1:8080',
  'payment-2:8080',
  '10.0.2.2:8080',
  'ledger:8080',
];
for (const destination of destinations)
  test(`destination \`${destination}\` is payment`, async () => {
    const report = await ask(mesh(), 'order-1', destination);
    assert.equal(report.outcome, 'allowed');
    assert.match(report.answers[0]?.destination?.name ?? '', /^payment-/);
  });

const failures: readonly [string, string, RegExp, number][] = [
  ['nobody', 'payment:80', /`nobody` is nobody in namespace `shop`/, 1],
  ['order-1', 'nobody:80', /`nobody` is nobody that `shop\/order-1` could dial/, 1],
  ['order-1', 'payment', /no port is given for service .*it has 80 \(http\), 9090 \(admin\)/, 2],
  ['order-1', 'payment:grpc', /has no port `grpc`/, 2],
  ['order-1', '10.0.2.1', /no port is given for pod shop\/payment-1/, 2],
  ['order-1', 'deploy/payment', /no port is given for deployment/, 2],
  ['order-1', 'nobody.example.com:80', /nobody knows `nobody.example.com`.*ENOTFOUND/, 1],
  ['order-1', 'loop:80', /`loop.shop.svc.cluster.local` leads nowhere/, 1],
];
for (const [source, destination, message, exitCode] of failures)
  test(`${source} to ${destination} cannot be answered`, () =>
    assert.rejects(ask(mesh(), source, destination), (error) => {
      assert.ok(error instanceof Failure, String(error));
      assert.match(error.message, message);
      return error.exitCode === exitCode;
    }));

test('a port that the service does not have is an answer', async () => {
  const report = await ask(mesh(), 'order-1', 'payment:81');
  assert.deepEqual([report.outcome, report.answers[0]?.path.kind], ['refused', 'refused']);
});

test('the only port is the one meant', async () => {
  const report = await ask(mesh(), 'order-1', 'ledger');
  assert.equal(report.answers[0]?.dialled, '10.0.2.1:80');
  assert.match(report.notes.join('\n'), /is headless: .* port 80 stays 80 although the service says 8080/);
});

test('a source outside the mesh, a destination outside the cluster', async () => {
  const outsider = await ask(mesh(), 'batch-1', 'payment:80');
  assert.deepEqual([outsider.outcome, outsider.answers[0]?.source.identity], ['refused', undefined]);
  assert.match(inWords(outsider), /to allow it: put the source into the mesh/);
  const beyond = await ask(mesh(), 'order-1', 'api.example.com:443');
  assert.deepEqual([beyond.outcome, beyond.answers[0]?.path.kind], ['allowed', 'plain']);
  assert.match(beyond.notes.join(), /on this machine it resolves to 192.0.2.1/);
  const stranger = await ask(mesh(), '198.51.100.7', 'payment:80');
  assert.equal(stranger.outcome, 'refused');
  assert.match(stranger.notes.join(), /nobody in the mesh has the address 198.51.100.7/);
});

test('mutual TLS only: the remedy is the mesh, not the policy that stands for it', async () => {
  const strict = policy('istio_converted_static_strict', 'deny', {
    anyRule: [rule(match({ notPrincipals: [{ kind: 'present' }] }))],
  });
  const words = inWords(await ask(mesh([strict]), 'batch-1', 'payment:80'));
  assert.match(words, /to allow it: put the source into the mesh .* STRICT/);
});

test('the destination is judged by what its own proxy holds', async () => {
  const world = mesh([]);
  world.dumps['ztunnel-b'] = () => dump(all, [orderOnly]);
  assert.equal((await ask(world, 'deploy/shopper', 'payment:80')).outcome, 'refused');
});

test('endpoints that differ are told one by one', async () => {
  const nobody = policy('nobody', 'deny', { scope: 'workloadSelector', anyRule: [{ everyClause: [] }] });
  const world = mesh();
  const some = all.map((w) => (w.name === 'payment-2' ? { ...w, authorizationPolicies: ['shop/nobody'] } : w));
  world.dumps['ztunnel-b'] = () => dump(some, [nobody]);
  const report = await ask(world, 'order-1', 'payment:80');
  assert.equal(report.outcome, 'differs');
  const words = inWords(report);
  assert.match(words, /allowed at shop\/payment-1/);
  assert.match(words, /refused at shop\/payment-2/);
});

test('a proxy that does not answer is never passed over in silence', async () => {
  const far = mesh();
  far.dumps['ztunnel-b'] = down;
  const report = await ask(far, 'order-1', 'payment:80');
  assert.deepEqual([report.outcome, report.asked.authorization], ['allowed', []]);
  assert.match(report.notes.join('\n'), /`ztunnel-b` on `node-2` does not answer: connection refused: its policies/);

  const near = mesh();
  near.dumps['ztunnel-a'] = down;
  const other = await ask(near, 'order-1', 'payment:80');
  assert.equal(other.asked.routing, 'ztunnel-b');
  assert.match(other.notes.join('\n'), /`ztunnel-a` on `node-1` does not answer.* the path is what `ztunnel-b`/);

  const none = mesh();
  none.dumps['ztunnel-a'] = none.dumps['ztunnel-b'] = down;
  await assert.rejects(ask(none, 'order-1', 'payment:80'), /no node proxy can be asked/);
});

test('what of a dump is not understood, and pods it does not know, are told', async () => {
  const world = mesh();
  world.dumps['ztunnel-a'] = () => {
    const held = JSON.parse(dump([order, ...payments], [orderOnly]));
    held.policies.push({ name: 'odd' });
    return JSON.stringify(held);
  };
  const report = await ask(world, 'shopper', 'payment:80');
  assert.match(report.notes.join('\n'), /1 items of the dump of `ztunnel-a`.*policies\[1\].namespace is missing/);
  assert.match(report.notes.join('\n'), /`ztunnel-a` does not know the pod `shop\/shopper-1`/);
});

const line = (time: string, direction: 'outbound' | 'inbound', error?: string): string =>
  formatLine('plain', `2026-11-21T08:01:${time}Z`, 'info', 'access', 'connection complete', {
    'src.addr': '10.0.1.1:40000',
    'src.workload': 'shopper-1',
    'src.namespace': 'shop',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/shopper',
    'dst.addr': '10.0.2.2:15008',
    'dst.hbone_addr': '10.0.2.2:8080',
    'dst.workload': 'payment-2',
    'dst.namespace': 'shop',
    'dst.service': direction === 'outbound' ? 'payment.shop.svc.cluster.local' : undefined,
    direction,
    bytes_sent: 0,
    bytes_recv: 0,
    duration: '1ms',
    error,
  }).trimEnd();

test('the past is told from both logs, with what is different now', async () => {
  const world = mesh([]);
  world.logs['ztunnel-a'] = ['noise', line('02.000000', 'outbound', 'http status: 401 Unauthorized')];
  const rejected = 'connection closed due to policy rejection: explicitly denied by: shop/no-shopper';
  world.logs['ztunnel-b'] = [line('02.000100', 'inbound', rejected)];
  const report = await ask(world, 'deploy/shopper', 'payment:80');
  assert.equal(report.recent.length, 1);
  assert.deepEqual(report.recent[0]?.toldBy, ['source', 'destination']);
  assert.equal(report.difference, 'refused at 2026-11-21T08:01:02Z by shop/no-shopper; would be allowed now');
  assert.match(inWords(report), /LATELY .*\n2026-11-21T08:01:02Z {2}refused .*shop\/no-shopper/);
  assert.equal(JSON.parse(JSON.stringify(report)).recent[0].policy, 'shop/no-shopper');
});

test('a name without addresses is an answer, too', async () => {
  const world = mesh();
  world.dumps['ztunnel-a'] = () => dump([order], []);
  const report = await ask(world, 'order-1', 'ledger:80');
  assert.equal(report.outcome, 'refused');
  assert.match(inWords(report), /has no address: no ready pod is behind it/);
});
