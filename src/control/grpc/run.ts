// Running one RPC on an HTTP/2 stream: messages in, messages out, a status at the end, whatever goes wrong in between.

import type { ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { encodeMessage, MessageReader } from '../../wire/grpc/framing.ts';
import type { StatusName } from '../../wire/grpc/status.ts';
import { grpcTimeoutMs } from '../../wire/grpc/timeout.ts';
import type { Call, Method, Receiver, Sender } from './call.ts';
import { GrpcFailure, refuse, statusHeaders } from './failure.ts';

const log = logger('grpc');

/** As istiod: ISTIO_GPRC_MAXRECVMSGSIZE. */
export const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
const MAX_UNARY_MS = 60_000;
const PREFIX_BYTES = 5;

function toFailure(error: unknown, call: Call): GrpcFailure {
  if (error instanceof GrpcFailure) return error;
  log.error('call failed', { path: call.path, peer: call.peer, error: error as Error });
  return new GrpcFailure('Internal', 'internal error: see the log of the control plane');
}

const badFraming = (reason: string): GrpcFailure =>
  reason.includes('at most')
    ? new GrpcFailure('ResourceExhausted', reason)
    : new GrpcFailure(reason.includes('compressed') ? 'Unimplemented' : 'Internal', reason);

/** Trailers-only on failure; headers, one message and trailers on success. */
export function runUnary(
  stream: ServerHttp2Stream,
  call: Call,
  method: Extract<Method, { kind: 'unary' }>,
  clock: Clock,
): void {
  const reader = new MessageReader(MAX_REQUEST_BYTES);
  let request: Uint8Array | undefined;
  let over = false;
  const finish = (failure: GrpcFailure): void => {
    if (over) return;
    over = true;
    timer.cancel();
    refuse(stream, failure);
  };
  const limit = Math.min(
    grpcTimeoutMs(call.headers['grpc-timeout'] as string | undefined) ?? MAX_UNARY_MS,
    MAX_UNARY_MS,
  );
  const timer = clock.after(limit, () => finish(new GrpcFailure('DeadlineExceeded', `not done in ${limit} ms`)));
  stream.once('close', () => {
    over = true;
    timer.cancel();
  });
  stream.on('data', (chunk: Buffer) => {
    const messages = reader.push(chunk);
    if (!messages.ok) finish(badFraming(messages.error));
    else if (messages.value.length + (request === undefined ? 0 : 1) > 1)
      finish(new GrpcFailure('InvalidArgument', 'more than one request on a unary call'));
    else request ??= messages.value[0];
  });
  stream.once('end', () => {
    if (over) return;
    if (request === undefined || reader.pendingBytes > 0) {
      finish(new GrpcFailure('InvalidArgument', 'the call ended before its request was complete'));
      return;
    }
    method.answer(call, request).then(
      (response) => {
        if (over) return;
        over = true;
        timer.cancel();
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.once('wantTrailers', () => stream.sendTrailers(statusHeaders('OK', '')));
        stream.end(encodeMessage(response));
      },
      (error: unknown) => finish(toFailure(error, call)),
    );
  });
}

class StreamSender implements Sender {
  readonly #stream: ServerHttp2Stream;
  #status: { name: StatusName; message: string } = { name: 'OK', message: '' };
  #ended = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  begin(): void {
    this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    this.#stream.once('wantTrailers', () => {
      this.#stream.sendTrailers(statusHeaders(this.#status.name, this.#status.message));
      setImmediate(() => this.#stream.close()); // the client's half may still be open; not before the trailers have left
    });
  }

  send(pieces: readonly Uint8Array[]): Promise<void> {
    const stream = this.#stream;
    if (this.#ended || stream.closed || stream.destroyed) return Promise.resolve();
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(length, 1);
    return new Promise((resolve) => {
      const done = (): void => {
        stream.off('close', done);
        resolve();
      };
      stream.once('close', done);
      stream.cork();
      stream.write(prefix);
      for (const piece of pieces.slice(0, -1)) stream.write(piece);
      stream.write(pieces.at(-1) ?? Buffer.alloc(0), done);
      stream.uncork();
    });
  }

  end(name: StatusName, message: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#status = { name, message };
    const stream = this.#stream;
    if (stream.closed || stream.destroyed) return;
    stream.end();
  }
}

/** Opening is asynchronous: the client's messages wait in the stream's window until the service takes them. */
export function runStream(stream: ServerHttp2Stream, call: Call, method: Extract<Method, { kind: 'stream' }>): void {
  const sender = new StreamSender(stream);
  stream.pause();
  method.open(call, sender).then(
    (receiver) => {
      if (stream.closed || stream.destroyed) {
        receiver.closed();
        return;
      }
      sender.begin();
      receive(stream, call, sender, receiver);
      stream.resume();
    },
    (error: unknown) => refuse(stream, toFailure(error, call)),
  );
}

function receive(stream: ServerHttp2Stream, call: Call, sender: Sender, receiver: Receiver): void {
  const reader = new MessageReader(MAX_REQUEST_BYTES);
  let over = false;
  const close = (status: StatusName, message: string): void => {
    if (over) return;
    over = true;
    receiver.closed();
    sender.end(status, message);
  };
  stream.on('data', (chunk: Buffer) => {
    if (over) return;
    const messages = reader.push(chunk);
    try {
      if (!messages.ok) throw badFraming(messages.error);
      for (const message of messages.value) receiver.message(message);
    } catch (error) {
      const failure = toFailure(error, call);
      close(failure.status, failure.message);
    }
  });
  stream.once('end', () => close('OK', ''));
  stream.once('close', () => close('Cancelled', ''));
}
