// The redirection rules of a pod and of the node, as scripts for nft. Pure: text in, text out.
// Istio: names of tables and chains, order and marks are those of its native nftables mode, so that its tools and
// documentation hold. One script is one transaction. Interface names and addresses are validated before they come here.

import type { Redirection } from '../derive/enrolment.ts';
import type { Ip } from '../model/ip.ts';
import { DNS_PROXY_PORT, HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT } from '../model/ports.ts';

/** Sockets of the proxy carry it: what it sends is never captured again. */
export const PROXY_MARK = 0x539;
/** Connections from the proxy to the application: their replies are routed back to `lo`, whatever their address. */
export const RETURN_MARK = 0x111;
export const MARK_MASK = 0xfff;
export const RETURN_TABLE = 100;
export const RETURN_PRIORITY = 32764;

export const NAT_TABLE = 'istio-ambient-nat';
const MANGLE_TABLE = 'istio-ambient-mangle';
const RAW_TABLE = 'istio-ambient-raw';
export const PROBE_SET_V4 = 'istio-inpod-probes-v4';
export const PROBE_SET_V6 = 'istio-inpod-probes-v6';

export interface PodRules extends Redirection {
  /** Rules for IPv6 too. Without them, IPv6 traffic of the pod is not captured. */
  readonly ipv6: boolean;
  readonly probeSource: ProbeSource;
}

/** What the node's probes come from, as pods see it. */
export interface ProbeSource {
  readonly v4: Ip;
  readonly v6: Ip;
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
const OURS = `meta mark & ${hex(MARK_MASK)} == ${hex(PROXY_MARK)}`;
const NOT_OURS = `meta mark & ${hex(MARK_MASK)} != ${hex(PROXY_MARK)}`;
const DNS_ZONE = 1;

interface Family {
  readonly address: 'ip' | 'ip6';
  readonly loopback: string;
  readonly probeSource: Ip;
}

interface Chain {
  readonly hook: 'prerouting' | 'output';
  readonly rules: readonly string[];
}

/**
 * The script that captures a pod's traffic, for the pod's own namespace. Applying it again replaces the rules without a
 * gap; captured connections keep going where they went. Only first packets of connections are ever redirected, as the
 * connection tracking of the namespace sees them: redirection.ts says what that means for those from before.
 */
export function podScript(rules: PodRules): string {
  const families: Family[] = [{ address: 'ip', loopback: '127.0.0.1', probeSource: rules.probeSource.v4 }];
  if (rules.ipv6) families.push({ address: 'ip6', loopback: '::1', probeSource: rules.probeSource.v6 });
  // A rule without an address would match both families.
  const any = rules.ipv6 ? '' : 'meta nfproto ipv4 ';
  return [
    table(RAW_TABLE, 'filter', 'filter', -300, rawChains(rules, any)),
    table(MANGLE_TABLE, 'filter', 'route', -150, mangleChains(any)),
    table(NAT_TABLE, 'nat', 'nat', -100, [
      { hook: 'prerouting', rules: natPrerouting(rules, families, any) },
      { hook: 'output', rules: natOutput(rules, families, any) },
    ]),
  ].join('');
}

/** DNS of the application and of the proxy can have equal tuples: the proxy's live in a conntrack zone of their own. */
function rawChains({ captureDns }: PodRules, any: string): Chain[] {
  return [
    { hook: 'prerouting', rules: captureDns ? [`${any}udp sport 53 ${NOT_OURS} counter ct zone set ${DNS_ZONE}`] : [] },
    { hook: 'output', rules: captureDns ? [`${any}udp dport 53 ${OURS} counter ct zone set ${DNS_ZONE}`] : [] },
  ];
}

function mangleChains(any: string): Chain[] {
  const keepUpper = hex(~MARK_MASK >>> 0);
  return [
    {
      hook: 'prerouting',
      rules: [`${any}${OURS} counter ct mark set ct mark & ${keepUpper} | ${hex(RETURN_MARK)}`],
    },
    {
      hook: 'output',
      rules: [`${any}ct mark & ${hex(MARK_MASK)} == ${hex(RETURN_MARK)} counter meta mark set ct mark`],
    },
  ];
}

function natPrerouting(rules: PodRules, families: Family[], any: string): string[] {
  const lines: string[] = [];
  for (const name of rules.virtualInterfaces) {
    lines.push(`${any}iifname "${name}" meta l4proto tcp counter redirect to :${OUTBOUND_PORT}`);
    lines.push(`${any}iifname "${name}" meta l4proto tcp counter return`);
  }
  if (!rules.captureInbound) return lines;
  for (const { address, probeSource } of families)
    lines.push(`meta l4proto tcp ${address} saddr ${probeSource} counter accept`);
  for (const { address, loopback } of families)
    lines.push(
      `${address} daddr != ${loopback} tcp dport != ${HBONE_PORT} ${NOT_OURS} counter redirect to :${INBOUND_PLAINTEXT_PORT}`,
    );
  return lines;
}

function natOutput(rules: PodRules, families: Family[], any: string): string[] {
  const lines: string[] = [];
  const each = (rule: (family: Family) => string): void => {
    for (const family of families) lines.push(rule(family));
  };
  each(({ address, probeSource }) => `meta l4proto tcp ${address} daddr ${probeSource} counter accept`);
  if (rules.captureDns) {
    lines.push(`${any}oifname != "lo" udp dport 53 ${NOT_OURS} counter redirect to :${DNS_PROXY_PORT}`);
    each(
      ({ address, loopback }) =>
        `${address} daddr != ${loopback} tcp dport 53 ${NOT_OURS} counter redirect to :${DNS_PROXY_PORT}`,
    );
  }
  lines.push(`${any}meta l4proto tcp meta mark & ${hex(MARK_MASK)} == ${hex(RETURN_MARK)} counter accept`);
  // A pod that dials its own address is not captured.
  each(({ address, loopback }) => `oifname "lo" ${address} daddr != ${loopback} counter accept`);
  each(
    ({ address, loopback }) =>
      `meta l4proto tcp ${address} daddr != ${loopback} ${NOT_OURS} counter redirect to :${OUTBOUND_PORT}`,
  );
  return lines;
}

/** A table with base chains that jump to chains named as Istio's. */
function table(name: string, prerouting: string, output: string, priority: number, chains: Chain[]): string {
  const lines = [`add table inet ${name}`, `flush table inet ${name}`];
  for (const { hook, rules } of chains) {
    const type = hook === 'prerouting' ? prerouting : output;
    lines.push(`add chain inet ${name} ${hook} { type ${type} hook ${hook} priority ${priority}; policy accept; }`);
    lines.push(`add chain inet ${name} istio-${hook}`);
    lines.push(`add rule inet ${name} ${hook} jump istio-${hook}`);
    for (const rule of rules) lines.push(`add rule inet ${name} istio-${hook} ${rule}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Brings connection tracking into a namespace, and nothing else; `podScript` replaces it. */
export const trackingScript = (): string => table(MANGLE_TABLE, 'filter', 'route', -150, mangleChains(''));

/** Takes a pod's rules away; those that are not there are not missed. */
export const podRemovalScript = (): string =>
  [RAW_TABLE, MANGLE_TABLE, NAT_TABLE].map((name) => `add table inet ${name}\ndelete table inet ${name}\n`).join('');

/**
 * The node's side of probes: what the kubelet sends to a pod of the set comes from an address that pods let through. The
 * sets are emptied.
 */
export function hostScript(kubeletUid: number, probeSource: ProbeSource): string {
  const rule = (address: string, set: string, source: Ip): string =>
    `add rule inet ${NAT_TABLE} istio-postrouting meta l4proto tcp meta skuid ${kubeletUid} ${address} daddr @${set} counter snat ${address} to ${source}`;
  return `${[
    `add table inet ${NAT_TABLE}`,
    `add set inet ${NAT_TABLE} ${PROBE_SET_V4} { type ipv4_addr; }`,
    `add set inet ${NAT_TABLE} ${PROBE_SET_V6} { type ipv6_addr; }`,
    `add chain inet ${NAT_TABLE} postrouting { type nat hook postrouting priority 100; policy accept; }`,
    `add chain inet ${NAT_TABLE} istio-postrouting`,
    `flush set inet ${NAT_TABLE} ${PROBE_SET_V4}`,
    `flush set inet ${NAT_TABLE} ${PROBE_SET_V6}`,
    `flush chain inet ${NAT_TABLE} postrouting`,
    `flush chain inet ${NAT_TABLE} istio-postrouting`,
    `add rule inet ${NAT_TABLE} postrouting jump istio-postrouting`,
    rule('ip', PROBE_SET_V4, probeSource.v4),
    rule('ip6', PROBE_SET_V6, probeSource.v6),
  ].join('\n')}\n`;
}

const setOf = (ip: Ip): string => (ip.includes(':') ? PROBE_SET_V6 : PROBE_SET_V4);

/**
 * Puts an address in its set. `owner`: the pod's uid, kept as the entry's comment.
 * @param known the address is in the set already, for another owner: deleting costs the kernel 10 ms, adding nothing
 */
export function addProbeTarget(ip: Ip, owner: string, known: boolean): string {
  const element = `inet ${NAT_TABLE} ${setOf(ip)}`;
  const add = `add element ${element} { ${ip} comment "${owner.replace(/[^A-Za-z0-9-]/g, '').slice(0, 64)}" }\n`;
  return known ? removeProbeTarget(ip) + add : add;
}

export function removeProbeTarget(ip: Ip): string {
  const element = `inet ${NAT_TABLE} ${setOf(ip)}`;
  return `add element ${element} { ${ip} }\ndelete element ${element} { ${ip} }\n`;
}
