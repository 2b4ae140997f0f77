// How a call ends when it does not end well, and the header form of a status.

import type { ServerHttp2Stream } from 'node:http2';
import { STATUS_NAMES, type StatusName } from '../../wire/grpc/status.ts';

/** Thrown by handlers: becomes the call's status. Anything else that is thrown becomes Internal without details. */
export class GrpcFailure extends Error {
  readonly status: StatusName;
  constructor(status: StatusName, message: string) {
    super(message);
    this.status = status;
  }
}

const MAX_MESSAGE_CHARS = 1000;

/** gRPC over HTTP/2, "Status-Message": UTF-8, percent-encoded outside of visible ASCII and for the percent sign. */
export function encodeStatusMessage(message: string): string {
  let encoded = '';
  for (const byte of Buffer.from(message.slice(0, MAX_MESSAGE_CHARS), 'utf8'))
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return encoded;
}

export const statusHeaders = (status: StatusName, message: string): Record<string, string> => ({
  'grpc-status': String(STATUS_NAMES.indexOf(status)),
  ...(message === '' ? {} : { 'grpc-message': encodeStatusMessage(message) }),
});

/** Answers a call with nothing but a status. */
export function refuse(stream: ServerHttp2Stream, failure: GrpcFailure): void {
  if (stream.closed || stream.destroyed) return;
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', ...statusHeaders(failure.status, failure.message) },
    { endStream: true },
  );
  stream.resume(); // what the client still sends is read and dropped: unread, it would keep the stream alive
  stream.close();
}
