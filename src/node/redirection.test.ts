// Real connections against real rules. The proxy's listeners are taps that note what was dialled and echo.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { formatHostPort, type Ip } from '../model/ip.ts';
import { libc } from '../platform/linux/libc.ts';
import { Links } from '../platform/linux/links.ts';
import { Netns } from '../platform/linux/netns.ts';
import { listNft } from '../platform/linux/nft.ts';
import { AF_INET, encodeInet } from '../platform/linux/sockaddr.ts';
import {
  type ConnectOptions,
  connectTcp,
  connectUdp,
  hasIpv6Loopback,
  listenTcp,
  openUdp,
  originalDestination,
  serve,
} from '../platform/linux/sockets.ts';
import { namespacedTests, TestNetwork, type TestPod } from '../platform/linux/testing.ts';
import { ProbeTargets } from './probes.ts';
import { redirector } from './redirection.ts';
import type { PodRules } from './rules.ts';
import { DEFAULT_PROBE_SOURCE } from './settings.ts';

const { capture: redirectPod, release: releasePod } = redirector(['/proc']);

const rules: PodRules = {
  captureInbound: true,
  captureDns: true,
  virtualInterfaces: [],
  ipv6: true,
  probeSource: DEFAULT_PROBE_SOURCE,
};

/** Answers each connection with where it arrived, what was dialled and by whom, then echoes. */
class Taps implements AsyncDisposable {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  async add(netns: Netns, name: string, port: number): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      const dialled = originalDestination(socket);
      const from = socket.remoteAddress?.replace('::ffff:', '');
      socket.write(`${name} ${dialled === undefined ? '-' : formatHostPort(dialled)} ${from}\n`);
      socket.pipe(socket);
      socket.on('error', () => {});
    });
    await serve(server, listenTcp(netns, { ip: '::' as Ip, port, transparent: 'require', mark: 0x539 }));
    this.#servers.push(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

async function line(socket: Socket): Promise<string> {
  const [data] = (await once(socket, 'data')) as [Buffer];
  return data.toString().trim();
}

/** Dials and tells what answered, or the error's code. */
async function dial(netns: Netns, ip: Ip, port: number, more: Partial<ConnectOptions> = {}): Promise<string> {
  const socket = connectTcp(netns, { destination: { ip, port }, ...more });
  try {
    return await line(socket);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error';
  } finally {
    socket.destroy();
  }
}

/** A captured pod with a proxy's listeners and an application, and a pod outside. */
async function captured(changes: Partial<PodRules> = {}) {
  const network = new TestNetwork(2);
  const [pod, other] = network.pods as [TestPod, TestPod];
  const taps = new Taps();
  for (const [name, port] of [
    ['outbound', 15001],
    ['inbound', 15006],
    ['hbone', 15008],
    ['dns', 15053],
    ['app', 8080],
  ] as const)
    await taps.add(pod.netns, name, port);
  await taps.add(other.netns, 'other', 80);
  await taps.add(other.netns, 'other-dns', 53);
  await redirectPod(pod.netns, { ...rules, ...changes });
  return {
    network,
    pod,
    other,
    async [Symbol.asyncDispose]() {
      await taps[Symbol.asyncDispose]();
      network[Symbol.dispose]();
    },
  };
}

/** An acknowledgement of a connection that does not exist: loose tracking would make a connection of it. */
function sendStrayAck(from: TestPod, to: TestPod, sourcePort: number, acknowledged: number): void {
  const source = encodeInet({ ip: from.ip, port: 0 });
  const destination = encodeInet({ ip: to.ip, port: 0 });
  const header = Buffer.alloc(20);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(8080, 2);
  header.writeUInt32BE(1000, 4);
  header.writeUInt32BE(acknowledged, 8);
  header.writeUInt16BE(0x5010, 12);
  header.writeUInt16BE(1000, 14);
  const pseudo = Buffer.concat([source.subarray(4, 8), destination.subarray(4, 8), Buffer.from([0, 6, 0, 20]), header]);
  let sum = 0;
  for (let i = 0; i < pseudo.length; i += 2) sum += pseudo.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~sum & 0xffff, 16);
  const raw = from.netns.run(() => libc.socket(AF_INET, 3, 6));
  assert.equal(libc.connect(raw, destination, destination.length), 0);
  assert.equal(Number(libc.send(raw, header, header.length, 0)), header.length);
  libc.close(raw);
}

namespacedTests(import.meta.url, () => {
  test('what the pod sends goes to 15001, what comes in to 15006, HBONE to its listener', async () => {
    await using room = await captured();
    const { pod, other } = room;
    assert.equal(await dial(pod.netns, other.ip, 80), `outbound ${other.ip}:80 ${pod.ip}`);
    assert.equal(await dial(pod.netns, other.ip6, 80), `outbound [${other.ip6}]:80 ${pod.ip6}`);
    assert.equal(await dial(other.netns, pod.ip, 8080), `inbound ${pod.ip}:8080 ${other.ip}`);
    assert.equal(await dial(other.netns, pod.ip6, 8080), `inbound [${pod.ip6}]:8080 ${other.ip6}`);
    assert.equal(await dial(other.netns, pod.ip, 9), `inbound ${pod.ip}:9 ${other.ip}`);
    assert.match(await dial(other.netns, pod.ip, 15008), /^hbone /);
    assert.match(await dial(other.netns, pod.ip6, 15008), /^hbone /);
  });

  test('loopback and the pod`s own address are left alone', async () => {
    await using room = await captured();
    const { pod } = room;
    assert.match(await dial(pod.netns, '127.0.0.1' as Ip, 8080), /^app .* 127\.0\.0\.1$/);
    assert.match(await dial(pod.netns, '::1' as Ip, 8080), /^app .* ::1$/);
    assert.match(await dial(pod.netns, pod.ip, 8080), /^app /);
    assert.match(await dial(pod.netns, pod.ip6, 8080), /^app /);
  });

  test('the proxy`s own connections are not captured', async () => {
    await using room = await captured();
    const { pod, other } = room;
    assert.equal(await dial(pod.netns, other.ip, 80, { mark: 0x539 }), `other - ${pod.ip}`);
    assert.equal(await dial(pod.netns, other.ip6, 80, { mark: 0x539 }), `other - ${pod.ip6}`);
  });

  test('the proxy reaches the application with the client`s address, and its answer comes back', async () => {
    await using room = await captured();
    const { pod, other } = room;
    for (const [at, client] of [
      [pod.ip, other.ip],
      [pod.ip6, other.ip6],
      [pod.ip, '203.0.113.9' as Ip],
    ] as const) {
      const answer = await dial(pod.netns, at, 8080, { mark: 0x539, source: { ip: client, port: 0 } });
      assert.match(answer, new RegExp(`^app .* ${client}$`));
    }
  });

  test('probes of the kubelet go past the proxy once the pod is in the node`s set', async () => {
    await using room = await captured();
    const { network, pod } = room;
    const probes = await ProbeTargets.install(network.node, 0, DEFAULT_PROBE_SOURCE);
    assert.equal(await dial(network.node, pod.ip, 8080), `inbound ${pod.ip}:8080 ${network.nodeIp}`);
    await probes.add('uid', [pod.ip, pod.ip6]);
    assert.match(await dial(network.node, pod.ip, 8080), /^app .* 169\.254\.7\.127$/);
    await probes.remove('uid');
    assert.match(await dial(network.node, pod.ip, 8080), /^inbound /);
  });

  test('an address moves to the pod that has it now, and its former owner cannot remove it', async () => {
    using netns = Netns.create();
    const probes = await ProbeTargets.install(netns, 0, DEFAULT_PROBE_SOURCE);
    const ip = '10.0.0.7' as Ip;
    await probes.add('old', [ip]);
    await probes.add('new', [ip]);
    await probes.remove('old');
    assert.match(await listNft(netns), /10\.0\.0\.7 comment "new"/);
    await probes.remove('new');
    assert.doesNotMatch(await listNft(netns), /10\.0\.0\.7/);
  });

  test('DNS goes to 15053 over UDP and TCP, the proxy`s own DNS to the server', async () => {
    await using room = await captured();
    const { pod, other } = room;
    const answering = async (netns: Netns, ip: Ip, port: number, name: string) => {
      const socket = await openUdp(netns, { ip, port, mark: 0x539 });
      socket.on('message', (data, from) => socket.send(`${name} ${data}`, from.port, from.address));
      return socket;
    };
    const proxy = await answering(pod.netns, '127.0.0.1' as Ip, 15053, 'proxy');
    const server = await answering(other.netns, other.ip, 53, 'server');
    const ask = async (mark?: number): Promise<string> => {
      const socket = await connectUdp(pod.netns, { destination: { ip: other.ip, port: 53 }, mark });
      socket.send('query');
      const [answer] = (await once(socket, 'message')) as [Buffer];
      socket.close();
      return answer.toString();
    };
    assert.equal(await ask(), 'proxy query');
    assert.equal(await ask(0x539), 'server query');
    assert.match(await dial(pod.netns, other.ip, 53), /^dns /);
    await redirectPod(pod.netns, { ...rules, captureDns: false });
    assert.equal(await ask(), 'server query');
    assert.match(await dial(pod.netns, other.ip, 53), /^outbound /);
    proxy.close();
    server.close();
  });

  test('ingress mode captures only what the pod sends', async () => {
    await using room = await captured({ captureInbound: false });
    const { pod, other } = room;
    assert.equal(await dial(other.netns, pod.ip, 8080), `app ${pod.ip}:8080 ${other.ip}`);
    assert.match(await dial(pod.netns, other.ip, 80), /^outbound /);
  });

  test('what arrives on a named interface is treated as sent by the pod', async () => {
    await using room = await captured({ virtualInterfaces: ['vm0'] });
    const { pod, other } = room;
    using machine = Netns.create();
    {
      using links = new Links(pod.netns);
      links.addVeth('vm0', { name: 'eth0', netns: machine });
      links.addAddress('vm0', { ip: '10.99.0.1' as Ip, length: 24 });
      using inside = new Links(machine);
      inside.up('eth0');
      inside.addAddress('eth0', { ip: '10.99.0.2' as Ip, length: 24 });
      inside.setRoute({ via: '10.99.0.1' as Ip, device: 'eth0' });
      while (!links.isOperational('vm0') || !inside.isOperational('eth0')) await new Promise(setImmediate);
    }
    assert.equal(await dial(machine, other.ip, 80), `outbound ${other.ip}:80 10.99.0.2`);
  });

  test('connections from before the capture stay as they are, during it and after it', async () => {
    const network = new TestNetwork(2);
    const [pod, other] = network.pods as [TestPod, TestPod];
    await using taps = new Taps();
    await taps.add(pod.netns, 'app', 8080);
    await taps.add(other.netns, 'other', 80);
    const sent = connectTcp(pod.netns, { destination: { ip: other.ip, port: 80 } });
    const received = connectTcp(other.netns, { destination: { ip: pod.ip, port: 8080 } });
    await Promise.all([line(sent), line(received)]);
    const works = async (): Promise<void> => {
      for (const socket of [sent, received]) {
        socket.write('still here');
        assert.equal(await line(socket), 'still here');
      }
    };
    await works();
    await redirectPod(pod.netns, rules);
    await taps.add(pod.netns, 'outbound', 15001);
    await works();
    assert.match(await dial(pod.netns, other.ip, 80), /^outbound /);
    await redirectPod(pod.netns, rules);
    await works();
    await releasePod(pod.netns);
    await works();
    const between = connectTcp(pod.netns, { destination: { ip: other.ip, port: 80 } });
    assert.equal(await line(between), `other - ${pod.ip}`);
    await redirectPod(pod.netns, rules);
    await works();
    between.write('me too');
    assert.equal(await line(between), 'me too');
    for (const socket of [sent, received, between]) socket.destroy();
    network[Symbol.dispose]();
  });

  test('without the switch that spares connections the pod is captured all the same, and the caller is told', async () => {
    using network = new TestNetwork(2);
    const [pod, other] = network.pods as [TestPod, TestPod];
    for (const proc of ['/nowhere', '/dev/null']) {
      const why = redirector([proc]).capture(pod.netns, rules);
      if (proc === '/nowhere')
        assert.match((await why) ?? '', /nf_conntrack_tcp_loose cannot be written below \/nowhere/);
      else await assert.rejects(why, { code: 'ENOTDIR' });
    }
    assert.equal(await dial(pod.netns, other.ip, 80), 'ECONNREFUSED');
  });

  test('a packet from nowhere does not open a way past the proxy', async () => {
    await using room = await captured();
    const { pod, other } = room;
    for (const [port, acknowledged] of [
      [40001, [2000]],
      [40002, [2000, 100]],
    ] as const) {
      for (const number of acknowledged) sendStrayAck(other, pod, port, number);
      const answer = await dial(other.netns, pod.ip, 8080, { source: { ip: other.ip, port } });
      assert.equal(answer, `inbound ${pod.ip}:8080 ${other.ip}`);
    }
  });

  test('captured connections outlive a renewal of the rules', async () => {
    await using room = await captured();
    const { pod, other } = room;
    const outbound = connectTcp(pod.netns, { destination: { ip: other.ip, port: 80 } });
    const spoofed = { mark: 0x539, source: { ip: other.ip, port: 0 } };
    const toApp = connectTcp(pod.netns, { destination: { ip: pod.ip, port: 8080 }, ...spoofed });
    assert.match(await line(outbound), /^outbound /);
    assert.match(await line(toApp), /^app /);
    await redirectPod(pod.netns, rules);
    for (const socket of [outbound, toApp]) {
      socket.write('on it goes');
      assert.equal(await line(socket), 'on it goes');
      socket.destroy();
    }
  });

  test('without a proxy, a captured pod is cut off instead of being in plaintext', async () => {
    using network = new TestNetwork(2);
    const [pod, other] = network.pods as [TestPod, TestPod];
    await using taps = new Taps();
    await taps.add(other.netns, 'other', 80);
    await taps.add(pod.netns, 'app', 8080);
    await redirectPod(pod.netns, rules);
    for (const ip of [other.ip, other.ip6]) assert.equal(await dial(pod.netns, ip, 80), 'ECONNREFUSED');
    for (const ip of [pod.ip, pod.ip6]) assert.equal(await dial(other.netns, ip, 8080), 'ECONNREFUSED');
  });

  test('a namespace whose `lo` has no IPv6 is captured too', async () => {
    using netns = Netns.create();
    assert.equal(hasIpv6Loopback(netns), false);
    await redirectPod(netns, rules);
    await releasePod(netns);
    assert.equal((await listNft(netns)).trim(), '');
  });
});
