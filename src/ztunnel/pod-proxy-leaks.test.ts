// Peers and applications that come and go at any moment, in any way: afterwards nothing is left, and nothing has crashed.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { drive, eventLoop } from '../dataplane/session-driver.ts';
import { workload } from '../model/testing/builders.ts';
import { identityOf } from '../model/workload.ts';
import { countDescriptors, namespacedTests } from '../platform/linux/testing.ts';
import { createMeshClientContext, type MeshClientContext, secureMeshClient } from '../platform/tls/index.ts';
import { openClientSession } from '../wire/hbone/index.ts';
import { Mesh, type MeshPod } from './testing/mesh.ts';

const CONNECTIONS = 400;
const AT_ONCE = 20;

/** A repeatable sequence (mulberry32), so that a failure can be had again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

namespacedTests(import.meta.url, () => {
  let mesh: Mesh;
  let order: MeshPod;
  let payment: MeshPod;
  let plain: MeshPod;
  let client: MeshClientContext;
  const random = randomFrom(20_261_121);
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;

  before(async () => {
    mesh = await Mesh.create();
    order = await mesh.pod('order');
    payment = await mesh.pod('payment');
    plain = mesh.bare('plain');
    client = createMeshClientContext(await mesh.authority.issue('spiffe://cluster.local/ns/shop/sa/order'));
    // An application that behaves as badly as its clients.
    await mesh.listen(payment, 8000, (socket) => {
      socket.on('data', (chunk) => void socket.write(chunk));
      socket.on('end', () => socket.end());
      const leave = pick<((s: Socket) => void) | undefined>(
        undefined,
        (s) => s.destroy(),
        (s) => s.resetAndDestroy(),
        (s) => s.end(),
      );
      if (leave !== undefined) setTimeout(() => leave(socket), random() * 10);
    });
  });
  after(() => mesh.close());

  async function leave(socket: Socket): Promise<void> {
    await wait(random() * 10);
    pick(
      () => socket.destroy(),
      () => socket.resetAndDestroy(),
      () => socket.end(),
    )();
    await wait(random() * 10);
    if (!socket.closed) {
      const closed = once(socket, 'close');
      socket.destroy();
      await closed;
    }
  }

  /** An application in the mesh, or a plaintext client. */
  async function talk(): Promise<void> {
    const socket = mesh.dial(pick(order, plain, payment), { ip: payment.ip, port: pick(8000, 8000, 8000, 8001) });
    socket.resume();
    const pieces = Math.floor(random() * 5);
    for (let i = 0; i < pieces; i++) {
      socket.write(Buffer.alloc(Math.floor(random() * 100_000), 1));
      if (random() < 0.3) await wait(random() * 5);
    }
    await leave(socket);
  }

  /** Rubbish, or half a handshake, on any of the proxy's ports. */
  async function knock(): Promise<void> {
    const socket = mesh.dial(plain, { ip: payment.ip, port: pick(15008, 15008, 15006, 15001) });
    socket.resume();
    if (random() < 0.4) socket.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    else if (random() < 0.7) {
      const tls = tlsConnect({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
      tls.on('error', () => {});
      await wait(random() * 10);
      tls.destroy();
    }
    await leave(socket);
  }

  /** A peer with a good certificate and no manners. */
  async function tunnel(): Promise<void> {
    const raw = mesh.dial(plain, { ip: payment.ip, port: 15008 });
    const secured = await secureMeshClient(raw, client, [identityOf(workload('payment'))]);
    if (!secured.ok) return;
    const { socket } = secured.value;
    const session = openClientSession({ transport: socket, environment: eventLoop, events: { onClosed() {} } });
    drive(socket, session);
    for (let i = 0; i < 3; i++) {
      if (session.capacity === 0) break;
      const stream = session.open(
        { authority: pick(`${payment.ip}:8000`, `${payment.ip}:8001`, 'nobody:1', `${order.ip}:1`), headers: [] },
        { response() {}, data() {}, end() {}, reset() {}, writable() {} },
      );
      if (random() < 0.5) stream.write(Buffer.alloc(50_000, 1));
      if (random() < 0.3) stream.end();
      if (random() < 0.3) stream.reset(pick('CANCEL', 'CONNECT_ERROR', 'INTERNAL_ERROR'));
      await wait(random() * 5);
    }
    pick(
      () => session.abort(),
      () => session.drain(),
      () => socket.destroy(),
    )();
    await wait(random() * 10);
    socket.destroy();
  }

  test('descriptors, connections and gauges come back to where they were', async () => {
    await talk();
    await tunnel();
    await wait(50);
    const before = countDescriptors();
    for (let done = 0; done < CONNECTIONS; done += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, () => pick(talk, talk, knock, tunnel)()));
    const open = (): number =>
      mesh.ztunnel.pods.states().reduce((sum, pod) => sum + pod.inbound.length + pod.outbound.length, 0);
    for (let i = 0; i < 100 && (open() > 0 || countDescriptors() > before + 2); i++) await wait(50);
    assert.equal(open(), 0);
    // Pooled tunnel connections stay: one for each pod that dialled.
    assert.ok(countDescriptors() <= before + 4, `${before} descriptors before, ${countDescriptors()} after`);
    assert.ok(mesh.metric(/^istio_tcp_sockets_open/) <= 4);
    const opened = mesh.metric(/^istio_tcp_connections_opened_total/);
    assert.equal(mesh.metric(/^istio_tcp_connections_closed_total/), opened);
    assert.ok(opened > CONNECTIONS / 2);
  });
});
