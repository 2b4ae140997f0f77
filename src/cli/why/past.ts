// What the access logs of both sides tell of the latest connections between two ends: outcome, identities, bytes, and
// where that differs from what would happen now. Pure.

import type { WhyOutcome } from '../../model/why.ts';
import type { LoggedConnection } from './access-log.ts';

/** Which connections are meant. Pods are `<namespace>/<name>`. */
export interface Between {
  readonly sources: ReadonlySet<string>;
  readonly sourceIps: ReadonlySet<string>;
  readonly destinations: ReadonlySet<string>;
  /** Dialled ones and those of endpoints. */
  readonly destinationIps: ReadonlySet<string>;
  /** Hostname. */
  readonly service: string | undefined;
  /** Dialled ones and those behind them. */
  readonly ports: ReadonlySet<number>;
}

/**
 * `refused`: by policy, before a byte went over. `cut`: while open, as a policy changed. `failed`: for any other reason.
 */
export type PastOutcome = 'completed' | 'refused' | 'cut' | 'failed';

export interface PastConnection {
  /** When it ended, RFC 3339. */
  readonly time: string;
  readonly outcome: PastOutcome;
  /** Whose logs tell of it. */
  readonly toldBy: readonly ('source' | 'destination')[];
  readonly source: string;
  readonly destination: string;
  readonly service: string | undefined;
  /** What was asked of the destination: `ip:port`. */
  readonly address: string;
  /** By mutual TLS. */
  readonly sourceIdentity: string | undefined;
  readonly destinationIdentity: string | undefined;
  readonly bytesToServer: number;
  readonly bytesToClient: number;
  readonly durationMs: number | undefined;
  readonly errorAtSource: string | undefined;
  readonly errorAtDestination: string | undefined;
  /** The policy that refused it, where the destination named one. */
  readonly policy: string | undefined;
}

/** How far apart the two sides may end one connection, in their own clocks. */
const SAME_CONNECTION_MS = 1000;

/** @returns the newest first, at most `limit` */
export function pastConnections(
  lines: readonly LoggedConnection[],
  between: Between,
  limit: number,
): readonly PastConnection[] {
  const meant = lines.filter((line) => isMeant(line, between));
  const inbound = new Set(meant.filter((line) => line.direction === 'inbound'));
  const told: [LoggedConnection, LoggedConnection | undefined][] = [];
  for (const line of meant) {
    if (line.direction !== 'outbound') continue;
    const other = nearest(line, inbound);
    if (other !== undefined) inbound.delete(other);
    told.push([line, other]);
  }
  for (const line of inbound) told.push([line, undefined]);
  return told
    .map(([one, other]) => join(one, other))
    .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0))
    .slice(0, limit);
}

const addressOf = ({ destination }: LoggedConnection): string => destination.hboneAddress ?? destination.address;

function isMeant(line: LoggedConnection, between: Between): boolean {
  const { source, destination } = line;
  const from =
    source.workload === undefined
      ? between.sourceIps.has(ipOf(source.address))
      : between.sources.has(`${source.namespace}/${source.workload}`);
  const at = addressOf(line);
  if (!from || !between.ports.has(portOf(at))) return false;
  return (
    (destination.service !== undefined && destination.service === between.service) ||
    between.destinations.has(`${destination.namespace}/${destination.workload}`) ||
    between.destinationIps.has(ipOf(at))
  );
}

/** The same connection as the other side tells it: same ends, same bytes, about the same time. */
function nearest(line: LoggedConnection, inbound: ReadonlySet<LoggedConnection>): LoggedConnection | undefined {
  const time = Date.parse(line.time);
  let best: LoggedConnection | undefined;
  let bestMs = SAME_CONNECTION_MS;
  for (const other of inbound) {
    const apart = Math.abs(Date.parse(other.time) - time);
    const same =
      addressOf(other) === addressOf(line) &&
      ipOf(other.source.address) === ipOf(line.source.address) &&
      (other.error === undefined) === (line.error === undefined) &&
      (line.error !== undefined ||
        (other.bytesToServer === line.bytesToServer && other.bytesToClient === line.bytesToClient));
    if (!same || apart > bestMs) continue;
    best = other;
    bestMs = apart;
  }
  return best;
}

function join(one: LoggedConnection, other: LoggedConnection | undefined): PastConnection {
  const outbound = one.direction === 'outbound' ? one : undefined;
  const inbound = one.direction === 'inbound' ? one : other;
  const errorAtSource = outbound?.error;
  const errorAtDestination = inbound?.error;
  return {
    time: outbound !== undefined && inbound !== undefined && inbound.time > outbound.time ? inbound.time : one.time,
    outcome: outcomeOf(errorAtDestination ?? errorAtSource),
    toldBy: [...(outbound ? (['source'] as const) : []), ...(inbound ? (['destination'] as const) : [])],
    source: nameOf(one.source),
    destination: nameOf(one.destination),
    service: outbound?.destination.service,
    address: addressOf(one),
    sourceIdentity: one.source.identity ?? other?.source.identity,
    destinationIdentity: one.destination.identity ?? other?.destination.identity,
    bytesToServer: one.bytesToServer,
    bytesToClient: one.bytesToClient,
    durationMs: one.durationMs,
    errorAtSource,
    errorAtDestination,
    policy: /explicitly denied by: (\S+)/.exec(errorAtDestination ?? errorAtSource ?? '')?.[1],
  };
}

/** By ztunnel's own words. The source only hears 401 when the destination's policies refuse. */
function outcomeOf(error: string | undefined): PastOutcome {
  if (error === undefined) return 'completed';
  if (error.includes('policy change')) return 'cut';
  return error.includes('policy rejection') || error.startsWith('http status: 401') ? 'refused' : 'failed';
}

const nameOf = ({ workload, namespace, address }: LoggedConnection['source']): string =>
  workload === undefined ? address : `${namespace}/${workload}`;

const ipOf = (address: string): string => address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));

/** The reason that a past connection was not let through, in a few words. */
export const reasonOf = (past: PastConnection): string =>
  (past.errorAtDestination ?? past.errorAtSource ?? 'it came to a good end').replace(
    /^connection closed due to policy rejection: /,
    '',
  );

/** Where the latest connection and the present answer differ, one sentence; undefined when they agree. */
export function difference(latest: PastConnection | undefined, now: WhyOutcome | 'differs'): string | undefined {
  if (latest === undefined) return undefined;
  const at = latest.time.replace(/\.\d+Z$/, 'Z');
  const by = latest.policy === undefined ? `(${reasonOf(latest)})` : `by ${latest.policy}`;
  if (now === 'allowed' && latest.outcome === 'refused') return `refused at ${at} ${by}; would be allowed now`;
  if (now === 'allowed' && latest.outcome === 'cut') return `cut at ${at} as a policy changed; would be allowed now`;
  if (now === 'refused' && latest.outcome === 'completed') return `went through at ${at}; would be refused now`;
  return undefined;
}
