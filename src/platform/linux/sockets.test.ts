import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import type { Ip } from '../../model/ip.ts';
import { Links } from './links.ts';
import type { Netns } from './netns.ts';
import * as sockets from './sockets.ts';
import { countDescriptors, namespacedTests, TestNetwork } from './testing.ts';

const ip = (text: string): Ip => text as Ip;

/** Accepts in `netns` on a free port and gives each connection to `onConnection`. */
async function accepting(
  netns: Netns,
  at: Ip,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  await sockets.serve(server, sockets.listenTcp(netns, { ip: at, port: 0 }));
  return { server, port: (server.address() as AddressInfo).port };
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

async function received(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

namespacedTests(import.meta.url, () => {
  test('TCP between namespaces, with half-close and the peer`s address', async () => {
    using network = new TestNetwork(2);
    const [client, server] = network.pods as [TestNetwork['pods'][0], TestNetwork['pods'][0]];
    const peers: (string | undefined)[] = [];
    const listening = await accepting(server.netns, ip('0.0.0.0'), async (socket) => {
      peers.push(socket.remoteAddress);
      socket.end(`echo ${await received(socket)}`);
    });
    const socket = sockets.connectTcp(client.netns, {
      destination: { ip: server.ip, port: listening.port },
      keepalive: { idleSeconds: 180, intervalSeconds: 180, retries: 9, userTimeout: true },
      mark: 1337,
      allowHalfOpen: true,
    });
    socket.end('hello');
    assert.equal(await received(socket), 'echo hello');
    assert.deepEqual(peers, [client.ip]);
    await closed(listening.server);
  });

  test('`::` serves IPv4 and IPv6, with addresses in their own form', async () => {
    using network = new TestNetwork(2);
    const [client, server] = network.pods as [TestNetwork['pods'][0], TestNetwork['pods'][0]];
    const locals: unknown[] = [];
    const listening = await accepting(server.netns, ip('::'), (socket) => {
      locals.push(sockets.localAddress(socket));
      socket.end();
    });
    for (const destination of [server.ip, server.ip6]) {
      const socket = sockets.connectTcp(client.netns, { destination: { ip: destination, port: listening.port } });
      socket.resume();
      await once(socket, 'close');
    }
    assert.deepEqual(locals, [
      { ip: server.ip, port: listening.port },
      { ip: server.ip6, port: listening.port },
    ]);
    await closed(listening.server);
  });

  test('a foreign source address is kept, and its replies come back by a route for them', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    for (const [family, spoofed, at] of [
      ['ipv4', ip('203.0.113.7'), pod.ip],
      ['ipv6', ip('2001:db8::7'), pod.ip6],
    ] as const) {
      using links = new Links(pod.netns);
      links.setRoute({ family, type: 'local', device: 'lo', table: 100 });
      links.addRule({ family, mark: 0, mask: 0, table: 100, priority: 32764 });
      const peers: (string | undefined)[] = [];
      const listening = await accepting(pod.netns, at, (socket) => {
        peers.push(socket.remoteAddress);
        socket.end('seen');
      });
      const socket = sockets.connectTcp(pod.netns, {
        destination: { ip: at, port: listening.port },
        source: { ip: spoofed, port: 0 },
        mark: 0x539,
      });
      assert.equal(await received(socket), 'seen');
      assert.deepEqual(peers, [spoofed]);
      await closed(listening.server);
    }
  });

  test('SO_ORIGINAL_DST tells what was dialled before a redirect, on IPv4, IPv6 and dual-stack sockets', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    const seen: unknown[] = [];
    const listening = await accepting(pod.netns, ip('::'), (socket) => {
      seen.push(sockets.originalDestination(socket));
      socket.end();
    });
    const rules = [
      'table inet t {',
      'chain output {',
      'type nat hook output priority -100',
      `tcp dport 80 redirect to :${listening.port}`,
      '}',
      '}',
    ].join('\n');
    pod.netns.run(() => execFileSync('nft', ['-f', '-'], { input: rules }));
    const dialled = [
      { ip: ip('192.0.2.1'), port: 80 },
      { ip: ip('2001:db8::1'), port: 80 },
    ];
    using links = new Links(pod.netns);
    links.setRoute({ family: 'ipv6', via: ip('fd09::1'), device: 'eth0' });
    for (const destination of dialled) {
      const socket = sockets.connectTcp(pod.netns, { destination });
      socket.resume();
      await once(socket, 'close');
    }
    assert.deepEqual(seen, dialled);
    await closed(listening.server);
  });

  test('without a redirect there is no original destination', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    let seen: unknown = 'nothing';
    const listening = await accepting(pod.netns, pod.ip, (socket) => {
      seen = sockets.originalDestination(socket);
      socket.end();
    });
    const socket = sockets.connectTcp(pod.netns, { destination: { ip: pod.ip, port: listening.port } });
    socket.resume();
    await once(socket, 'close');
    assert.equal(seen, undefined);
    assert.equal(sockets.originalDestination(socket), undefined);
    await closed(listening.server);
  });

  test('UDP: bound, connected and marked', async () => {
    using network = new TestNetwork(2);
    const [client, server] = network.pods as [TestNetwork['pods'][0], TestNetwork['pods'][0]];
    const listening = await sockets.openUdp(server.netns, { ip: ip('0.0.0.0'), port: 53, transparent: 'require' });
    listening.on('message', (data, from) => listening.send(`re ${data}`, from.port, from.address));
    const asking = await sockets.connectUdp(client.netns, { destination: { ip: server.ip, port: 53 }, mark: 0x539 });
    asking.send('question');
    const [answer] = (await once(asking, 'message')) as [Buffer];
    assert.equal(answer.toString(), 're question');
    asking.close();
    listening.close();
  });

  test('failures are typed and leave no descriptor open', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    const held = sockets.listenTcp(pod.netns, { ip: ip('0.0.0.0'), port: 8080 });
    const before = countDescriptors();
    const anywhere = { ip: ip('0.0.0.0'), port: 8080 };
    assert.throws(() => sockets.listenTcp(pod.netns, anywhere), { code: 'EADDRINUSE', syscall: 'bind' });
    assert.throws(() => sockets.listenTcp(pod.netns, { ip: ip('10.1.1.1'), port: 1 }), { code: 'EADDRNOTAVAIL' });
    assert.throws(() => sockets.bindUdp(pod.netns, { ip: ip('10.1.1.1'), port: 1 }), { code: 'EADDRNOTAVAIL' });
    await assert.rejects(sockets.connectUdp(network.node, { destination: { ip: ip('8.8.8.8'), port: 53 } }));
    const message =
      'not listening on TCP 0.0.0.0:8080: another socket has that address and port (bind EADDRINUSE); stop what listens there, or choose another port';
    assert.throws(() => sockets.listenTcp(pod.netns, anywhere), { message });
    const refused = sockets.connectTcp(pod.netns, { destination: { ip: pod.ip, port: 1 } });
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNREFUSED');
    await new Promise(setImmediate);
    assert.equal(countDescriptors(), before);
    closeSync(held);
  });

  test('a reset is at once, whatever waits to be sent, and the socket closes', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    const before = countDescriptors();
    for (const stage of ['idle', 'full', 'ended'] as const) {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
      await sockets.serve(server, sockets.listenTcp(pod.netns, { ip: ip('0.0.0.0'), port: 8080 }));
      const socket = sockets.connectTcp(pod.netns, {
        destination: { ip: pod.ip, port: 8080 },
        allowHalfOpen: true,
      });
      const [[peer]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [
        [Socket],
        unknown,
      ];
      if (stage === 'full') while (socket.writableLength < 4 << 20) socket.write(Buffer.alloc(1 << 20));
      if (stage === 'ended') socket.end();
      const ends = Promise.all([once(socket, 'close'), once(peer, 'error')]);
      sockets.resetSocket(socket);
      sockets.resetSocket(socket);
      peer.resume();
      const [, [error]] = (await ends) as [unknown, [NodeJS.ErrnoException]];
      assert.equal(error.code, 'ECONNRESET', stage);
      await closed(server);
    }
    await new Promise(setImmediate);
    assert.equal(countDescriptors(), before);
  });

  test('with SO_REUSEPORT a second listener takes over from the first', async () => {
    using network = new TestNetwork(1);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    const options = { ip: ip('::'), port: 15008, reusePort: true, transparent: 'require', mark: 1337 } as const;
    const older = sockets.listenTcp(pod.netns, options);
    const newer = sockets.listenTcp(pod.netns, options);
    closeSync(older);
    const server = createServer((socket) => socket.end('newer'));
    await sockets.serve(server, newer);
    const socket = sockets.connectTcp(pod.netns, { destination: { ip: pod.ip, port: 15008 } });
    assert.equal(await received(socket), 'newer');
    await closed(server);
  });

  test('IPv6 on `lo` is noticed', () => {
    using network = new TestNetwork(0);
    assert.equal(sockets.hasIpv6Loopback(network.node), true);
    using links = new Links(network.node);
    links.addBridge('other');
    network.node.run(() => execFileSync('ip', ['-6', 'addr', 'del', '::1/128', 'dev', 'lo']));
    assert.equal(sockets.hasIpv6Loopback(network.node), false);
  });
});
