// Publishing against real sockets on loopback: the pods are servers here, the API is in memory.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { startInformer } from '../../kube/client/informer.ts';
import { SERVICES } from '../../kube/client/resources.ts';
import { MemoryKubeClient } from '../../kube/testing/memory-client.ts';
import { listenOnHost } from '../host-listener.ts';
import { PUBLISHED_ANNOTATION, parsePublished } from '../published-ports.ts';
import { candidates, endpointsOf, Publisher } from './published.ts';

const LABELS = { 'gateway.istio.io/managed': 'istio.io-gateway-controller' };
const service = (ports: readonly number[], annotations: Record<string, string> = {}): IService => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'edge-istio', namespace: 'shop', labels: LABELS, annotations },
  spec: {
    type: 'LoadBalancer',
    ports: [{ name: 'status-port', port: 15021 }, ...ports.map((port) => ({ name: `p${port}`, port }))],
  },
});
const slice = (port: number, target: number, ready = true): IEndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  addressType: 'IPv4',
  endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready } }],
  ports: [{ name: `p${port}`, port: target }],
});
const portOf = (server: Server): number => (server.address() as { port: number }).port;

/** A pod that answers when its client has said all, with what it said. */
async function pod(t: TestContext): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk.toString();
    });
    socket.on('end', () => socket.end(`pod heard ${heard}`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return portOf(server);
}

function start(t: TestContext, slices: readonly IEndpointSlice[], first: IService) {
  const client = new MemoryKubeClient();
  client.put(SERVICES, first);
  const services = startInformer(client, SERVICES);
  const servers: Server[] = [];
  t.after(() => {
    services.stop();
    for (const server of servers) server.close();
  });
  new Publisher({
    client,
    services,
    slicesOf: () => slices,
    listen: async (ports) => {
      // Without the service's own port: tests take nothing that others may want.
      const opened = await listenOnHost(ports.filter((port) => port === 0 || port > 1024));
      opened.server.removeAllListeners('connection');
      servers.push(opened.server);
      return opened;
    },
    log: () => {},
  });
  const annotation = async (wanted: (text: string) => boolean): Promise<string> => {
    for (;;) {
      const text = (await client.get(SERVICES, 'edge-istio', 'shop'))?.metadata?.annotations?.[PUBLISHED_ANNOTATION];
      if (text !== undefined && wanted(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  return { client, servers, annotation };
}

function call(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(text));
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk.toString();
    });
    socket.on('error', reject).on('end', () => resolve(heard));
  });
}

test('a gateway is reached on the host, half-closed connections too, and the objects say where', async (t) => {
  const { client, annotation } = start(t, [slice(80, await pod(t))], service([80]));
  const hostPort = parsePublished(await annotation(() => true)).get(80) as number;
  assert.equal(await call(hostPort, 'hello'), 'pod heard hello');
  for (;;) {
    const { status } = (await client.get(SERVICES, 'edge-istio', 'shop')) as IService;
    if (status?.loadBalancer?.ingress !== undefined) {
      assert.deepEqual(status.loadBalancer.ingress, [{ ip: '127.0.0.1', ports: [{ port: 80, protocol: 'TCP' }] }]);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
});

test('without a ready pod the connection is reset', async (t) => {
  const { annotation } = start(t, [slice(80, await pod(t), false)], service([80]));
  const hostPort = parsePublished(await annotation(() => true)).get(80) as number;
  await assert.rejects(call(hostPort, 'hello'), { code: 'ECONNRESET' });
});

test('ports come and go with the service', async (t) => {
  const { client, servers, annotation } = start(t, [slice(80, await pod(t))], service([80, 443]));
  const both = parsePublished(await annotation((text) => text.split(',').length === 2));
  const said = (await client.get(SERVICES, 'edge-istio', 'shop'))?.metadata?.annotations ?? {};
  client.put(SERVICES, service([80], said));
  await annotation((text) => text.split(',').length === 1);
  await assert.rejects(call(both.get(443) as number, 'x'), { code: 'ECONNREFUSED' });
  assert.equal(await call(both.get(80) as number, 'x'), 'pod heard x');
  client.remove(SERVICES, 'edge-istio', 'shop');
  while (servers.some((server) => server.listening)) await new Promise((resolve) => setTimeout(resolve, 2));
});

test('a port that was published before is taken again', async (t) => {
  const { server, port } = await listenOnHost([0]);
  await new Promise((resolve) => server.close(resolve));
  const remembered = { [PUBLISHED_ANNOTATION]: `80=127.0.0.1:${port}` };
  const { servers } = start(t, [], service([80], remembered));
  while (servers.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(portOf(servers[0] as Server), port);
});

test('which ports are tried', () => {
  assert.deepEqual(candidates(80, undefined), [80, 8080, 0]);
  assert.deepEqual(candidates(443, 9443), [9443, 443, 8443, 0]);
  assert.deepEqual(candidates(8080, 8080), [8080, 0]);
  assert.deepEqual(
    [...parsePublished('80=127.0.0.1:8080, x, 81=10.0.0.1:1, 0=127.0.0.1:1, 82=127.0.0.1:70000')],
    [[80, 8080]],
  );
  assert.deepEqual(endpointsOf(service([80]), [slice(80, 1), slice(80, 2, false), slice(443, 3)], 80), [
    { ip: '127.0.0.1', port: 1 },
  ]);
});

test('a port that is taken is passed over; one that nobody may have is told', async () => {
  const taken = await listenOnHost([0]);
  const next = await listenOnHost([taken.port, 0]);
  assert.notEqual(next.port, taken.port);
  await assert.rejects(listenOnHost([taken.port]), { code: 'EADDRINUSE' });
  await assert.rejects(listenOnHost([]), { code: 'EINVAL' });
  for (const { server } of [taken, next]) server.close();
});
