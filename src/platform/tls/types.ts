// Mesh TLS: what goes in (a workload's certificate), what comes out (a socket and the peer's identity, or a failure with
// its class).

import type { TLSSocket } from 'node:tls';
import type { SpiffeId } from '../../model/identity.ts';

/** A workload's certificate as the certificate service gave it. The key stays in memory. */
export interface WorkloadCredential {
  readonly identity: SpiffeId;
  /** PEM, leaf first, then intermediates. */
  readonly certificateChainPem: string;
  /** PEM, PKCS#8. */
  readonly privateKeyPem: string;
  /** PEM, one or more: the only trust anchors for peers. */
  readonly rootsPem: string;
}

/** Who is at the other end, read from the leaf's only URI SAN. */
export interface PeerIdentity {
  readonly identity: SpiffeId;
  /** The same as text, exactly as in the certificate. */
  readonly uri: string;
}

/** A finished handshake whose peer was checked. The socket is paused until somebody listens for `data`. */
export interface SecuredSocket {
  readonly socket: TLSSocket;
  readonly peer: PeerIdentity;
}

/**
 * CONFIGURATION  our own certificate, key or roots do not work (flag TLS_FAILURE)
 * HANDSHAKE      the handshake failed: versions, certificate refused by either side, plain HTTP, reset (flag CONNECT)
 * TIMEOUT        no finished handshake in time (flag CONNECT)
 * ALPN           the peer does not speak h2 (flag CONNECT)
 * IDENTITY       the chain is good, but the peer is not who it may be (flag CONNECT)
 */
export type MeshTlsCode = 'CONFIGURATION' | 'HANDSHAKE' | 'TIMEOUT' | 'ALPN' | 'IDENTITY';

/** Value of the `response_flags` label for a connection that failed so (Istio: only configuration is TLS_FAILURE). */
export type TlsResponseFlag = 'TLS_FAILURE' | 'CONNECT';
