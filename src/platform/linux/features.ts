// What the machine must offer for a room: each feature is tried, not guessed from version numbers, and a missing one names
// itself, what follows from it, and how to get it. `checkFeatures` looks from outside; `probeRoom` tries inside a room.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatHostPort, type Ip } from '../../model/ip.ts';
import { errorCode, SystemError } from './errors.ts';
import { check, libc } from './libc.ts';
import { Links } from './links.ts';
import { Netns } from './netns.ts';
import { applyNft, findProgram } from './nft.ts';
import { bindUdp, connectTcp, hasIpv6Loopback, listenTcp, originalDestination, serve } from './sockets.ts';

export interface Feature {
  /** Stable, for scripts. */
  readonly name: string;
  readonly ok: boolean;
  /** Without a required one there is no room; without another, what `why` says. */
  readonly required: boolean;
  readonly why?: string;
  readonly fix?: string;
}

/** What a room is made with; `--user --map-root-user` before it for everybody but root. */
export const ROOM_NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
export const ROOTLESS = ['--user', '--map-root-user'];

const PROBE_TIMEOUT_MS = 20_000;

/**
 * Everything that a room needs, tried in a room that ends with the call.
 * @param probe a command that prints `JSON.stringify(await probeRoom())` and nothing else; it is run inside
 * @param root  whether the caller is root, who needs no user namespace
 */
export async function checkFeatures(
  probe: readonly [string, ...string[]],
  root = process.getuid?.() === 0,
): Promise<Feature[]> {
  const unshare = findProgram('unshare', process.env.PATH ?? '');
  const program: Feature = {
    name: 'unshare',
    ok: unshare !== undefined,
    required: true,
    ...(unshare === undefined ? { why: 'the program unshare is missing', fix: 'apt-get install util-linux' } : {}),
  };
  if (unshare === undefined) return [program];
  const inside = await run(unshare, [...(root ? [] : ROOTLESS), ...ROOM_NAMESPACES, ...probe]);
  const probed = inside.status === 0 ? parseProbe(inside.output) : undefined;
  if (probed !== undefined) return [program, { name: 'namespaces', ok: true, required: true }, ...probed];
  return [program, { name: 'namespaces', ok: false, required: true, ...namespaceAdvice(root, inside.error) }];
}

function parseProbe(output: string): Feature[] | undefined {
  try {
    const parsed: unknown = JSON.parse(output);
    return Array.isArray(parsed) ? (parsed as Feature[]) : undefined;
  } catch {
    return undefined;
  }
}

/** Distributions switch user namespaces off in different places; the first that applies is named. */
export function namespaceAdvice(
  root: boolean,
  error: string,
  readSysctl: (name: string) => string | undefined = sysctl,
): { why: string; fix: string } {
  const reason = error.trim().split('\n')[0] || 'the trial ended without an answer';
  const why = (detail: string): string => `namespaces cannot be made: ${detail} (${reason})`;
  for (const [name, off, value] of [
    ['kernel.unprivileged_userns_clone', '0', '1'],
    ['kernel.apparmor_restrict_unprivileged_userns', '1', '0'],
    ['user.max_user_namespaces', '0', '15000'],
    ['user.max_net_namespaces', '0', '15000'],
  ] as const) {
    if (root && /userns|user_namespaces/.test(name)) continue; // root needs none
    if (readSysctl(name) === off)
      return { why: why(`the sysctl ${name} is ${off}`), fix: `sudo sysctl -w ${name}=${value}, or run as root` };
  }
  if (root)
    return {
      why: why('this root lacks CAP_SYS_ADMIN'),
      fix: 'in a container, run it with --privileged or --cap-add SYS_ADMIN,NET_ADMIN and an unconfined seccomp profile',
    };
  return {
    why: why('the kernel or a security profile (seccomp, SELinux) forbids user namespaces'),
    fix: 'run as root, or allow user namespaces; in a container, run it with an unconfined seccomp profile',
  };
}

function sysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8').trim();
  } catch {
    return undefined; // this kernel has no such switch
  }
}

/** Tries each feature; to be called with the powers of a room (CAP_NET_ADMIN and CAP_SYS_ADMIN in its namespaces). */
export async function probeRoom(): Promise<Feature[]> {
  return [
    await probe('bridges', true, 'pods cannot be connected', 'load the modules bridge and veth', tryBridge),
    await probe(
      'policy-routing',
      true,
      'client addresses cannot be kept',
      kernelOption('IP_MULTIPLE_TABLES'),
      tryRouting,
    ),
    await probe('nft-redirect', true, 'traffic cannot be captured', kernelOption('NFT_REDIR, NFT_NAT'), tryRedirect),
    await probe(
      'nft-services',
      true,
      'services have no addresses',
      kernelOption('NFT_NAT, NFT_NUMGEN, NFT_REJECT, NFT_CT'),
      tryServices,
    ),
    await probe('nft-marks', true, 'captured traffic would loop', kernelOption('NFT_CT, NF_CONNTRACK_ZONES'), tryMarks),
    await probe('socket-mark', true, 'captured traffic would loop', 'CAP_NET_ADMIN is needed', tryMark),
    await probe('ip-transparent', true, 'client addresses cannot be kept', 'CAP_NET_ADMIN is needed', tryTransparent),
    await probe('ipv6', false, 'pods have IPv4 only', 'load the module ipv6', tryIpv6),
    await probe(
      'overlay',
      false,
      'containers see the host`s files read-only instead of copy-on-write',
      'a kernel of 5.11 or newer with overlayfs',
      tryOverlay,
    ),
  ];
}

const kernelOption = (names: string): string =>
  `a kernel with ${names} is needed (load the modules, or install another)`;

async function probe(
  name: string,
  required: boolean,
  without: string,
  fix: string,
  attempt: () => void | Promise<void>,
): Promise<Feature> {
  try {
    await attempt();
    return { name, ok: true, required };
  } catch (error) {
    const advice = error instanceof SystemError && error.code === 'EMFILE' ? error.fix : fix;
    return { name, ok: false, required, why: `${without}: ${errorCode(error)}`, fix: advice };
  }
}

function tryBridge(): void {
  using node = Netns.create();
  using pod = Netns.create();
  using links = new Links(node);
  links.addBridge('cni0');
  links.addVeth('veth0', { name: 'eth0', netns: pod }, { master: 'cni0' });
}

function tryRouting(): void {
  using netns = Netns.create();
  using links = new Links(netns);
  links.up('lo');
  links.addRule({ family: 'ipv4', mark: 0x111, mask: 0xfff, table: 100, priority: 32764 });
  links.setRoute({ family: 'ipv4', type: 'local', device: 'lo', table: 100 });
}

/** A connection to an address that nobody has must arrive here and tell what it was dialled as. */
async function tryRedirect(): Promise<void> {
  using netns = Netns.create();
  using links = new Links(netns);
  links.up('lo');
  links.setRoute({ family: 'ipv4', device: 'lo' });
  const dialled = { ip: '198.51.100.1' as Ip, port: 80 };
  const server = createServer();
  await serve(server, listenTcp(netns, { ip: '127.0.0.1' as Ip, port: 0 }));
  try {
    const { port } = server.address() as AddressInfo;
    const table = 'add table inet probe\nadd chain inet probe output { type nat hook output priority -100; }\n';
    await applyNft(netns, `${table}add rule inet probe output tcp dport 80 redirect to :${port}\n`);
    const socket = connectTcp(netns, { destination: dialled });
    socket.on('error', () => {}); // the accepting side tells
    const [accepted] = await once(server, 'connection', { signal: AbortSignal.timeout(5000) });
    const original = originalDestination(accepted);
    accepted.destroy();
    socket.destroy();
    if (original === undefined || formatHostPort(original) !== formatHostPort(dialled))
      throw new Error('SO_ORIGINAL_DST does not tell the destination');
  } finally {
    server.close();
  }
}

/** What stands in for kube-proxy: maps of concatenations, translation to an endpoint drawn by lot, refusals. */
async function tryServices(): Promise<void> {
  using netns = Netns.create();
  await applyNft(
    netns,
    `table ip probe {
	chain one {
		meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 198.51.100.1 . 80, 1 : 198.51.100.2 . 80 }
	}
	map services {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 203.0.113.1 . tcp . 80 : goto one }
	}
	chain nat {
		type nat hook output priority -100
		ip daddr . meta l4proto . th dport vmap @services
	}
	chain back {
		type nat hook postrouting priority 100
		ct status dnat masquerade
	}
	chain refuse {
		type filter hook output priority 0
		meta l4proto tcp ip daddr 203.0.113.2 reject with tcp reset
	}
}
`,
  );
}

/** What keeps the proxy's traffic and the application's apart: marks of packets and connections, zones for DNS. */
async function tryMarks(): Promise<void> {
  using netns = Netns.create();
  await applyNft(
    netns,
    `table inet probe {
	chain raw {
		type filter hook output priority -300
		udp dport 53 meta mark & 0x00000fff == 0x00000539 ct zone set 1
	}
	chain mangle {
		type route hook output priority -150
		ct mark & 0x00000fff == 0x00000111 meta mark set ct mark
	}
	chain prerouting {
		type filter hook prerouting priority -150
		meta mark & 0x00000fff == 0x00000539 ct mark set ct mark & 0xfffff000 | 0x00000111
	}
}
`,
  );
}

function tryMark(): void {
  using netns = Netns.create();
  libc.close(bindUdp(netns, { ip: '0.0.0.0' as Ip, port: 0, mark: 0x539 }));
}

function tryTransparent(): void {
  using netns = Netns.create();
  libc.close(bindUdp(netns, { ip: '198.51.100.1' as Ip, port: 0, transparent: 'require' }));
}

function tryIpv6(): void {
  using netns = Netns.create();
  using links = new Links(netns);
  links.up('lo');
  if (!hasIpv6Loopback(netns)) throw new Error('`lo` has no ::1');
}

function tryOverlay(): void {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-probe-'));
  const mounted: string[] = [];
  const mount = (source: string, target: string, data: string | null): void => {
    check(libc.mount(source, target, source, 0, data), 'mount', () => `${source} not mounted`);
    mounted.push(target);
  };
  try {
    mount('tmpfs', folder, 'mode=0700');
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name));
    const layers = ['lower', 'upper', 'work'].map((name) => `${name}dir=${join(folder, name)}`).join(',');
    mount('overlay', join(folder, 'merged'), `${layers},userxattr`);
  } finally {
    for (const target of mounted.reverse()) libc.umount2(target, 2);
    rmSync(folder, { recursive: true });
  }
}

function run(program: string, args: string[]): Promise<{ status: number | null; output: string; error: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: PROBE_TIMEOUT_MS });
    let output = '';
    let error = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      error += text;
    });
    child.on('error', (cause) => resolve({ status: null, output, error: cause.message }));
    child.on('close', (status) => resolve({ status, output, error }));
  });
}
