// Two connections made one: bytes, half-closes and back-pressure go through; a broken side breaks the other.

import type { Socket } from 'node:net';
import { resetSocket } from '../../platform/linux/sockets.ts';

export function joinSockets(client: Socket, server: Socket): void {
  server.on('error', () => resetSocket(client));
  client.on('error', () => server.destroy());
  client.on('close', () => server.destroy());
  server.on('close', () => client.destroySoon());
  client.pipe(server);
  server.pipe(client);
}
