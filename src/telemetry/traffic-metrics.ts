// The five `istio_tcp_connections_*` / `istio_tcp_*_bytes` families. They share label sets, so one record per set holds
// all five numbers and the label text, made once per pair of peers. A connection finds its set by the identity of the two
// peer objects (one object per workload version), without making any text; only a new pair is looked up by its text.

import { type SpiffeId, sameSpiffeId } from '../model/identity.ts';
import { trafficLabels } from '../model/traffic.ts';
import type { ByteMeter, ConnectionInfo, DestinationService, Direction, Peer, ResponseFlag } from './connection.ts';
import { familyHeader, labelPairs, sample } from './openmetrics.ts';
import { type Collector, MAX_LABEL_SETS } from './registry.ts';

/** Names and values that describe the source alone, without its locality. */
export const sourceLabels = (source: Peer): readonly (readonly [name: string, value: string])[] =>
  trafficLabels({
    reporter: 'source',
    source,
    sourceIdentity: source.identity,
    destination: undefined,
    destinationService: undefined,
    mutualTls: false,
    responseFlags: '-',
  }).filter(([name]) => name.startsWith('source_') && name !== 'source_region' && name !== 'source_zone');

/** The numbers of one label set; -1: nothing was ever counted, so no sample. */
interface TrafficSet {
  readonly labels: string;
  opened: number;
  closed: number;
  received: number;
  sent: number;
  failed: number;
}

/** All sets that differ in nothing but `response_flags`. */
interface Pair {
  /** Label text before and after the value of `response_flags`. */
  readonly head: string;
  readonly tail: string;
  readonly byFlag: Map<ResponseFlag, TrafficSet>;
}

/** A pair that a connection between two peer objects had, with what else chose it. */
interface Remembered {
  readonly direction: Direction;
  readonly hbone: boolean;
  readonly sourceIdentity: SpiffeId | undefined;
  readonly service: DestinationService | undefined;
  readonly pair: Pair;
}
/** More than a few combinations for the same two peers are not worth remembering. */
const MAX_REMEMBERED = 16;
/** Stands for an unknown peer where an object is needed as a key. */
const NOBODY = {};

const sameIdentity = (a: SpiffeId | undefined, b: SpiffeId | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && sameSpiffeId(a, b));

interface LabelsAroundFlag {
  readonly key: string;
  readonly head: string;
  readonly tail: string;
}

function labelsAroundFlag(info: ConnectionInfo, hbone: boolean): LabelsAroundFlag {
  const { source, sourceIdentity, destination, destinationService } = info;
  const reporter = info.direction === 'outbound' ? 'source' : 'destination';
  const labels = trafficLabels({
    reporter,
    source,
    sourceIdentity,
    destination,
    destinationService,
    mutualTls: hbone,
    responseFlags: '',
  });
  const at = labels.findIndex(([name]) => name === 'response_flags');
  const head = labelPairs(labels.slice(0, at));
  const tail = labelPairs(labels.slice(at + 1));
  return { key: `${head}\n${tail}`, head, tail };
}

/** A connection as the metrics follow it. */
export interface CountedConnection {
  finish(flag: ResponseFlag): void;
}

class Counted implements CountedConnection {
  readonly #metrics: TrafficMetrics;
  readonly #pair: Pair;
  readonly #open: TrafficSet;
  readonly #meter: ByteMeter;
  #toServer = 0;
  #toClient = 0;

  constructor(metrics: TrafficMetrics, pair: Pair, open: TrafficSet, meter: ByteMeter) {
    this.#metrics = metrics;
    this.#pair = pair;
    this.#open = open;
    this.#meter = meter;
  }

  /** Takes over what the meter counted since the last time. */
  collect(): void {
    const { toServer, toClient } = this.#meter;
    this.#open.received += toServer - this.#toServer;
    this.#open.sent += toClient - this.#toClient;
    this.#toServer = toServer;
    this.#toClient = toClient;
  }

  finish(flag: ResponseFlag): void {
    if (!this.#metrics.live.delete(this)) return;
    this.collect();
    const set = this.#metrics.set(this.#pair, flag);
    set.closed = Math.max(0, set.closed) + 1;
    if (flag !== '-') set.failed = Math.max(0, set.failed) + 1;
  }
}

export class TrafficMetrics implements Collector {
  readonly live = new Set<Counted>();
  readonly #maxPairs: number;
  /** label text with a gap for the flag -> pair */
  readonly #pairs = new Map<string, Pair>();
  /** source -> destination -> pairs; dropped with the peers */
  readonly #remembered = new WeakMap<object, WeakMap<object, Remembered[]>>();

  /** @param maxPairs  bound on label sets, response flags not counted */
  constructor(maxPairs = MAX_LABEL_SETS) {
    this.#maxPairs = maxPairs;
  }

  open(info: ConnectionInfo, meter: ByteMeter): CountedConnection {
    const pair = this.#pairOf(info);
    const set = this.set(pair, '-');
    set.opened = Math.max(0, set.opened) + 1;
    set.received = Math.max(0, set.received);
    set.sent = Math.max(0, set.sent);
    const counted = new Counted(this, pair, set, meter);
    this.live.add(counted);
    return counted;
  }

  set(pair: Pair, flag: ResponseFlag): TrafficSet {
    let set = pair.byFlag.get(flag);
    if (set === undefined) {
      const labels = `${pair.head},response_flags="${flag}",${pair.tail}`;
      set = { labels, opened: -1, closed: -1, received: -1, sent: -1, failed: -1 };
      pair.byFlag.set(flag, set);
    }
    return set;
  }

  #pairOf(info: ConnectionInfo): Pair {
    const { direction, sourceIdentity, destinationService: service } = info;
    const hbone = info.hboneAuthority !== undefined;
    const source = info.source ?? NOBODY;
    const destination = info.destination ?? NOBODY;
    let destinations = this.#remembered.get(source);
    if (destinations === undefined) {
      destinations = new WeakMap();
      this.#remembered.set(source, destinations);
    }
    let list = destinations.get(destination);
    if (list === undefined) {
      list = [];
      destinations.set(destination, list);
    }
    for (const r of list)
      if (
        r.direction === direction &&
        r.hbone === hbone &&
        r.service === service &&
        sameIdentity(r.sourceIdentity, sourceIdentity)
      )
        return r.pair;
    const pair = this.#lookUp(info, hbone);
    if (list.length < MAX_REMEMBERED) list.push({ direction, hbone, sourceIdentity, service, pair });
    return pair;
  }

  #lookUp(info: ConnectionInfo, hbone: boolean): Pair {
    const full = labelsAroundFlag(info, hbone);
    const pair = this.#pairs.get(full.key);
    if (pair !== undefined || this.#pairs.size < this.#maxPairs) return pair ?? this.#add(full);
    // Too many peers to tell apart (their labels can come from their own baggage): count them together.
    const nobody = {
      source: undefined,
      destination: undefined,
      destinationService: undefined,
      sourceIdentity: undefined,
    };
    const together = labelsAroundFlag({ ...info, ...nobody }, hbone);
    return this.#pairs.get(together.key) ?? this.#add(together);
  }

  #add({ key, head, tail }: LabelsAroundFlag): Pair {
    const pair = { head, tail, byFlag: new Map<ResponseFlag, TrafficSet>() };
    this.#pairs.set(key, pair);
    return pair;
  }

  render(): string {
    for (const connection of this.live) connection.collect();
    return (
      this.#family('istio_tcp_connections_opened', 'TCP connections opened', (s) => s.opened) +
      this.#family('istio_tcp_connections_closed', 'TCP connections closed', (s) => s.closed) +
      this.#family(
        'istio_tcp_received_bytes',
        'Bytes received by the server side of TCP connections',
        (s) => s.received,
      ) +
      this.#family('istio_tcp_sent_bytes', 'Bytes sent by the server side of TCP connections', (s) => s.sent) +
      this.#family('istio_tcp_connections_failed', 'TCP connections that ended in a failure', (s) => s.failed)
    );
  }

  #family(name: string, help: string, value: (set: TrafficSet) => number): string {
    let text = '';
    const total = `${name}_total`;
    for (const pair of this.#pairs.values())
      for (const set of pair.byFlag.values()) if (value(set) >= 0) text += sample(total, set.labels, value(set));
    return text === '' ? '' : familyHeader({ name, help, type: 'counter' }) + text;
  }
}
