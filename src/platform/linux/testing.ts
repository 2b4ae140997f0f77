// For tests of whatever works in network namespaces: a small network of pods, and a way to run as an ordinary user too.
// Nothing here has a name outside the process (no mounts, no named namespaces), so nothing is left when it ends.

import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Ip, ipBytes } from '../../model/ip.ts';
import { ROOM_NAMESPACES, ROOTLESS } from './features.ts';
import { Links, setSysctl } from './links.ts';
import { Netns } from './netns.ts';

export interface TestPod {
  readonly netns: Netns;
  readonly ip: Ip;
  readonly ip6: Ip;
}

/** A node (bridge `cni0`, 10.9.0.1/24 and fd09::1/64) with pods at 10.9.0.2, fd09::2 and so on, on `eth0`. */
export class TestNetwork implements Disposable {
  readonly node: Netns = Netns.create();
  readonly nodeIp = '10.9.0.1' as Ip;
  readonly pods: TestPod[] = [];

  constructor(pods: number) {
    using links = new Links(this.node);
    links.up('lo');
    links.addBridge('cni0');
    links.addAddress('cni0', { ip: this.nodeIp, length: 24 });
    links.addAddress('cni0', { ip: 'fd09::1' as Ip, length: 64 });
    setSysctl(this.node, 'net.ipv4.ip_forward', 1);
    for (let i = 0; i < pods; i++) this.addPod();
  }

  /** Returns when the pod can talk: an interface that is not ready loses packets, which come again after a second. */
  addPod(): TestPod {
    const number = this.pods.length + 2;
    const pod: TestPod = {
      netns: Netns.create(),
      ip: `10.9.0.${number}` as Ip,
      ip6: `fd09::${number.toString(16)}` as Ip,
    };
    this.pods.push(pod);
    using outside = new Links(this.node);
    outside.addVeth(`veth${number}`, { name: 'eth0', netns: pod.netns }, { master: 'cni0' });
    using inside = new Links(pod.netns);
    inside.up('lo');
    inside.addAddress('eth0', { ip: pod.ip, length: 24 });
    inside.up('eth0');
    inside.setRoute({ via: this.nodeIp, device: 'eth0' });
    waitFor(() => outside.isOperational(`veth${number}`) && inside.isOperational('eth0'));
    // Not before: an address of an interface that is not ready becomes usable only up to a second after it is.
    inside.addAddress('eth0', { ip: pod.ip6, length: 64 });
    waitFor(() => isUsable(pod));
    return pod;
  }

  [Symbol.dispose](): void {
    for (const pod of this.pods) pod.netns.close();
    this.node.close();
  }
}

/** Blocks: the kernel needs nothing of this process to go on. */
function waitFor(condition: () => boolean): void {
  for (let tries = 0; !condition(); tries++) {
    if (tries === 2000) throw new Error('the kernel did not bring up a test network in 2 s');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
}

const RTF_LOCAL = 0x80000000;

/** The kernel has finished with the address only when it has a local route to it. */
function isUsable({ netns, ip6 }: TestPod): boolean {
  const destination = `${Buffer.from(ipBytes(ip6)).toString('hex')} 80 `;
  const routes = netns.run(() => readFileSync('/proc/thread-self/net/ipv6_route', 'utf8')).split('\n');
  return routes.some(
    (line) => line.startsWith(destination) && Number.parseInt(line.split(/\s+/)[8] ?? '', 16) >= RTF_LOCAL,
  );
}

/** Open descriptors of this process, for leak tests. */
export const countDescriptors = (): number => readdirSync('/proc/self/fd').length;

const INSIDE = 'AMBIT_TEST_IN_USER_NAMESPACE';

/**
 * Defines tests that need CAP_NET_ADMIN. Root runs them as they are; for anybody else the file runs again inside a user
 * namespace, as `ambit up` does, and counts as one test. @param file `import.meta.url` of the test file
 */
export function namespacedTests(file: string, define: () => void): void {
  if (process.getuid?.() === 0 || process.env[INSIDE] !== undefined) {
    define();
    return;
  }
  test('in a user namespace', () => runInUserNamespace([], [fileURLToPath(file)]));
}

/**
 * Runs test files inside a user namespace.
 * @param prefix a program and arguments that `unshare` is started with, to change the user first
 * @throws Error with the whole output when a test fails
 */
export function runInUserNamespace(prefix: readonly string[], files: readonly string[]): Promise<void> {
  const [command, ...args] = [
    ...prefix,
    'unshare',
    ...ROOTLESS,
    ...ROOM_NAMESPACES,
    process.execPath,
    '--test',
    ...files,
  ] as [string, ...string[]];
  const { NODE_TEST_CONTEXT: _, NODE_V8_COVERAGE: __, ...env } = process.env;
  const child = spawn(command, args, { env: { ...env, [INSIDE]: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`tests failed in a user namespace (status ${code})\n${output}`)),
    );
  });
}

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] as const;

/**
 * Runs test files as somebody who is not root, inside a user namespace. Where nobody may not read the project, root itself
 * enters the user namespace: there it has no more power over the machine than anybody else has.
 */
export function runAsOrdinaryUser(files: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) return runInUserNamespace([], files);
  const [program, ...args] = [...NOBODY, process.execPath, '--check', ...files.slice(0, 1)] as [string, ...string[]];
  return runInUserNamespace(spawnSync(program, args).status === 0 ? NOBODY : [], files);
}
