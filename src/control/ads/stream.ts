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
import { CERTIFICATE_TYPE, PROXY_TYPE, ROUTE_TYPE, SERVICE_TYPE } from '../../wire/l7/names.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, WORKLOAD_TYPE } from '../../wire/xds/names.ts';
import type { Caller } from '../auth/caller.ts';
import type { Receiver, Sender } from '../grpc/call.ts';
import { GrpcFailure } from '../grpc/failure.ts';
import type { ControlMetrics } from '../metrics.ts';
import { type Changed, encodeHead, type Inventories, type Inventory, type ServedType } from './inventory.ts';
import { type ProxyNode, readNode } from './node.ts';
import { isProxyType, type ProxyChanged, type ProxyInventories, type ProxyType } from './proxy-inventories.ts';
import {
  type Half,
  OnDemandSubscription,
  type Subscription,
  TooManyNames,
  WildcardSubscription,
} from './subscription.ts';

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
  readonly proxies: ProxyInventories;
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
  [PROXY_TYPE]: 'proxy',
  [ROUTE_TYPE]: 'route',
  [SERVICE_TYPE]: 'service',
  [CERTIFICATE_TYPE]: 'certificate',
};

type StreamType = ServedType | ProxyType;

/**
 * The order of one push: nothing refers to what is not there yet, or no longer. Policies before the workloads that name
 * them (a name that is not there is not enforced); certificates, services and endpoints before the routes that lead
 * there, routes before the proxy's own listeners; what goes, goes in the other direction.
 */
const ORDER: readonly (readonly [StreamType, Half])[] = [
  [CERTIFICATE_TYPE, 'present'],
  [SERVICE_TYPE, 'present'],
  [AUTHORIZATION_TYPE, 'both'],
  [ADDRESS_TYPE, 'both'],
  [WORKLOAD_TYPE, 'both'],
  [ROUTE_TYPE, 'both'],
  [PROXY_TYPE, 'both'],
  [SERVICE_TYPE, 'removed'],
  [CERTIFICATE_TYPE, 'removed'],
];

export class ProxyStream implements Receiver {
  readonly caller: Caller;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly types = new Map<StreamType, TypeState>();
  node: ProxyNode | undefined;
  readonly #sender: Sender;
  readonly #context: StreamContext;
  #sending = false;
  #scheduled = false;
  #over = false;
  readonly #ignored = new Set<string>();
  #refusal = '';

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
    const type = this.#typeOf(request.typeUrl);
    if (type === undefined) {
      this.#ignore(request.typeUrl);
      return;
    }
    const state = this.types.get(type);
    if (state === undefined) this.#subscribe(type, request);
    else this.#continue(type, state, request);
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

  #typeOf(typeUrl: string): StreamType | undefined {
    return isProxyType(typeUrl) ? typeUrl : this.#context.inventories.of(typeUrl)?.typeUrl;
  }

  /** What is for the proxies of this stream's Gateway changed. */
  proxyChanged(changed: ProxyChanged): void {
    for (const [type, names] of changed) this.types.get(type)?.subscription.changed(names);
    this.schedule();
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
  #subscribe(type: StreamType, request: DeltaDiscoveryRequest): void {
    const { resourceNamesSubscribe: names, resourceNamesUnsubscribe: not, initialResourceVersions: held } = request;
    const { inventories } = this.#context;
    if (isProxyType(type)) {
      this.#hold(type, new WildcardSubscription(() => this.#ownInventory(type), held), 'wildcard');
      return;
    }
    const inventory = inventories.of(type);
    if (inventory === undefined) return;
    const everything = !not.includes('*') && (names.length === 0 || names.includes('*'));
    const onDemand = type === ADDRESS_TYPE && !everything;
    const subscription = bounded(() => {
      if (!onDemand) return new WildcardSubscription(() => inventory, held);
      const made = new OnDemandSubscription(inventory, inventories.directory, this.node?.nodeName ?? '', held);
      made.adjust(names, not);
      return made;
    });
    this.#hold(type, subscription, onDemand ? 'onDemand' : 'wildcard');
  }

  /** Asked at each response: Gateways come, go and change their accounts while proxies are connected. */
  #ownInventory(type: ProxyType): Inventory | undefined {
    const { proxies } = this.#context;
    const gateway = this.node?.gateway ?? '';
    const refusal = proxies.refuses(gateway, this.caller) ?? '';
    if (refusal !== '' && refusal !== this.#refusal)
      log.warn('proxy gets no configuration', { proxy: this.node?.name, peer: this.peer, reason: refusal });
    this.#refusal = refusal;
    return refusal === '' ? proxies.of(gateway, type) : undefined;
  }

  #hold(type: StreamType, subscription: Subscription, mode: TypeState['mode']): void {
    this.types.set(type, {
      subscription,
      mode,
      sentNonce: '',
      sentVersion: '',
      sentAtMs: 0,
      ackedVersion: '',
      ackedAtMs: 0,
      rejection: '',
    });
  }

  #continue(type: StreamType, state: TypeState, request: DeltaDiscoveryRequest): void {
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
        for (const [type, half] of ORDER) if (await this.#send(type, half)) sent = true;
      }
    } catch (error) {
      log.error('push failed', { proxy: this.node?.name, error: error as Error });
      this.#sender.end('Internal', 'push failed: see the log of the control plane');
    } finally {
      this.#sending = false;
    }
  }

  #inventoryOf(type: StreamType): Inventory | undefined {
    return isProxyType(type) ? this.#ownInventory(type) : this.#context.inventories.of(type);
  }

  async #send(type: StreamType, half: Half): Promise<boolean> {
    const state = this.types.get(type);
    if (state !== undefined) await this.#inventoryOf(type)?.encoded();
    const batch = this.#over ? undefined : state?.subscription.next(half);
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
