// TcpStream on net.Socket: for a Node without the handles that handle-stream.ts needs. The same to its users, dearer.

import type { Socket } from 'node:net';
import type { HostPort } from '../../model/ip.ts';
import { resetSocket } from '../linux/sockets.ts';
import { hostPortOf } from './names.ts';
import type { StreamUser, TcpStream } from './stream.ts';

export class SocketStream implements TcpStream {
  readonly #socket: Socket;
  #user: StreamUser | undefined = undefined;
  #error: Error | undefined = undefined;
  #closeAfterEnd = false;

  /** @param socket  established, half-open allowed, paused or without a listener for data */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', (error) => {
      this.#error = error;
    });
  }

  get fd(): number | undefined {
    const fd = (this.#socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
    return fd === undefined || fd < 0 ? undefined : fd;
  }

  remote(): HostPort | undefined {
    return hostPortOf(this.#socket.remoteAddress, this.#socket.remotePort);
  }

  local(): HostPort | undefined {
    return hostPortOf(this.#socket.localAddress, this.#socket.localPort);
  }

  start(user: StreamUser): void {
    this.#user = user;
    const socket = this.#socket;
    socket.on('data', (chunk: Buffer) => user.received(chunk));
    socket.on('end', () => user.ended());
    socket.on('drain', () => user.drained());
    socket.on('close', () => this.#closed());
    if (socket.closed) setImmediate(() => this.#closed());
    else socket.resume();
  }

  #closed(): void {
    const user = this.#user;
    this.#user = undefined;
    user?.closed(this.#socket.readableEnded && this.#socket.writableFinished, this.#error);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.#user !== undefined) this.#socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    // A copy: the socket may keep it until its peer reads.
    return this.#socket.destroyed || this.#socket.writableEnded || this.#socket.write(Buffer.from(bytes));
  }

  end(): void {
    this.#socket.end();
  }

  endAndClose(): void {
    if (this.#closeAfterEnd) return;
    this.#closeAfterEnd = true;
    this.#socket.destroySoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    resetSocket(this.#socket);
  }
}
