// An HBONE tunnel as a byte stream, at either end. Window is given back for what the owner took; while it is paused, what
// still arrives is held, at most one stream window. Runs per chunk.

import type { HostPort } from '../../model/ip.ts';
import type { HboneError, TunnelSink, TunnelStream } from '../../wire/hbone/index.ts';
import type { ByteSink, ByteStream, StreamError } from './byte-stream.ts';

export class TunnelByteStream implements ByteStream {
  readonly local: HostPort;
  readonly remote: HostPort;
  /** INVARIANT (stream): set by `bind` before anything can be called. */
  private stream!: TunnelStream;
  private sink: ByteSink | undefined = undefined;
  private held: Buffer[] = [];
  /** Bytes put back: their window was given back already. */
  private unreadBytes = 0;
  private paused = false;
  private endDue = false;
  private peerEnded = false;
  private weEnded = false;
  private error: StreamError | undefined = undefined;
  gone = false;

  constructor(local: HostPort, remote: HostPort) {
    this.local = local;
    this.remote = remote;
  }

  bind(stream: TunnelStream): void {
    this.stream = stream;
  }

  attach(sink: ByteSink): void {
    this.sink = sink;
    if (this.held.length > 0 || this.endDue) this.deliverHeld();
    if (this.gone) this.tellClosed();
  }

  unread(chunk: Buffer): void {
    this.held.unshift(chunk);
    this.unreadBytes += chunk.length;
  }

  write(chunk: Uint8Array): boolean {
    return this.gone || this.stream.write(chunk);
  }

  /** A session copies what it sends. */
  writeLent(chunk: Uint8Array, done: () => void): boolean {
    const room = this.write(chunk);
    done();
    return room;
  }

  writeText(text: string): boolean {
    return this.gone || this.stream.write(Buffer.from(text, 'latin1'));
  }

  /** The session sends what one turn wrote together. */
  cork(): void {}
  uncork(): boolean {
    return true;
  }

  end(): void {
    if (this.gone || this.weEnded) return;
    this.weEnded = true;
    this.stream.end();
    this.closeIfDone();
  }

  reset(): void {
    if (this.gone) return;
    this.stream.reset('CANCEL');
    this.lose(undefined);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (this.held.length > 0 || this.endDue) this.deliverHeld();
  }

  private deliverHeld(): void {
    while (!this.paused && this.sink !== undefined) {
      const chunk = this.held.shift();
      if (chunk === undefined) break;
      const returned = Math.min(this.unreadBytes, chunk.length);
      this.unreadBytes -= returned;
      this.sink.data(chunk);
      if (chunk.length > returned) this.stream.consumed(chunk.length - returned);
    }
    if (this.endDue && !this.paused && this.held.length === 0 && this.sink !== undefined) {
      this.endDue = false;
      this.sink.end();
    }
    this.closeIfDone();
  }

  private closeIfDone(): void {
    if (this.weEnded && this.peerEnded && !this.endDue && this.held.length === 0) this.lose(undefined);
  }

  private lose(error: StreamError | undefined): void {
    if (this.gone) return;
    this.gone = true;
    this.error = error;
    this.held = [];
    if (this.sink !== undefined) this.tellClosed();
  }

  /** Later: whoever ended the stream is in the middle of something. */
  private tellClosed(): void {
    queueMicrotask(() => {
      const { sink, error } = this;
      this.sink = undefined;
      sink?.closed(error);
    });
  }

  // ---- the tunnel's events ----

  received(chunk: Buffer): void {
    if (this.gone) return;
    if (this.paused || this.sink === undefined || this.held.length > 0) {
      this.held.push(chunk);
      return;
    }
    this.sink.data(chunk);
    this.stream.consumed(chunk.length);
  }

  ended(): void {
    if (this.gone) return;
    this.peerEnded = true;
    if (this.paused || this.sink === undefined || this.held.length > 0) this.endDue = true;
    else this.sink.end();
    this.closeIfDone();
  }

  lost(error: HboneError): void {
    if (error.reads === 'end' && !this.peerEnded) {
      // RST_STREAM with NO_ERROR or CANCEL reads as the end of data.
      this.weEnded = true;
      this.ended();
    } else this.lose({ kind: error.code === 'CONNECT_ERROR' ? 'reset' : 'failure', text: error.message });
  }

  drained(): void {
    if (!this.gone) this.sink?.drained();
  }
}

/** What the session tells of a tunnel; its names are those of the stream's other half. */
export class TunnelEvents implements TunnelSink {
  protected readonly owner: TunnelByteStream;

  constructor(owner: TunnelByteStream) {
    this.owner = owner;
  }
  data(chunk: Buffer): void {
    this.owner.received(chunk);
  }
  end(): void {
    this.owner.ended();
  }
  reset(error: HboneError): void {
    this.owner.lost(error);
  }
  writable(): void {
    this.owner.drained();
  }
}
