// A net.Socket's connection as a TcpStream: how it was accepted or dialled stays Node's, what runs per chunk does not.

import type { Socket } from 'node:net';
import { HandleStream } from './handle-stream.ts';
import { type Handles, handles as nodeHandles, type TcpHandle } from './handles.ts';
import type { TcpStream } from './stream.ts';

interface Shell {
  _handle: TcpHandle | null;
}

/**
 * Takes the connection out of `socket`, which is over for its owner afterwards.
 * @param socket  established, nothing read from it and nothing written that waits
 * @returns undefined: this Node cannot, or something waits; nothing has changed then
 */
export function takeHandle(socket: Socket, handles: Handles | undefined = nodeHandles): TcpStream | undefined {
  if (handles === undefined || socket.destroyed || socket.connecting) return undefined;
  if (socket.readableLength > 0 || socket.readableEnded || socket.writableLength > 0) return undefined;
  const shell = socket as unknown as Shell;
  const handle = shell._handle;
  if (!(handle instanceof handles.Tcp) || handle.fd < 0) return undefined;
  handle.readStop();
  shell._handle = null;
  // The server counts sockets; this one leaves its count.
  socket.destroy();
  return new HandleStream(handle);
}
