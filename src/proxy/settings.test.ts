import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSettings } from './settings.ts';

const ENV = {
  POD_NAME: 'shop-istio-6fvb8df-zznxg',
  POD_NAMESPACE: 'ecommerce',
  INSTANCE_IP: '10.244.1.7',
  SERVICE_ACCOUNT: 'shop-istio',
  NODE_NAME: 'node-1',
  GATEWAY_NAME: 'shop',
  XDS_ADDRESS: 'https://istiod.istio-system.svc:15012',
  CA_ADDRESS: 'https://istiod.istio-system.svc:15012',
  ISTIO_META_CLUSTER_ID: 'east',
  ISTIO_META_ISTIO_VERSION: '1.2.3',
  ISTIO_META_WORKLOAD_NAME: 'shop-istio',
  TERMINATION_GRACE_PERIOD_SECONDS: '30',
};
const parse = (env: Record<string, string | undefined>, command: 'waypoint' | 'router' = 'router') =>
  parseSettings({ command, env, exists: () => true });

test('a pod of a gateway', () => {
  const settings = parse(ENV);
  assert.ok(settings.ok);
  const { role, identity, workloadName, gatewayName, xds, drain, clusterId, ports } = settings.value;
  assert.equal(role, 'gateway');
  assert.deepEqual(identity, { trustDomain: 'cluster.local', namespace: 'ecommerce', serviceAccount: 'shop-istio' });
  assert.deepEqual([workloadName, gatewayName, clusterId], ['shop-istio', 'shop', 'east']);
  assert.equal(xds.node.id, 'router~10.244.1.7~shop-istio-6fvb8df-zznxg.ecommerce~ecommerce.svc.cluster.local');
  assert.equal(xds.node.metadata.GATEWAY_NAME, 'shop');
  assert.equal(xds.node.metadata.NAMESPACE, 'ecommerce');
  assert.equal(xds.node.metadata.ISTIO_VERSION, '1.2.3');
  assert.equal(drain.announceMs + drain.deadlineMs, 25_000, 'the grace period, less what the end itself takes');
  assert.deepEqual(ports, { hbone: 15008, admin: 15000, metrics: 15020, readiness: 15021 });
  const waypoint = parse(ENV, 'waypoint');
  assert.ok(waypoint.ok && waypoint.value.role === 'waypoint' && waypoint.value.xds.node.id.startsWith('waypoint~'));
});

test('every problem is named at once', () => {
  const settings = parse({ ...ENV, POD_NAME: undefined, INSTANCE_IP: 'nowhere', XDS_ADDRESS: '', LOG_FORMAT: 'xml' });
  assert.ok(!settings.ok);
  for (const name of ['POD_NAME', 'INSTANCE_IP', 'XDS_ADDRESS', 'LOG_FORMAT'])
    assert.ok(
      settings.error.some((problem) => problem.includes(name)),
      name,
    );
});

test('a token is never repeated', () => {
  const settings = parseSettings({
    command: 'router',
    env: { ...ENV, AUTH_TOKEN: 'secret token' },
    exists: () => false,
  });
  assert.ok(!settings.ok && !settings.error.some((problem) => problem.includes('secret token')));
});
