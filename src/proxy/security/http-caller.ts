// How the engine's own parts ask other services (authorizers, rate limits, collectors): one small request, one small
// answer, a deadline. The core implements it over its upstream pools, so that these calls cross the mesh as any request
// does. Interfaces, and gRPC's unary call on top.

import { encodeMessage, MessageReader } from '../../wire/grpc/framing.ts';
import { type GrpcStatus, type Metadata, statusOfHeaders, statusOfTrailers } from '../../wire/grpc/status.ts';
import type { Fields } from '../../wire/http1/index.ts';

export interface HttpCall {
  /** Host name of a service, or an address; it is also the authority unless `headers` hold `host`. */
  readonly host: string;
  readonly port: number;
  /** `http2` carries trailers; the others need not. */
  readonly protocol: 'http1' | 'http2';
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Names in lower case, values as fields may hold them. No content-length: the implementation writes it. */
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly body: Uint8Array;
  /** Of the whole call, the connection included. */
  readonly timeoutMs: number;
  /** A larger answer is a failure. */
  readonly maxAnswerBytes: number;
}

export interface HttpCallAnswer {
  readonly status: number;
  readonly fields: Fields;
  readonly trailers: Fields | undefined;
  readonly body: Uint8Array;
}

export interface HttpCaller {
  /** @throws Error when there is no whole answer in time; the message says why, for the log */
  call(request: HttpCall): Promise<HttpCallAnswer>;
}

export interface GrpcCall {
  readonly host: string;
  readonly port: number;
  /** `/envoy.service.auth.v3.Authorization/Check` */
  readonly method: string;
  readonly headers: HttpCall['headers'];
  readonly message: Uint8Array;
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
}

/** @throws Error also for every status but OK, and for an answer that is not exactly one message */
export async function callGrpc(caller: HttpCaller, call: GrpcCall): Promise<Uint8Array> {
  const answer = await caller.call({
    host: call.host,
    port: call.port,
    protocol: 'http2',
    method: 'POST',
    path: call.method,
    headers: [
      { name: 'content-type', value: 'application/grpc' },
      { name: 'te', value: 'trailers' },
      { name: 'grpc-timeout', value: grpcTimeout(call.timeoutMs) },
      ...call.headers,
    ],
    body: encodeMessage(call.message),
    timeoutMs: call.timeoutMs,
    maxAnswerBytes: call.maxAnswerBytes,
  });
  const failure = failureOf(answer);
  if (failure !== undefined) throw new Error(`gRPC status ${failure.name}: ${failure.message}`);
  const reader = new MessageReader(call.maxAnswerBytes);
  const messages = reader.push(answer.body);
  if (!messages.ok) throw new Error(`gRPC answer: ${messages.error}`);
  const [message] = messages.value;
  if (message === undefined || messages.value.length > 1 || reader.pendingBytes > 0)
    throw new Error('gRPC answer is not one whole message');
  return message;
}

function failureOf(answer: HttpCallAnswer): GrpcStatus | undefined {
  const inHeaders = statusOfHeaders(metadata(answer.fields, answer.status));
  if (inHeaders !== undefined) return inHeaders.name === 'OK' ? undefined : inHeaders;
  if (answer.trailers === undefined) return { name: 'Unavailable', message: 'the answer ended without a status' };
  const status = statusOfTrailers(metadata(answer.trailers, undefined));
  if (status === undefined) return { name: 'Unavailable', message: 'the trailers hold no status' };
  return status.name === 'OK' ? undefined : status;
}

function metadata(fields: Fields, status: number | undefined): Metadata {
  const read: Record<string, string | number | undefined> = {};
  for (const name of ['grpc-status', 'grpc-message', 'content-type']) read[name] = fields.get(name);
  if (status !== undefined) read[':status'] = status;
  return read;
}

/** At most 8 digits and a unit (gRPC over HTTP/2). */
function grpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  return whole < 100_000_000 ? `${whole}m` : `${Math.min(99_999_999, Math.ceil(whole / 1000))}S`;
}
