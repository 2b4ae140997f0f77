// The README's tour, as a user types it: the shop in one command, then what the mesh promises, with real kubectl and
// real requests. One mesh for the whole file; each test leaves it as it found it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, type Ran, TestMesh } from './support/mesh.ts';

const NAMESPACE = 'ecommerce';
let mesh: TestMesh;

before(async () => {
  mesh = await TestMesh.up({ up: ['--wait', '60s'] });
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const get = (from: string, to: string): Promise<Ran> =>
  mesh.kubectl(['exec', '-n', NAMESPACE, `deploy/${from}`, '--', 'node', '/shop/shop.mjs', 'get', to]);
const allowed = async (from: string, to: string): Promise<true | undefined> => {
  const ran = await get(from, to);
  return ran.code === 0 && ran.stdout.startsWith('200') ? true : undefined;
};
const refused = async (from: string, to: string): Promise<true | undefined> => {
  const ran = await get(from, to);
  return /ECONNRESET|socket hang up/.test(ran.stdout) ? true : undefined;
};
const PAYMENTS = 'http://payment-service/payments';

test('every pod of the shop and of the mesh is ready', async () => {
  const { items } = JSON.parse(await mesh.kubectlOk(['get', 'pods', '-A', '-o', 'json'])) as {
    items: {
      metadata: { name: string; namespace: string };
      status: { conditions: { type: string; status: string }[] };
    }[];
  };
  assert.ok(items.filter((pod) => pod.metadata.namespace === NAMESPACE).length >= 7);
  const waiting = items.filter((pod) => !pod.status.conditions.some((c) => c.type === 'Ready' && c.status === 'True'));
  assert.deepEqual(
    waiting.map((pod) => pod.metadata.name),
    [],
  );
});

test('an allowed call gets 200, a refused one is reset, and `why` names the policy that refused', async () => {
  assert.ok(await allowed('shopper', 'http://order-service/orders'));
  assert.ok(await allowed('order-service', PAYMENTS));
  assert.ok(await refused('shopper', PAYMENTS));
  const why = await mesh.ambit(['why', '-n', NAMESPACE, 'deploy/shopper', 'payment-service:80', '-o', 'json']);
  assert.equal(why.code, 0, why.stderr);
  const answer = JSON.parse(why.stdout) as {
    outcome: string;
    answers: { words: string[]; source: { identity: string } }[];
  };
  assert.equal(answer.outcome, 'refused');
  assert.equal(answer.answers[0]?.source.identity, 'spiffe://cluster.local/ns/ecommerce/sa/shopper');
  assert.match(answer.answers[0]?.words.join('\n') ?? '', /ecommerce\/payment-callers/);
});

test('the refusal stands in the log of the node proxy, with both identities', async () => {
  await get('shopper', PAYMENTS);
  const line = await eventually('an access-log line of the refusal', async () => {
    const logs = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=200']);
    return logs
      .split('\n')
      .find(
        (l) =>
          l.includes('direction="inbound"') &&
          l.includes('allow policies exist, but none allowed') &&
          l.includes('payment-service'),
      );
  });
  assert.match(line, /src\.identity="spiffe:\/\/cluster\.local\/ns\/ecommerce\/sa\/shopper"/);
  assert.match(line, /dst\.identity="spiffe:\/\/cluster\.local\/ns\/ecommerce\/sa\/payment-service"/);
});

test('ztunnel-config lists the pods as HBONE', async () => {
  const ran = await mesh.ambit(['ztunnel-config', 'workloads', '-o', 'json', '--workload-namespace', NAMESPACE]);
  assert.equal(ran.code, 0, ran.stderr);
  const workloads = JSON.parse(ran.stdout) as { name: string; protocol: string }[];
  assert.ok(workloads.length >= 7);
  // The proxies of layer 7 are parts of the mesh themselves, and not captured.
  const proxies = /^(shop-istio|waypoint)-/;
  assert.deepEqual(
    workloads.filter((w) => w.protocol !== 'HBONE' && !proxies.test(w.name)).map((w) => w.name),
    [],
  );
});

test('the shop has a gateway on this machine, and a waypoint before its customers', async () => {
  const status = JSON.parse((await mesh.ambit(['status', '-o', 'json'])).stdout) as {
    gateways: { name: string; programmed: boolean; listeners: { url?: string }[] }[];
  };
  assert.deepEqual(
    status.gateways.map(({ name, programmed }) => [name, programmed]),
    [
      ['shop', true],
      ['waypoint', true],
    ],
  );
  const url = status.gateways[0]?.listeners[0]?.url ?? '';
  const products = await fetch(`${url}/products`);
  assert.equal(products.status, 200);
  assert.match(await products.text(), /lamp/);
  assert.equal((await fetch(`${url}/elsewhere`)).status, 404);
  assert.ok(await allowed('shopper', 'http://customer-service/customers'));
  assert.equal((await fetch(`${url}/customers/1`)).status, 200);
  assert.equal((await fetch(`${url}/customers/1`, { method: 'DELETE' })).status, 403, 'the waypoint lets read only');
  const why = await mesh.ambit([
    'why',
    '-n',
    NAMESPACE,
    'deploy/shopper',
    'customer-service',
    '-X',
    'DELETE',
    '--path',
    '/customers/1',
  ]);
  assert.match(why.stdout, /^refused:[\s\S]*rule 1 of ecommerce\/customer-readers wants methods: `GET`/, why.stderr);
  await eventually('the tunnel to the waypoint, in the log of the node proxy', async () => {
    const logs = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=300']);
    return /src\.workload="shopper-[^"]+".*dst\.service="customer-service[^"]*".*dst\.workload="waypoint-|dst\.workload="waypoint-[^"]+".*dst\.service="customer-service/.test(
      logs,
    );
  });
});

test('taking the namespace out of the mesh and back works on running pods', async () => {
  const uids = async (): Promise<string> =>
    mesh.kubectlOk(['get', 'pods', '-n', NAMESPACE, '-o', 'jsonpath={.items[*].metadata.uid}']);
  const before = await uids();
  await mesh.kubectlOk(['label', 'namespace', NAMESPACE, 'istio.io/dataplane-mode-']);
  await eventually('plaintext to payment, which nobody judges any more', () => allowed('shopper', PAYMENTS));
  await mesh.kubectlOk(['label', 'namespace', NAMESPACE, 'istio.io/dataplane-mode=ambient']);
  await eventually('the refusal is back', () => refused('shopper', PAYMENTS));
  await eventually('the allowed call works', () => allowed('order-service', PAYMENTS));
  assert.equal(await uids(), before);
});

test('a changed policy is enforced at once', async () => {
  const policy = (principal: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: payment-callers, namespace: ${NAMESPACE} }
spec:
  selector: { matchLabels: { app: payment-service } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [${principal}] } }] }]
`;
  await mesh.kubectlOk(['apply', '-f', '-'], { input: policy('cluster.local/ns/ecommerce/sa/shopper') });
  await eventually('shopper may pay', () => allowed('shopper', PAYMENTS), 5000);
  await eventually('orders may not', () => refused('order-service', PAYMENTS), 5000);
  await mesh.kubectlOk(['apply', '-f', '-'], { input: policy('cluster.local/ns/ecommerce/sa/order-service') });
  await eventually('orders may pay again', () => allowed('order-service', PAYMENTS), 5000);
  await eventually('shopper may not', () => refused('shopper', PAYMENTS), 5000);
});

test('replacing every ztunnel under steady requests loses none', async () => {
  const script = `
    import http from 'node:http';
    let ok = 0, bad = [];
    const one = () => new Promise((r) => http.get('http://product-service/products', { agent: false, timeout: 8000 }, (s) => { s.resume(); s.on('end', () => { ok++; r(); }); s.on('error', (e) => { bad.push(e.message); r(); }); }).on('error', (e) => { bad.push(e.message); r(); }));
    const end = Date.now() + Number(process.argv.at(-1));
    while (Date.now() < end) await one();
    console.log(JSON.stringify({ ok, bad }));`;
  const load = mesh.kubectl(
    ['exec', '-n', NAMESPACE, 'deploy/shopper', '--', 'node', '--input-type=module', '-e', script, '15000'],
    { timeoutMs: 60_000 },
  );
  await mesh.kubectlOk(['rollout', 'restart', 'daemonset/ztunnel', '-n', 'istio-system']);
  await mesh.kubectlOk(['rollout', 'status', 'daemonset/ztunnel', '-n', 'istio-system', '--timeout=60s'], {
    timeoutMs: 70_000,
  });
  const { stdout, stderr } = await load;
  const { ok, bad } = JSON.parse(stdout || `{"ok":0,"bad":["${stderr}"]}`) as { ok: number; bad: string[] };
  assert.ok(ok > 100, `only ${ok} requests`);
  assert.deepEqual(bad, []);
});

test('`up` on the running mesh changes nothing and says what runs', async () => {
  const settings = ['-n', 'istio-system', 'configmap/istio'];
  await mesh.kubectlOk(['patch', ...settings, '--type=merge', '-p', '{"data":{"mesh":"enableTracing: false\\n"}}']);
  const ran = await mesh.ambit(['up', '--detach', '--wait', '60s']);
  assert.equal(ran.code, 0, ran.stderr);
  const kept = await mesh.kubectlOk(['get', ...settings, '-o', 'jsonpath={.data.mesh}']);
  assert.equal(kept.trim(), 'enableTracing: false', 'settings that were edited stay');
});

test('status shows the whole as JSON', async () => {
  const ran = await mesh.ambit(['status', '-o', 'json']);
  assert.equal(ran.code, 0, ran.stderr);
  const status = JSON.parse(ran.stdout) as {
    running: boolean;
    nodes: unknown[];
    services: { name: string; inMesh: boolean }[];
  };
  assert.equal(status.running, true);
  assert.equal(status.nodes.length, 2);
  assert.ok(status.services.some((s) => s.name === 'payment-service' && s.inMesh));
});
