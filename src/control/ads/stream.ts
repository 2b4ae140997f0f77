// One proxy's delta discovery stream: requests in, responses out, one response under way at a time. While it is, changes
// gather in the subscriptions, so that memory for a slow proxy is bounded by one response and a set of names.

import { randomUUID } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
} from '../../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { ADDRESS_TYPE } from '../../wire/xds/names.ts';
import type { Caller } from '../auth/caller.ts';
import type { Receiver, Sender } from '../grpc/call.ts';
import { GrpcFailure } from '../grpc/failure.ts';
import type { ControlMetrics } from '../metrics.ts';
import { type Changed, encodeHead, type Inventories, SERVED_TYPES, type ServedType } from './inventory.ts';
import { type ProxyNode, readNode } from './node.ts';
import { OnDemandSubscription, type Subscription, TooManyNames, WildcardSubscription } from './subscription.ts';

const log = logger('ads');

/** What is known of one type on one stream, for proxy-status. */
export interface TypeState {
  readonly subscription: Subscription;
  readonly mode: 'wildcard' | 'onDemand';
  sentNonce: string;
  sentVersion: string;
  sentAtMs: number;
  ackedVersion: string;
  ackedAtMs: number;
  /** Reason of the last rejection; empty once a later response was accepted. */
  rejection: string;
}

export interface StreamContext {
  readonly inventories: Inventories;
  readonly metrics: ControlMetrics;
  readonly clock: Clock;
  /** Label of the present push. */
  readonly version: () => string;
  /** Whether a node's namespace must be that of its credential. */
  readonly checkIdentity: boolean;
  /** The stream has introduced itself, or is over. */
  readonly identified: (stream: ProxyStream) => void;
  readonly closed: (stream: ProxyStream) => void;
}

const MAX_REASON_CHARS = 2000;
/** Metric names as istiod's. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  'type.googleapis.com/istio.workload.Address': 'wds',
  'type.googleapis.com/istio.workload.Workload': 'wds',
  'type.googleapis.com/istio.security.Authorization': 'wads',
};

export class ProxyStream implements Receiver {
  readonly caller: Caller;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly types = new Map<ServedType, TypeState>();
  node: ProxyNode | undefined;
  readonly #sender: Sender;
  readonly #context: StreamContext;
  #sending = false;
  #scheduled = false;
  #over = false;
  readonly #ignored = new Set<string>();

  constructor(sender: Sender, caller: Caller, peer: string, context: StreamContext) {
    this.#sender = sender;
    this.#context = context;
    this.caller = caller;
    this.peer = peer;
    this.connectedAtMs = context.clock.nowMs();
  }

  message(bytes: Uint8Array): void {
    const request = decode(bytes);
    if (this.node === undefined) {
      this.node = readNode(request.node, this.#context.checkIdentity ? this.caller : undefined);
      log.info('proxy connected', { proxy: this.node.name, kind: this.node.kind, peer: this.peer });
      this.#context.identified(this);
    }
    const inventory = this.#context.inventories.of(request.typeUrl);
    if (inventory === undefined) {
      this.#ignore(request.typeUrl);
      return;
    }
    const state = this.types.get(inventory.typeUrl);
    if (state === undefined) this.#subscribe(inventory.typeUrl, request);
    else this.#continue(inventory.typeUrl, state, request);
    this.schedule();
  }

  closed(): void {
    this.#over = true;
    if (this.node !== undefined) log.info('proxy disconnected', { proxy: this.node.name, peer: this.peer });
    this.#context.closed(this);
  }

  /** For the server: the stream must end. */
  end(status: 'Unavailable' | 'Cancelled', message: string): void {
    this.#sender.end(status, message);
  }

  changed(changed: Changed): void {
    for (const [type, names] of changed) this.types.get(type)?.subscription.changed(names);
    this.schedule();
  }

  /** Sends what is due, after the requests that have come in together with this one. */
  schedule(): void {
    if (this.#scheduled || this.#sending || this.#over) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#pump();
    });
  }

  /** One subscribe-and-unsubscribe of `*` means: nothing, until asked by name. Without names: everything. */
  #subscribe(type: ServedType, request: DeltaDiscoveryRequest): void {
    const { resourceNamesSubscribe: names, resourceNamesUnsubscribe: not, initialResourceVersions: held } = request;
    const { inventories } = this.#context;
    const inventory = inventories.of(type);
    if (inventory === undefined) return;
    const everything = !not.includes('*') && (names.length === 0 || names.includes('*'));
    const onDemand = type === ADDRESS_TYPE && !everything;
    const subscription = bounded(() => {
      if (!onDemand) return new WildcardSubscription(inventory, held);
      const made = new OnDemandSubscription(inventory, inventories.directory, this.node?.nodeName ?? '', held);
      made.adjust(names, not);
      return made;
    });
    this.types.set(type, {
      subscription,
      mode: onDemand ? 'onDemand' : 'wildcard',
      sentNonce: '',
      sentVersion: '',
      sentAtMs: 0,
      ackedVersion: '',
      ackedAtMs: 0,
      rejection: '',
    });
  }

  #continue(type: ServedType, state: TypeState, request: DeltaDiscoveryRequest): void {
    const { responseNonce, errorDetail, resourceNamesSubscribe, resourceNamesUnsubscribe } = request;
    const { metrics, clock } = this.#context;
    const short = SHORT_NAMES[type] ?? type;
    const isLatest = responseNonce !== '' && responseNonce === state.sentNonce;
    if (errorDetail !== undefined) {
      const reason = errorDetail.message.slice(0, MAX_REASON_CHARS);
      metrics.rejects.labels(short).inc();
      log.warn('proxy rejected a response', { proxy: this.node?.name, type: short, reason });
      if (isLatest) state.rejection = reason || 'no reason given';
      return;
    }
    if (responseNonce !== '' && !isLatest) {
      metrics.expiredNonces.labels(short).inc();
      return;
    }
    if (isLatest) {
      state.ackedVersion = state.sentVersion;
      state.ackedAtMs = clock.nowMs();
      state.rejection = '';
    }
    if (resourceNamesSubscribe.length > 0 || resourceNamesUnsubscribe.length > 0)
      bounded(() => state.subscription.adjust(resourceNamesSubscribe, resourceNamesUnsubscribe));
  }

  #ignore(typeUrl: string): void {
    if (this.#ignored.has(typeUrl) || this.#ignored.size >= 20) return;
    this.#ignored.add(typeUrl);
    log.warn('proxy asks for a type that is not served', { proxy: this.node?.name, type: typeUrl.slice(0, 200) });
  }

  async #pump(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let sent = true; sent && !this.#over; ) {
        sent = false;
        // Policies before the workloads that refer to them: a name that is not there yet is not enforced.
        for (const type of SERVED_TYPES) if (await this.#send(type)) sent = true;
      }
    } catch (error) {
      log.error('push failed', { proxy: this.node?.name, error: error as Error });
      this.#sender.end('Internal', 'push failed: see the log of the control plane');
    } finally {
      this.#sending = false;
    }
  }

  async #send(type: ServedType): Promise<boolean> {
    const state = this.types.get(type);
    if (state !== undefined) await this.#context.inventories.of(type)?.encoded();
    const batch = this.#over ? undefined : state?.subscription.next();
    if (state === undefined || batch === undefined) return false;
    const { metrics, clock, version } = this.#context;
    state.sentVersion = version();
    state.sentNonce = state.sentVersion + randomUUID();
    state.sentAtMs = clock.nowMs();
    const head = encodeHead(type, state.sentVersion, state.sentNonce, batch.removed);
    await this.#sender.send([head, ...batch.pieces]);
    metrics.pushes.labels(SHORT_NAMES[type] ?? type).inc();
    log.debug('pushed', {
      proxy: this.node?.name,
      type: SHORT_NAMES[type],
      resources: batch.count,
      removed: batch.removed.length,
    });
    return true;
  }
}

function decode(bytes: Uint8Array): DeltaDiscoveryRequest {
  try {
    return fromBinary(DeltaDiscoveryRequestSchema, bytes);
  } catch {
    throw new GrpcFailure('InvalidArgument', 'the message is no DeltaDiscoveryRequest');
  }
}

function bounded<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof TooManyNames) throw new GrpcFailure('ResourceExhausted', error.message);
    throw error;
  }
}
