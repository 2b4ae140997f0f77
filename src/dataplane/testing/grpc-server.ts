// A gRPC server for tests on loopback over TLS, on connect-node: an implementation independent of the product's client.

import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from '../../wire/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { IssuedCertificate } from './authority.ts';

export interface TestServer {
  readonly port: number;
  /** Cuts every connection. */
  cut(): void;
  /** Asks every client to make no more calls, as a server that shuts down. */
  goaway(): void;
  close(): Promise<void>;
}

export function startGrpcServer(
  identity: IssuedCertificate,
  routes: (router: ConnectRouter) => void,
  port = 0,
): Promise<TestServer> {
  const sessions = new Set<ServerHttp2Session>();
  const server: Http2SecureServer = createSecureServer(
    { cert: identity.certificatePem, key: identity.privateKeyPem },
    connectNodeAdapter({ routes, grpcWeb: false, connect: false }),
  );
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        cut: () => {
          for (const session of sessions) session.destroy();
        },
        goaway: () => {
          for (const session of sessions) session.goaway(0);
        },
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const session of sessions) session.destroy();
          }),
      }),
    );
  });
}

/** Hands values from where they arise to where they are awaited, in order. */
export class Channel<T> implements AsyncIterable<T> {
  #values: T[] = [];
  #takers: ((value: T | undefined) => void)[] = [];
  #failure: unknown;
  #ended = false;

  push(value: T): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) taker(value);
    else this.#values.push(value);
  }
  end(failure?: unknown): void {
    this.#ended = true;
    this.#failure = failure;
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
  async take(): Promise<T> {
    const value = this.#values.shift() ?? (await new Promise<T | undefined>((r) => this.#takers.push(r)));
    if (value === undefined) throw this.#failure ?? new Error('channel ended');
    return value;
  }
  /** What came and was not taken. */
  get pending(): readonly T[] {
    return this.#values;
  }
  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const value = this.#values.shift();
      if (value !== undefined) yield value;
      else if (this.#ended) break;
      else {
        const next = await new Promise<T | undefined>((r) => this.#takers.push(r));
        if (next !== undefined) yield next;
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** One discovery stream as the test's server sees it. */
export interface DiscoveryStream {
  readonly headers: Headers;
  readonly requests: Channel<DeltaDiscoveryRequest>;
  send(response: MessageInitShape<typeof DeltaDiscoveryResponseSchema>): void;
  /** Ends the call: OK, or with this error. */
  end(error?: Error): void;
}

/** Routes for a discovery server whose streams the test plays by hand. */
export function discoveryRoutes(): { routes: (router: ConnectRouter) => void; streams: Channel<DiscoveryStream> } {
  const streams = new Channel<DiscoveryStream>();
  const routes = (router: ConnectRouter): void => {
    router.service(AggregatedDiscoveryService, {
      async *deltaAggregatedResources(incoming, context) {
        const requests = new Channel<DeltaDiscoveryRequest>();
        const responses = new Channel<DeltaDiscoveryResponse>();
        streams.push({
          headers: context.requestHeader,
          requests,
          send: (response) => responses.push(create(DeltaDiscoveryResponseSchema, response)),
          end: (error) => responses.end(error),
        });
        void (async () => {
          try {
            for await (const request of incoming) requests.push(request);
          } catch {
            // The client went away.
          }
          requests.end();
        })();
        yield* responses;
      },
    });
  };
  return { routes, streams };
}
