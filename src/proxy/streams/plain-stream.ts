// A TCP connection as a byte stream, without Node's streams between. Runs per chunk: one object a connection, writes go
// to the kernel at once, and reads are copied out of the buffer that all connections share.

import type { Socket } from 'node:net';
import { ioFailure, isDisconnect } from '../../dataplane/failure.ts';
import type { HostPort } from '../../model/ip.ts';
import { countPassed } from '../../platform/garbage.ts';
import type { StreamUser, TcpStream } from '../../platform/tcp/stream.ts';
import { takeHandle } from '../../platform/tcp/take-handle.ts';
import type { ByteSink, ByteStream, StreamError } from './byte-stream.ts';
import { SocketStream } from './socket-stream.ts';

const RESET: StreamError = { kind: 'reset', text: 'the connection was reset' };

/** What is written between `cork` and `uncork` is joined here up to this much; INVARIANT (scratch): empty between turns. */
const SCRATCH_BYTES = 128 << 10;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** @param socket  established, not TLS, nobody reads it, and half-open is allowed; it belongs to the stream from now on */
export function plainStream(socket: Socket, local: HostPort, remote: HostPort): ByteStream {
  const tcp = takeHandle(socket);
  return tcp === undefined ? new SocketStream(socket, local, remote) : new PlainStream(tcp, local, remote);
}

class PlainStream implements ByteStream, StreamUser {
  readonly local: HostPort;
  readonly remote: HostPort;
  private readonly tcp: TcpStream;
  private sink: ByteSink | undefined = undefined;
  /** What was read and put back. */
  private held: Buffer | undefined = undefined;
  private error: StreamError | undefined = undefined;
  /** Ended by `reset`: what follows is no failure. */
  private ours = false;
  private paused = false;
  private endDue = false;
  private corked = false;
  private joined = 0;
  gone = false;

  constructor(tcp: TcpStream, local: HostPort, remote: HostPort) {
    this.tcp = tcp;
    this.local = local;
    this.remote = remote;
  }

  attach(sink: ByteSink): void {
    const first = this.sink === undefined;
    this.sink = sink;
    if (this.gone) {
      const { error } = this;
      queueMicrotask(() => sink.closed(error ?? RESET));
      return;
    }
    this.deliverHeld();
    if (!first) {
      if (!this.paused) this.tcp.resume();
      return;
    }
    this.tcp.start(this);
    if (this.paused) this.tcp.pause();
  }

  unread(chunk: Buffer): void {
    this.held = this.held === undefined ? chunk : Buffer.concat([chunk, this.held]);
  }

  // ---- writing ----

  write(chunk: Uint8Array): boolean {
    if (this.gone) return true;
    if (!this.corked) return this.tcp.write(chunk);
    if (chunk.length > SCRATCH_BYTES - this.joined) {
      const taken = this.flush();
      if (chunk.length > SCRATCH_BYTES) return this.tcp.write(chunk) && taken;
    }
    scratch.set(chunk, this.joined);
    this.joined += chunk.length;
    return true;
  }

  writeLent(chunk: Uint8Array, done: () => void): boolean {
    const taken = this.write(chunk);
    done();
    return taken;
  }

  writeText(text: string): boolean {
    if (this.gone) return true;
    if (text.length > SCRATCH_BYTES - this.joined) return this.write(Buffer.from(text, 'latin1'));
    this.joined += scratch.write(text, this.joined, 'latin1');
    return this.corked || this.flush();
  }

  private flush(): boolean {
    const { joined } = this;
    if (joined === 0) return true;
    this.joined = 0;
    return this.tcp.write(scratch.subarray(0, joined));
  }

  cork(): void {
    this.corked = true;
  }

  uncork(): boolean {
    this.corked = false;
    return this.flush();
  }

  end(): void {
    this.tcp.end();
  }

  reset(): void {
    if (this.gone) return;
    this.ours = true;
    this.tcp.reset();
  }

  // ---- reading ----

  pause(): void {
    this.paused = true;
    this.tcp.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.deliverHeld();
    if (!this.paused && this.sink !== undefined) this.tcp.resume();
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

  // ---- the connection's events ----

  received(chunk: Buffer): void {
    countPassed(chunk.length);
    // INVARIANT (sink): reading begins with `attach`. A copy: what is passed on may be kept.
    (this.sink as ByteSink).data(Buffer.from(chunk));
  }

  ended(): void {
    if (this.paused || this.held !== undefined) this.endDue = true;
    else this.sink?.end();
  }

  drained(): void {
    this.sink?.drained();
  }

  closed(clean: boolean, error: Error | undefined): void {
    this.gone = true;
    if (error !== undefined)
      this.error = isDisconnect(error) ? RESET : { kind: 'failure', text: ioFailure(error).error };
    else if (!clean && !this.ours) this.error = RESET;
    const { sink } = this;
    sink?.closed(this.error);
  }
}
