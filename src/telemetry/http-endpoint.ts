// Small HTTP/1.1 servers for people and scrapers: metrics, readiness, admin. Bounded against slow and many clients: 2 s for
// a request's head of at most 8 KiB, no bodies, few connections.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { logger } from './log.ts';
import { acceptsOpenMetrics, CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT } from './openmetrics.ts';
import type { Registry } from './registry.ts';

// Not `import … from 'node:http'`: as an ES module it evaluates every export of its, among them the WebSocket client, which
// brings all of undici: 13 MB and 60 ms in each process.
const http = process.getBuiltinModule('node:http');

const HEAD_TIMEOUT_MS = 2_000;
const MAX_HEAD_BYTES = 8 * 1024;
const MAX_CONNECTIONS = 64;
/** Compressing less is not worth the time. */
const MIN_GZIP_BYTES = 1024;

const log = logger('http');

export interface HttpRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: IncomingMessage['headers'];
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are written as the client takes them. */
  readonly body: string | Uint8Array | AsyncIterable<string>;
}

export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>;

export const text = (status: number, body: string): HttpResponse => ({ status, contentType: CONTENT_TYPE_TEXT, body });
export const methodNotAllowed = (allowed: string): HttpResponse => ({
  ...text(405, `method not allowed, use ${allowed}\n`),
  headers: { allow: allowed },
});
export const NOT_FOUND = text(404, 'not found\n');

export interface HttpEndpoint {
  /** Where it listens. */
  readonly ports: readonly number[];
  /** Stops listening and cuts what is open. */
  close(): void;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

async function send(request: IncomingMessage, response: ServerResponse, answer: HttpResponse): Promise<void> {
  const { status, contentType, headers, body } = answer;
  response.statusCode = status;
  if (contentType !== undefined) response.setHeader('content-type', contentType);
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) {
    for await (const piece of body) {
      if (response.destroyed) return;
      if (!response.write(piece)) await drained(response);
    }
    response.end();
    return;
  }
  let bytes: Uint8Array = typeof body === 'string' ? Buffer.from(body) : body;
  if (bytes.length >= MIN_GZIP_BYTES && acceptsGzip(request.headers['accept-encoding'])) {
    const plain = bytes;
    const { gzip } = process.getBuiltinModule('node:zlib');
    bytes = await new Promise<Buffer>((resolve, reject) =>
      gzip(plain, { level: 1 }, (error, packed) => (error === null ? resolve(packed) : reject(error))),
    );
    response.setHeader('content-encoding', 'gzip');
    response.setHeader('vary', 'accept-encoding');
  }
  response.setHeader('content-length', bytes.length);
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

export function acceptsGzip(accepted: string | string[] | undefined): boolean {
  for (const part of String(accepted ?? '')
    .slice(0, 1000)
    .split(',')) {
    const [coding, ...parameters] = part.split(';').map((p) => p.trim().toLowerCase());
    if (coding === 'gzip') return !parameters.some((p) => /^q=0(\.0*)?$/.test(p));
  }
  return false;
}

async function handle(handler: HttpHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  try {
    // The path as it came; an absolute form or rubbish is no path of ours.
    const target = request.url ?? '/';
    const cut = target.indexOf('?');
    const answer = await handler({
      method: request.method ?? '',
      path: cut < 0 ? target : target.slice(0, cut),
      query: new URLSearchParams(cut < 0 ? '' : target.slice(cut + 1)),
      headers: request.headers,
      signal: gone.signal,
    });
    if (!response.destroyed) await send(request, response, answer);
  } catch (error) {
    log.error('request failed', { path: request.url?.slice(0, 200), error: error as Error });
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end('internal error\n');
  }
}

/**
 * Listens on each of the hosts that this machine has; at least one must work.
 * @param port           0 lets the kernel choose, for each host by itself
 * @param headTimeoutMs  how long a client may take for the head of its request
 * @throws Error when it listens nowhere
 */
export async function serveHttp(
  hosts: readonly string[],
  port: number,
  handler: HttpHandler,
  headTimeoutMs = HEAD_TIMEOUT_MS,
): Promise<HttpEndpoint> {
  const servers: Server[] = [];
  const ports: number[] = [];
  let failure: unknown;
  for (const host of hosts) {
    const server = http.createServer(
      {
        headersTimeout: headTimeoutMs,
        requestTimeout: 2 * headTimeoutMs,
        connectionsCheckingInterval: headTimeoutMs,
        maxHeaderSize: MAX_HEAD_BYTES,
        keepAliveTimeout: 30_000,
      },
      (request, response) => {
        request.on('error', () => {});
        response.on('error', () => {});
        request.resume(); // A body is of no interest.
        void handle(handler, request, response);
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port, ipv6Only: host.includes(':') && hosts.length > 1 }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (error) => log.warn('listener failed', { host, port, error }));
      servers.push(server);
      const address = server.address();
      if (typeof address === 'object' && address !== null) ports.push(address.port);
    } catch (error) {
      // A machine without IPv6 has no ::1; a port that somebody else holds is another matter.
      failure ??= error;
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') break;
    }
  }
  if (servers.length === 0 || (failure as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE') {
    for (const server of servers) server.close();
    throw new Error(`not listening on port ${port} of ${hosts.join(', ')}`, { cause: failure });
  }
  return {
    ports,
    close() {
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

/** The exposition of a registry, in the form that the client asked for. */
export const metricsResponse = (registry: Registry, request: HttpRequest): HttpResponse => ({
  status: 200,
  contentType: acceptsOpenMetrics(request.headers.accept) ? CONTENT_TYPE_OPENMETRICS : CONTENT_TYPE_TEXT,
  body: registry.render(),
});

/** `/metrics` and `/stats/prometheus`. */
export const metricsHandler =
  (registry: Registry): HttpHandler =>
  (request) => {
    if (request.path !== '/metrics' && request.path !== '/stats/prometheus') return NOT_FOUND;
    return metricsResponse(registry, request);
  };
