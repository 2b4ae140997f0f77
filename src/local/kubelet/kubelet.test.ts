// Real pods on a real node, over the embedded API in memory, in a room of the test's own.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CONFIG_MAPS, EVENTS, NODES, PODS } from '../../kube/client/resources.ts';
import type { KubeClient } from '../../kube/client/types.ts';
import { EmbeddedApi } from '../../kube/server/embedded.ts';
import { mountTmpfs, shareMounts } from '../../platform/linux/mounts.ts';
import { runInUserNamespace } from '../../platform/linux/testing.ts';
import { makeFabric, NodeNetwork } from '../network/node-network.ts';
import { type Kubelet, startKubelet } from './kubelet.ts';
import type { Pod, PodSpec } from './types.ts';

const INSIDE = 'AMBIT_TEST_IN_USER_NAMESPACE';
const root = join(import.meta.dirname, '../../..');

if (process.env[INSIDE] === undefined)
  test('in a room of its own', () => runInUserNamespace([], [import.meta.filename]));
else define();

function define(): void {
  let client: KubeClient;
  let kubelet: Kubelet;
  let stateDir: string;
  let node: NodeNetwork;
  let api: EmbeddedApi;

  const create = (
    name: string,
    spec: Partial<PodSpec> & Pick<PodSpec, 'containers'>,
    labels: Record<string, string> = {},
  ): Promise<Pod> =>
    client.create<Pod>(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', labels },
      spec: { nodeName: 'node-1', terminationGracePeriodSeconds: 1, ...spec },
    });
  const get = (name: string): Promise<Pod | undefined> => client.get(PODS, name, 'default');
  const until = async (name: string, holds: (pod: Pod) => boolean, ms = 10_000): Promise<Pod> => {
    const deadline = Date.now() + ms;
    for (;;) {
      const pod = await get(name);
      if (pod !== undefined && holds(pod)) return pod;
      if (Date.now() > deadline) {
        const { items } = await client.list(EVENTS, { namespace: 'default' });
        const told = items
          .filter((event) => event.involvedObject.name === name)
          .map((event) => `${event.reason}: ${event.message}`);
        assert.fail(`pod ${name} is not as wanted: ${JSON.stringify(pod?.status, undefined, 1)}\n${told.join('\n')}`);
      }
      await delay(10);
    }
  };
  const isReady = (pod: Pod): boolean =>
    pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  const logOf = (pod: Pod, container: string, attempt = 0): string => {
    const file = join(
      stateDir,
      'logs/pods',
      `default_${pod.metadata?.name}_${pod.metadata?.uid}`,
      container,
      `${attempt}.log`,
    );
    return existsSync(file) ? readFileSync(file, 'utf8').replace(/^\S+ (stdout|stderr) F /gm, '') : '';
  };
  const shell = (script: string, more: Partial<PodSpec['containers'][number]> = {}): PodSpec['containers'][number] => ({
    name: 'main',
    image: 'busybox',
    command: ['sh', '-c', script],
    ...more,
  });

  before(async () => {
    mountTmpfs('/run');
    mkdirSync('/run/netns');
    shareMounts('/run/netns');
    makeFabric();
    node = NodeNetwork.create('node-1', 1);
    stateDir = join(mkdtempSync(join(tmpdir(), 'ambit-kubelet-')), 'test');
    api = new EmbeddedApi({ path: ':memory:' });
    client = withTokens(api.client('test'));
    await client.create(CONFIG_MAPS, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'kube-root-ca.crt', namespace: 'default' },
      data: { 'ca.crt': 'CA' },
    });
    kubelet = await startKubelet({
      node,
      client,
      stateDir,
      images: [],
      packageRoot: root,
      nodeExecutable: process.execPath,
    });
  });
  after(async () => {
    await kubelet.stop();
    api.close();
  });

  test('the node is registered with labels, addresses and readiness', async () => {
    const found = await client.get(NODES, 'node-1');
    assert.equal(found?.metadata?.labels?.['kubernetes.io/hostname'], 'node-1');
    assert.equal(found?.spec?.podCIDR, '10.244.1.0/24');
    assert.equal(found?.status?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
    assert.equal(found?.status?.addresses?.[0]?.address, '172.31.1.1');
  });

  test('a pod runs with an address, a name, files of its own and a log', async () => {
    await create('plain', {
      containers: [
        shell(
          'hostname; cat /etc/hostname; head -1 /etc/resolv.conf; hostname -i 2>/dev/null; tail -1 /etc/hosts; ls /tmp | wc -l; sleep 100',
        ),
      ],
    });
    const pod = await until('plain', isReady);
    assert.equal(pod.status?.phase, 'Running');
    assert.match(pod.status?.podIP ?? '', /^10\.244\.1\.\d+$/);
    await delay(100);
    const lines = logOf(pod, 'main').split('\n');
    assert.deepEqual(lines.slice(0, 3), [
      'plain',
      'plain',
      'search default.svc.cluster.local svc.cluster.local cluster.local',
    ]);
    assert.ok(lines.includes(`${pod.status?.podIP}\tplain`), lines.join('|'));
  });
}

/** The client inside the process signs no tokens. */
function withTokens(client: KubeClient): KubeClient {
  const create: KubeClient['create'] = async (resource, object, options) => {
    if (options?.subresource !== 'token') return client.create(resource, object, options);
    const wish = object as { spec?: { audiences?: string[]; boundObjectRef?: { name?: string } } };
    const token = `token-of-${wish.spec?.boundObjectRef?.name}-for-${wish.spec?.audiences?.join()}`;
    return { ...object, status: { token, expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() } };
  };
  return new Proxy(client, {
    get: (target, key) => (key === 'create' ? create : Reflect.get(target, key).bind(target)),
  });
}
