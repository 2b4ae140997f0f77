// Two and more pods in network namespaces, redirected as enrolled pods are, with real proxies, TLS and sockets.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { Capture } from '../dataplane/testing/capture.ts';
import type { Ip } from '../model/ip.ts';
import { match, members, policy, ports, rule, workload } from '../model/testing/builders.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { Mesh, type MeshPod } from './testing/mesh.ts';

const SERVICE = 'shop/payment.shop.svc.cluster.local';
const VIP = '10.96.0.12' as Ip;

/** Sends `text`, ends, and returns all that comes back; rejects with the error's code when the connection breaks. */
async function ask(socket: Socket, text = 'hello'): Promise<string> {
  let got = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    got += chunk;
  });
  const broken = new Promise<never>((_, reject) =>
    socket.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code))),
  );
  socket.end(text);
  await Promise.race([once(socket, 'end'), broken]);
  return got;
}

/** Answers with the peer's address and what it sent, after the peer's end. */
function echo(socket: Socket): void {
  let got = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    got += chunk;
  });
  socket.on('end', () => socket.end(`${socket.remoteAddress?.replace('::ffff:', '')} ${got}`));
}

namespacedTests(import.meta.url, () => {
  let mesh: Mesh;
  let order: MeshPod;
  let payment: MeshPod;
  let plain: MeshPod;

  before(async () => {
    mesh = await Mesh.create();
    mesh.service('payment', VIP, { ports: ports('80:8000', '9000:9000') });
    order = await mesh.pod('order');
    payment = await mesh.pod('payment', {
      services: members({ [SERVICE]: ['80:8000', '9000:9000'] }),
      authorizationPolicies: ['shop/no-9000'],
    });
    plain = mesh.bare('plain');
    for (const port of [8000, 9000]) await mesh.listen(payment, port, echo);
    await mesh.listen(plain, 8000, echo);
    await mesh.listen(order, 8000, echo);
    const no9000 = policy('no-9000', 'deny', {
      scope: 'workloadSelector',
      anyRule: [rule(match({ destinationPorts: [{ kind: 'port', port: 9000 }] }))],
    });
    mesh.state.policies([no9000]);
  });
  after(() => mesh.close());

  test('by service: tunnelled, the client address kept, both log lines as Istio writes them', async () => {
    const capture = new Capture(mesh.network.node);
    const got = await ask(mesh.dial(order, { ip: VIP, port: 80 }));
    assert.equal(got, `${order.ip} hello`);
    const out = await mesh.line(/direction="outbound"/);
    assert.match(
      out,
      new RegExp(
        `^info\\taccess\\tconnection complete\\tsrc.addr=${order.ip}:\\d+ src.workload="order" src.namespace="shop" ` +
          `src.identity="spiffe://cluster.local/ns/shop/sa/order" src.cluster="Kubernetes" dst.addr=${payment.ip}:15008 ` +
          `dst.hbone_addr=${payment.ip}:8000 dst.service="payment.shop.svc.cluster.local" dst.workload="payment" ` +
          'dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/payment" dst.cluster="Kubernetes" ' +
          `direction="outbound" bytes_sent=5 bytes_recv=${got.length} duration="\\d+ms"$`,
      ),
    );
    const into = await mesh.line(/direction="inbound"/);
    assert.match(
      into,
      new RegExp(
        `^info\\taccess\\tconnection complete\\tsrc.addr=${order.ip}:\\d+ src.workload="order" .*dst.addr=${payment.ip}:15008 ` +
          `dst.hbone_addr=${payment.ip}:8000 .*direction="inbound" bytes_sent=${got.length} bytes_recv=5 duration="\\d+ms"$`,
      ),
    );
    const segments = capture.stop();
    const between = segments.filter((s) => s.payload.length > 0);
    assert.ok(between.length > 0, 'something crossed the node');
    for (const { sourcePort, destinationPort, payload } of between) {
      assert.ok(sourcePort === 15008 || destinationPort === 15008, `port ${sourcePort} -> ${destinationPort}`);
      assert.equal(payload.includes('hello'), false, 'nothing readable on the wire');
    }
    const first = between[0]?.payload as Buffer;
    assert.deepEqual([first[0], first[1]], [0x16, 0x03], 'a TLS handshake record');
    assert.equal(mesh.metric(/^istio_tcp_connections_opened_total\{reporter="source".*mutual_tls/), 1);
    assert.equal(mesh.metric(/^istio_tcp_received_bytes_total\{reporter="destination"/), 5);
  });

  test('by pod address: tunnelled on the same connection', async () => {
    const before = mesh.metric(/^istio_tcp_sockets_open\{reporter="destination"/);
    assert.equal(await ask(mesh.dial(order, { ip: payment.ip, port: 8000 })), `${order.ip} hello`);
    assert.equal(mesh.metric(/^istio_tcp_sockets_open\{reporter="destination"/), before);
    await mesh.line(/direction="outbound"/, 2);
  });

  test('by IPv6 pod address', async () => {
    assert.equal(await ask(mesh.dial(order, { ip: payment.ip6, port: 8000 })), `${order.ip6} hello`);
    await mesh.line(/dst.hbone_addr=\[fd09::3\]:8000/, 2);
  });

  test('refused by policy: the client sees a reset, both logs say why', async () => {
    await assert.rejects(ask(mesh.dial(order, { ip: VIP, port: 9000 })), /ECONNRESET/);
    assert.match(
      await mesh.line(/error="http status: 401 Unauthorized"/),
      /^error\taccess\tconnection complete\t.*direction="outbound" bytes_sent=0 bytes_recv=0 duration="\d+ms" error=/,
    );
    await mesh.line(
      /direction="inbound" .*error="connection closed due to policy rejection: explicitly denied by: shop\/no-9000"/,
    );
    assert.equal(mesh.metric(/^istio_tcp_connections_failed_total\{reporter="destination".*response_flags="DENY"/), 1);
    assert.equal(mesh.metric(/^istio_tcp_connections_failed_total\{reporter="source".*response_flags="CONNECT"/), 1);
  });

  test('unknown destination: plain TCP, unchanged', async () => {
    assert.equal(await ask(mesh.dial(order, { ip: plain.ip, port: 8000 })), `${order.ip} hello`);
    const line = await mesh.line(new RegExp(`dst.addr=${plain.ip}:8000`));
    assert.doesNotMatch(line, /identity|hbone_addr|dst.workload/);
  });

  test('unknown destination that refuses', async () => {
    await assert.rejects(ask(mesh.dial(order, { ip: plain.ip, port: 1 })), /ECONNRESET/);
    await mesh.line(new RegExp(`dst.addr=${plain.ip}:1 .*error="io error: Connection refused \\(os error 111\\)"`));
  });

  test('an application that refuses: 503 to the tunnel, a reset to the client', async () => {
    await assert.rejects(ask(mesh.dial(order, { ip: payment.ip, port: 8001 })), /ECONNRESET/);
    await mesh.line(/direction="outbound".*error="http status: 503 Service Unavailable"/);
    await mesh.line(/direction="inbound".*error="io error: Connection refused \(os error 111\)"/);
  });

  test('plaintext into the mesh: permitted, with the client address and no identity', async () => {
    assert.equal(await ask(mesh.dial(plain, { ip: payment.ip, port: 8000 })), `${plain.ip} hello`);
    const line = await mesh.line(new RegExp(`src.addr=${plain.ip}.*direction="inbound"`));
    assert.match(line, new RegExp(`dst.addr=${payment.ip}:8000 .*dst.workload="payment"`));
    assert.doesNotMatch(line, /identity/);
  });

  test('plaintext into the mesh: refused where mutual TLS is strict', async () => {
    const strict = policy('strict', 'deny', {
      namespace: 'istio-system',
      scope: 'global',
      anyRule: [rule(match({ notPrincipals: [{ kind: 'present' }] }))],
    });
    mesh.state.policies([strict]);
    await assert.rejects(ask(mesh.dial(plain, { ip: payment.ip, port: 8000 })), /ECONNRESET/);
    await mesh.line(/error="connection closed due to policy rejection: explicitly denied by: istio-system\/strict"/);
    assert.equal(await ask(mesh.dial(order, { ip: payment.ip, port: 8000 })), `${order.ip} hello`, 'tunnels pass');
    mesh.state.policies([], ['istio-system/strict']);
  });

  test('a pod that calls itself by its service', async () => {
    assert.equal(await ask(mesh.dial(payment, { ip: VIP, port: 80 })), `${payment.ip} hello`);
    await mesh.line(/src.workload="payment".*dst.workload="payment".*direction="outbound"/);
  });

  test("loopback is nobody else's business", async () => {
    const lines = mesh.lines.length;
    assert.equal(await ask(mesh.dial(payment, { ip: '127.0.0.1' as Ip, port: 8000 })), '127.0.0.1 hello');
    assert.equal(mesh.lines.length, lines);
  });

  for (const port of [15001, 15006, 15008])
    test(`the proxy's own port ${port} leads nowhere, from inside and from outside`, async () => {
      await assert.rejects(ask(mesh.dial(order, { ip: payment.ip, port })), /ECONNRESET/);
      const inside = await ask(mesh.dial(payment, { ip: '127.0.0.1' as Ip, port })).catch(
        (error: Error) => error.message,
      );
      assert.doesNotMatch(inside, /hello/);
      if (port !== 15008) await assert.rejects(ask(mesh.dial(plain, { ip: payment.ip, port })), /ECONNRESET/);
    });

  test('a service without a healthy endpoint is refused before anything is dialled', async () => {
    mesh.service('empty', '10.96.0.99', { ports: ports('80:80') });
    const opened = mesh.metric(/^istio_tcp_connections_opened_total/);
    await assert.rejects(ask(mesh.dial(order, { ip: '10.96.0.99' as Ip, port: 80 })), /ECONNRESET/);
    await mesh.line(
      /^warn\taccess\tconnection failed\t.*dst.addr=10\.96\.0\.99:80 direction="outbound" error="no healthy/,
    );
    assert.equal(mesh.metric(/^istio_tcp_connections_opened_total/), opened);
  });

  test('a workload on another network is refused clearly', async () => {
    mesh.state.workload(workload('far', { addresses: ['10.77.0.1' as Ip], network: '' }));
    mesh.service('far', '10.96.0.77', { ports: ports('80:80') });
    mesh.state.workload(
      workload('far', {
        network: 'other',
        services: members({ 'shop/far.shop.svc.cluster.local': ['80:80'] }),
        addresses: ['10.77.0.1' as Ip],
      }),
    );
    await assert.rejects(ask(mesh.dial(order, { ip: '10.96.0.77' as Ip, port: 80 })), /ECONNRESET/);
    await mesh.line(/connection failed.*network `other`.*not supported/);
  });

  test('an impostor on the tunnel port: the tunnel fails, and nothing goes out in plaintext', async () => {
    const impostor = await mesh.pod('impostor');
    mesh.state.workload(
      workload('impostor', { addresses: [impostor.ip] }),
      workload('victim', { addresses: [impostor.ip], serviceAccount: 'victim' }),
    );
    const capture = new Capture(mesh.network.node);
    await assert.rejects(ask(mesh.dial(order, { ip: impostor.ip, port: 8000 }), 'secret'), /ECONNRESET/);
    await mesh.line(/the peer is `spiffe:\/\/cluster.local\/ns\/shop\/sa\/impostor`, expected/);
    for (const { payload } of capture.stop()) assert.equal(payload.includes('secret'), false);
  });

  test('no certificate: flag IDENTITY_ERROR, and the next attempt may succeed', async () => {
    const uri = 'spiffe://cluster.local/ns/shop/sa/late';
    mesh.certificates.refused.add(uri);
    const late = await mesh.pod('late');
    await assert.rejects(ask(mesh.dial(late, { ip: payment.ip, port: 8000 })), /ECONNRESET/);
    assert.equal(mesh.metric(/^istio_tcp_connections_failed_total\{.*response_flags="IDENTITY_ERROR"/), 1);
    mesh.certificates.refused.delete(uri);
    assert.equal(await ask(mesh.dial(late, { ip: payment.ip, port: 8000 })), `${late.ip} hello`);
  });

  test('nobody on the tunnel port: the failure is reported as such', async () => {
    const gone = mesh.bare('gone');
    mesh.state.workload(workload('gone', { addresses: [gone.ip] }));
    await mesh.listen(gone, 8000, () => assert.fail('reached in plaintext'));
    await assert.rejects(ask(mesh.dial(order, { ip: gone.ip, port: 8000 })), /ECONNRESET/);
    await mesh.line(new RegExp(`dst.addr=${gone.ip}:15008.*error="io error: Connection refused \\(os error 111\\)"`));
  });
});
