// One try of a request at one endpoint: a connection, the request on it, and how it went.

import type { Fields } from '../../wire/http1/index.ts';
import type { TryOutcome } from '../contracts.ts';
import type { Engine } from '../engine.ts';
import type { ConnectOrder, ConnectWaiter } from '../pools/connections.ts';
import type {
  ClientConnection,
  ClientStream,
  ResponseSink,
  ResponseStart,
  UpstreamFailure,
  UpstreamRequest,
} from '../streams/http-stream.ts';

/** What is thrown away of an answer that is not passed on, before its connection is given up. */
const MAX_DISCARD_BYTES = 64 << 10;

/** Whoever began a try. Nothing is told after `cancel` or `discard`. */
export interface AttemptOwner {
  /** There is a connection; asked once for each. */
  requestFor(attempt: Attempt): UpstreamRequest;
  opened(attempt: Attempt, stream: ClientStream): void;
  interim(status: number, fields: Fields): void;
  response(attempt: Attempt, head: ResponseStart, ends: boolean): void;
  responseData(piece: Buffer): void;
  responseEnd(trailers: Fields | undefined): void;
  requestWritable(): void;
  failed(attempt: Attempt, failure: UpstreamFailure | 'overflow'): void;
}

export class Attempt implements ConnectWaiter, ResponseSink {
  readonly order: ConnectOrder;
  private readonly engine: Engine;
  private readonly owner: AttemptOwner;
  private connection: ClientConnection | undefined = undefined;
  stream: ClientStream | undefined = undefined;
  /** The owner is told what happens. */
  private live = true;
  private counted = false;
  private status = 0;
  private discarded = 0;
  /** The request's head was sent. */
  sent = false;
  /** Unix time, for the upstream's own time. */
  readonly startedMs: number;

  constructor(engine: Engine, owner: AttemptOwner, order: ConnectOrder) {
    this.engine = engine;
    this.owner = owner;
    this.order = order;
    this.startedMs = performance.now();
  }

  begin(): void {
    const connection = this.engine.connections.take(this.order, this);
    if (connection !== undefined) this.connected(connection);
  }

  /** The connection had served others before: it may have been dead already when it was taken. */
  get onUsedConnection(): boolean {
    return this.connection !== undefined && this.connection.begun > 1;
  }

  connected(connection: ClientConnection): void {
    if (!this.live) return;
    this.connection = connection;
    try {
      const request = this.owner.requestFor(this);
      this.sent = true;
      const stream = connection.open(request, this);
      this.stream = stream;
      this.owner.opened(this, stream);
    } catch (error) {
      // A fault of ours must not take the other requests with it.
      this.stream?.reset();
      this.failed({ kind: 'protocol', answered: false, text: String(error) });
    }
  }

  unconnected(failure: UpstreamFailure | 'overflow'): void {
    if (!this.live) return;
    this.live = false;
    this.done(failure === 'overflow' ? { kind: 'cancelled' } : outcomeOf(failure));
    this.owner.failed(this, failure);
  }

  // ---- the response ----

  interim(status: number, fields: Fields): void {
    if (this.live) this.owner.interim(status, fields);
  }

  response(head: ResponseStart, ends: boolean): void {
    this.status = head.status;
    const { live } = this;
    if (ends) this.done({ kind: 'status', status: head.status });
    if (live) this.owner.response(this, head, ends);
  }

  data(piece: Buffer): void {
    if (this.live) {
      this.owner.responseData(piece);
      return;
    }
    this.discarded += piece.length;
    if (this.discarded > MAX_DISCARD_BYTES) this.stream?.reset();
  }

  end(trailers: Fields | undefined): void {
    this.done({ kind: 'status', status: this.status });
    if (this.live) this.owner.responseEnd(trailers);
  }

  writable(): void {
    if (this.live) this.owner.requestWritable();
  }

  failed(failure: UpstreamFailure): void {
    this.done(outcomeOf(failure));
    if (!this.live) return;
    this.live = false;
    this.owner.failed(this, failure);
  }

  // ---- the end ----

  /** The answer is of no interest, and there will be another try: what comes of it is thrown away. */
  discard(): void {
    this.live = false;
    this.done({ kind: 'status', status: this.status });
  }

  cancel(outcome: TryOutcome): void {
    this.live = false;
    if (this.stream !== undefined) this.stream.reset();
    else this.engine.connections.cancel(this);
    this.done(outcome);
  }

  private done(outcome: TryOutcome): void {
    if (this.counted) return;
    this.counted = true;
    this.order.pick.done(outcome);
  }
}

function outcomeOf({ kind }: UpstreamFailure): TryOutcome {
  switch (kind) {
    case 'connect':
      return { kind: 'connectFailure' };
    case 'timeout':
      return { kind: 'connectFailure' };
    default:
      return { kind: 'reset' };
  }
}
