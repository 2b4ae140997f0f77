// Virtual addresses for ServiceEntries that have none, so that traffic to their hosts can be told apart by address.
// Kept in the entry's status; an address once given stays until its host goes. Pure: entries in, wanted statuses out.

import { type Ip, ipBytes, ipFromBytes, isV4 } from '../model/ip.ts';
import type { ServiceEntry } from './objects/entry.ts';
import { byAge, metaKey } from './objects/meta.ts';
import { allocatesAddresses, hostAllocates } from './service.ts';

/** `240.240.0.0/16` without its first address, and the first 2³² addresses of `2001:2::/48` but one. */
const V4_SIZE = 0xffff;
const V6_SIZE = 0xffff_ffff;

const v4At = (offset: number): Ip => `240.240.${offset >> 8}.${offset & 255}` as Ip;
const v6At = (offset: number): Ip =>
  ipFromBytes(
    Uint8Array.of(
      0x20,
      1,
      0,
      2,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      offset >>> 24,
      (offset >>> 16) & 255,
      (offset >>> 8) & 255,
      offset & 255,
    ),
  ) as Ip;

const inRange = (ip: Ip): boolean => {
  const bytes = ipBytes(ip);
  if (isV4(ip)) return bytes[0] === 240 && bytes[1] === 240;
  return bytes[0] === 0x20 && bytes[1] === 1 && bytes[2] === 0 && bytes[3] === 2 && bytes[4] === 0 && bytes[5] === 0;
};

/** FNV-1a, 32 bits: where in the range to start looking, so that two replicas seldom want the same address. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

function firstFree(seed: string, size: number, at: (offset: number) => Ip, taken: Set<Ip>): Ip | undefined {
  const start = hash(seed) % size;
  for (let i = 0; i < Math.min(size, 0x1_0000); i++) {
    const ip = at(((start + i) % size) + 1);
    if (taken.has(ip)) continue;
    taken.add(ip);
    return ip;
  }
  return undefined;
}

export interface AllocatedAddress {
  readonly host: string;
  readonly value: Ip;
}

export interface Allocation {
  readonly namespace: string;
  readonly name: string;
  /** The whole list that `status.addresses` should be. */
  readonly addresses: readonly AllocatedAddress[];
}

interface Kept {
  readonly v4: Ip | undefined;
  readonly v6: Ip | undefined;
}

/**
 * Which entries need another `status.addresses`. Of two that hold one address the older keeps it.
 * @returns only entries whose status must change, in order of age
 */
export function allocate(entries: Iterable<ServiceEntry>): readonly Allocation[] {
  const ordered = [...entries].sort(byAge);
  const taken = new Set<Ip>();
  for (const entry of ordered) for (const range of entry.addresses ?? []) if (inRange(range.ip)) taken.add(range.ip);

  const keep = (entry: ServiceEntry, host: string): Kept => {
    const mine = entry.allocated.filter((given) => given.host === host && inRange(given.ip) && !taken.has(given.ip));
    const kept = { v4: mine.find(({ ip }) => isV4(ip))?.ip, v6: mine.find(({ ip }) => !isV4(ip))?.ip };
    for (const ip of [kept.v4, kept.v6]) if (ip !== undefined) taken.add(ip);
    return kept;
  };
  const hostsOf = (entry: ServiceEntry): readonly string[] =>
    allocatesAddresses(entry) ? entry.hosts.filter((host) => hostAllocates(entry, host)) : [];
  const plans = ordered.map((entry) => ({
    entry,
    hosts: hostsOf(entry).map((host) => ({ host, kept: keep(entry, host) })),
  }));

  return plans.flatMap(({ entry, hosts }) => {
    const addresses = hosts.flatMap(({ host, kept }) => {
      const seed = `${metaKey(entry)}/${host}`;
      const v4 = kept.v4 ?? firstFree(seed, V4_SIZE - 1, v4At, taken);
      const v6 = kept.v6 ?? firstFree(seed, V6_SIZE - 1, v6At, taken);
      return [v4, v6].flatMap((value) => (value === undefined ? [] : [{ host, value }]));
    });
    const found = entry.allocated.filter(({ ip }) => inRange(ip));
    const same =
      addresses.length === found.length &&
      addresses.every(({ host, value }, i) => found[i]?.host === host && found[i]?.ip === value);
    return same ? [] : [{ namespace: entry.namespace, name: entry.name, addresses }];
  });
}
