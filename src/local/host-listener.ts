// Listeners on 127.0.0.1 of the host, opened for a room that has no way to the host's network itself.

import { createServer, type Server } from 'node:net';

const BACKLOG = 511;
/** Taken, not allowed to this user, or not to be had at all: the next one may do. */
const NEXT: ReadonlySet<string> = new Set(['EADDRINUSE', 'EACCES', 'EPERM', 'EADDRNOTAVAIL']);

/**
 * Opens the first port that is free and allowed; 0 takes any.
 * Whoever connects before the listener is handed on is turned away: nobody has been told of it yet.
 * @throws the last attempt's error
 */
export async function listenOnHost(ports: readonly number[]): Promise<{ server: Server; port: number }> {
  let last: unknown = Object.assign(new Error('no port was asked for'), { code: 'EINVAL' });
  for (const port of ports)
    try {
      return await listen(port);
    } catch (error) {
      last = error;
      if (!NEXT.has((error as NodeJS.ErrnoException).code ?? '')) break;
    }
  throw last;
}

function listen(port: number): Promise<{ server: Server; port: number }> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, backlog: BACKLOG, exclusive: true }, () => {
      const address = server.address();
      resolve({ server, port: typeof address === 'object' && address !== null ? address.port : port });
    });
  });
}
