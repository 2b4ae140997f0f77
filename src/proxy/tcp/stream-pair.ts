// Joins two byte streams: what one receives the other sends, each direction ends by itself, a slow reader pauses its
// source. Runs per chunk: no allocation.

import type { ByteMeter } from '../../telemetry/connection.ts';
import type { ByteSink, ByteStream, StreamError } from '../streams/byte-stream.ts';
import type { Sweeper, Swept } from '../streams/sweeper.ts';

class Side implements ByteSink {
  private readonly pair: StreamPair;
  private readonly own: ByteStream;
  private readonly other: ByteStream;
  private readonly fromClient: boolean;

  constructor(pair: StreamPair, own: ByteStream, other: ByteStream, fromClient: boolean) {
    this.pair = pair;
    this.own = own;
    this.other = other;
    this.fromClient = fromClient;
  }
  data(chunk: Buffer): void {
    this.pair.passed(this.fromClient, chunk.length);
    if (!this.other.write(chunk)) this.own.pause();
  }
  end(): void {
    this.other.end();
  }
  drained(): void {
    this.other.resume();
  }
  closed(error: StreamError | undefined): void {
    if (error !== undefined) this.other.reset();
    this.pair.sideClosed(error);
  }
}

export class StreamPair implements Swept {
  private readonly client: ByteStream;
  private readonly server: ByteStream;
  private readonly meter: ByteMeter;
  private readonly sweeper: Sweeper;
  private readonly idleMs: number;
  private readonly finished: (error: StreamError | undefined) => void;
  private activeMs: number;
  private open = 2;
  private error: StreamError | undefined = undefined;

  /** Starts at once. @param finished once, when both are gone */
  constructor(
    client: ByteStream,
    server: ByteStream,
    meter: ByteMeter,
    sweeper: Sweeper,
    idleMs: number,
    finished: (error: StreamError | undefined) => void,
  ) {
    this.client = client;
    this.server = server;
    this.meter = meter;
    this.sweeper = sweeper;
    this.idleMs = idleMs;
    this.finished = finished;
    this.activeMs = sweeper.nowMs;
    sweeper.add(this);
    server.attach(new Side(this, server, client, false));
    client.attach(new Side(this, client, server, true));
  }

  passed(fromClient: boolean, bytes: number): void {
    this.activeMs = this.sweeper.nowMs;
    if (fromClient) this.meter.toServer += bytes;
    else this.meter.toClient += bytes;
  }

  sideClosed(error: StreamError | undefined): void {
    if (error?.kind === 'failure') this.error ??= error;
    this.open -= 1;
    if (this.open > 0) return;
    this.sweeper.delete(this);
    this.finished(this.error);
  }

  sweep(nowMs: number): void {
    if (this.idleMs > 0 && nowMs - this.activeMs > this.idleMs) this.cut();
  }

  cut(): void {
    this.client.reset();
    this.server.reset();
  }
}
