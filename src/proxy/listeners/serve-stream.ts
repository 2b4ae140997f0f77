// From a stream whose place is known to what serves it: HTTP of either version, or bytes passed on.

import type { PortProtocol } from '../../model/proxy/service-config.ts';
import type { ConnectionTelemetry } from '../../telemetry/connection.ts';
import type { Place } from '../config/places.ts';
import type { Engine } from '../engine.ts';
import type { Visitor } from '../exchange/received.ts';
import type { ByteStream } from '../streams/byte-stream.ts';
import { proxyTcp } from '../tcp/tcp-proxy.ts';
import { detect, type Expected } from './detect.ts';
import { type PlaceOf, serveRequests } from './http-visit.ts';
import type { Draining, LiveConnections } from './live.ts';

/** How long a client may say nothing, where its port does not tell what it speaks. */
const DETECTION_MS = 5_000;
/** As long as a head may take. */
const FIRST_BYTES_MS = 10_000;

export interface Served {
  readonly stream: ByteStream;
  readonly visitor: Visitor;
  readonly protocol: PortProtocol;
  /** Where requests belong; asked for each. */
  readonly placeOf: PlaceOf;
  /** Where a connection without requests belongs; undefined: nowhere, it is closed. */
  readonly place: () => Place | undefined;
  /** HTTP/2 was agreed on (ALPN); undefined: the first bytes tell. */
  readonly http2: boolean | undefined;
}

const expectedOf = (protocol: PortProtocol): Expected =>
  protocol === 'tls' ? 'tls' : protocol === 'unknown' ? 'any' : 'http';

/** Serves until the stream is over; `live` holds it so long. */
export function serveStream(
  engine: Engine,
  served: Served,
  telemetry: ConnectionTelemetry,
  live: LiveConnections,
): void {
  const { stream, visitor, protocol, placeOf } = served;
  const serving = new Serving(stream, live);
  live.add(serving);
  const closed = (): void => live.delete(serving);
  const http = (http2: boolean): void =>
    serving.become(serveRequests(engine, { stream, http2, visitor, placeOf, closed }));
  const tcp = (serverName: string | undefined): void => {
    const place = served.place();
    if (place === undefined) {
      stream.reset();
      closed();
      return;
    }
    const connection = proxyTcp(engine, { stream, visitor, place, serverName, telemetry, closed });
    serving.become({ drain() {}, abort: () => connection.cut() });
  };
  if (served.http2 !== undefined) http(served.http2);
  else if (protocol === 'tcp') tcp(undefined);
  else
    detect(
      stream,
      expectedOf(protocol),
      engine.clock,
      protocol === 'unknown' ? DETECTION_MS : FIRST_BYTES_MS,
      (found) => {
        if (found.kind === 'gone') closed();
        else if (found.kind === 'tls') tcp(found.hello.serverName ?? '');
        else if (found.kind === 'tcp') tcp(undefined);
        else http(found.kind === 'http2');
      },
    );
}

/** First a stream whose kind is not known, then what serves it. */
class Serving implements Draining {
  readonly #stream: ByteStream;
  readonly #live: LiveConnections;
  #as: Draining | undefined = undefined;

  constructor(stream: ByteStream, live: LiveConnections) {
    this.#stream = stream;
    this.#live = live;
  }

  become(as: Draining): void {
    this.#as = as;
    if (this.#live.draining) as.drain();
  }

  drain(): void {
    this.#as?.drain();
  }

  abort(): void {
    if (this.#as !== undefined) this.#as.abort();
    else {
      this.#stream.reset();
      this.#live.delete(this);
    }
  }
}
