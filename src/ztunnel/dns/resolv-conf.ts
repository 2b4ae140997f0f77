// The nameservers of a resolv.conf, in order. Everything else in it (search list, options) is not used.

import type { Ip } from '../../model/ip.ts';
import { parseIp } from '../../model/ip.ts';

/** As many as the C library uses. */
const MAX_NAMESERVERS = 3;

/** Addresses that do not parse (an interface scope, a typo) are left out. */
export function parseNameservers(text: string): Ip[] {
  const found: Ip[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    const ip = address === undefined ? undefined : parseIp(address);
    if (ip?.ok && !found.includes(ip.value)) found.push(ip.value);
  }
  return found.slice(0, MAX_NAMESERVERS);
}
