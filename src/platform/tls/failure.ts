// Handshake errors in words. OpenSSL's own texts name source files and thread ids; only its reason codes are kept.

import type { TLSSocket } from 'node:tls';
import { MeshTlsError } from './types.ts';

/** Reason codes of Node's TLS errors and what they mean here; both roles. */
const MEANINGS: Readonly<Record<string, string>> = {
  ERR_SSL_HTTP_REQUEST: 'plain HTTP was sent to a TLS port',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what was sent is not TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'what was sent is not TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the TLS version offered is too old',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the peer does not accept our TLS version',
  ERR_SSL_NO_SHARED_CIPHER: 'no cipher suite in common',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'no client certificate was shown',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the peer wants a client certificate',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'h2 was not offered',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'the peer does not speak h2',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the peer does not trust our certificate',
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE': 'the peer refused our certificate',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN': 'the peer refused our certificate: it expects another identity',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED': 'the peer finds our certificate expired',
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE': 'the peer found nothing in common with us',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the handshake took too long',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate chain ends in a root that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate was not issued by a trusted root',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate was not issued by a trusted root',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate was not issued by a trusted root',
  CERT_SIGNATURE_FAILURE: 'a signature in the certificate chain is wrong',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  INVALID_PURPOSE: 'the certificate is not for this use (extended key usage)',
  ECONNRESET: 'the connection was reset during the handshake',
  EPIPE: 'the connection was closed during the handshake',
};

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/**
 * @param socket   its `authorizationError` is the reason when the certificate itself was refused
 * @param refused  whose certificate that would be
 */
export function describeHandshakeError(error: Error, socket: TLSSocket, refused: 'client' | 'server'): MeshTlsError {
  const code = codeOf(error);
  const verification = verificationCode(socket);
  if (verification !== undefined) {
    const why = MEANINGS[verification] ?? verification;
    return new MeshTlsError('HANDSHAKE', `tls handshake failed: ${refused} certificate refused: ${why}`, {
      cause: error,
    });
  }
  const kind =
    code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'TIMEOUT' : code?.endsWith('NO_APPLICATION_PROTOCOL') ? 'ALPN' : 'HANDSHAKE';
  const why = (code !== undefined && MEANINGS[code]) || code || 'connection lost';
  return new MeshTlsError(kind, `tls handshake failed: ${why}`, { cause: error });
}

function verificationCode(socket: TLSSocket): string | undefined {
  const error: unknown = socket.authorizationError;
  if (typeof error === 'string' && error !== '') return error;
  return codeOf(error);
}
