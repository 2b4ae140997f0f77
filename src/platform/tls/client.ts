// The dialling side of mesh TLS: own certificate shown, no server name sent, the peer's identity compared with the list of
// those it may have. Runs per connection.

import type { Duplex } from 'node:stream';
import { connect, type SecureContext } from 'node:tls';
import { formatSpiffeId, type SpiffeId, sameSpiffeId } from '../../model/identity.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { ALPN_PROTOCOLS, HANDSHAKE_TIMEOUT_MS, secureContext } from './context.ts';
import { describeHandshakeError } from './failure.ts';
import { peerOfSocket } from './peer.ts';
import { MeshTlsError, type MeshTlsOptions, type SecuredSocket, type WorkloadCredential } from './types.ts';

/** A workload's certificate made ready for dialling. Make a new one when the certificate is rotated. */
export interface MeshClientContext {
  readonly identity: SpiffeId;
  readonly context: SecureContext;
}

/** @throws MeshTlsError CONFIGURATION */
export function createMeshClientContext(
  credential: WorkloadCredential,
  options: MeshTlsOptions = {},
): MeshClientContext {
  return { identity: credential.identity, context: secureContext(credential, options) };
}

/**
 * Handshakes over a connection that is established (a socket, or any byte stream: the inner connection of a double
 * tunnel). The stream belongs to the result from now on and is destroyed on failure.
 * @param expected  ids of which the peer must have one; an empty list lets nobody in
 */
export function secureMeshClient(
  raw: Duplex,
  client: MeshClientContext,
  expected: readonly SpiffeId[],
  timeoutMs: number = HANDSHAKE_TIMEOUT_MS,
): Promise<Result<SecuredSocket, MeshTlsError>> {
  const socket = connect({
    socket: raw,
    secureContext: client.context,
    ALPNProtocols: ALPN_PROTOCOLS,
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined, // names say nothing in a mesh: identities are compared below
  });
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      lose(new MeshTlsError('TIMEOUT', `tls handshake failed: no answer in ${timeoutMs / 1000} s`));
    }, timeoutMs);
    const lose = (error: MeshTlsError): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(fail(error));
    };
    const onError = (error: Error): void => lose(describeHandshakeError(error, socket, 'server'));
    socket.on('error', onError);
    const onClose = (): void => lose(new MeshTlsError('HANDSHAKE', 'tls handshake failed: the connection was closed'));
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') {
        lose(new MeshTlsError('ALPN', 'tls handshake failed: the peer does not speak h2'));
        return;
      }
      const peer = peerOfSocket(socket, Date.now());
      if (!peer.ok) lose(peer.error);
      else if (!expected.some((id) => sameSpiffeId(id, peer.value.identity)))
        lose(new MeshTlsError('IDENTITY', identityMismatch(peer.value.uri, expected)));
      else {
        clearTimeout(timer);
        socket.off('close', onClose);
        socket.off('error', onError);
        socket.on('error', ignore); // until its user listens
        resolve(ok({ socket, peer: peer.value }));
      }
    });
  });
}

const ignore = (): void => {};

function identityMismatch(uri: string, expected: readonly SpiffeId[]): string {
  const wanted = expected.map((id) => `\`${formatSpiffeId(id)}\``).join(', ') || 'nobody';
  return `the peer is \`${uri}\`, expected ${wanted}`;
}
