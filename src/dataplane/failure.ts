// Why a connection failed, as the metrics' flag and the access log's text. The texts of everyday failures are Istio's
// (ztunnel), because people and tools search logs for them.

import { MeshTlsError } from '../platform/tls/index.ts';
import type { ResponseFlag } from '../telemetry/connection.ts';
import { HboneError } from '../wire/hbone/index.ts';
import { CertificateError } from './identity/workload-certificate.ts';

export interface Failure {
  readonly flag: ResponseFlag;
  /** The `error` field of the access log. */
  readonly error: string;
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied (os error 13)',
  EADDRINUSE: 'Address already in use (os error 98)',
  EADDRNOTAVAIL: 'Cannot assign requested address (os error 99)',
  EAFNOSUPPORT: 'Address family not supported by protocol (os error 97)',
  ECONNABORTED: 'Software caused connection abort (os error 103)',
  ECONNREFUSED: 'Connection refused (os error 111)',
  ECONNRESET: 'Connection reset by peer (os error 104)',
  EHOSTUNREACH: 'No route to host (os error 113)',
  EINVAL: 'Invalid argument (os error 22)',
  EMFILE: 'Too many open files (os error 24)',
  ENETUNREACH: 'Network is unreachable (os error 101)',
  ENOTCONN: 'Transport endpoint is not connected (os error 107)',
  EPERM: 'Operation not permitted (os error 1)',
  EPIPE: 'Broken pipe (os error 32)',
  ETIMEDOUT: 'Connection timed out (os error 110)',
};

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** The peer went away in the middle: everyday life of TCP, not reported as a failure. */
export function isDisconnect(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'ENOTCONN' || code === 'ECONNABORTED';
}

export function ioFailure(error: unknown): Failure {
  const code = codeOf(error);
  const text = code === undefined ? undefined : SYSTEM_ERRORS[code];
  return { flag: 'CONNECT', error: `io error: ${text ?? (error instanceof Error ? error.message : String(error))}` };
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** The peer answered CONNECT with something else than 200. */
export const statusFailure = (status: number): Failure => ({
  flag: 'CONNECT',
  error: `http status: ${status}${STATUS_TEXT[status] === undefined ? '' : ` ${STATUS_TEXT[status]}`}`,
});

/** @param reason `explicitly denied by: ns/name`, or `allow policies exist, but none allowed` */
export const policyRejection = (reason: string): Failure => ({
  flag: 'DENY',
  error: `connection closed due to policy rejection: ${reason}`,
});

export const POLICY_CHANGE: Failure = { flag: 'DENY', error: 'connection closed due to policy change' };

/** The deadline of a drain passed, or the pod left the mesh, with the connection still open. */
export const CLOSED_BY_DRAIN: Failure = { flag: 'CONNECT', error: 'connection closed due to connection drain' };

/** Nobody answered on the tunnel port in time: likely a NetworkPolicy that does not admit it. */
export const TUNNEL_PORT_BLOCKED: Failure = {
  flag: 'NETWORK_POLICY',
  error: 'connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed',
};

/** CONNECT was sent and nothing came back. */
export const TUNNEL_ANSWER_TIMEOUT: Failure = {
  flag: 'CONNECT',
  error: 'tunnel not answered: deadline has elapsed',
};

export const CONNECT_TIMEOUT: Failure = { flag: 'CONNECT', error: 'io error: deadline has elapsed' };

/** A failure on its way through a promise. */
export class ConnectFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Failure, options?: ErrorOptions) {
    super(failure.error, options);
    this.failure = failure;
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ConnectFailure) return error.failure;
  if (error instanceof CertificateError) return { flag: 'IDENTITY_ERROR', error: error.message };
  if (error instanceof MeshTlsError) return { flag: error.flag, error: error.message };
  if (error instanceof HboneError) return { flag: 'H2_HANDSHAKE_FAILURE', error: `http2 failed: ${error.message}` };
  return ioFailure(error);
}
