// The plain HTTP listeners: readiness and debugging on 8080, metrics on 15014. Debugging answers only callers on the
// same host (`kubectl port-forward` is one): what it tells is nobody else's business.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** By path, without its query. */
export type Routes = Readonly<Record<string, (request: IncomingMessage) => Answer>>;

export const text = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body });
export const json = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, undefined, 2)}\n`,
});

/** Wraps a route for callers on this host alone. */
export const localOnly =
  (answer: () => Answer) =>
  (request: IncomingMessage): Answer => {
    const from = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    const isLocal = from === '::1' || from.startsWith('127.');
    return isLocal ? answer() : text(403, 'only from this host: use kubectl port-forward\n');
  };

/** Resolves once connections are accepted. */
export async function serveHttp(host: string, port: number, routes: Routes): Promise<Server> {
  const server = createServer((request, response) => respond(routes, request, response));
  server.requestTimeout = 10_000;
  server.headersTimeout = 10_000;
  server.maxConnections = 500;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return server;
}

export const portOf = (server: Server): number => (server.address() as AddressInfo).port;

function respond(routes: Routes, request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const path = (request.url ?? '').split('?', 1)[0] as string;
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const { status, type, body } =
    route === undefined ? text(404, 'not found\n') : isRead ? route(request) : text(405, 'only GET\n');
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}
