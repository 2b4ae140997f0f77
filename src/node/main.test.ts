// The agent as a process, against the embedded API over TLS, with a proxy at its socket.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { connectKube } from '../kube/client/client.ts';
import { NAMESPACES, PODS } from '../kube/client/resources.ts';
import type { KubeClient } from '../kube/client/types.ts';
import { startApi } from '../kube/server/server.ts';
import type { Ip } from '../model/ip.ts';
import { Links } from '../platform/linux/links.ts';
import { Netns } from '../platform/linux/netns.ts';
import { listNft } from '../platform/linux/nft.ts';
import { SeqpacketConnection } from '../platform/linux/seqpacket.ts';
import { connectTcp, listenTcp } from '../platform/linux/sockets.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { configureLogging } from '../telemetry/log.ts';
import { decodeRequest, encodeAck, encodeHello } from '../wire/zds/messages.ts';
import { cniAdd } from './plugin.ts';

configureLogging({ filter: 'off' });
const folder = mkdtempSync(join(tmpdir(), 'ambit-agent-'));
after(() => rmSync(folder, { recursive: true }));
const main = join(import.meta.dirname, 'main.ts');
const environment = {
  PATH: process.env.PATH ?? '',
  NODE_NAME: 'node-1',
  AMBIT_TEST: '1',
  AMBIENT_ENABLED: 'true',
  KUBECONFIG: join(folder, 'state', 'kubeconfig'),
  ZTUNNEL_UDS_ADDRESS: join(folder, 'ztunnel.sock'),
  CNI_AGENT_RUN_DIR: join(folder, 'cni'),
  CNI_NETNS_DIR: join(folder, 'netns'),
};

/** A proxy that takes every pod and notes what it is told. */
class NodeProxy {
  readonly told: string[] = [];
  readonly #connection: SeqpacketConnection;

  constructor(connection: SeqpacketConnection) {
    this.#connection = connection;
    void this.#serve();
  }

  async #serve(): Promise<void> {
    await this.#connection.send(encodeHello());
    for (;;) {
      const packet = await this.#connection.receive().catch(() => undefined);
      if (packet === undefined) return;
      const request = decodeRequest(packet.data);
      assert.ok(request.ok);
      const netns = packet.fd === undefined ? '' : ` ${Netns.fromFd(packet.fd)[Symbol.dispose]() ?? 'with netns'}`;
      this.told.push(`${request.value.kind}${'pod' in request.value ? ` ${request.value.pod?.name}${netns}` : ''}`);
      await this.#connection.send(encodeAck({ error: undefined }));
    }
  }

  close(): void {
    this.#connection.close();
  }
}

async function until<T>(attempt: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const end = performance.now() + 15_000;
  for (;;) {
    const result = await attempt();
    if (result !== undefined && result !== false) return result;
    assert.ok(performance.now() < end, 'in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function get(netns: Netns, port: number, path: string): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    const createConnection = () => connectTcp(netns, { destination: { ip: '127.0.0.1' as Ip, port } });
    const call = request({ path, createConnection }, async (response) => {
      let body = '';
      for await (const part of response) body += part;
      resolve({ status: response.statusCode ?? 0, body });
    });
    call.on('error', () => resolve(undefined));
    call.end();
  });
}

const mode = (value: string): Record<string, string> => ({ 'istio.io/dataplane-mode': value });

async function createPod(client: KubeClient, name: string, ip: string | undefined): Promise<string> {
  const pod = await client.create(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop' },
    spec: { nodeName: 'node-1', containers: [{ name: 'main', image: 'echo' }] },
  } as IPod);
  const status = { phase: 'Running', ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }) };
  await client.patch(PODS, name, 'shop', 'merge', { status }, { subresource: 'status' });
  return pod.metadata?.uid ?? '';
}

namespacedTests(import.meta.url, () => {
  test('a life of the agent: take in, serve, stop, come back, let go', async (t) => {
    using home = Netns.current();
    using node = Netns.create();
    for (const netns of [home, node]) {
      using links = new Links(netns);
      links.up('lo');
    }
    const api = await startApi(
      {
        stateDir: join(folder, 'state'),
        meshName: 'default',
        listenFd: listenTcp(node, { ip: '127.0.0.1' as Ip, port: 0 }),
        hostPort: undefined,
        listen: { host: '127.0.0.1', port: 0 },
        roomKubeconfig: join(folder, 'kubeconfig'),
        kubeletDir: folder,
        database: ':memory:',
      },
      { controllers: false },
    );
    t.after(() => api.stop());
    const client = await connectKube({ kubeconfig: join(folder, 'kubeconfig') });
    t.after(() => client.close());
    await client.create(NAMESPACES, { metadata: { name: 'shop' } } as INamespace);
    const uid = await createPod(client, 'running', '10.0.0.5');
    const path = (of: string): string => join(folder, 'netns', `pod-${of}`);
    using running = Netns.createAt(path(uid));
    t.after(() => Netns.remove(path(uid)));

    let output = '';
    const start = async (): Promise<ChildProcess> => {
      const child = node.run(() =>
        spawn(process.execPath, [main], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] }),
      );
      child.stdout?.on('data', (text) => {
        output += text;
      });
      t.after(() => child.kill('SIGKILL'));
      await until(async () => (await get(node, 8000, '/readyz'))?.status === 200);
      return child;
    };
    const stop = async (child: ChildProcess): Promise<void> => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      assert.deepEqual(await ended, [0, null], output);
    };
    const redirection = async (name: string): Promise<string | undefined> =>
      (await client.get(PODS, name, 'shop'))?.metadata?.annotations?.['ambient.istio.io/redirection'];
    const isCaptured = async (netns: Netns): Promise<boolean> => (await listNft(netns)).includes('redirect to :15001');

    const first = await start();
    const proxy = new NodeProxy(SeqpacketConnection.connect(environment.ZTUNNEL_UDS_ADDRESS));
    t.after(() => proxy.close());
    await until(() => proxy.told.length === 1);
    const labelled = performance.now();
    await client.patch(NAMESPACES, 'shop', undefined, 'merge', { metadata: { labels: mode('ambient') } });
    await until(async () => (await redirection('running')) === 'enabled');
    t.diagnostic(`label to enrolled: ${(performance.now() - labelled).toFixed(0)} ms`);
    assert.equal(await isCaptured(running), true);
    const started = await createPod(client, 'starting', undefined);
    using starting = Netns.createAt(path(started));
    t.after(() => Netns.remove(path(started)));
    const socketPath = join(environment.CNI_AGENT_RUN_DIR, 'pluginevent.sock');
    const event = { netns: path(started), name: 'starting', namespace: 'shop', ips: ['10.0.0.6' as Ip] };
    assert.deepEqual(await cniAdd(event, { client, socketPath }), { enrolled: true });
    assert.equal(await redirection('starting'), 'enabled');
    assert.deepEqual(proxy.told, ['snapshotSent', 'add running with netns', 'add starting with netns']);
    assert.match(await listNft(node), /10\.0\.0\.5 comment "[0-9a-f-]+", 10\.0\.0\.6/);
    const metrics = await get(node, 15_014, '/metrics');
    assert.match(metrics?.body ?? '', /^ztunnel_connected 1$/m);
    assert.match(metrics?.body ?? '', /^istio_cni_ambient_pods\{state="enrolled"\} 2$/m);

    await stop(first);
    proxy.close();
    assert.equal(await isCaptured(running), true, 'the agent leaves pods captured');
    assert.equal(await redirection('running'), 'enabled');
    const second = await start();
    const successor = new NodeProxy(SeqpacketConnection.connect(environment.ZTUNNEL_UDS_ADDRESS));
    t.after(() => successor.close());
    await until(() => successor.told.length === 3);
    assert.deepEqual(successor.told.toSorted(), ['add running with netns', 'add starting with netns', 'snapshotSent']);
    await client.patch(PODS, 'running', 'shop', 'merge', { metadata: { labels: mode('none') } });
    await until(async () => (await redirection('running')) === undefined);
    assert.equal(await isCaptured(running), false);
    assert.equal(await isCaptured(starting), true);
    // An event is written after the annotation, by nobody who waits for it.
    await until(async () => {
      const events = JSON.parse(await client.text('/api/v1/namespaces/shop/events')) as { items: { reason: string }[] };
      const reasons = events.items.map((item) => item.reason).toSorted();
      return reasons.join(' ') === 'AmbientEnrolled AmbientEnrolled AmbientUnenrolled';
    });
    await stop(second);
    successor.close();
    assert.match(output, /\tinfo\tagent\tready\tnode="?node-1/);
    assert.doesNotMatch(output, /\terror\t/);
  });

  test('settings that cannot be used end the start, each with its reason', async () => {
    const env = { ...environment, NODE_NAME: '', AMBIENT_IPV6: 'perhaps' };
    const child = spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (text) => {
      output += text;
    });
    assert.deepEqual(await once(child, 'close'), [2, null]);
    assert.match(output, /NODE_NAME is not set/);
    assert.match(output, /AMBIENT_IPV6/);
  });

  test('an agent that is not to capture anything is alive, not ready, and leaves the node alone', async (t) => {
    using node = Netns.create();
    using links = new Links(node);
    links.up('lo');
    const env = { ...environment, AMBIENT_ENABLED: 'false' };
    const child = node.run(() => spawn(process.execPath, [main], { env, stdio: 'ignore' }));
    t.after(() => child.kill('SIGKILL'));
    await until(async () => (await get(node, 8000, '/healthz'))?.status === 200);
    assert.equal((await get(node, 8000, '/readyz'))?.status, 503);
    assert.equal((await listNft(node)).trim(), '');
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  });
});
