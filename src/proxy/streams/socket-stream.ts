// A TCP or TLS socket as a byte stream. Runs per chunk: shared listeners, one object a connection.

import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ignoreErrors } from '../../dataplane/endpoints.ts';
import { ioFailure, isDisconnect } from '../../dataplane/failure.ts';
import type { HostPort } from '../../model/ip.ts';
import { countPassed } from '../../platform/garbage.ts';
import { resetSocket } from '../../platform/linux/sockets.ts';
import type { ByteSink, ByteStream, StreamError } from './byte-stream.ts';

const STREAM = Symbol('stream');
interface Streamed extends Socket {
  [STREAM]: SocketStream;
}

const RESET: StreamError = { kind: 'reset', text: 'the connection was reset' };

export class SocketStream implements ByteStream {
  readonly local: HostPort;
  readonly remote: HostPort;
  private readonly socket: Socket;
  private sink: ByteSink | undefined = undefined;
  /** What was read and put back. */
  private held: Buffer | undefined = undefined;
  private error: StreamError | undefined = undefined;
  /** Ended here, or by `reset`: what follows is no failure. */
  private ours = false;
  private paused = false;
  private endDue = false;
  gone = false;

  /** @param socket  established, nobody reads it, and half-open is allowed; it belongs to the stream from now on */
  constructor(socket: Socket, local: HostPort, remote: HostPort) {
    this.socket = socket;
    this.local = local;
    this.remote = remote;
    (socket as Streamed)[STREAM] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
    // The socket is destroyed without events to come: whoever attaches hears of it.
    if (socket.destroyed) this.gone = true;
  }

  attach(sink: ByteSink): void {
    const first = this.sink === undefined;
    this.sink = sink;
    if (first) {
      const { socket } = this;
      socket.on('data', onData);
      socket.on('end', onEnd);
      socket.on('drain', onDrain);
    }
    if (this.gone) {
      const { error } = this;
      queueMicrotask(() => sink.closed(error ?? RESET));
      return;
    }
    this.deliverHeld();
    if (!this.paused) this.socket.resume();
  }

  unread(chunk: Buffer): void {
    this.held = this.held === undefined ? chunk : Buffer.concat([chunk, this.held]);
  }

  write(chunk: Uint8Array): boolean {
    return this.gone || this.socket.write(chunk);
  }

  writeLent(chunk: Uint8Array, done: () => void): boolean {
    if (!this.gone) return this.socket.write(chunk, done);
    done();
    return true;
  }

  writeText(text: string): boolean {
    return this.gone || this.socket.write(text, 'latin1');
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): boolean {
    this.socket.uncork();
    return !this.socket.writableNeedDrain;
  }

  end(): void {
    if (!this.gone) this.socket.end();
  }

  reset(): void {
    if (this.gone) return;
    this.ours = true;
    // The layer below a TLS socket is its own to close.
    if (this.socket instanceof TLSSocket) this.socket.destroy();
    else resetSocket(this.socket);
  }

  pause(): void {
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.deliverHeld();
    if (!this.paused) this.socket.resume();
  }

  private deliverHeld(): void {
    const { held, sink } = this;
    if (held !== undefined && sink !== undefined && !this.paused) {
      this.held = undefined;
      sink.data(held);
    }
    if (this.endDue && !this.paused && this.held === undefined) {
      this.endDue = false;
      this.sink?.end();
    }
  }

  // ---- the socket's events ----

  received(chunk: Buffer): void {
    countPassed(chunk.length);
    // INVARIANT (sink): reading begins with `attach`.
    (this.sink as ByteSink).data(chunk);
  }

  ended(): void {
    if (this.paused || this.held !== undefined) this.endDue = true;
    else this.sink?.end();
  }

  drained(): void {
    this.sink?.drained();
  }

  failed(error: Error): void {
    this.error ??= isDisconnect(error) ? RESET : { kind: 'failure', text: ioFailure(error).error };
  }

  closed(): void {
    if (this.gone) return;
    this.gone = true;
    const { socket, sink } = this;
    const orderly = socket.readableEnded && socket.writableFinished;
    const error = this.error ?? (orderly || this.ours ? undefined : RESET);
    this.error = error;
    socket.on('error', ignoreErrors);
    sink?.closed(error);
  }
}

function onData(this: Socket, chunk: Buffer): void {
  (this as Streamed)[STREAM].received(chunk);
}
function onEnd(this: Socket): void {
  (this as Streamed)[STREAM].ended();
}
function onDrain(this: Socket): void {
  (this as Streamed)[STREAM].drained();
}
function onError(this: Socket, error: Error): void {
  (this as Streamed)[STREAM].failed(error);
}
function onClose(this: Socket): void {
  (this as Streamed)[STREAM].closed();
}
