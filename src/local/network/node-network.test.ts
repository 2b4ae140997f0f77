// Two nodes with pods, in namespaces of the test's own: who reaches whom, and services through the rules.

import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import type { Ip } from '../../model/ip.ts';
import { mountTmpfs } from '../../platform/linux/mounts.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { applyNft } from '../../platform/linux/nft.ts';
import { connectTcp, listenTcp, serve } from '../../platform/linux/sockets.ts';
import { runInUserNamespace } from '../../platform/linux/testing.ts';
import { makeFabric, NodeNetwork, type PodSandbox } from './node-network.ts';
import { serviceRules } from './service-rules.ts';

const INSIDE = 'AMBIT_TEST_IN_USER_NAMESPACE';

if (process.env[INSIDE] === undefined)
  test('in namespaces of its own', () => runInUserNamespace([], [import.meta.filename]));
else define();

function define(): void {
  let nodes: NodeNetwork[];
  let one: PodSandbox;
  let two: PodSandbox;
  let beside: PodSandbox;
  const servers: Server[] = [];
  const greet = async (netns: Netns, port: number, name: string): Promise<void> => {
    const server = createServer((socket) => socket.end(`${name} ${socket.remoteAddress}`));
    await serve(server, listenTcp(netns, { ip: '0.0.0.0' as Ip, port }));
    servers.push(server);
  };
  const ask = (from: Netns, ip: string, port: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTcp(from, { destination: { ip: ip as Ip, port } });
      let text = '';
      socket.on('data', (chunk) => (text += chunk));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });

  before(async () => {
    mountTmpfs('/run');
    makeFabric();
    nodes = [await NodeNetwork.create('node-1', 1), await NodeNetwork.create('node-2', 2)];
    NodeNetwork.connect(nodes);
    one = await (nodes[0] as NodeNetwork).addPod('uid-one');
    two = await (nodes[1] as NodeNetwork).addPod('uid-two');
    beside = await (nodes[0] as NodeNetwork).addPod('uid-beside');
    await greet(one.netns, 8080, 'one');
    await greet(two.netns, 8080, 'two');
    await applyNft((nodes[0] as NodeNetwork).netns, rules(['10.244.1.2', '10.244.2.2']));
  });
  after(() => {
    for (const server of servers) server.close();
  });

  const rules = (backends: string[]): string => {
    const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
    const services = [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'both', namespace: 'shop' },
        spec: { clusterIP: '10.96.0.7', ports },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'none', namespace: 'shop' },
        spec: { clusterIP: '10.96.0.8', ports },
      },
    ] as IService[];
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      addressType: 'IPv4',
      endpoints: backends.map((ip) => ({ addresses: [ip] })),
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    } as IEndpointSlice;
    return serviceRules({ name: 'node-1', zone: 'zone-1' }, services, (key) => (key === 'shop/both' ? [slice] : []));
  };

  test('pods reach each other across nodes with their own addresses', async () => {
    assert.equal(await ask(one.netns, two.ip, 8080), `two ${one.ip}`);
    assert.equal(await ask(two.netns, one.ip, 8080), `one ${two.ip}`);
  });

  test('a node reaches its pods, and pods of others', async () => {
    assert.match(await ask((nodes[0] as NodeNetwork).netns, one.ip, 8080), /^one/);
    assert.match(await ask((nodes[0] as NodeNetwork).netns, two.ip, 8080), /^two/);
  });

  test('a service address leads to every endpoint in turn, to the asking pod itself too', async () => {
    const answers = new Set<string>();
    for (let i = 0; i < 64 && answers.size < 2; i++)
      answers.add((await ask(one.netns, '10.96.0.7', 80)).split(' ')[0] as string);
    assert.deepEqual([...answers].sort(), ['one', 'two']);
  });

  test('a service leads to a pod beside the asking one, whose answer finds the way back', async () => {
    await applyNft((nodes[0] as NodeNetwork).netns, rules([one.ip]));
    for (let i = 0; i < 4; i++) assert.equal(await ask(beside.netns, '10.96.0.7', 80), `one ${beside.ip}`);
    await applyNft((nodes[0] as NodeNetwork).netns, rules([one.ip, two.ip]));
  });

  test('a service without endpoints refuses at once', async () => {
    await assert.rejects(ask(one.netns, '10.96.0.8', 80), { code: 'ECONNREFUSED' });
    await applyNft((nodes[0] as NodeNetwork).netns, rules([]));
    await assert.rejects(ask(one.netns, '10.96.0.7', 80), { code: 'ECONNREFUSED' });
  });

  test('a pod gets the address again that it had, and none that another has', async () => {
    const [node] = nodes as [NodeNetwork];
    await node.addPod('uid-three', '10.244.1.77');
    assert.equal((await node.addPod('uid-four', '10.244.1.77')).ip === '10.244.1.77', false);
    node.removePod('uid-three');
    assert.equal((await node.addPod('uid-five', '10.244.1.77')).ip, '10.244.1.77');
    assert.equal((await node.addPod('uid-six', '10.99.0.1')).ip.startsWith('10.244.1.'), true);
  });

  test('a full node says so', async () => {
    const [node] = nodes as [NodeNetwork];
    await assert.rejects(async () => {
      for (let i = 0; i < 300; i++) await node.addPod(`uid-many-${i}`);
    }, /no address left/);
  });
}
