// One HTTP/2 connection that carries HBONE tunnels: what both roles share (RFC 9113). Sans-I/O: bytes come in by
// `receive`, the frames of one turn leave in one write at its end. Strict: what breaks a rule ends the stream or the
// connection, whichever the RFC says; what is legal but costly has an allowance. Per chunk run receive → FrameReader →
// dataPiece → sink.data; nothing is allocated there but views. The roles: client.ts, server.ts. Sending: outgoing.ts.

import { Buffer } from 'node:buffer';
import { Allowance } from './allowance.ts';
import { type ErrorCode, errorCodeName, type Fault, fault, HboneError, type ResetCode } from './errors.ts';
import * as frames from './frames.ts';
import { type DecodedBlock, encodeHeaders, type Field, HpackDecoder } from './hpack.ts';
import type { HboneLimits } from './limits.ts';
import { Liveness } from './liveness.ts';
import { Outgoing, type OutgoingEvents } from './outgoing.ts';
import { defaultPeerSettings, openingFrames, readSettings } from './settings.ts';
import type { Tunnel, TunnelOwner } from './tunnel.ts';
import type {
  HboneSession,
  HeaderList,
  SessionEnvironment,
  SessionEvents,
  SessionOptions,
  SessionState,
  Transport,
} from './types.ts';

/** How long a connection that we have ended may take to close before it is cut. */
const LINGER_MS = 1_000;
/** CONTINUATION frames per header block; unbounded they are a cheap attack (VU#421644). */
const MAX_CONTINUATIONS = 16;
/** Padding and priority that a HEADERS frame may carry beyond its block. */
const HEADERS_EXTRA_BYTES = 262;
/** Streams that we have reset and whose late frames are dropped without an answer. */
const REMEMBERED_RESETS = 256;
/** WINDOW_UPDATEs that each DATA frame of ours excuses. */
const UPDATES_PER_DATA_FRAME = 4;
const DRAIN_OPAQUE = Uint8Array.from([0xd, 0x7, 0xa, 0x1, 0x9, 0, 0, 0]);

/** A header list that was decoded, or was too large. */
export type HeaderBlock = Exclude<DecodedBlock, { kind: 'broken' }>;

/** A header block that spans several frames. */
interface OpenBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

export abstract class Session implements HboneSession, frames.FrameHandler, TunnelOwner, OutgoingEvents {
  state: SessionState = 'opening';
  readonly outgoing: Outgoing;
  protected readonly role: 'client' | 'server';
  protected readonly limits: HboneLimits;
  protected readonly tunnels = new Map<number, Tunnel>();
  protected readonly peer = defaultPeerSettings();
  /** Highest id of the streams that were opened, by whichever side is the client. */
  protected lastStreamId = 0;
  protected peerIsLeaving = false;
  private readonly transport: Transport;
  private readonly environment: SessionEnvironment;
  private readonly events: SessionEvents;
  private readonly reader: frames.FrameReader;
  private readonly decoder = new HpackDecoder();
  private readonly liveness: Liveness;
  private readonly now: () => number;
  private readonly recentResets = new Set<number>();
  private settingsSeen = false;
  private settingsUnacknowledged = 1;
  private goawayLastId = frames.MAX_STREAM_ID;
  private receiveWindow: number;
  private returnable = 0;
  private dataFramesExcused = 0;
  private openBlock: OpenBlock | undefined;
  /** The tunnel of the DATA frame at hand; undefined when its bytes are dropped. */
  private current: Tunnel | undefined;
  private currentEnds = false;
  private lingerTimer: unknown;
  /** PING and SETTINGS: each obliges us to answer. */
  private readonly questions: Allowance;
  /** Frames that do nothing: empty DATA, PRIORITY, unknown types, RST_STREAM for closed streams. */
  private readonly idleFrames: Allowance;
  private readonly windowUpdates: Allowance;
  /**
   * Streams that the peer made end early: by its reset before our answer (CVE-2023-44487), or by breaking a rule so that
   * we reset (CVE-2025-8671). Ordinary clients give up tunnels too, so the burst is generous.
   */
  private readonly earlyEnds: Allowance;

  constructor(role: 'client' | 'server', limits: HboneLimits, options: SessionOptions<SessionEvents>) {
    this.role = role;
    this.limits = limits;
    this.transport = options.transport;
    this.environment = options.environment;
    this.events = options.events;
    this.now = () => options.environment.now();
    this.receiveWindow = Math.max(limits.connectionWindowBytes, frames.DEFAULT_WINDOW_BYTES);
    this.outgoing = new Outgoing(options.transport, options.environment, limits, this.peer, this);
    this.reader = new frames.FrameReader(this, role === 'server');
    const nowMs = this.now();
    this.questions = new Allowance(1_000, 100, nowMs);
    this.idleFrames = new Allowance(10_000, 1_000, nowMs);
    this.windowUpdates = new Allowance(20_000, 5_000, nowMs);
    this.earlyEnds = new Allowance(500, 50, nowMs);
    this.liveness = new Liveness(
      options.environment,
      limits,
      (opaque) => this.outgoing.control(frames.pingFrame(opaque, false)),
      () => this.abort(new HboneError('NO_ERROR', 'transport', 'no answer to PING in time')),
    );
    for (const frame of openingFrames(limits, role)) this.outgoing.control(frame);
  }

  get activeStreams(): number {
    return this.tunnels.size;
  }

  get stopped(): boolean {
    return this.state === 'closed';
  }

  // --- what drives the session ---

  receive(chunk: Buffer): void {
    if (this.state === 'closed') return;
    this.environment.passed?.(chunk.length);
    this.reader.read(chunk);
  }

  transportDrained(): void {
    if (this.state !== 'closed') this.outgoing.transportDrained();
  }

  transportClosed(error?: Error): void {
    this.environment.clearTimer(this.lingerTimer);
    if (this.state === 'closed') return;
    const orderly = error === undefined && this.tunnels.size === 0;
    const message = error === undefined ? 'the connection was closed' : `the connection broke: ${error.message}`;
    this.close(orderly ? undefined : new HboneError('STREAM_CLOSED', 'transport', message, { cause: error }));
  }

  abstract drain(): void;

  abort(error?: HboneError): void {
    if (this.state === 'closed') return;
    const reason = error ?? new HboneError('CANCEL', 'us', 'the connection was given up');
    this.finish(error?.code ?? 'NO_ERROR', error?.message ?? '', reason);
  }

  // --- what the roles do differently ---

  protected abstract onHeaders(streamId: number, block: HeaderBlock, end: boolean): Fault | undefined;
  protected abstract onGoaway(lastStreamId: number, code: ErrorCode): void;
  protected abstract onDrainAnswered(): void;
  /** May the connection end as soon as nothing runs on it? */
  protected abstract get mayFinish(): boolean;

  // --- tunnels ---

  protected sendHeaders(streamId: number, fields: readonly Field[], endStream: boolean): void {
    const block = encodeHeaders(fields);
    this.outgoing.control(frames.headersFrames(streamId, block, endStream, this.peer.maxFrameBytes));
  }

  respond(tunnel: Tunnel, status: number, headers: HeaderList, endStream: boolean): void {
    this.sendHeaders(tunnel.id, [[':status', String(status)], ...headers], endStream);
    tunnel.answered = true;
    tunnel.headSent = true;
    if (!endStream) {
      this.outgoing.unblock(tunnel);
      return;
    }
    tunnel.local = 'ended';
    // RFC 9113 §8.1: the answer is complete, so the rest of the request is not wanted
    if (tunnel.remoteEnded) this.settle(tunnel);
    else this.resetByUs(tunnel, 'NO_ERROR');
  }

  cancel(tunnel: Tunnel, code: ResetCode): void {
    if (this.tunnels.has(tunnel.id)) this.resetByUs(tunnel, code);
    else this.drop(tunnel);
  }

  localEnded(tunnel: Tunnel): void {
    this.settle(tunnel);
  }

  overflowed(tunnel: Tunnel): void {
    this.resetStream(tunnel.id, 'INTERNAL_ERROR');
    this.loseTunnel(tunnel, new HboneError('INTERNAL_ERROR', 'us', 'the send buffer of the tunnel overflowed'));
  }

  giveBack(tunnel: Tunnel, bytes: number): void {
    const given = Math.min(bytes, tunnel.held);
    if (given <= 0) return;
    tunnel.held -= given;
    if (!tunnel.remoteEnded) {
      tunnel.returnable += given;
      if (tunnel.returnable >= this.limits.streamWindowBytes / 2) {
        this.outgoing.control(frames.windowUpdateFrame(tunnel.id, tunnel.returnable));
        tunnel.receiveWindow += tunnel.returnable;
        tunnel.returnable = 0;
      }
    }
    this.returnToConnection(given);
  }

  private returnToConnection(bytes: number): void {
    this.returnable += bytes;
    if (this.returnable < this.limits.connectionWindowBytes / 2 || this.state === 'closed') return;
    this.outgoing.control(frames.windowUpdateFrame(0, this.returnable));
    this.receiveWindow += this.returnable;
    this.returnable = 0;
  }

  /** Both directions ended in order: forget the stream. What its sink still holds is given back as it is consumed. */
  private settle(tunnel: Tunnel): void {
    if (tunnel.local !== 'ended' || !tunnel.remoteEnded) return;
    this.outgoing.forget(tunnel);
    if (this.tunnels.delete(tunnel.id)) this.finishIfDone();
  }

  /** Takes a tunnel out of everything; the peer and the sink are told elsewhere. */
  private drop(tunnel: Tunnel): void {
    tunnel.gone = true;
    tunnel.local = 'ended';
    tunnel.remoteEnded = true;
    this.outgoing.forget(tunnel);
    const held = tunnel.held;
    tunnel.held = 0;
    if (held > 0) this.returnToConnection(held);
    this.tunnels.delete(tunnel.id);
  }

  private resetByUs(tunnel: Tunnel, code: ResetCode): void {
    this.resetStream(tunnel.id, code);
    this.drop(tunnel);
    this.finishIfDone();
  }

  private resetStream(streamId: number, code: ResetCode): void {
    this.recentResets.add(streamId);
    if (this.recentResets.size > REMEMBERED_RESETS)
      for (const oldest of this.recentResets) {
        this.recentResets.delete(oldest);
        break;
      }
    this.answer(frames.resetFrame(streamId, code));
  }

  /** The peer broke a rule of one stream (RFC 9113 §5.4.2). */
  protected streamError(streamId: number, code: ErrorCode, message: string): undefined {
    const tunnel = this.tunnels.get(streamId);
    this.resetStream(streamId, code);
    if (tunnel !== undefined) this.loseTunnel(tunnel, new HboneError(code, 'peer', message));
    this.chargeEarlyEnd();
  }

  protected chargeEarlyEnd(): void {
    if (!this.earlyEnds.spend(this.now)) this.fail(fault('ENHANCE_YOUR_CALM', 'too many streams ended early'));
  }

  /** Tells the sink of a tunnel that the peer, or the end of the connection, has ended it. */
  protected loseTunnel(tunnel: Tunnel, error: HboneError): void {
    this.drop(tunnel);
    tunnel.deliverReset(error);
    this.finishIfDone();
  }

  protected remoteEnd(tunnel: Tunnel): void {
    tunnel.remoteEnded = true;
    tunnel.deliverEnd();
    this.settle(tunnel);
  }

  // --- the connection's life ---

  protected setState(state: SessionState): void {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    if (state !== 'closed') this.events.onState?.(state);
  }

  protected goaway(lastStreamId: number, code: ErrorCode, debug = ''): void {
    const text = debug.replace(/[^ -~]/g, '?').slice(0, 128);
    this.outgoing.control(frames.goawayFrame(lastStreamId, code, text));
  }

  /** The peer broke a rule of the connection (RFC 9113 §5.4.1). */
  private fail(found: Fault): void {
    if (this.state !== 'closed') this.finish(found.code, found.why, new HboneError(found.code, 'peer', found.why));
  }

  framingError(found: Fault): void {
    this.fail(found);
  }

  protected finishIfDone(): void {
    if (this.tunnels.size === 0 && this.state !== 'closed' && this.mayFinish) this.finish(undefined, '', undefined);
  }

  /** GOAWAY (when there is a code to tell), everything out, and the transport ended; cut if that takes too long. */
  private finish(code: ErrorCode | undefined, debug: string, error: HboneError | undefined): void {
    if (code !== undefined) this.goaway(this.role === 'server' ? this.lastStreamId : 0, code, debug);
    this.lingerTimer = this.environment.setTimer(() => this.transport.destroy(), LINGER_MS);
    this.close(error);
    this.transport.end();
  }

  private close(error: HboneError | undefined): void {
    this.liveness.stop();
    this.setState('closed');
    this.outgoing.close();
    this.current = undefined;
    this.openBlock = undefined;
    const lost = error ?? new HboneError('STREAM_CLOSED', 'transport', 'the connection is over');
    for (const tunnel of [...this.tunnels.values()]) this.loseTunnel(tunnel, lost);
    this.events.onClosed(error);
  }

  /** Sends what the peer made us send. */
  private answer(frame: Buffer): void {
    if (!this.outgoing.answer(frame)) this.fail(fault('ENHANCE_YOUR_CALM', 'answers are asked for and not read'));
  }

  /** A header block has begun and not ended. */
  protected get isReadingHead(): boolean {
    return this.openBlock !== undefined;
  }

  /** Asks for a round trip; its answer calls `onDrainAnswered`. */
  protected askForRoundTrip(): void {
    this.outgoing.control(frames.pingFrame(DRAIN_OPAQUE, false));
  }

  // --- incoming frames ---

  frameBound(type: number, flags: number, streamId: number): number | Fault {
    const open = this.openBlock;
    if (open !== undefined && (type !== frames.CONTINUATION || streamId !== open.streamId))
      return fault('PROTOCOL_ERROR', `frame of type ${type} inside a header block`);
    if (!this.settingsSeen && (type !== frames.SETTINGS || (flags & frames.ACK) !== 0))
      return fault('PROTOCOL_ERROR', `first frame is of type ${type}, not SETTINGS`);
    switch (type) {
      case frames.DATA:
        return this.limits.maxFrameBytes;
      case frames.HEADERS:
        return Math.min(this.limits.maxHeaderListBytes + HEADERS_EXTRA_BYTES, this.limits.maxFrameBytes);
      case frames.CONTINUATION:
        if (open === undefined) return fault('PROTOCOL_ERROR', 'CONTINUATION without HEADERS');
        return Math.max(0, this.limits.maxHeaderListBytes - open.bytes);
      case frames.PUSH_PROMISE:
        return fault('PROTOCOL_ERROR', 'PUSH_PROMISE, but push is disabled');
      case frames.SETTINGS:
      case frames.GOAWAY:
        return frames.DEFAULT_FRAME_BYTES;
      case frames.PRIORITY:
      case frames.RST_STREAM:
      case frames.PING:
      case frames.WINDOW_UPDATE:
        return 16; // exact sizes are judged when the frame is whole
      default:
        return this.limits.maxFrameBytes;
    }
  }

  dataBegins(streamId: number, length: number, endStream: boolean): void {
    this.receiveWindow -= length;
    const tunnel = this.tunnels.get(streamId);
    this.currentEnds = endStream;
    if (
      tunnel === undefined ||
      tunnel.remoteEnded ||
      length > tunnel.receiveWindow ||
      this.receiveWindow < 0 ||
      (length === 0 && !endStream) ||
      !tunnel.mayReceive
    ) {
      this.current = undefined;
      const found = this.oddData(streamId, length, tunnel);
      if (found !== undefined) this.fail(found);
      else this.returnToConnection(length);
      return;
    }
    tunnel.receiveWindow -= length;
    tunnel.held += length;
    this.current = tunnel;
  }

  /** DATA that is not delivered: useless, or against a rule. */
  private oddData(streamId: number, length: number, tunnel: Tunnel | undefined): Fault | undefined {
    if (this.receiveWindow < 0) return fault('FLOW_CONTROL_ERROR', 'more data than the connection window');
    if (tunnel === undefined) {
      if (this.isIdle(streamId)) return fault('PROTOCOL_ERROR', `DATA on stream ${streamId}, which was never opened`);
      if (this.recentResets.has(streamId)) return undefined;
      return this.streamError(streamId, 'STREAM_CLOSED', 'DATA on a closed stream');
    }
    if (tunnel.remoteEnded) return this.streamError(streamId, 'STREAM_CLOSED', 'DATA after END_STREAM');
    if (!tunnel.mayReceive) return this.streamError(streamId, 'PROTOCOL_ERROR', 'DATA before the response');
    if (length > 0) return this.streamError(streamId, 'FLOW_CONTROL_ERROR', 'more data than the stream window');
    return this.countIdleFrame();
  }

  dataPiece(piece: Buffer): void {
    const tunnel = this.current;
    if (tunnel !== undefined && !tunnel.gone) tunnel.deliver(piece);
  }

  dataEnds(padding: number): void {
    const tunnel = this.current;
    if (tunnel === undefined || tunnel.gone) return;
    this.current = undefined;
    if (padding > 0) this.giveBack(tunnel, padding);
    if (this.currentEnds) this.remoteEnd(tunnel);
  }

  /** Streams that were never opened: those of the other side's numbering too, since nobody pushes. */
  protected isIdle(streamId: number): boolean {
    return streamId > this.lastStreamId || (streamId & 1) === 0;
  }

  unknownFrame(): void {
    const found = this.countIdleFrame();
    if (found !== undefined) this.fail(found);
  }

  /** Something of ours may provoke one such frame: a server that is done resets what is left of a request. */
  protected excuseIdleFrame(): void {
    this.idleFrames.earn(1);
  }

  protected countIdleFrame(): Fault | undefined {
    if (this.idleFrames.spend(this.now)) return undefined;
    return fault('ENHANCE_YOUR_CALM', 'too many frames without effect');
  }

  frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    const found = this.handle(type, flags, streamId, payload);
    if (found !== undefined) this.fail(found);
  }

  private handle(type: number, flags: number, streamId: number, payload: Buffer): Fault | undefined {
    switch (type) {
      case frames.HEADERS:
        return this.onHeadersFrame(flags, streamId, payload);
      case frames.CONTINUATION:
        return this.onContinuation(flags, payload);
      case frames.RST_STREAM:
        return this.onReset(streamId, payload);
      case frames.WINDOW_UPDATE:
        return this.onWindowUpdate(streamId, payload);
      case frames.PRIORITY:
        return this.onPriority(streamId, payload);
      case frames.SETTINGS:
        if (streamId !== 0) return fault('PROTOCOL_ERROR', 'SETTINGS on a stream');
        return (flags & frames.ACK) !== 0 ? this.onSettingsAck(payload) : this.onSettings(payload);
      case frames.PING:
        return this.onPing(flags, streamId, payload);
      default:
        return this.onGoawayFrame(streamId, payload);
    }
  }

  private onHeadersFrame(flags: number, streamId: number, payload: Buffer): Fault | undefined {
    if (streamId === 0) return fault('PROTOCOL_ERROR', 'HEADERS on stream 0');
    let start = 0;
    let end = payload.length;
    if ((flags & frames.PADDED) !== 0) {
      end -= payload[0] ?? 0;
      start = 1;
    }
    if ((flags & frames.PRIORITY_FLAG) !== 0) start += 5;
    if (start > end) return fault('PROTOCOL_ERROR', 'HEADERS shorter than its padding and priority');
    const block = payload.subarray(start, end);
    const endStream = (flags & frames.END_STREAM) !== 0;
    if ((flags & frames.END_HEADERS) !== 0) return this.decodeBlock(streamId, endStream, block);
    this.openBlock = { streamId, endStream, parts: [Buffer.from(block)], bytes: block.length };
    return undefined;
  }

  private onContinuation(flags: number, payload: Buffer): Fault | undefined {
    const open = this.openBlock as OpenBlock; // frameBound lets no other CONTINUATION pass
    open.parts.push(Buffer.from(payload)); // it is lent
    open.bytes += payload.length;
    if ((flags & frames.END_HEADERS) !== 0) {
      this.openBlock = undefined;
      return this.decodeBlock(open.streamId, open.endStream, Buffer.concat(open.parts, open.bytes));
    }
    return open.parts.length > MAX_CONTINUATIONS
      ? fault('ENHANCE_YOUR_CALM', 'too many CONTINUATION frames')
      : undefined;
  }

  private decodeBlock(streamId: number, endStream: boolean, block: Buffer): Fault | undefined {
    const decoded = this.decoder.decode(block, this.limits.maxHeaderListBytes);
    if (decoded.kind === 'broken') return fault('COMPRESSION_ERROR', decoded.why);
    return this.onHeaders(streamId, decoded, endStream);
  }

  /** HEADERS of a stream that is over. */
  protected headersOnClosed(streamId: number): Fault | undefined {
    if (this.recentResets.has(streamId)) return undefined;
    return fault('STREAM_CLOSED', `HEADERS on stream ${streamId}, which is closed`);
  }

  private onReset(streamId: number, payload: Buffer): Fault | undefined {
    if (payload.length !== 4) return fault('FRAME_SIZE_ERROR', 'RST_STREAM is not 4 bytes');
    if (this.isIdle(streamId)) return fault('PROTOCOL_ERROR', 'RST_STREAM on a stream that was never opened');
    const tunnel = this.tunnels.get(streamId);
    if (tunnel === undefined) return this.countIdleFrame();
    const code = errorCodeName(payload.readUInt32BE(0));
    const retriable = code === 'REFUSED_STREAM';
    this.loseTunnel(
      tunnel,
      new HboneError(code, 'peer', `tunnel reset by the peer: ${code}`, { retriable, wasReset: true }),
    );
    if (this.role === 'server' && !tunnel.answered) this.chargeEarlyEnd();
    return undefined;
  }

  private onSettingsAck(payload: Buffer): Fault | undefined {
    if (payload.length > 0) return fault('FRAME_SIZE_ERROR', 'SETTINGS acknowledgement with a payload');
    if (--this.settingsUnacknowledged >= 0) return undefined;
    return fault('PROTOCOL_ERROR', 'acknowledgement of SETTINGS never sent');
  }

  private onSettings(payload: Buffer): Fault | undefined {
    if (payload.length % 6 !== 0) return fault('FRAME_SIZE_ERROR', 'SETTINGS is not a multiple of 6 bytes');
    if (!this.questions.spend(this.now)) return fault('ENHANCE_YOUR_CALM', 'too many SETTINGS');
    const before = this.peer.initialWindowBytes;
    const found = readSettings(payload, this.peer, this.role === 'client');
    if (found !== undefined) return found;
    this.answer(frames.settingsAckFrame());
    if (!this.settingsSeen) {
      this.settingsSeen = true;
      if (this.state === 'opening') this.setState('open');
    }
    return this.growWindows(this.peer.initialWindowBytes - before);
  }

  /** RFC 9113 §6.9.2: a new initial window changes every stream's, and may make it negative. */
  private growWindows(bytes: number): Fault | undefined {
    for (const tunnel of this.tunnels.values()) {
      tunnel.sendWindow += bytes;
      if (tunnel.sendWindow > frames.MAX_WINDOW_BYTES)
        return fault('FLOW_CONTROL_ERROR', 'SETTINGS_INITIAL_WINDOW_SIZE makes a window overflow');
    }
    if (bytes > 0) this.outgoing.wake();
    return undefined;
  }

  private onPing(flags: number, streamId: number, payload: Buffer): Fault | undefined {
    if (streamId !== 0) return fault('PROTOCOL_ERROR', 'PING on a stream');
    if (payload.length !== 8) return fault('FRAME_SIZE_ERROR', 'PING is not 8 bytes');
    if ((flags & frames.ACK) === 0) {
      if (!this.questions.spend(this.now)) return fault('ENHANCE_YOUR_CALM', 'too many PINGs');
      this.answer(frames.pingFrame(payload, true));
      return undefined;
    }
    if (payload.equals(DRAIN_OPAQUE)) this.onDrainAnswered();
    else if (!this.liveness.answered(payload)) return this.countIdleFrame();
    return undefined;
  }

  private onWindowUpdate(streamId: number, payload: Buffer): Fault | undefined {
    if (payload.length !== 4) return fault('FRAME_SIZE_ERROR', 'WINDOW_UPDATE is not 4 bytes');
    this.windowUpdates.earn((this.outgoing.dataFrames - this.dataFramesExcused) * UPDATES_PER_DATA_FRAME);
    this.dataFramesExcused = this.outgoing.dataFrames;
    if (!this.windowUpdates.spend(this.now)) return fault('ENHANCE_YOUR_CALM', 'too many WINDOW_UPDATEs');
    const increment = payload.readUInt32BE(0) & frames.MAX_WINDOW_BYTES;
    if (streamId === 0) {
      if (increment === 0) return fault('PROTOCOL_ERROR', 'WINDOW_UPDATE of 0');
      if (!this.outgoing.grow(increment)) return fault('FLOW_CONTROL_ERROR', 'connection window overflow');
      return undefined;
    }
    const tunnel = this.tunnels.get(streamId);
    if (tunnel === undefined)
      return this.isIdle(streamId)
        ? fault('PROTOCOL_ERROR', 'WINDOW_UPDATE on a stream that was never opened')
        : undefined;
    if (increment === 0) return this.streamError(streamId, 'PROTOCOL_ERROR', 'WINDOW_UPDATE of 0');
    tunnel.sendWindow += increment;
    if (tunnel.sendWindow > frames.MAX_WINDOW_BYTES)
      return this.streamError(streamId, 'FLOW_CONTROL_ERROR', 'stream window overflow');
    this.outgoing.unblock(tunnel);
    return undefined;
  }

  private onPriority(streamId: number, payload: Buffer): Fault | undefined {
    if (streamId === 0) return fault('PROTOCOL_ERROR', 'PRIORITY on stream 0');
    if (payload.length !== 5) return this.streamError(streamId, 'FRAME_SIZE_ERROR', 'PRIORITY is not 5 bytes');
    return this.countIdleFrame();
  }

  private onGoawayFrame(streamId: number, payload: Buffer): Fault | undefined {
    if (streamId !== 0) return fault('PROTOCOL_ERROR', 'GOAWAY on a stream');
    if (payload.length < 8) return fault('FRAME_SIZE_ERROR', 'GOAWAY is less than 8 bytes');
    const lastId = payload.readUInt32BE(0) & frames.MAX_STREAM_ID;
    if (lastId > this.goawayLastId) return fault('PROTOCOL_ERROR', 'GOAWAY raises its last stream id');
    this.goawayLastId = lastId;
    this.peerIsLeaving = true;
    this.onGoaway(lastId, errorCodeName(payload.readUInt32BE(4)));
    return undefined;
  }
}
