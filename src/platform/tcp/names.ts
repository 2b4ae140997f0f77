// Addresses as Node's sockets give them, as values.

import { type HostPort, type Ip, parseIp } from '../../model/ip.ts';

const MAPPED = '::ffff:';

/** IPv4 unfolded from its v4-mapped form; undefined when the peer is gone already. */
export function hostPortOf(address: string | undefined, port: number | undefined): HostPort | undefined {
  if (address === undefined || port === undefined) return undefined;
  // The kernel's IPv4 text is canonical. A dual-stack listener shows IPv4 peers v4-mapped, always in dotted form.
  if (!address.includes(':')) return { ip: address as Ip, port };
  if (address.startsWith(MAPPED) && address.includes('.')) return { ip: address.slice(MAPPED.length) as Ip, port };
  const ip = parseIp(address);
  return ip.ok ? { ip: ip.value, port } : undefined;
}
