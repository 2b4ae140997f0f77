// The TLS sockets that the API answers on. Only our authority's client certificates count; a client without one may still
// bring a token.

import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { ClusterIdentity } from './auth/identity.ts';
import type { ApiServer } from './http/api-server.ts';

/** Longer than client-go's 90 s, so that it is the client who closes an idle connection. */
const KEEP_ALIVE_MS = 120_000;
const HEADERS_MS = 20_000;
const MAX_CONNECTIONS = 4096;
const MAX_HEADER_BYTES = 32 * 1024;

const open = new WeakMap<Server, Set<Socket>>();

export function createTlsServer(api: ApiServer, { ca, serving }: ClusterIdentity): Server {
  const options: ServerOptions = {
    cert: serving.certPem + ca.certPem,
    key: serving.keyPem,
    ca: ca.certPem,
    requestCert: true,
    rejectUnauthorized: false, // judged request by request: authenticate.ts
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const server = createServer(options);
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  open.set(server, sockets);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('request', (request, response) => void api.onRequest(request, response));
  server.on('upgrade', (request, socket, head) => void api.onUpgrade(request, socket, head));
  return server;
}

/** Resolves when it accepts; rejects with the system's error. */
export function listening(server: Server, where: { fd: number } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Ends everything that is open: kept connections, watches, and streams after an upgrade, which the server itself forgets. */
export function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of open.get(server) ?? []) socket.destroy();
  });
}
