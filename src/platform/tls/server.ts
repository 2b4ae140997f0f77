// The accepting side of mesh TLS: one per listener, since the certificate is that of the pod that owns it. Runs per
// connection. A peer without a certificate, of another trust domain or with a doubtful identity gets no further.

import type { Duplex } from 'node:stream';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { ALPN_PROTOCOLS, contextOptions, HANDSHAKE_TIMEOUT_MS, secureContext } from './context.ts';
import { describeHandshakeError } from './failure.ts';
import { peerOfSocket } from './peer.ts';
import { MeshTlsError, type MeshTlsOptions, type SecuredSocket, type WorkloadCredential } from './types.ts';

export interface MeshServerOptions extends MeshTlsOptions {
  readonly credential: WorkloadCredential;
  /** A client whose identity is of the credential's trust domain. */
  readonly onSecured: (secured: SecuredSocket) => void;
  /** Once for every accepted socket that did not get there; it is destroyed already or about to be. */
  readonly onFailure: (error: MeshTlsError, socket: TLSSocket) => void;
  readonly handshakeTimeoutMs?: number;
}

export interface MeshServer {
  /** Starts the handshake on a freshly accepted connection; the socket belongs to this server from now on. */
  accept(raw: Duplex): void;
  /** New handshakes use the new certificate and roots; connections that exist go on. @throws MeshTlsError */
  rotate(credential: WorkloadCredential): void;
}

/** @throws MeshTlsError CONFIGURATION */
export function createMeshServer(options: MeshServerOptions): MeshServer {
  let { trustDomain } = options.credential.identity;
  secureContext(options.credential, options); // says what is wrong before anything is made of it
  const server: Server = createServer({
    ...contextOptions(options.credential, options),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ALPN_PROTOCOLS,
    handshakeTimeout: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
    pauseOnConnect: false,
    noDelay: true,
  });

  const check = (socket: TLSSocket): MeshTlsError | SecuredSocket => {
    if (!socket.authorized)
      return new MeshTlsError('HANDSHAKE', `client certificate refused: ${socket.authorizationError}`);
    if (socket.alpnProtocol !== 'h2') return new MeshTlsError('ALPN', 'the client did not offer h2');
    const peer = peerOfSocket(socket, Date.now());
    if (!peer.ok) return peer.error;
    if (peer.value.identity.trustDomain !== trustDomain)
      return new MeshTlsError('IDENTITY', `\`${peer.value.uri}\` is not of trust domain \`${trustDomain}\``);
    return { socket, peer: peer.value };
  };

  server.on('secureConnection', (socket) => {
    socket.on('error', ignore); // until its user listens, and for what comes after
    const checked = check(socket);
    if (checked instanceof MeshTlsError) {
      options.onFailure(checked, socket);
      socket.destroy();
    } else options.onSecured(checked);
  });
  server.on('tlsClientError', (error, socket) => {
    socket.on('error', ignore);
    options.onFailure(describeHandshakeError(error, socket, 'client'), socket);
    socket.destroy();
  });

  return {
    accept: (raw) => void server.emit('connection', raw),
    rotate(credential) {
      secureContext(credential, options);
      trustDomain = credential.identity.trustDomain;
      server.setSecureContext(contextOptions(credential, options));
    },
  };
}

const ignore = (): void => {};
