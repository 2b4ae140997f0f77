// Keeps one delta ADS stream to the control plane open: connect, subscribe, answer each response, and after an end wait as
// Istio's proxy does and begin again. State is kept and used meanwhile.

import { type Clock, sleep } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import type { Registry } from '../../telemetry/registry.ts';
import { type DeltaResponse, readDeltaResponse, writeDeltaRequest } from '../../wire/xds/discovery-bytes.ts';
import { type ControlPlaneAccess, callMetadata, openConnection, readRoots } from '../grpc/access.ts';
import { GrpcError, type GrpcStream } from '../grpc/connection.ts';
import type { Answer, DeltaProtocol } from './protocol.ts';

const PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
/** A control plane of a large mesh sends everything in one message (Istio's proxy: the same bound). */
const MAX_MESSAGE_BYTES = 200 * 1024 * 1024;

const FIRST_BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 15_000;

/** Value of the `reason` label of `istio_xds_connection_terminations_total`. */
export type Termination = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete';

/** How a stream ended, seen from the back-off. */
export interface StreamEnd {
  readonly error: GrpcError | undefined;
  /** Responses that came before. */
  readonly responses: number;
}

export interface Backoff {
  readonly reason: Termination;
  readonly waitMs: number;
  /** What the next failure doubles. */
  readonly baseMs: number;
}

const EVERYDAY = /transport is closing|goaway|closing transport|connection (is )?(closed|closing|reset)/i;

/**
 * How long to wait before the next stream. A call that never started, and a refusal in mid-stream, double the wait; a
 * server that went away in mid-stream is asked again soon; after a clean end, at once.
 */
export function backoffAfter(end: StreamEnd, baseMs: number): Backoff {
  const doubled = Math.min(MAX_BACKOFF_MS, 2 * baseMs);
  const { error } = end;
  // A server that ends every stream at once without a word is not asked in a busy loop.
  if (error === undefined)
    return end.responses > 0
      ? { reason: 'Complete', waitMs: 0, baseMs: FIRST_BACKOFF_MS }
      : { reason: 'Complete', waitMs: doubled, baseMs: doubled };
  if (error.stage === 'start') return { reason: 'ConnectionError', waitMs: doubled, baseMs: doubled };
  const everyday =
    error.transport ||
    error.status === 'Unknown' ||
    error.status === 'Cancelled' ||
    error.status === 'DeadlineExceeded' ||
    (error.status === 'Unavailable' && EVERYDAY.test(error.message));
  if (everyday) return { reason: 'Reconnect', waitMs: FIRST_BACKOFF_MS, baseMs: FIRST_BACKOFF_MS };
  return { reason: 'Error', waitMs: doubled, baseMs: doubled };
}

export interface XdsClientParts {
  readonly access: ControlPlaneAccess;
  readonly protocol: DeltaProtocol;
  readonly clock: Clock;
  readonly registry: Registry;
  /** Once, when every type has been acknowledged for the first time. */
  readonly onReady: () => void;
}

const log = logger('xds');

export class XdsClient {
  readonly #parts: XdsClientParts;
  readonly #messages;
  readonly #messageBytes;
  readonly #terminations;
  #stream: GrpcStream | undefined;
  #ready = false;

  constructor(parts: XdsClientParts) {
    this.#parts = parts;
    const { registry } = parts;
    this.#terminations = registry.counters('istio_xds_connection_terminations', 'Ended discovery streams', ['reason']);
    this.#messages = registry.counters('istio_xds_message', 'Discovery responses received', ['url']);
    this.#messageBytes = registry.counters('istio_xds_message_bytes', 'Bytes of discovery responses', ['url']);
  }

  /** Runs until the signal is aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    let baseMs = FIRST_BACKOFF_MS;
    while (!signal.aborted) {
      const end = await this.#once(signal);
      if (signal.aborted) return;
      const backoff = backoffAfter(end, baseMs);
      baseMs = backoff.baseMs;
      this.#terminations.labels(backoff.reason).inc();
      const fields = { reason: backoff.reason, error: end.error, status: end.error?.status, retry_ms: backoff.waitMs };
      if (backoff.reason === 'ConnectionError' || backoff.reason === 'Error') log.warn('stream failed', fields);
      else log.info('stream ended', fields);
      await sleep(clock, backoff.waitMs, signal).catch(() => {});
    }
  }

  /** Asks for a name (on-demand mode); undefined when nothing has to be waited for. */
  demand(typeUrl: string, name: string): Promise<void> | undefined {
    const demanded = this.#parts.protocol.demand(typeUrl, name);
    // Without a stream the name goes out with the next one's initial request.
    if (demanded?.request !== undefined) this.#stream?.send(writeDeltaRequest(demanded.request));
    return demanded?.answered;
  }

  /** One stream, from connecting to its end. */
  async #once(signal: AbortSignal): Promise<StreamEnd> {
    const { access, clock } = this.#parts;
    let responses = 0;
    try {
      const roots = await readRoots(access.roots);
      const connection = await openConnection(access, roots, clock, signal);
      try {
        const metadata = await callMetadata(access);
        const { promise: ended, resolve: end } = Promise.withResolvers<GrpcError | undefined>();
        const stream = connection.stream(PATH, metadata, MAX_MESSAGE_BYTES, {
          onStart: () => log.info('stream established', { address: `${access.host}:${access.port}` }),
          onMessage: (message) => {
            responses++;
            this.#receive(message, stream);
          },
          onEnd: end,
        });
        const cancel = (): void => stream.cancel();
        signal.addEventListener('abort', cancel, { once: true });
        if (signal.aborted) cancel();
        this.#stream = stream;
        for (const request of this.#parts.protocol.initialRequests()) stream.send(writeDeltaRequest(request));
        const error = await ended;
        signal.removeEventListener('abort', cancel);
        return { error, responses };
      } finally {
        this.#stream = undefined;
        connection.close();
      }
    } catch (cause) {
      const error =
        cause instanceof GrpcError
          ? cause
          : new GrpcError('Internal', cause instanceof Error ? cause.message : String(cause), {
              stage: 'start',
              transport: false,
              cause,
            });
      return { error, responses };
    }
  }

  #receive(message: Uint8Array, stream: GrpcStream): void {
    let response: DeltaResponse;
    let answer: Answer;
    try {
      response = readDeltaResponse(message);
      answer = this.#parts.protocol.receive(response);
    } catch (error) {
      // Without its nonce there is nothing to answer: the stream is of no use.
      log.error('response not taken in', { bytes: message.length, error: error as Error });
      stream.cancel('Internal', 'the server sent bytes that are no discovery response');
      return;
    }
    const { typeUrl } = response;
    const url = answer.known ? typeUrl : 'unknown';
    this.#messages.labels(url).inc();
    this.#messageBytes.labels(url).inc(message.length);
    stream.send(writeDeltaRequest(answer.reply));
    if (!answer.known) log.warn('response of a type that was not asked for', { type: typeUrl.slice(0, 200) });
    else
      log.debug('response', {
        type: typeUrl,
        accepted: answer.accepted,
        removed: answer.removed,
        bytes: message.length,
      });
    for (const { name, reason } of answer.rejected.slice(0, 20))
      log.warn('resource rejected', { type: typeUrl, name, reason });
    if (answer.rejected.length > 20)
      log.warn('more resources rejected', { type: typeUrl, count: answer.rejected.length - 20 });
    if (!this.#ready && this.#parts.protocol.ready) {
      this.#ready = true;
      this.#parts.onReady();
    }
  }
}
