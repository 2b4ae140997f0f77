// What happens to connections that live on: policies and identities that change, slow readers, certificates that rotate,
// proxies that hand over, pods that leave, and peers that misbehave on the tunnel port.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { drive, eventLoop } from '../dataplane/session-driver.ts';
import type { Ip } from '../model/ip.ts';
import { match, members, policy, ports, rule, workload } from '../model/testing/builders.ts';
import { identityOf } from '../model/workload.ts';
import { namespacedTests } from '../platform/linux/testing.ts';
import { createMeshClientContext, secureMeshClient } from '../platform/tls/index.ts';
import { openClientSession } from '../wire/hbone/index.ts';
import { Mesh, type MeshPod, type Ztunnel } from './testing/mesh.ts';

const SERVICE = 'shop/payment.shop.svc.cluster.local';
const VIP = '10.96.0.12' as Ip;
const BULK_BYTES = 50 << 20;
const HANDSHAKES = 8;

/** Echoes as long as the peer speaks. */
const chatty = (socket: Socket): void => {
  socket.on('data', (chunk) => void socket.write(chunk));
  socket.on('end', () => socket.end());
};

async function say(socket: Socket, text: string): Promise<void> {
  const answer = once(socket, 'data') as Promise<[Buffer]>;
  socket.write(text);
  const [got] = await answer;
  assert.equal(got.toString(), text);
}

const brokenBy = async (socket: Socket): Promise<string | undefined> => {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code;
};

const denyOrder = policy('no-order', 'deny', {
  scope: 'workloadSelector',
  anyRule: [rule(match({ serviceAccounts: [{ kind: 'exact', value: 'shop/order' }] }))],
});

namespacedTests(import.meta.url, () => {
  let mesh: Mesh;
  let order: MeshPod;
  let payment: MeshPod;
  let plain: MeshPod;

  before(async () => {
    mesh = await Mesh.create({ bounds: { maxHandshakesPerPod: HANDSHAKES } });
    mesh.service('payment', VIP, { ports: ports('80:8000', '81:8001', '82:8002') });
    order = await mesh.pod('order');
    payment = await mesh.pod('payment', {
      services: members({ [SERVICE]: ['80:8000', '81:8001', '82:8002'] }),
    });
    plain = mesh.bare('plain');
    await mesh.listen(payment, 8000, chatty);
  });
  after(() => mesh.close());

  async function talking(pod: MeshPod = order, port = 80, ip: Ip = VIP): Promise<Socket> {
    const socket = mesh.dial(pod, { ip, port });
    await say(socket, 'hello');
    return socket;
  }

  test('a policy that the workload lists cuts live tunnels when it comes', async () => {
    const [socket, bystander] = [await talking(), await talking(payment)];
    const broken = brokenBy(socket);
    mesh.state.policies([denyOrder]);
    mesh.state.workload(paymentWorkload({ authorizationPolicies: ['shop/no-order'] }));
    assert.equal(await broken, 'ECONNRESET');
    await mesh.line(/direction="inbound" bytes_sent=5 bytes_recv=5 .*error="connection closed due to policy change"/);
    assert.equal(mesh.metric(/^istio_tcp_connections_closed_total\{reporter="destination".*response_flags="DENY"/), 1);
    await say(bystander, 'not me');
    bystander.end();
    mesh.state.workload(paymentWorkload({}));
    mesh.state.policies([], ['shop/no-order']);
    (await talking()).end();
  });

  function paymentWorkload(set: Partial<Parameters<typeof workload>[1]>) {
    return workload('payment', {
      addresses: [payment.ip, payment.ip6],
      services: members({ [SERVICE]: ['80:8000', '81:8001', '82:8002'] }),
      ...set,
    });
  }

  test('a namespace policy cuts live plaintext connections', async () => {
    const socket = mesh.dial(plain, { ip: payment.ip, port: 8000 });
    await say(socket, 'hello');
    const broken = brokenBy(socket);
    const strict = policy('strict', 'deny', { anyRule: [rule(match({ notPrincipals: [{ kind: 'present' }] }))] });
    mesh.state.policies([strict]);
    assert.equal(await broken, 'ECONNRESET');
    mesh.state.policies([], [strict.key]);
  });

  test('tunnels opened with an identity that the pod no longer has are closed', async () => {
    const shifty = await mesh.pod('shifty');
    const socket = await talking(shifty);
    const broken = brokenBy(socket);
    mesh.state.workload(workload('shifty', { addresses: [shifty.ip], trustDomain: 'elsewhere' }));
    assert.equal(await broken, 'ECONNRESET');
    await mesh.line(/src.workload="shifty".*direction="outbound".*error="connection closed due to policy change"/);
  });

  test('a rotated certificate: live tunnels go on, new ones use a new connection', async () => {
    const inbound = /^info\taccess.*src.workload="order".*direction="inbound"/;
    const so = mesh.lines.filter((line) => inbound.test(line)).length;
    const socket = await talking();
    await mesh.certificates.rotate(identityOf(workload('order')));
    await mesh.certificates.rotate(identityOf(workload('payment')));
    const other = await talking();
    await say(socket, 'still here');
    socket.end();
    other.end();
    const tunnelOf = (line: string): string | undefined => /src\.addr=(\S+)/.exec(line)?.[1];
    const [first, second] = [await mesh.line(inbound, so + 1), await mesh.line(inbound, so + 2)];
    assert.notEqual(tunnelOf(first), tunnelOf(second));
  });

  for (const direction of ['up', 'down'] as const)
    test(`50 MB ${direction} a slow reader: bounded while it sleeps, whole when it wakes`, async () => {
      const port = direction === 'up' ? 8001 : 8002;
      const data = Buffer.alloc(1 << 20, 'bulk data that is not all alike ');
      const server = Promise.withResolvers<Socket>();
      await mesh.listen(payment, port, server.resolve);
      const client = mesh.dial(order, { ip: VIP, port: port - 7920 });
      const far = await server.promise;
      const [writer, reader] = direction === 'up' ? [client, far] : [far, client];
      reader.pause();
      const carried = (): number =>
        mesh.metric(
          direction === 'up'
            ? /^istio_tcp_received_bytes_total\{reporter="source"/
            : /^istio_tcp_sent_bytes_total\{reporter="destination"/,
        );
      const start = carried();
      const sent = createHash('sha256');
      for (let written = 0; written < BULK_BYTES; written += data.length) {
        sent.update(data);
        writer.write(data);
      }
      writer.end();
      let still = 0;
      for (let last = -1; still < 200; still = carried() === last ? still + 1 : 0) {
        last = carried();
        await turn();
      }
      const held = carried() - start;
      assert.ok(held < 16 << 20, `${held} bytes were taken from a writer whose reader sleeps`);
      const received = createHash('sha256');
      let bytes = 0;
      reader.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        received.update(chunk);
      });
      reader.resume();
      await once(reader, 'end');
      assert.equal(bytes, BULK_BYTES);
      assert.equal(received.digest('hex'), sent.digest('hex'));
      reader.end();
      writer.resume();
      await once(writer, 'close');
    });

  test('one slow reader does not slow its neighbours on the same connection', async () => {
    const server = Promise.withResolvers<Socket>();
    await mesh.listen(payment, 8003, server.resolve);
    const slow = mesh.dial(order, { ip: payment.ip, port: 8003 });
    const far = (await server.promise).pause();
    for (let i = 0; i < 32; i++) slow.write(Buffer.alloc(1 << 20));
    const neighbour = await talking();
    for (let i = 0; i < 20; i++) await say(neighbour, `message ${i}`);
    neighbour.end();
    slow.destroy();
    far.destroy();
  });

  test('a policy change cuts a connection whose reader sleeps, too, at both ends', async () => {
    let server = Promise.withResolvers<Socket>();
    await mesh.listen(payment, 8004, (socket) => server.resolve(socket));
    for (const client of [order, plain]) {
      server = Promise.withResolvers<Socket>();
      const socket = mesh.dial(client, { ip: payment.ip, port: 8004 });
      const far = (await server.promise).pause();
      for (let i = 0; i < 32; i++) socket.write(Buffer.alloc(1 << 20));
      let last = -1;
      for (let still = 0; still < 20; still = socket.bytesWritten === last ? still + 1 : 0) {
        last = socket.bytesWritten;
        await turn();
      }
      const broken = Promise.all([brokenBy(socket), brokenBy(far)]);
      mesh.state.policies([policy('nobody', 'deny', { anyRule: [{ everyClause: [] }] })]);
      far.resume();
      assert.deepEqual(await broken, ['ECONNRESET', 'ECONNRESET']);
      mesh.state.policies([], ['shop/nobody']);
    }
  });

  test('hand-over: two proxies share the ports, the old one drains, no connection fails', async () => {
    const old = mesh.ztunnel;
    const alive = await talking();
    const next = mesh.another();
    for (const pod of [order, payment]) await next.add(pod);
    const deadline = new AbortController();
    let failed = 0;
    let succeeded = 0;
    let going = true;
    const load = Array.from({ length: 8 }, async () => {
      while (going || succeeded + failed < 400) {
        const socket = mesh.dial(order, { ip: VIP, port: 80 });
        try {
          const broken = new Promise<never>((_, reject) => socket.once('close', () => reject(new Error('closed'))));
          await Promise.race([say(socket, 'hello'), broken]);
          succeeded += 1;
        } catch {
          failed += 1;
        }
        socket.end();
      }
    });
    await turn();
    const drained = old.pods.drain(deadline.signal);
    while (succeeded + failed < 200) await turn();
    await say(alive, 'still served by the old one');
    alive.end();
    going = false;
    await Promise.all(load);
    assert.equal(
      failed,
      0,
      `${succeeded} succeeded; ${mesh.lines.filter((line) => !line.startsWith('info')).join('\n')}`,
    );
    assert.equal(await drained, 0, 'nothing had to be cut');
    current = next;
  });
  /** The proxy that serves after the hand-over. */
  let current: Ztunnel;

  test('a drain deadline cuts what is left, and says so', async () => {
    const extra = mesh.another();
    const lone = await mesh.pod('lone', {}, extra);
    await mesh.listen(lone, 8000, chatty);
    const socket = await talking(plain, 8000, lone.ip);
    const broken = brokenBy(socket);
    const deadline = new AbortController();
    const drained = extra.pods.drain(deadline.signal);
    await assert.rejects(once(mesh.dial(plain, { ip: lone.ip, port: 15006 }), 'connect'), { code: 'ECONNREFUSED' });
    deadline.abort();
    assert.equal(await drained, 1);
    assert.equal(await broken, 'ECONNRESET');
    await mesh.line(/dst.workload="lone".*error="connection closed due to connection drain"/);
  });

  test('a drain ends idle tunnel connections in an orderly way, without waiting for its deadline', async () => {
    const extra = mesh.another();
    const idle = await mesh.pod('idle', {}, extra);
    await mesh.listen(idle, 8000, chatty);
    const socket = await talking(order, 8000, idle.ip);
    socket.end();
    await mesh.line(/dst.workload="idle".*direction="inbound"/);
    assert.equal(await extra.pods.drain(new AbortController().signal), 0);
  });

  test('a pod that leaves is cut at once, its ports are free again', async () => {
    const leaver = await mesh.pod('leaver', {}, current);
    await mesh.listen(leaver, 8000, chatty);
    const socket = await talking(order, 8000, leaver.ip);
    const broken = brokenBy(socket);
    current.pods.stop(leaver.uid);
    assert.equal(await broken, 'ECONNRESET');
    await assert.rejects(once(mesh.dial(plain, { ip: leaver.ip, port: 15008 }), 'connect'), { code: 'ECONNREFUSED' });
    await current.add(leaver);
    (await talking(order, 8000, leaver.ip)).end();
  });

  test('a proxy killed under a pooled connection: the next request succeeds on a new one', async () => {
    const target = await mesh.pod('target', {}, current);
    await mesh.listen(target, 8000, chatty);
    (await talking(order, 8000, target.ip)).end();
    current.pods.stop(target.uid);
    await current.add(target);
    (await talking(order, 8000, target.ip)).end();
  });

  // ---- bad peers on the tunnel port ----

  const tunnelPort = () => ({ ip: payment.ip, port: 15008 });

  test('plain HTTP, TLS 1.2 and a missing certificate are refused and logged', async () => {
    const refused = new RegExp(
      `^warn\\taccess\\tconnection failed\\tsrc.addr=${plain.ip}.*direction="inbound" error="tls`,
    );
    const http = mesh.dial(plain, tunnelPort());
    http.resume().write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    assert.match(await mesh.line(refused), /plain HTTP was sent to a TLS port/);
    for (const options of [{ maxVersion: 'TLSv1.2' }, {}] as const) {
      const seen = mesh.lines.filter((line) => refused.test(line)).length;
      const raw = mesh.dial(plain, tunnelPort());
      const tls = tlsConnect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ['h2'], ...options });
      tls.on('error', () => {}); // an alert
      tls.resume();
      await mesh.line(refused, seen + 1);
      tls.destroy();
    }
    http.destroy();
  });

  test('another trust domain is refused', async () => {
    const credential = await mesh.authority.issue('spiffe://elsewhere/ns/shop/sa/order');
    const raw = mesh.dial(plain, tunnelPort());
    const expected = [identityOf(workload('payment'))];
    const secured = await secureMeshClient(raw, createMeshClientContext(credential), expected);
    await mesh.line(/spiffe:\/\/elsewhere\/ns\/shop\/sa\/order.*trust domain/);
    if (secured.ok) secured.value.socket.destroy();
  });

  /** What the tunnel port answers to one CONNECT of a well-certified peer. */
  async function connectStatus(authority: string): Promise<number> {
    const credential = await mesh.authority.issue('spiffe://cluster.local/ns/shop/sa/order');
    const raw = mesh.dial(plain, tunnelPort());
    const secured = await secureMeshClient(raw, createMeshClientContext(credential), [identityOf(workload('payment'))]);
    assert.ok(secured.ok);
    const { socket } = secured.value;
    const session = openClientSession({ transport: socket, environment: eventLoop, events: { onClosed() {} } });
    drive(socket, session);
    const status = await new Promise<number>((resolve, reject) =>
      session.open(
        { authority, headers: [] },
        { response: resolve, data() {}, end() {}, reset: reject, writable() {} },
      ),
    );
    session.abort();
    return status;
  }

  test('an authority that is not this pod, or no authority at all: 400; own ports and unknown names: 503', async () => {
    assert.equal(await connectStatus(`${order.ip}:8000`), 400);
    assert.equal(await connectStatus('nonsense'), 400);
    for (const port of [15001, 15006, 15008]) assert.equal(await connectStatus(`${payment.ip}:${port}`), 503);
    assert.equal(await connectStatus('nobody.shop.svc.cluster.local:80'), 503);
    assert.equal(await connectStatus('payment.shop.svc.cluster.local:80'), 200);
    await mesh.line(/connection failed.*ip mismatch/);
  });

  test('connections that say nothing make room, and hurt nobody', async () => {
    const silent = Array.from({ length: HANDSHAKES + 4 }, () => mesh.dial(plain, tunnelPort()));
    await Promise.all(silent.slice(0, 4).map((socket) => once(socket.resume(), 'end')));
    const credentialed = await connectStatus(`${payment.ip}:8000`);
    assert.equal(credentialed, 200);
    for (const socket of silent) socket.destroy();
  });
});
