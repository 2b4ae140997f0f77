// Answers that the proxy makes itself, in Envoy's words, and as gRPC clients understand them.

import { Fields } from '../../wire/http1/index.ts';
import type { LocalReply, ResponseFlag } from '../contracts.ts';
import type { ResponseStart, UpstreamFailure } from '../streams/http-stream.ts';

const NO_HEADERS: LocalReply['headers'] = [];

export const reply = (
  status: number,
  body: string,
  details: string,
  flag?: ResponseFlag,
  headers: LocalReply['headers'] = NO_HEADERS,
): LocalReply => ({ status, headers, body, details, flag, grpcStatus: undefined });

export const ROUTE_NOT_FOUND = reply(404, '', 'route_not_found', 'NR');
export const NO_CLUSTER = reply(503, '', 'cluster_not_found', 'NC');
export const NO_HEALTHY_UPSTREAM = reply(503, 'no healthy upstream', 'no_healthy_upstream', 'UH');
export const REQUEST_TIMEOUT = reply(504, 'upstream request timeout', 'response_timeout', 'UT');
/** The client's own time is over: the status that it would give itself. */
export const DEADLINE_EXCEEDED: LocalReply = { ...REQUEST_TIMEOUT, grpcStatus: 4 };
export const PER_TRY_TIMEOUT = reply(504, 'upstream request timeout', 'upstream_per_try_timeout', 'UT');
export const UPGRADE_REFUSED = reply(403, '', 'upgrade_failed');
export const PAYLOAD_TOO_LARGE = reply(413, 'Payload Too Large', 'request_payload_too_large');
export const BAD_PATH = reply(400, '', 'path_normalization_failed');
export const INTERNAL_ERROR = reply(500, 'Internal Server Error', 'internal_error');
export const OVERFLOW: LocalReply = {
  ...resetReply(503, 'overflow', 'UO', false, ''),
  headers: [{ name: 'x-envoy-overloaded', value: 'true' }],
};

function resetReply(status: number, reason: string, flag: ResponseFlag, retried: boolean, text: string): LocalReply {
  const why = text === '' ? '' : `, transport failure reason: ${text}`;
  const words = retried ? 'retried and the latest reset reason' : 'reset reason';
  const body = `upstream connect error or disconnect/reset before headers. ${words}: ${reason}${why}`;
  const code = reason.replaceAll(' ', '_');
  const details = `upstream_reset_before_response_started{${code}${text === '' ? '' : `|${detail(text)}`}}`;
  return reply(status, body, details, flag);
}

/** Details are one word in a log. */
const detail = (text: string): string => text.replace(/[\s{}]+/g, '_').slice(0, 200);

/** What a client gets when its request failed before an answer came. */
export function failureReply(failure: UpstreamFailure, retried: boolean): LocalReply {
  switch (failure.kind) {
    case 'connect':
      return resetReply(503, 'remote connection failure', 'UF', retried, failure.text);
    case 'timeout':
      return resetReply(503, 'connection timeout', 'UF', retried, failure.text);
    case 'protocol':
      return resetReply(502, 'protocol error', 'UPE', retried, '');
    case 'ended':
      return resetReply(503, 'connection termination', 'UC', retried, '');
    case 'refused':
    case 'reset':
      return resetReply(
        503,
        failure.kind === 'refused' ? 'remote refused stream reset' : 'remote reset',
        'UR',
        retried,
        '',
      );
  }
}

/** Envoy: HTTP statuses as gRPC says them. */
function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return status >= 200 && status < 300 ? 0 : 2;
  }
}

/** Where a gRPC status is what was configured and the client speaks plain HTTP. */
export const httpStatusOf = (grpcStatus: number): number => {
  switch (grpcStatus) {
    case 0:
      return 200;
    case 1:
      return 499;
    case 3:
    case 9:
    case 11:
      return 400;
    case 4:
      return 504;
    case 5:
      return 404;
    case 6:
    case 10:
      return 409;
    case 7:
      return 403;
    case 8:
      return 429;
    case 12:
      return 501;
    case 14:
      return 503;
    case 16:
      return 401;
    default:
      return 500;
  }
};

/** gRPC over HTTP/2: `grpc-message` is percent-encoded UTF-8. */
function grpcMessage(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text.slice(0, 1_000)))
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return encoded.trim();
}

export interface LocalResponse {
  readonly head: ResponseStart;
  readonly body: Buffer;
}

/** @param grpc  a trailers-only response: status 200, what happened in `grpc-status` */
export function localResponse({ status, headers, body, grpcStatus }: LocalReply, grpc: boolean): LocalResponse {
  const fields = new Fields();
  for (const { name, value } of headers) fields.append(name, value);
  if (grpc) {
    fields.set('content-type', 'application/grpc');
    fields.set('grpc-status', String(grpcStatus ?? grpcStatusOf(status)));
    if (body !== '') fields.set('grpc-message', grpcMessage(body));
    return { head: { status: 200, fields, content: 'none', upgrade: undefined }, body: Buffer.alloc(0) };
  }
  const bytes = Buffer.from(body);
  if (body !== '' && !fields.has('content-type')) fields.append('content-type', 'text/plain');
  return { head: { status, fields, content: bytes.length, upgrade: undefined }, body: bytes };
}
