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

/** What an operator may change of the protocol. Default: TLS 1.3, the library's key exchange. */
export interface MeshTlsOptions {
  /** TLS12_ENABLED: also TLS 1.2, with ECDHE and AES-GCM only. */
  readonly tls12?: boolean;
  /** COMPLIANCE_POLICY=pqc: only the hybrid post-quantum group. */
  readonly postQuantumOnly?: boolean;
}

/** Who is at the other end, read from the leaf's only URI SAN. */
export interface PeerIdentity {
  readonly identity: SpiffeId;
  /** The same as text, exactly as in the certificate. */
  readonly uri: string;
}

/**
 * A finished handshake whose peer was checked. Nothing is read until somebody listens for `data`. It may have been
 * closed meanwhile: look at `socket.destroyed` if there was a pause before listening for `close`.
 */
export interface SecuredSocket {
  readonly socket: TLSSocket;
  readonly peer: PeerIdentity;
}

/**
 * CONFIGURATION  our own certificate, key or roots do not work
 * HANDSHAKE      the handshake failed: versions, certificate refused by either side, plain HTTP, reset
 * TIMEOUT        no finished handshake in time
 * ALPN           the peer does not speak h2
 * IDENTITY       the chain is good, but the peer is not who it may be
 */
export type MeshTlsCode = 'CONFIGURATION' | 'HANDSHAKE' | 'TIMEOUT' | 'ALPN' | 'IDENTITY';

/** Value of the `response_flags` label for a connection that failed so. */
export type TlsResponseFlag = 'TLS_FAILURE' | 'CONNECT';

export class MeshTlsError extends Error {
  override readonly name = 'MeshTlsError';
  readonly code: MeshTlsCode;

  constructor(code: MeshTlsCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Istio: only configuration errors count as TLS_FAILURE; a handshake that failed is a failed connection. */
  get flag(): TlsResponseFlag {
    return this.code === 'CONFIGURATION' ? 'TLS_FAILURE' : 'CONNECT';
  }
}
