// What the control plane writes, against the embedded API: its server-side apply, its schemas, its pages.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { IService } from 'kubernetes-models/v1/Service';
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  NAMESPACES,
  SECRETS,
  SERVICE_ENTRIES,
  SERVICES,
} from '../kube/client/resources.ts';
import type { KubeClient, KubeObject } from '../kube/client/types.ts';
import { EmbeddedApi } from '../kube/server/embedded.ts';
import { systemClock } from '../platform/clock.ts';
import { readConfig } from './config.ts';
import { startControl } from './control.ts';
import { SYSTEM, until } from './testing/control.ts';

const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }) as const;
const service = (name: string, labels: Record<string, string> = {}): IService => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', labels },
  spec: { ports: [{ port: 80 }] },
});

/** A control plane over a fresh embedded API with the namespace `shop`. */
async function start(t: TestContext, prepare: (kube: KubeClient) => Promise<void> = async () => {}) {
  const api = new EmbeddedApi({ path: ':memory:' });
  const kube = api.client('test');
  for (const name of [SYSTEM, 'shop']) await kube.create(NAMESPACES, namespace(name));
  await prepare(kube);
  const address = '127.0.0.1:0';
  const config = readConfig(
    { secureGRPCAddr: address, httpAddr: address, monitoringAddr: address },
    { POD_NAME: 'istiod' },
    2,
    'host',
  );
  assert.ok(config.ok);
  const control = await startControl({
    config: config.value,
    kube: api.client('istiod'),
    clock: systemClock,
    version: 't',
  });
  t.after(async () => {
    await control.stop();
    api.close();
  });
  const metric = async (name: string): Promise<string | undefined> => {
    const text = await (await fetch(`http://127.0.0.1:${control.ports.metrics}/metrics`)).text();
    return new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1];
  };
  return { kube, metric };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}
const conditionsOf = (object: KubeObject | undefined): readonly Condition[] =>
  (object as { status?: { conditions?: Condition[] } } | undefined)?.status?.conditions ?? [];

test('everything of a list of many pages is seen', async (t) => {
  const { metric } = await start(t, async (kube) => {
    for (let i = 0; i < 1100; i++) await kube.create(SERVICES, service(`s${i}`));
  });
  const services = Number(await metric('pilot_services'));
  assert.ok(services >= 1100, `${services} services`);
});

test('conditions come, change and go by server-side apply, and leave others alone', async (t) => {
  const { kube } = await start(t);
  await kube.create(SERVICES, service('web', { 'istio.io/use-waypoint': 'wp' }));
  const other = {
    type: 'example.com/Other',
    status: 'True',
    reason: 'Other',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  await kube.patch(
    SERVICES,
    'web',
    'shop',
    'apply',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'shop' },
      status: { conditions: [other] },
    },
    { subresource: 'status', fieldManager: 'somebody' },
  );
  const types = (wanted: readonly string[]) =>
    until(async () => {
      const found = conditionsOf(await kube.get(SERVICES, 'web', 'shop')).map(
        ({ type, reason }) => `${type} ${reason}`,
      );
      return JSON.stringify(found.sort()) === JSON.stringify(wanted) || undefined;
    });
  await types(['example.com/Other Other', 'istio.io/WaypointBound WaypointIsNotReady']);
  await kube.patch(SERVICES, 'web', 'shop', 'merge', { metadata: { labels: { 'istio.io/use-waypoint': null } } });
  await types(['example.com/Other Other']);
});

test('a policy that moves from workloads to a waypoint changes its condition', async (t) => {
  const { kube } = await start(t);
  await kube.create(AUTHORIZATION_POLICIES, {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { rules: [{}] },
  });
  const only = (type: string) =>
    until(async () => {
      const found = conditionsOf(await kube.get(AUTHORIZATION_POLICIES, 'p', 'shop'));
      return found.length === 1 && found[0]?.type === type ? found[0] : undefined;
    });
  assert.equal((await only('ZtunnelAccepted')).reason, 'Accepted');
  await kube.patch(AUTHORIZATION_POLICIES, 'p', 'shop', 'merge', {
    spec: { targetRefs: [{ kind: 'Service', group: '', name: 'web' }] },
  });
  assert.equal((await only('WaypointAccepted')).reason, 'TargetNotFound');
});

test('a ServiceEntry keeps the addresses that it is given', async (t) => {
  const { kube } = await start(t);
  await kube.create(SERVICE_ENTRIES, {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'bank', namespace: 'shop' },
    spec: { hosts: ['bank.example'], resolution: 'DNS', ports: [{ number: 443, name: 'tls', protocol: 'TLS' }] },
  });
  const addresses = await until(async () => {
    const found = (await kube.get(SERVICE_ENTRIES, 'bank', 'shop')) as { status?: { addresses?: { value: string }[] } };
    return found.status?.addresses;
  });
  assert.match(addresses[0]?.value ?? '', /^240\.240\./);
});

test('roots, authority and lease are where users look for them', async (t) => {
  const { kube } = await start(t);
  const roots = await until(
    async () => (await kube.get(CONFIG_MAPS, 'istio-ca-root-cert', 'shop'))?.data?.['root-cert.pem'],
  );
  const secret = await kube.get(SECRETS, 'istio-ca-secret', SYSTEM);
  assert.equal(Buffer.from(secret?.data?.['ca-cert.pem'] ?? '', 'base64').toString(), roots);
  assert.equal(secret?.type, 'istio.io/ca-root');
  await until(() => kube.get(SECRETS, 'istio-ca-trust', SYSTEM));
});
