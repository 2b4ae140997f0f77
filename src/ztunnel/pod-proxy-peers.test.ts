// Peers that are not our proxy: waypoints in both directions, named endpoints, and those that refuse or vanish.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { echoTunnel, HbonePeer } from '../dataplane/testing/hbone-peer.ts';
import type { Ip } from '../model/ip.ts';
import { members, ports, workload } from '../model/testing/builders.ts';
import type { GatewayAddress } from '../model/workload.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { HboneError, headerValue } from '../wire/hbone/index.ts';
import { Mesh, type MeshPod } from './testing/mesh.ts';

const VIP = '10.96.0.12' as Ip;

async function say(socket: Socket, text: string): Promise<string> {
  const answer = new Promise<string>((resolve, reject) => {
    socket.once('data', (chunk) => resolve(String(chunk)));
    socket.once('close', () => reject(new Error('closed')));
  });
  socket.write(text);
  return answer;
}

namespacedTests(import.meta.url, () => {
  let mesh: Mesh;
  let order: MeshPod;
  let gateway: MeshPod;
  let peer: HbonePeer;

  before(async () => {
    mesh = await Mesh.create();
    order = await mesh.pod('order');
    gateway = mesh.bare('gateway');
    mesh.state.workload(workload('gateway', { addresses: [gateway.ip] }));
    peer = await HbonePeer.listen(
      gateway.netns,
      await mesh.authority.issue('spiffe://cluster.local/ns/shop/sa/gateway'),
    );
    const waypoint: GatewayAddress = {
      destination: { kind: 'address', network: '', ip: gateway.ip },
      hbonePort: 15008,
    };
    mesh.service('payment', VIP, { ports: ports('80:8000'), waypoint });
    mesh.state.workload(
      workload('payment', {
        addresses: ['10.9.0.200' as Ip],
        services: members({ 'shop/payment.shop.svc.cluster.local': ['80:8000'] }),
      }),
    );
  });
  beforeEach(() => {
    peer.requests.length = 0;
    peer.onTunnel = echoTunnel;
  });
  after(async () => {
    peer.close();
    await mesh.close();
  });

  test('a service with a waypoint: the tunnel goes there, asks for the virtual address, and says who asks', async () => {
    const socket = mesh.dial(order, { ip: VIP, port: 80 });
    assert.equal(await say(socket, 'hello'), 'hello');
    const [request] = peer.requests;
    assert.equal(request?.authority, `${VIP}:80`);
    const header = (name: string): string | undefined => headerValue(request?.headers ?? [], name);
    assert.equal(
      header('baggage'),
      'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.pod.name=order,service.name=order,service.version=latest',
    );
    assert.equal(header('forwarded'), `for="${order.ip}:${socket.localPort}";host=payment.shop.svc.cluster.local`);
    assert.match(header('traceparent') ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    socket.end();
    const line = await mesh.line(/dst.workload="gateway".*direction="outbound"/);
    assert.match(line, /dst.hbone_addr=10\.96\.0\.12:80 dst.service="payment.shop.svc.cluster.local"/);
  });

  test('a tunnel that was refused before it was looked at is asked for again', async () => {
    let refused = 0;
    peer.onTunnel = (request, stream) => {
      if (refused++ === 0) stream.reset('REFUSED_STREAM');
      else echoTunnel(request, stream);
    };
    const socket = mesh.dial(order, { ip: VIP, port: 80 });
    assert.equal(await say(socket, 'hello'), 'hello');
    assert.equal(peer.requests.length, 2);
    socket.end();
  });

  test('a connection lost before the answer: asked again on a new one', async () => {
    let lost = 0;
    const before = peer.connections;
    peer.onTunnel = (request, stream, session) => {
      if (lost++ === 0) session.abort(new HboneError('INTERNAL_ERROR', 'us', 'test'));
      else echoTunnel(request, stream);
    };
    const socket = mesh.dial(order, { ip: VIP, port: 80 });
    assert.equal(await say(socket, 'hello'), 'hello');
    assert.equal(peer.connections, before + 1);
    socket.end();
  });

  test('a peer that never takes a tunnel is not asked for ever', async () => {
    peer.onTunnel = (_request, stream) => stream.reset('REFUSED_STREAM');
    const socket = mesh.dial(order, { ip: VIP, port: 80 });
    await assert.rejects(say(socket, 'hello'), /closed/);
    assert.equal(peer.requests.length, 3);
    await mesh.line(/direction="outbound".*error="http2 failed/);
    assert.equal(mesh.metric(/^istio_tcp_connections_failed_total\{.*response_flags="H2_HANDSHAKE_FAILURE"/), 1);
  });

  test('another refusal is not tried again', async () => {
    peer.onTunnel = (_request, stream) => stream.respond(403, [], true);
    const socket = mesh.dial(order, { ip: VIP, port: 80 });
    await assert.rejects(say(socket, 'hello'), /closed/);
    assert.equal(peer.requests.length, 1);
    await mesh.line(/error="http status: 403 Forbidden"/);
  });

  test('a waypoint that is not known refuses the connection: it is never passed by', async () => {
    mesh.service('lost', '10.96.0.13', {
      ports: ports('80:8000'),
      waypoint: { destination: { kind: 'hostname', namespace: 'shop', hostname: 'nobody' }, hbonePort: 15008 },
    });
    mesh.state.workload(
      workload('lost', {
        addresses: [gateway.ip],
        services: members({ 'shop/lost.shop.svc.cluster.local': ['80:8000'] }),
      }),
    );
    await assert.rejects(say(mesh.dial(order, { ip: '10.96.0.13' as Ip, port: 80 }), 'hello'), /closed/);
    await mesh.line(/connection failed.*unknown waypoint: shop\/nobody/);
    assert.equal(peer.requests.length, 0);
    mesh.state.workload(workload('lost', {}));
  });

  test("in a waypoint's own pod: any address is accepted, and the application hears of the client by a PROXY header", async () => {
    const wp = await mesh.pod('wp', { applicationTunnel: { protocol: 'proxy', port: 9999 } });
    mesh.service('fronted', '10.96.0.14', {
      ports: ports('80:8000'),
      waypoint: { destination: { kind: 'address', network: '', ip: wp.ip }, hbonePort: 15008 },
    });
    const accepted = Promise.withResolvers<Socket>();
    await mesh.listen(wp, 9999, accepted.resolve, '127.0.0.1');
    const client = mesh.dial(order, { ip: '10.96.0.14' as Ip, port: 80 });
    client.write('hello');
    const application = await accepted.promise;
    let got = Buffer.alloc(0);
    while (!got.includes('hello')) got = Buffer.concat([got, ((await once(application, 'data')) as [Buffer])[0]]);
    assert.equal(got.subarray(0, 14).toString('hex'), '0d0a0d0a000d0a515549540a2111');
    assert.deepEqual([...got.subarray(16, 20)].join('.'), order.ip);
    assert.deepEqual([...got.subarray(20, 24)].join('.'), '10.96.0.14');
    assert.equal(got.readUInt16BE(26), 80);
    assert.ok(got.includes('spiffe://cluster.local/ns/shop/sa/order'));
    assert.equal(application.remoteAddress, '127.0.0.1');
    client.end();
    application.end();
  });

  test('an endpoint that has a name instead of an address is resolved at the time', async () => {
    const asked: string[] = [];
    const resolving = mesh.another({
      resolve: async (hostname) => {
        asked.push(hostname);
        return [gateway.ip];
      },
    });
    const client = await mesh.pod('client', {}, resolving);
    mesh.service('outside', '10.96.0.15', { ports: ports('80:8080') });
    mesh.state.workload(
      workload('outside', {
        hostname: 'api.example.com',
        tunnelProtocol: 'none',
        services: members({ 'shop/outside.shop.svc.cluster.local': ['80:8080'] }),
      }),
    );
    await mesh.listen(gateway, 8080, (socket) => void socket.pipe(socket));
    const socket = mesh.dial(client, { ip: '10.96.0.15' as Ip, port: 80 });
    assert.equal(await say(socket, 'hello'), 'hello');
    assert.deepEqual(asked, ['api.example.com']);
    assert.equal(mesh.metric(/^istio_on_demand_dns_total\{.*hostname="api.example.com"/), 1);
    socket.end();
    await mesh.line(new RegExp(`dst.addr=${gateway.ip}:8080 dst.service="outside.shop.svc.cluster.local"`));
  });

  test('a name that does not resolve', async () => {
    await assert.rejects(say(mesh.dial(order, { ip: '10.96.0.15' as Ip, port: 80 }), 'hello'), /closed/);
    await mesh.line(/connection failed.*`api.example.com`.*has no address/);
  });
});
