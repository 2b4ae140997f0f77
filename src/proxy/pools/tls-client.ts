// TLS that the proxy begins towards endpoints outside the mesh's own (DestinationRule SIMPLE and MUTUAL, BackendTLSPolicy).
// The peer is held to its names; roots that cannot be had make the hop fail, it is never plain.

import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  createSecureContext,
  getCACertificates,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { compileAnyText, type TextTest } from '../../model/http/text.ts';
import type { ProxyCertificate } from '../../model/proxy/proxy-config.ts';
import type { UpstreamTls } from '../../model/proxy/service-config.ts';

/** What a certificate resource holds now. */
export type CertificateOf = (name: string) => ProxyCertificate | undefined;

interface Prepared {
  readonly context: SecureContext;
  readonly certificate: ProxyCertificate | undefined;
  readonly names: TextTest | undefined;
}

const prepared = new WeakMap<UpstreamTls, Prepared>();

/** Made once for each version of a policy, and again when its certificate was replaced. @throws Error for people */
function prepare(tls: UpstreamTls, certificateOf: CertificateOf): Prepared {
  const certificate = tls.certificate === undefined ? undefined : certificateOf(tls.certificate);
  const known = prepared.get(tls);
  if (known !== undefined && known.certificate === certificate) return known;
  if (tls.roots.kind === 'unusable') throw new Error(`no roots to verify the endpoint by: ${tls.roots.why}`);
  if (tls.mode === 'mutual' && certificate === undefined)
    throw new Error(`the client certificate ${tls.certificate ?? ''} is not there`);
  const made: Prepared = {
    context: createSecureContext({
      minVersion: 'TLSv1.2',
      ...(tls.roots.kind === 'unverified'
        ? {}
        : { ca: tls.roots.kind === 'pem' ? tls.roots.pem : getCACertificates('system') }),
      ...(certificate === undefined ? {} : { cert: certificate.chainPem, key: certificate.keyPem }),
    }),
    certificate,
    names: tls.subjectAltNames.length === 0 ? undefined : compileAnyText(tls.subjectAltNames),
  };
  prepared.set(tls, made);
  return made;
}

/** `DNS:a, URI:spiffe://…, IP Address:10.0.0.1` */
function namesOf({ subjectaltname = '' }: PeerCertificate): string[] {
  return subjectaltname.split(', ').map((entry) => entry.slice(entry.indexOf(':') + 1));
}

export interface TlsClientOptions {
  readonly tls: UpstreamTls;
  readonly certificateOf: CertificateOf;
  /** Host of the request, for policies that name no server. */
  readonly host: string | undefined;
  readonly alpn: readonly string[];
}

/**
 * Handshakes over an established connection, which belongs to the result.
 * @param done called once; the error's message is for logs
 */
export function secureClient(
  raw: Duplex,
  { tls, certificateOf, host, alpn }: TlsClientOptions,
  done: (outcome: TLSSocket | Error) => void,
): void {
  let ready: Prepared;
  try {
    ready = prepare(tls, certificateOf);
  } catch (error) {
    raw.destroy();
    done(error as Error);
    return;
  }
  const serverName = tls.serverName || (host !== undefined && isIP(host) === 0 ? host : '');
  const verifies = tls.roots.kind !== 'unverified';
  const options: ConnectionOptions = {
    socket: raw,
    secureContext: ready.context,
    rejectUnauthorized: verifies,
    ...(serverName === '' ? {} : { servername: serverName }),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
    checkServerIdentity: (_, certificate) => {
      const { names } = ready;
      if (names !== undefined)
        return namesOf(certificate).some(names)
          ? undefined
          : new Error('the certificate has none of the names that the endpoint must have');
      const name = serverName || host;
      return name === undefined ? undefined : checkServerIdentity(name, certificate);
    },
  };
  const socket = connect(options);
  const over = (outcome: TLSSocket | Error): void => {
    socket.off('error', failed);
    socket.off('close', closed);
    socket.off('secureConnect', secured);
    socket.on('error', () => {});
    if (outcome instanceof Error) socket.destroy();
    done(outcome);
  };
  const failed = (error: Error): void => over(new Error(`TLS_error: ${error.message}`));
  const closed = (): void => over(new Error('TLS_error: the connection was closed in the handshake'));
  const secured = (): void => over(socket);
  socket.on('error', failed);
  socket.on('close', closed);
  socket.on('secureConnect', secured);
}
