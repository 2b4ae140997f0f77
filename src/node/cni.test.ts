// The CNI plugin's function against the agent's endpoint, over a real socket.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import fc from 'fast-check';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { NAMESPACES, PODS } from '../kube/client/resources.ts';
import { MemoryKubeClient } from '../kube/testing/memory-client.ts';
import type { Ip } from '../model/ip.ts';
import { ManualClock } from '../platform/clock.ts';
import { Netns } from '../platform/linux/netns.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { configureLogging, logger } from '../telemetry/log.ts';
import type { StartingPod } from './agent.ts';
import { type CniAddEvent, formatCniAdd, parseCniAdd } from './cni-event.ts';
import { startCniServer } from './cni-server.ts';
import { cniAdd } from './plugin.ts';

configureLogging({ filter: 'off' });
const folder = mkdtempSync(join(tmpdir(), 'ambit-cni-'));
after(() => rmSync(folder, { recursive: true }));

const mode = (value: string): Record<string, string> => ({ 'istio.io/dataplane-mode': value });

const event: CniAddEvent = {
  netns: '/var/run/netns/cni-1',
  name: 'shopper-1',
  namespace: 'shop',
  ips: ['10.244.1.5', 'fd00::5'] as Ip[],
};

test('the event is written and read as Istio`s plugin writes it', () => {
  const istio =
    '{"Netns":"/var/run/netns/cni-1","PodName":"shopper-1","PodNamespace":"shop","IPs":[{"Interface":0,"Address":{"IP":"10.244.1.5","Mask":"////AA=="},"Gateway":"10.244.1.1"},{"Interface":null,"Address":{"IP":"fd00::5","Mask":"/////////////////////w=="},"Gateway":""}]}';
  assert.deepEqual(parseCniAdd(istio), { ok: true, value: event });
  assert.deepEqual(parseCniAdd(formatCniAdd(event)), { ok: true, value: event });
  assert.equal(JSON.parse(formatCniAdd(event)).IPs[0].Address.Mask, '/////w==');
});

for (const [change, why] of [
  [{ Netns: 'relative' }, /Netns/],
  [{ Netns: '/a\0b' }, /Netns/],
  [{ PodName: '../x' }, /PodName/],
  [{ PodNamespace: '' }, /PodNamespace/],
  [{ IPs: [] }, /no address/],
  [{ IPs: [{ Address: { IP: 'ten' } }] }, /`ten` is not an address/],
] as const)
  test(`an event with ${JSON.stringify(change)} is refused`, () => {
    const parsed = parseCniAdd(JSON.stringify({ ...JSON.parse(formatCniAdd(event)), ...change }));
    assert.match(parsed.ok ? '' : parsed.error, why);
  });

test('any text is read or refused, never thrown at', () =>
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => typeof parseCniAdd(text).ok === 'boolean')));

function cluster(): MemoryKubeClient {
  const client = new MemoryKubeClient();
  client.put(NAMESPACES, {
    metadata: { name: 'shop', labels: mode('ambient') },
  } as INamespace);
  client.put(NAMESPACES, { metadata: { name: 'plain' } } as INamespace);
  for (const namespace of ['shop', 'plain'])
    client.put(PODS, { metadata: { name: 'shopper-1', namespace, uid: namespace } } as IPod);
  return client;
}

function post(socketPath: string, method: string, path: string, body: string): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method, agent: false }, async (response) => {
      let text = '';
      for await (const part of response) text += part;
      resolve([response.statusCode ?? 0, text]);
    });
    call.on('error', reject);
    call.end(body);
  });
}

namespacedTests(import.meta.url, () => {
  const socketPath = join(folder, 'run', 'pluginevent.sock');
  const netnsPath = join(folder, 'netns', 'cni-1');

  afterEach(() => Netns.remove(netnsPath));

  /** The endpoint with what it was told; `outcome` is the agent's verdict. */
  async function endpoint(outcome: () => Promise<boolean>) {
    const told: StartingPod[] = [];
    const server = await startCniServer({
      path: socketPath,
      hostPrefix: folder,
      netnsFolders: ['/nowhere', join(folder, 'netns')],
      podStarting: (pod) => {
        told.push(pod);
        pod.netns.close();
        return outcome();
      },
      log: logger('test'),
    });
    return { told, close: () => new Promise((resolve) => server.close(resolve)) };
  }

  test('a pod of the mesh is reported to the agent, with its namespace opened below the host`s root', async () => {
    Netns.createAt(netnsPath).close();
    const agent = await endpoint(async () => true);
    assert.equal(statSync(socketPath).mode & 0o777, 0o600);
    const added = await cniAdd({ ...event, netns: '/netns/cni-1' }, { client: cluster(), socketPath });
    assert.deepEqual(added, { enrolled: true });
    const elsewhere = { ...event, netns: '/run/containerd/netns/cni-1' };
    assert.deepEqual(await cniAdd(elsewhere, { client: cluster(), socketPath }), { enrolled: true });
    assert.deepEqual(
      agent.told.map(({ name, namespace, ips }) => ({ name, namespace, ips })),
      Array(2).fill({ name: 'shopper-1', namespace: 'shop', ips: event.ips }),
    );
    await agent.close();
  });

  test('pods that are not in the mesh never reach the agent', async () => {
    const client = cluster();
    const options = { client, socketPath: '/nowhere' };
    const add = (changes: Partial<CniAddEvent>) => cniAdd({ ...event, ...changes }, options);
    assert.deepEqual(await add({ namespace: 'plain' }), {
      enrolled: false,
      why: 'neither it nor its namespace is labelled `istio.io/dataplane-mode: ambient`',
    });
    const before = client.requests.length;
    assert.equal((await add({ namespace: 'kube-system' })).enrolled, false);
    assert.equal((await add({ namespace: 'istio-system', name: 'istio-cni-node-x7k2p' })).enrolled, false);
    assert.equal(client.requests.length, before, 'decided without asking');
    await assert.rejects(add({ namespace: 'shop' }), /the node agent does not answer at `\/nowhere`/);
  });

  test('an agent that fails keeps the pod from starting, with its reason', async () => {
    Netns.createAt(netnsPath).close();
    const agent = await endpoint(async () => {
      throw new Error('no node proxy is connected');
    });
    const options = { client: cluster(), socketPath };
    await assert.rejects(
      cniAdd({ ...event, netns: '/netns/cni-1' }, options),
      /no node proxy is connected \(status 500\)/,
    );
    await assert.rejects(cniAdd({ ...event, netns: '/netns/absent' }, options), /not opened.*ENOENT/);
    await agent.close();
  });

  test('a pod that the API does not know yet is waited for, half a minute at most', async () => {
    const client = cluster();
    client.remove(PODS, 'shopper-1', 'shop');
    const clock = new ManualClock();
    const options = { client, socketPath: '/nowhere', clock };
    const pass = async (seconds: number): Promise<void> => {
      for (let i = 0; i < seconds; i++) {
        while (clock.waiting === 0) await new Promise(setImmediate);
        clock.advance(1000);
      }
    };
    const late = cniAdd(event, options);
    await pass(2);
    client.put(PODS, {
      metadata: { name: 'shopper-1', namespace: 'shop', labels: mode('none') },
    } as IPod);
    clock.advance(1000);
    assert.equal((await late).enrolled, false);
    client.remove(PODS, 'shopper-1', 'shop');
    const never = assert.rejects(cniAdd(event, options), /`shop\/shopper-1` does not exist/);
    await pass(29);
    await never;
    const given = { ...options, pod: { metadata: { namespace: 'plain' } } as IPod };
    const asked = client.requests.length;
    assert.equal((await cniAdd({ ...event, namespace: 'plain' }, given)).enrolled, false);
    assert.deepEqual(
      client.requests.slice(asked).map(({ plural }) => plural),
      ['namespaces'],
    );
  });

  test('the endpoint answers only what it is for, and bounds what it reads', async () => {
    writeFileSync(join(folder, 'plain-file'), '');
    const agent = await endpoint(async () => true);
    assert.equal((await post(socketPath, 'GET', '/cmdadd', ''))[0], 405);
    assert.equal((await post(socketPath, 'POST', '/cmddel', '{}'))[0], 404);
    assert.deepEqual(await post(socketPath, 'POST', '/cmdadd', 'no json'), [400, 'the request is not JSON']);
    assert.equal((await post(socketPath, 'POST', '/cmdadd', ' '.repeat(70_000)))[0], 413);
    const noNamespace = formatCniAdd({ ...event, netns: '/plain-file' });
    const [status, why] = await post(socketPath, 'POST', '/cmdadd', noNamespace);
    assert.equal(status, 500);
    assert.match(why, /not a network namespace/);
    assert.deepEqual(agent.told, []);
    await agent.close();
  });

  test('a socket that an earlier agent left is replaced', async () => {
    const first = await endpoint(async () => true);
    const second = await endpoint(async () => true);
    assert.equal((await post(socketPath, 'GET', '/cmdadd', ''))[0], 405);
    await Promise.all([first.close(), second.close()]);
    assert.ok(!existsSync(socketPath));
  });
});
