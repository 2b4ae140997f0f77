import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Ip } from '../../model/ip.ts';
import { Links, type MarkRule, setSysctl } from './links.ts';
import { Netns } from './netns.ts';
import { countDescriptors, namespacedTests, TestNetwork } from './testing.ts';

const ip = (netns: Netns, ...args: string[]): unknown =>
  JSON.parse(netns.run(() => execFileSync('ip', ['-j', ...args], { encoding: 'utf8' })) || '[]');

namespacedTests(import.meta.url, () => {
  test('a node with pods has the interfaces, addresses and routes that iproute2 sees', () => {
    using network = new TestNetwork(2);
    const [pod] = network.pods as [TestNetwork['pods'][0]];
    const bridged = ip(network.node, 'link', 'show', 'master', 'cni0') as { ifname: string }[];
    assert.deepEqual(
      bridged.map((link) => link.ifname),
      ['veth2', 'veth3'],
    );
    const addresses = ip(pod.netns, 'addr', 'show', 'dev', 'eth0') as {
      operstate: string;
      address: string;
      addr_info: { local: string; prefixlen: number; scope: string }[];
    }[];
    const eth0 = addresses[0];
    assert.equal(eth0?.operstate, 'UP');
    assert.deepEqual(
      eth0?.addr_info.filter((a) => a.scope === 'global').map((a) => `${a.local}/${a.prefixlen}`),
      ['10.9.0.2/24', 'fd09::2/64'],
    );
    const routes = ip(pod.netns, 'route') as { dst: string; gateway?: string; dev: string }[];
    assert.deepEqual(
      routes.map((route) => [route.dst, route.gateway, route.dev]),
      [
        ['default', '10.9.0.1', 'eth0'],
        ['10.9.0.0/24', undefined, 'eth0'],
      ],
    );
    using links = new Links(pod.netns);
    assert.equal(links.hardwareAddress('eth0'), eth0?.address);
    assert.equal(links.isOperational('eth0'), true);
    links.addBridge('alone');
    assert.equal(links.isOperational('alone'), false);
  });

  test('policy rules and local routes are set and taken away, twice without complaint', () => {
    using netns = Netns.create();
    using links = new Links(netns);
    links.up('lo');
    for (const family of ['ipv4', 'ipv6'] as const) {
      const flag = family === 'ipv4' ? '-4' : '-6';
      const rule: MarkRule = { family, mark: 0x111, mask: 0xfff, table: 100, priority: 32764 };
      const route = { family, device: 'lo', table: 100, type: 'local' } as const;
      for (let i = 0; i < 2; i++) {
        links.addRule(rule);
        links.setRoute(route);
      }
      const rules = ip(netns, flag, 'rule', 'show', 'priority', '32764') as Record<string, unknown>[];
      assert.deepEqual(rules, [{ priority: 32764, src: 'all', fwmark: '0x111', fwmask: '0xfff', table: '100' }]);
      const routes = ip(netns, flag, 'route', 'show', 'table', '100') as Record<string, unknown>[];
      assert.deepEqual(
        routes.map(({ type, dst, dev }) => ({ type, dst, dev })),
        [{ type: 'local', dst: 'default', dev: 'lo' }],
      );
      for (let i = 0; i < 2; i++) {
        links.deleteRule(rule);
        links.deleteRoute(route);
      }
      assert.deepEqual(ip(netns, flag, 'rule', 'show', 'priority', '32764'), []);
      assert.deepEqual(ip(netns, flag, 'route', 'show', 'table', 'all', 'dev', 'lo', 'proto', 'static'), []);
    }
  });

  test('failures carry the errno and name the thing', () => {
    using netns = Netns.create();
    using links = new Links(netns);
    assert.throws(() => links.up('eth7'), { code: 'ENODEV', message: /interface `eth7` not found/ });
    links.addBridge('cni0');
    assert.throws(() => links.addBridge('cni0'), { code: 'EEXIST' });
    assert.throws(() => links.setRoute({ via: '10.0.0.1' as Ip }), { code: 'ENETUNREACH' });
    links.deleteLink('cni0');
    links.deleteLink('cni0');
    assert.throws(() => links.index('cni0'), { code: 'ENODEV' });
  });

  test('interfaces go with their namespace, and nothing stays open', async () => {
    using node = Netns.create();
    const before = countDescriptors();
    const pod = Netns.create();
    using links = new Links(node);
    links.addVeth('veth1', { name: 'eth0', netns: pod }, { up: false, mtu: 1400 });
    pod.close();
    for (let tries = 0; tries < 500; tries++) {
      if ((ip(node, 'link') as { ifname: string }[]).every((link) => link.ifname !== 'veth1')) break;
      await new Promise(setImmediate);
    }
    assert.throws(() => links.addVeth('veth1', { name: 'eth0', netns: pod }), /after it was closed/);
    links.close();
    assert.equal(countDescriptors(), before);
  });

  test('a sysctl is written in the namespace', () => {
    using netns = Netns.create();
    const read = (): string => readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim();
    const outside = read();
    setSysctl(netns, 'net.ipv4.ip_forward', 1);
    assert.equal(netns.run(read), '1');
    assert.equal(read(), outside);
    using links = new Links(netns);
    links.addBridge('a.b');
    setSysctl(netns, 'net.ipv4.conf.a/b.forwarding', 0);
    assert.throws(() => setSysctl(netns, 'net.ipv4.absent', 1), { code: 'ENOENT' });
  });
});
