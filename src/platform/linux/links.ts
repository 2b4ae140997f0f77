// Interfaces, addresses, routes, policy rules and sysctls of one network namespace, without starting `ip`: a whole pod
// (veth pair, addresses, routes) takes well under a millisecond instead of several process starts.

import { writeFileSync } from 'node:fs';
import { type Cidr, type Ip, ipBytes, isV4 } from '../../model/ip.ts';
import { hasCode } from './errors.ts';
import { attribute, attributesOf, NetlinkRoute, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './netlink.ts';
import type { Netns } from './netns.ts';
import { AF_INET, AF_INET6 } from './sockaddr.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;

const IFF_UP = 1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IF_OPER_UP = 6;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_BRPORT_STATE = 1;
const BR_STATE_FORWARDING = 3;
const VETH_INFO_PEER = 1;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
/** An IPv6 address is usable at once: the addresses of a room are ours, nobody else can have them. */
const IFA_F_NODAD = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FR_ACT_TO_TBL = 1;

export type IpFamily = 'ipv4' | 'ipv6';

export interface Route {
  /** Left out: the default route of `family`. */
  readonly destination?: Cidr;
  readonly family?: IpFamily;
  readonly via?: Ip;
  readonly device?: string;
  /** Default 254, main. */
  readonly table?: number;
  /** `local`: packets are for this namespace itself, whatever their address. */
  readonly type?: 'unicast' | 'local';
}

/** Packets whose mark, masked, equals `mark` are looked up in `table`. */
export interface MarkRule {
  readonly family: IpFamily;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
}

const numberOf = (family: IpFamily): number => (family === 'ipv4' ? AF_INET : AF_INET6);
const familyOf = (ip: Ip): number => (isV4(ip) ? AF_INET : AF_INET6);

function linkHeader(index: number, up: boolean): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(index, 4);
  if (up) {
    bytes.writeUInt32LE(IFF_UP, 8);
    bytes.writeUInt32LE(IFF_UP, 12);
  }
  return bytes;
}

/**
 * The interfaces of one namespace. Calls are synchronous and take 10 to 300 microseconds.
 * Every method throws SystemError (ENODEV, EEXIST, EPERM, …) with the kernel's own explanation.
 */
export class Links implements Disposable {
  readonly #route: NetlinkRoute;
  readonly #indexes = new Map<string, number>();

  constructor(netns: Netns) {
    this.#route = new NetlinkRoute(netns);
  }

  /** Interface number. Remembered: interfaces that are renamed or remade by others need a new `Links`. */
  index(name: string): number {
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    const what = (): string => `interface \`${name}\` not found`;
    const answer = this.#route.request(RTM_GETLINK, 0, [linkHeader(0, false), attribute(IFLA_IFNAME, name)], what);
    if (answer === undefined) throw new Error(what());
    const index = answer.readInt32LE(4);
    this.#indexes.set(name, index);
    return index;
  }

  #attributes(name: string): Map<number, Buffer> {
    const what = (): string => `interface \`${name}\` not found`;
    const answer = this.#route.request(RTM_GETLINK, 0, [linkHeader(0, false), attribute(IFLA_IFNAME, name)], what);
    return answer === undefined ? new Map() : attributesOf(answer, 16);
  }

  /** Hardware address, `02:42:…`. */
  hardwareAddress(name: string): string {
    return Array.from(this.#attributes(name).get(IFLA_ADDRESS) ?? [], (byte) =>
      byte.toString(16).padStart(2, '0'),
    ).join(':');
  }

  /**
   * Whether the interface passes packets on. Each end of a pair takes some milliseconds after both were brought up, on a
   * busy machine 100; what is sent before is dropped, and the sender tries again only a second later. Ask for both ends.
   */
  isOperational(name: string): boolean {
    const attributes = this.#attributes(name);
    if (attributes.get(IFLA_OPERSTATE)?.[0] !== IF_OPER_UP) return false;
    const info = attributes.get(IFLA_LINKINFO);
    const port = info && attributesOf(info, 0).get(IFLA_INFO_SLAVE_DATA);
    const state = port && attributesOf(port, 0).get(IFLA_BRPORT_STATE);
    return state === undefined || state[0] === BR_STATE_FORWARDING;
  }

  addBridge(name: string, options: { readonly up?: boolean; readonly mtu?: number } = {}): void {
    this.#addLink(name, 'bridge', options.up ?? true, options.mtu);
  }

  #addLink(name: string, kind: string, up: boolean, mtu: number | undefined): void {
    const info = attribute(IFLA_LINKINFO, [attribute(IFLA_INFO_KIND, kind)]);
    const body = [linkHeader(0, up), attribute(IFLA_IFNAME, name), info];
    if (mtu !== undefined) body.push(attribute(IFLA_MTU, mtu));
    this.#route.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, () => `${kind} \`${name}\` not made`);
  }

  /**
   * A pair of connected interfaces: `name` here, `peer.name` in the peer's namespace; both go with either namespace.
   * @param options.master bridge of this namespace that `name` joins
   * @param options.up     brings `name` up; the peer is brought up in its own namespace
   */
  addVeth(
    name: string,
    peer: { readonly name: string; readonly netns: Netns },
    options: { readonly master?: string; readonly up?: boolean; readonly mtu?: number } = {},
  ): void {
    const mtu = options.mtu === undefined ? [] : [attribute(IFLA_MTU, options.mtu)];
    const peerInfo = attribute(VETH_INFO_PEER, [
      linkHeader(0, false),
      attribute(IFLA_IFNAME, peer.name),
      attribute(IFLA_NET_NS_FD, peer.netns.fd),
      ...mtu,
    ]);
    const info = attribute(IFLA_LINKINFO, [attribute(IFLA_INFO_KIND, 'veth'), attribute(IFLA_INFO_DATA, [peerInfo])]);
    const body = [linkHeader(0, options.up ?? true), attribute(IFLA_IFNAME, name), ...mtu, info];
    if (options.master !== undefined) body.push(attribute(IFLA_MASTER, this.index(options.master)));
    this.#route.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, () => `interface pair \`${name}\` not made`);
  }

  up(name: string): void {
    this.#route.request(
      RTM_NEWLINK,
      0,
      [linkHeader(this.index(name), true)],
      () => `interface \`${name}\` not brought up`,
    );
  }

  /** One that is not there is not an error. */
  deleteLink(name: string): void {
    this.#indexes.delete(name);
    const body = [linkHeader(0, false), attribute(IFLA_IFNAME, name)];
    ignoring(['ENODEV'], () => this.#route.request(RTM_DELLINK, 0, body, () => `interface \`${name}\` not deleted`));
  }

  /** @param at the address with the length of its subnet; its connected route comes with it */
  addAddress(name: string, at: Cidr): void {
    const header = Buffer.alloc(8);
    header[0] = familyOf(at.ip);
    header[1] = at.length;
    header.writeUInt32LE(this.index(name), 4);
    const address = ipBytes(at.ip);
    const body = [header, attribute(IFA_LOCAL, address), attribute(IFA_ADDRESS, address)];
    if (!isV4(at.ip)) body.push(attribute(IFA_FLAGS, IFA_F_NODAD));
    const what = (): string => `address ${at.ip}/${at.length} not given to \`${name}\``;
    this.#route.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, what);
  }

  /** Replaces a route to the same destination in the same table. */
  setRoute(route: Route): void {
    const what = (): string => `${describe(route)} not set`;
    this.#route.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, this.#routeBody(route), what);
  }

  /** One that is not there is not an error. */
  deleteRoute(route: Route): void {
    ignoring(['ESRCH', 'ENOENT'], () =>
      this.#route.request(RTM_DELROUTE, 0, this.#routeBody(route), () => `${describe(route)} not deleted`),
    );
  }

  #routeBody(route: Route): Buffer[] {
    const { destination, via, device, table = RT_TABLE_MAIN, type = 'unicast' } = route;
    const ip = destination?.ip ?? via;
    const header = Buffer.alloc(12);
    header[0] = route.family !== undefined ? numberOf(route.family) : ip === undefined ? AF_INET : familyOf(ip);
    header[1] = destination?.length ?? 0;
    header[4] = table < 256 ? table : 0;
    header[5] = RTPROT_STATIC;
    header[6] = type === 'local' ? RT_SCOPE_HOST : via === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    header[7] = type === 'local' ? RTN_LOCAL : RTN_UNICAST;
    const body = [header, attribute(RTA_TABLE, table)];
    if (destination !== undefined && destination.length > 0) body.push(attribute(RTA_DST, ipBytes(destination.ip)));
    if (via !== undefined) body.push(attribute(RTA_GATEWAY, ipBytes(via)));
    if (device !== undefined) body.push(attribute(RTA_OIF, this.index(device)));
    return body;
  }

  /** One that is there already is not an error. */
  addRule(rule: MarkRule): void {
    const what = (): string => `policy rule for mark 0x${rule.mark.toString(16)} not set`;
    ignoring(['EEXIST'], () => this.#route.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, ruleBody(rule), what));
  }

  /** One that is not there is not an error. */
  deleteRule(rule: MarkRule): void {
    const what = (): string => `policy rule for mark 0x${rule.mark.toString(16)} not deleted`;
    ignoring(['ENOENT', 'EAFNOSUPPORT'], () => this.#route.request(RTM_DELRULE, 0, ruleBody(rule), what));
  }

  close(): void {
    this.#route.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function ruleBody(rule: MarkRule): Buffer[] {
  const header = Buffer.alloc(12);
  header[0] = numberOf(rule.family);
  header[4] = rule.table < 256 ? rule.table : 0;
  header[7] = FR_ACT_TO_TBL;
  return [
    header,
    attribute(FRA_TABLE, rule.table),
    attribute(FRA_PRIORITY, rule.priority),
    attribute(FRA_FWMARK, rule.mark),
    attribute(FRA_FWMASK, rule.mask),
  ];
}

function describe(route: Route): string {
  const to = route.destination === undefined ? 'default' : `${route.destination.ip}/${route.destination.length}`;
  const via = route.via === undefined ? '' : ` via ${route.via}`;
  return `route \`${to}${via}${route.device === undefined ? '' : ` dev ${route.device}`}\``;
}

function ignoring(codes: readonly string[], action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!codes.some((code) => hasCode(error, code))) throw error;
  }
}

/**
 * Writes a sysctl of the namespace, `net.ipv4.ip_forward` for example. Dots inside an interface's name are written `/`.
 * Throws Node's error with `code` EACCES or EROFS where it may not be written, ENOENT for an unknown name.
 * @param proc where a procfs is mounted; whose does not matter, the calling thread's namespace counts
 */
export function setSysctl(netns: Netns, name: string, value: string | number, proc = '/proc'): void {
  const path = `${proc}/sys/${name.replace(/[./]/g, (sign) => (sign === '.' ? '/' : '.'))}`;
  netns.run(() => writeFileSync(path, `${value}`));
}
