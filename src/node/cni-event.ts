// What the CNI plugin tells the agent about a pod that is being started: Istio's JSON, both directions. Pure.
// Istio: addresses are Go's net.IPNet, `{"IP": "10.0.0.1", "Mask": "////AA=="}`; plain text is taken as well.

import { type Json, list, optionalRecord, record, text } from '../derive/read.ts';
import { type Ip, parseCidr } from '../model/ip.ts';
import { fail, ok, type Result } from '../model/result.ts';

export const CMD_ADD_PATH = '/cmdadd';

export interface CniAddEvent {
  /** Path of the pod's namespace, as the node sees it. */
  readonly netns: string;
  readonly name: string;
  readonly namespace: string;
  readonly ips: readonly Ip[];
}

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** @returns the event, or a sentence about the first thing that is wrong */
export function parseCniAdd(body: string): Result<CniAddEvent, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return fail('the request is not JSON');
  }
  const event: Json | undefined = optionalRecord(parsed);
  if (event === undefined) return fail('the request is not an object');
  const netns = text(event.Netns);
  const name = text(event.PodName);
  const namespace = text(event.PodNamespace);
  if (!netns.startsWith('/') || netns.includes('\0')) return fail('`Netns` is not an absolute path');
  if (!NAME.test(name)) return fail('`PodName` is not the name of a pod');
  if (!NAME.test(namespace)) return fail('`PodNamespace` is not the name of a namespace');
  const ips: Ip[] = [];
  for (const item of list(event.IPs)) {
    const { Address } = record(item);
    const written = typeof Address === 'string' ? Address : text(record(Address).IP);
    const parsedIp = parseCidr(written);
    if (!parsedIp.ok) return fail(`\`IPs\`: \`${written.slice(0, 50)}\` is not an address`);
    ips.push(parsedIp.value.ip);
  }
  if (ips.length === 0) return fail('`IPs` is empty: the pod has no address');
  return ok({ netns, name, namespace, ips });
}

export function formatCniAdd(event: CniAddEvent): string {
  const IPs = event.ips.map((ip) => {
    const mask = Buffer.alloc(ip.includes(':') ? 16 : 4, 0xff).toString('base64');
    return { Interface: null, Address: { IP: ip, Mask: mask }, Gateway: '' };
  });
  return JSON.stringify({ Netns: event.netns, PodName: event.name, PodNamespace: event.namespace, IPs });
}
