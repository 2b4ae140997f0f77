// The name server of the pod (/etc/resolv.conf), asked directly so that answers come with their time to live.

import { Resolver } from 'node:dns/promises';
import { type Ip, parseIp } from '../../model/ip.ts';
import type { Answer, Resolve } from './names.ts';

const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** An answer of more addresses is cut. */
const MAX_ADDRESSES = 256;

/** Errors that say that there is no such name, or no such record, rather than no answer. */
const ABSENT = new Set(['ENOTFOUND', 'ENODATA']);

/** @param servers  `ip` or `ip:port`; undefined: the system's */
export function systemResolver(servers?: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  return async (hostname) => {
    const name = hostname.endsWith('.') ? hostname.slice(0, -1) : hostname;
    const literal = parseIp(name);
    if (literal.ok) return { addresses: [literal.value], ttlMs: undefined };
    const v4 = await absentIsEmpty(resolver.resolve4(name, { ttl: true }));
    // IPv4 before IPv6, as everywhere in a mesh that is not told otherwise (Istio: V4_ONLY, else both).
    const records = v4.length > 0 ? v4 : await absentIsEmpty(resolver.resolve6(name, { ttl: true }));
    return answerOf(records);
  };
}

interface TimedAddress {
  readonly address: string;
  /** Seconds. */
  readonly ttl: number;
}

async function absentIsEmpty(asked: Promise<TimedAddress[]>): Promise<TimedAddress[]> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string' && ABSENT.has(error.code))
      return [];
    throw error;
  }
}

function answerOf(records: readonly TimedAddress[]): Answer {
  const addresses: Ip[] = [];
  let ttl = Number.POSITIVE_INFINITY;
  for (const record of records.slice(0, MAX_ADDRESSES)) {
    const ip = parseIp(record.address);
    if (!ip.ok) continue;
    addresses.push(ip.value);
    ttl = Math.min(ttl, record.ttl);
  }
  return { addresses, ttlMs: Number.isFinite(ttl) ? ttl * 1000 : undefined };
}
