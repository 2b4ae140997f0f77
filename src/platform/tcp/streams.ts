// Where TcpStreams come from: a listening descriptor, or dialling. On Node's handles where there are any.

import { closeSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { isV4 } from '../../model/ip.ts';
import { SystemError } from '../linux/errors.ts';
import { libc } from '../linux/libc.ts';
import type { Netns } from '../linux/netns.ts';
import { type ConnectOptions, dialSocket, serve, setNoDelay } from '../linux/sockets.ts';
import { HandleStream } from './handle-stream.ts';
import { type Handles, handles as nodeHandles, type TcpHandle } from './handles.ts';
import { SocketStream } from './socket-stream.ts';
import type { TcpStream } from './stream.ts';

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/**
 * libuv accepts one connection a turn, so that under load every new connection cost a turn of the loop, and its first frame
 * a TLS record. The others that wait are taken in the same turn, up to this many.
 */
const ACCEPTS_PER_TURN = 31;

export interface StreamListener {
  /** Accepts no more. Twice is harmless. */
  close(): void;
}

/**
 * Accepts on a descriptor of `listenTcp`, which it owns from now on, also when this rejects.
 * @param failed  an accept that failed (descriptors used up); the listener goes on
 */
export async function listenStreams(
  fd: number,
  backlog: number,
  accept: (stream: TcpStream) => void,
  failed: (error: Error) => void,
  handles: Handles | undefined = nodeHandles,
): Promise<StreamListener> {
  if (handles === undefined) {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      accept(new SocketStream(socket)),
    );
    server.on('error', failed);
    await serve(server, fd, backlog);
    return server;
  }
  const handle = new handles.Tcp(handles.SERVER);
  const listening = (code: number, call: string): void => {
    if (code >= 0) return;
    handle.close();
    throw new SystemError('not listening', call, -code);
  };
  const opened = handle.open(fd);
  if (opened < 0) closeSync(fd);
  listening(opened, 'open');
  setNoDelay(fd); // accepted sockets inherit it
  let open = true;
  handle.onconnection = (status, client) => {
    if (client === undefined || status < 0) {
      failed(new SystemError('connection not accepted', 'accept', -status));
      return;
    }
    accept(new HandleStream(client));
    for (let more = 0; more < ACCEPTS_PER_TURN && open; more++) {
      const stream = acceptNow(handles, fd);
      if (stream === undefined) return;
      accept(stream);
    }
  };
  listening(handle.listen(backlog), 'listen');
  return {
    close() {
      if (open) handle.close();
      open = false;
    },
  };
}

/** Undefined: nobody waits, or it failed, which libuv's own accept tells in the next turn. */
function acceptNow(handles: Handles, fd: number): HandleStream | undefined {
  const accepted = libc.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted < 0) return undefined;
  const handle = new handles.Tcp(handles.SOCKET);
  if (handle.open(accepted) >= 0) return new HandleStream(handle);
  closeSync(accepted);
  handle.close();
  return undefined;
}

/** A connection that is being opened. */
export interface Dialling {
  /** Gives up; nothing is called afterwards. */
  cancel(): void;
}

/**
 * Starts connecting; exactly one of the two is called later, unless it is cancelled.
 * @throws SystemError for what fails before the first packet: socket, options, source address
 */
export function dialStream(
  netns: Netns,
  options: ConnectOptions,
  connected: (stream: TcpStream) => void,
  failed: (error: Error) => void,
  handles: Handles | undefined = nodeHandles,
): Dialling {
  const fd = dialSocket(netns, options);
  return handles === undefined
    ? dialSocketStream(fd, options, connected, failed)
    : dialHandleStream(handles, fd, options, connected, failed);
}

function dialSocketStream(
  fd: number,
  { destination }: ConnectOptions,
  connected: (stream: TcpStream) => void,
  failed: (error: Error) => void,
): Dialling {
  const socket = new Socket({ fd, allowHalfOpen: true });
  let over = false;
  socket.on('error', (error) => {
    if (!over) failed(error);
    over = true;
  });
  socket.once('connect', () => {
    if (!over) connected(new SocketStream(socket));
    over = true;
  });
  socket.connect({ host: destination.ip, port: destination.port });
  return {
    cancel() {
      over = true;
      socket.destroy();
    },
  };
}

function dialHandleStream(
  handles: Handles,
  fd: number,
  { destination }: ConnectOptions,
  connected: (stream: TcpStream) => void,
  failed: (error: Error) => void,
): Dialling {
  const handle: TcpHandle = new handles.Tcp(handles.SOCKET);
  let over = false;
  const finished = (status: number): void => {
    if (over) return;
    over = true;
    if (status === 0) {
      connected(new HandleStream(handle));
      return;
    }
    handle.close();
    failed(new SystemError('not connected', 'connect', -status));
  };
  const opened = handle.open(fd);
  if (opened < 0) {
    closeSync(fd);
    handle.close();
    throw new SystemError('not connected', 'open', -opened);
  }
  const request = new handles.Connect();
  request.oncomplete = finished;
  const { ip, port } = destination;
  const code = isV4(ip) ? handle.connect(request, ip, port) : handle.connect6(request, ip, port);
  if (code < 0) {
    handle.close();
    throw new SystemError('not connected', 'connect', -code);
  }
  return {
    cancel() {
      if (over) return;
      over = true;
      handle.close();
    },
  };
}
