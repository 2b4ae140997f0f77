// The requests of one client connection: each begins an exchange at the place that it belongs to.

import { logger } from '../../telemetry/log.ts';
import type { Engine, HttpPlace } from '../engine.ts';
import { HttpExchange } from '../exchange/exchange.ts';
import { receiveRequest, type Visitor } from '../exchange/received.ts';
import { serveHttp1 } from '../http1/server.ts';
import { serveHttp2 } from '../http2/server.ts';
import type { ByteStream } from '../streams/byte-stream.ts';
import type {
  RequestHandler,
  RequestRefusal,
  RequestSink,
  RequestStart,
  ServerConnection,
  ServerLimits,
  ServerStream,
} from '../streams/http-stream.ts';

const log = logger('http');

/** Envoy's idle times; a head must be whole within ten seconds. */
export const SERVER_LIMITS: ServerLimits = {
  headMs: 10_000,
  idleMs: 3_600_000,
  streamIdleMs: 300_000,
  maxConcurrentStreams: 100,
};

const NOBODY: RequestSink = { data() {}, end() {}, writable() {}, aborted() {} };

/** Asked once a request, since configuration changes; undefined: nothing is here. */
export type PlaceOf = (authority: string) => HttpPlace | undefined;

class HttpVisit implements RequestHandler {
  readonly #engine: Engine;
  readonly #visitor: Visitor;
  readonly #placeOf: PlaceOf;
  readonly #closed: () => void;

  constructor(engine: Engine, visitor: Visitor, placeOf: PlaceOf, closed: () => void) {
    this.#engine = engine;
    this.#visitor = visitor;
    this.#placeOf = placeOf;
    this.#closed = closed;
  }

  request(stream: ServerStream, start: RequestStart): RequestSink {
    try {
      const place = this.#placeOf(start.authority ?? '');
      const { received, refused } = receiveRequest(this.#visitor, this.#engine.own, start, place?.scope.proxy);
      const exchange = new HttpExchange(this.#engine, place, stream, received);
      exchange.begin(refused);
      return exchange;
    } catch (error) {
      // A fault of ours: this request is refused, the others go on.
      log.error('a request met a fault', {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      stream.reset();
      return NOBODY;
    }
  }

  refused({ protocol, status, details, text }: RequestRefusal): void {
    const { ip, port } = this.#visitor.client.source;
    log.info('request refused', { client: `${ip}:${port}`, protocol, status, details, error: text });
  }

  closed(): void {
    this.#closed();
  }
}

export interface HttpService {
  readonly stream: ByteStream;
  readonly http2: boolean;
  readonly visitor: Visitor;
  readonly placeOf: PlaceOf;
  readonly closed: () => void;
}

export function serveRequests(
  engine: Engine,
  { stream, http2, visitor, placeOf, closed }: HttpService,
  limits: ServerLimits = SERVER_LIMITS,
): ServerConnection {
  const visit = new HttpVisit(engine, visitor, placeOf, closed);
  return (http2 ? serveHttp2 : serveHttp1)(stream, visit, limits, engine.sweeper);
}
