// For tests: a transport and an environment that stand still until told, peers that speak in frames, and sinks that
// remember. The standard library is too polite to play a bad peer.

import { Buffer } from 'node:buffer';
import { openClientSession } from './client.ts';
import type { HboneError } from './errors.ts';
import * as frames from './frames.ts';
import { encodeHeaders, type Field, HpackDecoder } from './hpack.ts';
import type { HboneLimits } from './limits.ts';
import { openServerSession } from './server.ts';
import type {
  ClientSession,
  ConnectRequest,
  HeaderList,
  InboundTunnel,
  ServerSession,
  SessionEnvironment,
  SessionState,
  Transport,
  TunnelSink,
} from './types.ts';

export class ManualEnvironment implements SessionEnvironment {
  private nowMs = 0;
  private deferred: (() => void)[] = [];
  private imminent: (() => void)[] = [];
  soon?: (callback: () => void) => void;
  private timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.nowMs;
  }
  defer(callback: () => void): void {
    this.deferred.push(callback);
  }
  /** From now on there are ends of events as well as of turns. */
  offerSoon(): void {
    this.soon = (callback) => void this.imminent.push(callback);
  }
  /** Ends the event at hand. */
  event(): void {
    for (const callback of this.imminent.splice(0)) callback();
  }
  setTimer(callback: () => void, delayMs: number): unknown {
    const timer = { at: this.nowMs + delayMs, callback };
    this.timers.push(timer);
    return timer;
  }
  clearTimer(timer: unknown): void {
    this.timers = this.timers.filter((other) => other !== timer);
  }
  get liveTimers(): number {
    return this.timers.length;
  }
  /** Ends the turn of the event loop. */
  turn(): void {
    for (const callback of this.deferred.splice(0)) callback();
  }
  advance(ms: number): void {
    const until = this.nowMs + ms;
    for (;;) {
      const due = this.timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.nowMs = due.at;
      this.clearTimer(due);
      due.callback();
      this.turn();
    }
    this.nowMs = until;
  }
}

/** Remembers what was written; `full` makes it refuse more. */
export class ManualTransport implements Transport {
  chunks: Buffer[] = [];
  writes = 0;
  full = false;
  ended = false;
  destroyed = false;
  /** Keeps what it was given until `release`. */
  slow = false;
  private kept: (() => void)[] = [];

  write(chunk: Uint8Array, done?: () => void): boolean {
    this.chunks.push(Buffer.from(chunk));
    this.writes++;
    if (this.slow && done !== undefined) this.kept.push(done);
    else done?.();
    return !this.full;
  }
  release(): void {
    for (const done of this.kept.splice(0)) done();
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  get writableLength(): number {
    return this.full ? this.chunks.reduce((sum, chunk) => sum + chunk.length, 0) : 0;
  }
  take(): Buffer {
    const all = Buffer.concat(this.chunks);
    this.chunks = [];
    return all;
  }
}

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Cuts bytes into frames; written apart from the reader under test. @throws Error on half a frame */
export function parseFrames(bytes: Buffer): SeenFrame[] {
  const seen: SeenFrame[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    const end = at + 9 + length;
    if (end > bytes.length) throw new Error('half a frame');
    const streamId = bytes.readUInt32BE(at + 5);
    seen.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      streamId,
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return seen;
}

/** Any frame, right or wrong. `length` may lie. */
export function rawFrame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = NONE,
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}
const NONE = new Uint8Array(0);

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

export const connectFields = (authority = '10.0.0.2:80'): Field[] => [
  [':method', 'CONNECT'],
  [':authority', authority],
];

export const headersOf = (streamId: number, fields: readonly Field[], flags = frames.END_HEADERS): Buffer =>
  rawFrame(frames.HEADERS, flags, streamId, encodeHeaders(fields));

export const dataOf = (streamId: number, payload: Uint8Array | string, flags = 0): Buffer =>
  rawFrame(frames.DATA, flags, streamId, typeof payload === 'string' ? Buffer.from(payload) : payload);

/** What a well-mannered peer says first. */
export const CLIENT_HELLO = Buffer.concat([frames.PREFACE, frames.settingsFrame([]), frames.settingsAckFrame()]);
export const SERVER_HELLO = Buffer.concat([frames.settingsFrame([]), frames.settingsAckFrame()]);

/** Remembers what it was told; consumes at once unless `hold`. */
export class RecordingSink implements TunnelSink {
  events: string[] = [];
  bytes = 0;
  pieces = 0;
  writables = 0;
  received: Buffer[] = [];
  hold = false;
  resetWith: HboneError | undefined;
  stream: { consumed(bytes: number): void } | undefined;

  response(status: number, headers: HeaderList): void {
    this.events.push(`response ${status}${headers.map(([name, value]) => ` ${name}=${value}`).join('')}`);
  }
  data(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.pieces++;
    this.received.push(Buffer.from(chunk)); // it is lent
    if (!this.hold) this.stream?.consumed(chunk.length);
  }
  end(): void {
    this.events.push('end');
  }
  reset(error: HboneError): void {
    this.resetWith = error;
    this.events.push(`reset ${error.code} ${error.reads}`);
  }
  writable(): void {
    this.writables++;
  }
  get text(): string {
    return Buffer.concat(this.received).toString();
  }
}

export interface Accepted {
  readonly request: ConnectRequest;
  readonly stream: InboundTunnel;
  readonly sink: RecordingSink;
}

/** A server session and the wire to it. */
export class ServerUnderTest {
  readonly environment = new ManualEnvironment();
  readonly transport = new ManualTransport();
  readonly states: SessionState[] = [];
  readonly accepted: Accepted[] = [];
  closed: { error: HboneError | undefined } | undefined;
  readonly session: ServerSession;
  private readonly decoder = new HpackDecoder();

  constructor(options: { answer?: boolean; limits?: Partial<HboneLimits>; hello?: boolean } = {}) {
    this.session = openServerSession({
      transport: this.transport,
      environment: this.environment,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      events: {
        onConnect: (request, stream) => {
          const sink = new RecordingSink();
          sink.stream = stream;
          this.accepted.push({ request, stream, sink });
          if (options.answer === false) return;
          stream.attach(sink);
          stream.respond(200, []);
        },
        onState: (state) => void this.states.push(state),
        onClosed: (error) => {
          if (this.closed !== undefined) throw new Error('closed twice');
          this.closed = { error };
        },
      },
    });
    if (options.hello === false) return;
    this.send(CLIENT_HELLO);
    this.transport.take();
  }

  /** Sends bytes, ends the turn, and returns the frames that came back. */
  send(...bytes: Buffer[]): SeenFrame[] {
    this.session.receive(Buffer.concat(bytes));
    return this.frames();
  }
  frames(): SeenFrame[] {
    this.environment.turn();
    return parseFrames(this.transport.take());
  }
  /** Code of the GOAWAY among the frames. */
  goaway(seen: readonly SeenFrame[]): number | undefined {
    return seen.find((frame) => frame.type === frames.GOAWAY)?.payload.readUInt32BE(4);
  }
  statusOf(seen: readonly SeenFrame[], streamId: number): string | undefined {
    for (const frame of seen) {
      if (frame.type !== frames.HEADERS) continue;
      const block = this.decoder.decode(frame.payload, 65_536);
      if (frame.streamId === streamId && block.kind === 'fields') return block.fields[0]?.[1];
    }
    return undefined;
  }
  first(): Accepted {
    const [accepted] = this.accepted;
    if (accepted === undefined) throw new Error('nothing was accepted');
    return accepted;
  }
}

/** A client session and the wire to it. */
export class ClientUnderTest {
  readonly environment = new ManualEnvironment();
  readonly transport = new ManualTransport();
  readonly states: SessionState[] = [];
  closed: { error: HboneError | undefined } | undefined;
  readonly session: ClientSession;

  constructor(options: { limits?: Partial<HboneLimits>; hello?: Buffer | false } = {}) {
    this.session = openClientSession({
      transport: this.transport,
      environment: this.environment,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      events: {
        onState: (state) => void this.states.push(state),
        onClosed: (error) => {
          if (this.closed !== undefined) throw new Error('closed twice');
          this.closed = { error };
        },
      },
    });
    if (options.hello === false) return;
    this.environment.turn();
    this.transport.take();
    this.send(options.hello ?? SERVER_HELLO);
  }

  send(...bytes: Buffer[]): SeenFrame[] {
    this.session.receive(Buffer.concat(bytes));
    return this.frames();
  }
  frames(): SeenFrame[] {
    this.environment.turn();
    return parseFrames(this.transport.take());
  }
  open(
    authority = '10.0.0.2:80',
    headers: HeaderList = [],
  ): { sink: RecordingSink; stream: ReturnType<ClientSession['open']> } {
    const sink = new RecordingSink();
    const stream = this.session.open({ authority, headers }, sink);
    sink.stream = stream;
    return { sink, stream };
  }
  goaway(seen: readonly SeenFrame[]): number | undefined {
    return seen.find((frame) => frame.type === frames.GOAWAY)?.payload.readUInt32BE(4);
  }
}

export const OK_FIELDS: Field[] = [[':status', '200']];
