// Who a peer is: exactly one URI SAN in its leaf, which is a SPIFFE id. The chain was verified by the TLS library before;
// this reads the identity and nothing else: DNS names and the subject are ignored. Results are remembered per certificate,
// as a peer opens many connections with one.

import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { parseSpiffeId } from '../../model/identity.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { DerError, subjectUris } from './der.ts';
import { MeshTlsError, type PeerIdentity } from './types.ts';

const REMEMBERED = 1024;

interface Known {
  readonly result: Result<PeerIdentity, MeshTlsError>;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** By SHA-256 fingerprint; oldest forgotten first. */
const known = new Map<string, Known>();

const refused = (why: string): Result<never, MeshTlsError> => fail(new MeshTlsError('IDENTITY', why));

/** Reads one certificate. @param der the leaf's bytes */
export function identityOfCertificate(der: Uint8Array): Result<PeerIdentity, MeshTlsError> {
  let uris: string[];
  try {
    uris = subjectUris(der);
  } catch (error) {
    if (error instanceof DerError) return refused(`the peer's certificate cannot be read: ${error.message}`);
    throw error;
  }
  const [uri] = uris;
  if (uri === undefined) return refused("the peer's certificate names no SPIFFE id");
  if (uris.length > 1) return refused(`the peer's certificate names ${uris.length} URIs, exactly one is allowed`);
  const identity = parseSpiffeId(uri);
  return identity.ok
    ? ok({ identity: identity.value, uri })
    : refused(`the peer's identity is not usable: ${identity.error}`);
}

function lookUp(certificate: X509Certificate): Known {
  const key = certificate.fingerprint256;
  const found = known.get(key);
  if (found !== undefined) return found;
  const fresh: Known = {
    result: identityOfCertificate(certificate.raw),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
  known.set(key, fresh);
  if (known.size > REMEMBERED)
    for (const oldest of known.keys()) {
      known.delete(oldest);
      break;
    }
  return fresh;
}

/**
 * Identity of a socket's peer after the handshake. The validity is looked at again, since a resumed session was verified
 * when it began.
 */
export function peerOfSocket(socket: TLSSocket, nowMs: number): Result<PeerIdentity, MeshTlsError> {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return refused('the peer showed no certificate');
  const { result, notBeforeMs, notAfterMs } = lookUp(certificate);
  if (nowMs < notBeforeMs || nowMs > notAfterMs) return refused("the peer's certificate is not valid now");
  return result;
}
