// The network of a room: one fabric (a bridge in the room's own namespace), and for each node a namespace with an uplink
// to the fabric and a bridge for its pods. A pod's sandbox is a namespace of its own with one interface on that bridge.

import { createHash } from 'node:crypto';
import { type Cidr, type Ip, parseCidr } from '../../model/ip.ts';
import { Links, setSysctl } from '../../platform/linux/links.ts';
import { Netns } from '../../platform/linux/netns.ts';
import { FABRIC_BRIDGE, FABRIC_GATEWAY, FABRIC_RANGE, nodeIp, podGatewayOf, podRangeOf } from './addresses.ts';

const FIRST_POD = 2;
const LAST_POD = 254;
const OPERATIONAL_MS = 1000;

export interface PodSandbox {
  readonly netns: Netns;
  readonly netnsPath: string;
  readonly ip: Ip;
}

/** Puts the fabric into the namespace of the calling process, which is the room's own. */
export function makeFabric(): void {
  using room = Netns.current();
  using links = new Links(room);
  links.up('lo');
  links.addBridge(FABRIC_BRIDGE);
  links.addAddress(FABRIC_BRIDGE, { ip: FABRIC_GATEWAY, length: FABRIC_RANGE.length });
  forwarding(room, FABRIC_BRIDGE);
}

/** Routes between the parts of the room; answers may come in by another way than they would leave. */
function forwarding(netns: Netns, ...devices: string[]): void {
  setSysctl(netns, 'net.ipv4.ip_forward', 1);
  for (const scope of ['all', 'default', ...devices]) setSysctl(netns, `net.ipv4.conf.${scope}.send_redirects`, 0);
  looseSources(netns);
  try {
    // Where the host has loaded br_netfilter, bridges would show packets to the rules a second time, below routing: a
    // pod that reaches itself through a service would be sent back over its own port, which a bridge never does.
    setSysctl(netns, 'net.bridge.bridge-nf-call-iptables', 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

function looseSources(netns: Netns): void {
  setSysctl(netns, 'net.ipv4.conf.all.rp_filter', 0);
  setSysctl(netns, 'net.ipv4.conf.default.rp_filter', 0);
}

export class NodeNetwork {
  readonly name: string;
  /** Counted from 1. */
  readonly index: number;
  readonly ip: Ip;
  readonly podCidr: Cidr;
  readonly zone: string;
  readonly netns: Netns;
  readonly netnsPath: string;
  readonly #links: Links;
  readonly #byPod = new Map<string, PodSandbox>();
  readonly #taken = new Set<Ip>();
  #next = FIRST_POD;

  private constructor(name: string, index: number, netns: Netns, netnsPath: string) {
    this.name = name;
    this.index = index;
    this.ip = nodeIp(index);
    this.podCidr = podRangeOf(index);
    this.zone = `zone-${index}`;
    this.netns = netns;
    this.netnsPath = netnsPath;
    this.#links = new Links(netns);
  }

  static async create(name: string, index: number): Promise<NodeNetwork> {
    const netnsPath = `/run/netns/node-${name}`;
    const node = new NodeNetwork(name, index, Netns.createAt(netnsPath), netnsPath);
    using room = Netns.current();
    using fabric = new Links(room);
    fabric.addVeth(`node${index}`, { name: 'eth0', netns: node.netns }, { master: FABRIC_BRIDGE });
    const links = node.#links;
    links.up('lo');
    links.up('eth0');
    links.addAddress('eth0', { ip: node.ip, length: FABRIC_RANGE.length });
    links.setRoute({ via: FABRIC_GATEWAY, device: 'eth0' });
    links.addBridge('cni0');
    links.addAddress('cni0', { ip: podGatewayOf(index), length: node.podCidr.length });
    forwarding(node.netns, 'cni0', 'eth0');
    fabric.setRoute({ destination: node.podCidr, via: node.ip, device: FABRIC_BRIDGE });
    await operational(() => fabric.isOperational(`node${index}`) && links.isOperational('eth0'));
    return node;
  }

  /** Tells every node the way to the pods of the others. */
  static connect(nodes: readonly NodeNetwork[]): void {
    for (const node of nodes)
      for (const other of nodes)
        if (other !== node) node.#links.setRoute({ destination: other.podCidr, via: other.ip, device: 'eth0' });
  }

  /**
   * Makes the sandbox of a pod: namespace `/run/netns/pod-<uid>`, interface, address, default route. Takes some 2 ms.
   * @param wanted an address of this node that the pod had before; given again if it is free
   * @throws Error when no address is left
   */
  async addPod(uid: string, wanted?: string): Promise<PodSandbox> {
    const known = this.#byPod.get(uid);
    if (known !== undefined) return known;
    const ip = this.#allocate(wanted);
    const netnsPath = `/run/netns/pod-${uid}`;
    const netns = Netns.createAt(netnsPath);
    try {
      this.#links.addVeth(interfaceOf(uid), { name: 'eth0', netns }, { master: 'cni0' });
      using links = new Links(netns);
      links.up('lo');
      links.up('eth0');
      // No neighbours: all goes by the node, also to pods beside it. An answer that took the short way over the bridge
      // would miss the service rules that have to turn its address back.
      const gateway = podGatewayOf(this.index);
      links.addAddress('eth0', { ip, length: 32 });
      links.setRoute({ destination: { ip: gateway, length: 32 }, device: 'eth0' });
      links.setRoute({ via: gateway, device: 'eth0' });
      looseSources(netns);
      setSysctl(netns, 'net.ipv4.ip_unprivileged_port_start', 0);
    } catch (error) {
      netns.close();
      Netns.remove(netnsPath);
      this.#taken.delete(ip);
      throw error;
    }
    const sandbox = { netns, netnsPath, ip };
    this.#byPod.set(uid, sandbox); // before waiting: a pod may be removed meanwhile
    await operational(() => !this.#byPod.has(uid) || this.#links.isOperational(interfaceOf(uid)));
    return sandbox;
  }

  /** Twice is harmless. */
  removePod(uid: string): void {
    const sandbox = this.#byPod.get(uid);
    if (sandbox === undefined) return;
    this.#byPod.delete(uid);
    this.#taken.delete(sandbox.ip);
    this.#links.deleteLink(interfaceOf(uid));
    sandbox.netns.close();
    Netns.remove(sandbox.netnsPath);
  }

  /** Goes round, so that an address rests before another pod gets it. */
  #allocate(wanted: string | undefined): Ip {
    const prefix = `10.244.${this.index}.`;
    const free = (ip: Ip): boolean => !this.#taken.has(ip);
    if (wanted?.startsWith(prefix) && parseCidr(wanted).ok && free(wanted as Ip)) {
      this.#taken.add(wanted as Ip);
      return wanted as Ip;
    }
    for (let tries = FIRST_POD; tries <= LAST_POD; tries++) {
      const ip = `${prefix}${this.#next}` as Ip;
      this.#next = this.#next === LAST_POD ? FIRST_POD : this.#next + 1;
      if (!free(ip)) continue;
      this.#taken.add(ip);
      return ip;
    }
    throw new Error(
      `node \`${this.name}\` has no address left: it runs ${this.#taken.size} pods; start the mesh with more --nodes`,
    );
  }
}

/**
 * Waits until the kernel passes packets: what is sent before is lost, and TCP tries again only a second later. After that
 * second it goes on in any case: a slow start is better than none.
 */
async function operational(ready: () => boolean): Promise<void> {
  const end = performance.now() + OPERATIONAL_MS;
  while (!ready() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Interface names have 15 characters at most. */
const interfaceOf = (uid: string): string => `veth${createHash('sha1').update(uid).digest('hex').slice(0, 11)}`;
