// A copy of a request for another service: sent and forgotten. It never makes the request wait, and holds little: a copy
// that cannot keep up is given up.

import type { Timer } from '../../platform/clock.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type { Exchange, PickFailure } from '../contracts.ts';
import type { Engine, Target } from '../engine.ts';
import type { ClientStream, UpstreamRequest } from '../streams/http-stream.ts';
import type { UpstreamPick } from '../upstream/index.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import type { RequestBody } from './request-body.ts';
import { speaksHttp2 } from './upstream-protocol.ts';

const MAX_WAITING_BYTES = 64 << 10;
const MAX_LIFE_MS = 30_000;

export class Mirror implements AttemptOwner {
  readonly #engine: Engine;
  readonly #request: UpstreamRequest;
  #attempt: Attempt | undefined = undefined;
  #stream: ClientStream | undefined = undefined;
  /** Content that the copy's endpoint has not taken. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #full = false;
  #ended: boolean;
  #over = false;
  readonly #life: Timer;

  /** @param body  what came so far; undefined: the request has no content */
  constructor(
    engine: Engine,
    exchange: Exchange,
    target: Target,
    request: UpstreamRequest,
    body: RequestBody | undefined,
  ) {
    this.#engine = engine;
    this.#request = { ...request, fields: request.fields.clone() };
    this.#ended = body === undefined || body.ended;
    if (body !== undefined && body.bytes > 0) this.#hold(body.beginning(MAX_WAITING_BYTES + 1));
    this.#life = engine.clock.after(MAX_LIFE_MS, () => this.#giveUp());
    const picked = engine.choice.pick(target, exchange.client, exchange, []);
    if (picked instanceof Promise)
      picked.then(
        (late) => this.#picked(exchange, target, late),
        () => this.#giveUp(),
      );
    else this.#picked(exchange, target, picked);
  }

  #picked(exchange: Exchange, target: Target, pick: UpstreamPick | PickFailure): void {
    const service = this.#engine.service(target.service);
    if ('kind' in pick || service === undefined || this.#over) {
      if (!('kind' in pick)) pick.done({ kind: 'cancelled' });
      this.#giveUp();
      return;
    }
    const http2 = speaksHttp2(service, target.port, pick.policy, exchange.protocol === 'HTTP/2', exchange.isGrpc);
    const host = this.#request.authority;
    const order = { target, service, pick, http2, host, client: exchange.client, fresh: false };
    this.#attempt = new Attempt(this.#engine, this, order);
    this.#attempt.begin();
  }

  data(piece: Buffer): void {
    if (this.#over) return;
    if (this.#stream === undefined || this.#full) this.#hold(piece);
    else this.#full = !this.#stream.write(piece);
  }

  end(): void {
    this.#ended = true;
    if (this.#stream !== undefined && this.#waiting.length === 0) this.#stream.end(undefined);
  }

  /** The request that is copied is over; a copy without its end would never end. */
  requestOver(): void {
    if (!this.#ended) this.#giveUp();
  }

  #hold(piece: Buffer): void {
    this.#waiting.push(piece);
    this.#waitingBytes += piece.length;
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#giveUp();
  }

  #giveUp(): void {
    if (this.#over) return;
    this.#over = true;
    this.#life.cancel();
    this.#waiting = [];
    this.#attempt?.cancel({ kind: 'cancelled' });
  }

  #flush(stream: ClientStream): void {
    this.#full = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const piece of waiting) this.#full = !stream.write(piece);
    if (this.#ended && this.#request.content !== 'none' && this.#request.content !== 0) stream.end(undefined);
  }

  // ---- of the try ----

  requestFor(): UpstreamRequest {
    return this.#request;
  }
  opened(_attempt: Attempt, stream: ClientStream): void {
    this.#stream = stream;
    this.#flush(stream);
  }
  requestWritable(): void {
    if (this.#stream !== undefined) this.#flush(this.#stream);
  }
  interim(): void {}
  response(attempt: Attempt): void {
    this.#over = true;
    this.#life.cancel();
    // An answer before the copy was sent whole leaves a connection on which the rest would have to follow.
    if (this.#ended && this.#waiting.length === 0) attempt.discard();
    else attempt.cancel({ kind: 'cancelled' });
  }
  responseData(): void {}
  responseEnd(_trailers: Fields | undefined): void {}
  failed(): void {
    this.#over = true;
    this.#life.cancel();
  }
}
