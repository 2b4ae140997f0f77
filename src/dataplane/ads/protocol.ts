// The client's side of incremental discovery (delta ADS) without its connection: which requests a new stream begins with,
// and the one request that answers each response. What is held outlives streams, so that a reconnect gets only what
// changed meanwhile. Pure but for the stores it feeds.

import type { StructFields } from '../../wire/protobuf/writer.ts';
import type { DeltaRequest, DeltaResponse, ResourceBytes } from '../../wire/xds/discovery-bytes.ts';

/** What becomes of one response; a rejected resource does not keep the others from being accepted. */
export interface AppliedBatch {
  readonly accepted: readonly { readonly name: string; readonly version: string }[];
  readonly rejected: readonly { readonly name: string; readonly reason: string }[];
}

/** Holds the resources of one type. `apply`: all resources in order, then all removals. */
export interface ResourceStore {
  apply(resources: Iterable<ResourceBytes>, removed: readonly string[]): AppliedBatch;
}

export interface NodeDescription {
  readonly id: string;
  readonly metadata: StructFields;
}

export interface Subscription {
  readonly typeUrl: string;
  readonly store: ResourceStore;
  /** Instead of everything, only what is asked for by name. */
  readonly onDemand: boolean;
}

/** istiod reads requests of at most 4 MiB; one with more held names than fit is sent without them. */
const MAX_VERSIONS_BYTES = 3_500_000;
const MAX_REJECTION_CHARS = 16_384;
/** Lookups that wait at the same time; a pod that dials at random must not make us hold (and ask) without end. */
const MAX_AWAITED = 10_000;

interface Lookup {
  readonly answered: Promise<void>;
  readonly wake: () => void;
}

class Subscribed {
  readonly typeUrl: string;
  readonly store: ResourceStore;
  readonly onDemand: boolean;
  /** name -> version of what the store accepted; rejected resources are not held, so they are sent again */
  readonly held = new Map<string, string>();
  readonly awaited = new Map<string, Lookup>();
  acknowledged = false;
  /** The server was not told what is held: its first response is everything there is. */
  wholeExpected = false;

  constructor({ typeUrl, store, onDemand }: Subscription) {
    this.typeUrl = typeUrl;
    this.store = store;
    this.onDemand = onDemand;
  }

  initialRequest(node: NodeDescription): DeltaRequest {
    const versions = this.#versions();
    // An empty subscription is a wildcard; subscribing to and leaving `*` at once is a subscription to nothing.
    const names = this.onDemand ? { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] } : {};
    return { node, typeUrl: this.typeUrl, ...names, ...(versions && { initialResourceVersions: versions }) };
  }

  #versions(): Iterable<readonly [string, string]> | undefined {
    let bytes = 0;
    for (const [name, version] of this.held) bytes += 3 * name.length + version.length + 10;
    this.wholeExpected = bytes > MAX_VERSIONS_BYTES && !this.onDemand;
    if (this.wholeExpected) return undefined;
    const awaited = [...this.awaited.keys()].filter((name) => !this.held.has(name)).map((name) => [name, ''] as const);
    return [...this.held, ...awaited];
  }

  apply(response: DeltaResponse): AppliedBatch {
    const removed = this.wholeExpected ? this.#notAmong(response) : response.removedResources;
    this.wholeExpected = false;
    const batch = this.store.apply(response.resources(), removed);
    for (const { name, version } of batch.accepted) this.held.set(name, version);
    for (const name of removed) this.held.delete(name);
    if (this.awaited.size > 0) {
      for (const { name, aliases } of response.resources()) for (const key of [name, ...aliases]) this.#wake(key);
      for (const name of removed) this.#wake(name);
    }
    if (batch.rejected.length === 0) this.acknowledged = true;
    return batch;
  }

  #notAmong(response: DeltaResponse): string[] {
    const present = new Set<string>();
    for (const { name } of response.resources()) present.add(name);
    return [...this.held.keys()].filter((name) => !present.has(name));
  }

  #wake(name: string): void {
    this.awaited.get(name)?.wake();
    this.awaited.delete(name);
  }
}

function rejectionText(rejected: AppliedBatch['rejected']): string {
  let text = '';
  for (const [i, { name, reason }] of rejected.entries()) {
    const entry = `${i === 0 ? '' : '; '}${name}: ${reason}`;
    if (text.length + entry.length > MAX_REJECTION_CHARS) return `${text}; and ${rejected.length - i} more`;
    text += entry;
  }
  return text;
}

/** An answered response: the request to send, and what it was about. */
export interface Answer {
  readonly reply: DeltaRequest;
  readonly known: boolean;
  readonly accepted: number;
  readonly removed: number;
  readonly rejected: AppliedBatch['rejected'];
}

export class DeltaProtocol {
  readonly #node: NodeDescription;
  readonly #subscribed: readonly Subscribed[];

  /** @param subscriptions  in the order in which a stream asks for them */
  constructor(node: NodeDescription, subscriptions: readonly Subscription[]) {
    this.#node = node;
    this.#subscribed = subscriptions.map((subscription) => new Subscribed(subscription));
  }

  /** Each type has answered at least once without a rejection; on-demand types count from the start. */
  get ready(): boolean {
    return this.#subscribed.every((s) => s.acknowledged || s.onDemand);
  }

  /** What a new stream begins with. */
  initialRequests(): DeltaRequest[] {
    return this.#subscribed.map((s) => s.initialRequest(this.#node));
  }

  /** Takes in a response; a bad resource is in the reply, nothing is thrown. */
  receive(response: DeltaResponse): Answer {
    const { typeUrl, nonce } = response;
    const reply = { typeUrl, responseNonce: nonce };
    const subscribed = this.#subscribed.find((s) => s.typeUrl === typeUrl);
    if (subscribed === undefined) return { reply, known: false, accepted: 0, removed: 0, rejected: [] };
    const { accepted, rejected } = subscribed.apply(response);
    return {
      reply: rejected.length === 0 ? reply : { ...reply, errorDetail: { message: rejectionText(rejected) } },
      known: true,
      accepted: accepted.length,
      removed: response.removedResources.length,
      rejected,
    };
  }

  /**
   * Asks for one resource by name.
   * @returns what to wait for, and the request to send unless one is under way; undefined when the type comes whole
   */
  demand(
    typeUrl: string,
    name: string,
  ): { readonly answered: Promise<void>; readonly request?: DeltaRequest } | undefined {
    const subscribed = this.#subscribed.find((s) => s.typeUrl === typeUrl);
    if (subscribed === undefined || !subscribed.onDemand) return undefined;
    const known = subscribed.awaited.get(name);
    if (known !== undefined) return { answered: known.answered };
    if (subscribed.awaited.size >= MAX_AWAITED) return undefined;
    const { promise: answered, resolve: wake } = Promise.withResolvers<void>();
    subscribed.awaited.set(name, { answered, wake });
    return { answered, request: { typeUrl, resourceNamesSubscribe: [name] } };
  }
}
