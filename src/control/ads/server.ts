// Discovery: who may open a stream, which streams there are, and pushing changes of the derivation to all of them.

import type { Ambient } from '../../derive/ambient.ts';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import type { Authenticate } from '../auth/authenticate.ts';
import type { Call, Method, Receiver, Sender } from '../grpc/call.ts';
import { GrpcFailure } from '../grpc/failure.ts';
import type { ControlMetrics } from '../metrics.ts';
import { Inventories } from './inventory.ts';
import { ProxyInventories } from './proxy-inventories.ts';
import { PushClock } from './push-clock.ts';
import { RateLimit } from './rate-limit.ts';
import { ProxyStream, type StreamContext } from './stream.ts';

const log = logger('ads');

export const DELTA_METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

/** Streams at a time; each costs some kilobytes. */
const MAX_STREAMS = 10_000;

export interface DiscoveryOptions {
  readonly authenticate: Authenticate;
  readonly metrics: ControlMetrics;
  readonly clock: Clock;
  /** New streams a second. */
  readonly maxNewStreams: number;
  readonly checkIdentity: boolean;
}

export class DiscoveryServer {
  readonly method: Method = { kind: 'stream', open: (call, sender) => this.#open(call, sender) };
  readonly #streams = new Set<ProxyStream>();
  readonly #ambient: Ambient;
  readonly #options: DiscoveryOptions;
  readonly #limit: RateLimit;
  readonly #pushClock: PushClock;
  #inventories: Inventories | undefined;
  #proxies: ProxyInventories | undefined;
  #pushes = 0;
  #version = '';
  #changedAtMs: number | undefined;

  constructor(ambient: Ambient, options: DiscoveryOptions) {
    this.#ambient = ambient;
    this.#options = options;
    this.#limit = new RateLimit(options.maxNewStreams, options.clock);
    this.#pushClock = new PushClock(options.clock, () => this.#push());
  }

  /** Everything that should be known is known: from here on streams are served. */
  start(): void {
    this.#ambient.graph.flush();
    this.#inventories = new Inventories(this.#ambient);
    this.#inventories.takeChanged(); // nobody is connected yet
    this.#proxies = new ProxyInventories(this.#ambient);
    this.#nextVersion();
    this.#count();
  }

  /** Label of the last push. */
  get version(): string {
    return this.#version;
  }

  get streams(): ReadonlySet<ProxyStream> {
    return this.#streams;
  }

  /** An input of the derivation changed. */
  inputChanged(): void {
    this.#changedAtMs ??= this.#options.clock.nowMs();
    if (this.#inventories !== undefined) this.#pushClock.request();
  }

  /** Tells every proxy to go elsewhere. */
  stop(): void {
    this.#pushClock.stop();
    for (const stream of this.#streams) stream.end('Unavailable', 'the control plane is shutting down');
  }

  async #open(call: Call, sender: Sender): Promise<Receiver> {
    const refuse = (failure: GrpcFailure): GrpcFailure => {
      this.#options.metrics.refusedStreams.labels(failure.status).inc();
      log.info('stream refused', { peer: call.peer, status: failure.status, reason: failure.message });
      return failure;
    };
    if (this.#inventories === undefined || this.#proxies === undefined)
      throw refuse(new GrpcFailure('Unavailable', 'the control plane is starting'));
    if (this.#streams.size >= MAX_STREAMS || !this.#limit.take())
      throw refuse(new GrpcFailure('ResourceExhausted', 'too many new streams; try again'));
    const caller = await this.#options.authenticate(call).catch((error: unknown) => {
      throw error instanceof GrpcFailure ? refuse(error) : error;
    });
    const { metrics, clock, checkIdentity } = this.#options;
    const context: StreamContext = {
      inventories: this.#inventories,
      proxies: this.#proxies,
      metrics,
      clock,
      version: () => this.#version,
      checkIdentity,
      identified: (stream) => metrics.connected.labels(stream.node?.version ?? '').add(1),
      closed: (stream) => {
        this.#streams.delete(stream);
        if (stream.node !== undefined) metrics.connected.labels(stream.node.version).add(-1);
      },
    };
    const stream = new ProxyStream(sender, caller, call.peer, context);
    this.#streams.add(stream);
    return stream;
  }

  #push(): void {
    const inventories = this.#inventories;
    const proxies = this.#proxies;
    if (inventories === undefined || proxies === undefined) return;
    const { clock, metrics } = this.#options;
    this.#ambient.graph.flush();
    const changedAtMs = this.#changedAtMs ?? clock.nowMs();
    this.#changedAtMs = undefined;
    const changed = inventories.takeChanged();
    const ofProxies = proxies.takeChanged();
    const total = countOf(changed) + [...ofProxies.byGateway.values()].reduce((sum, each) => sum + countOf(each), 0);
    if (total === 0 && !ofProxies.identities) return;
    this.#nextVersion();
    this.#count();
    for (const stream of this.#streams) {
      stream.changed(changed);
      const own = ofProxies.byGateway.get(stream.node?.gateway ?? '');
      if (own !== undefined) stream.proxyChanged(own);
    }
    const tookMs = clock.nowMs() - changedAtMs;
    for (let i = 0; i < this.#streams.size; i++) metrics.convergence.observe(tookMs / 1000);
    log.debug('push', { resources: total, proxies: this.#streams.size, ms: tookMs });
  }

  #nextVersion(): void {
    const time = new Date(this.#options.clock.nowMs()).toISOString().replace(/\.[0-9]+Z$/, 'Z');
    this.#version = `${time}/${++this.#pushes}`;
  }

  #count(): void {
    const { services, workloads, policies } = this.#ambient;
    this.#options.metrics.services.set(services.size);
    this.#options.metrics.workloads.set(workloads.size);
    this.#options.metrics.policies.set(policies.size);
  }
}

const countOf = (changed: ReadonlyMap<string, readonly string[]>): number =>
  [...changed.values()].reduce((sum, names) => sum + names.length, 0);
