// TLS that a gateway ends for one listener: certificates by server name, clients' certificates, versions, protocols.
// Certificates are replaced without touching connections. A listener without a usable certificate refuses.

import { createHash, X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import { ignoreErrors } from '../../dataplane/endpoints.ts';
import type { ListenerTls, ProxyCertificate } from '../../model/proxy/proxy-config.ts';
import { logger } from '../../telemetry/log.ts';
import type { ClientCertificate } from '../contracts.ts';

const log = logger('tls');
const HANDSHAKE_MS = 10_000;

export type Terminating = Extract<ListenerTls, { readonly mode: 'terminate' }>;

export interface TerminatorParts {
  readonly tls: Terminating;
  readonly certificateOf: (name: string) => ProxyCertificate | undefined;
  /** Offered in ALPN; empty: none. */
  readonly protocols: readonly string[];
  /** For logs. */
  readonly listener: string;
}

export interface Terminated {
  readonly socket: TLSSocket;
  readonly clientCertificate: ClientCertificate | undefined;
}

interface Shown {
  readonly names: X509Certificate;
  readonly context: SecureContext;
}

export class TlsTerminator {
  readonly #parts: TerminatorParts;
  readonly #server: Server;
  #shown: readonly Shown[] = [];
  /** Objects that `#shown` was made of. */
  #made: readonly (ProxyCertificate | undefined)[] = [];
  readonly #waiting = new Map<string, (terminated: Terminated | undefined) => void>();

  constructor(parts: TerminatorParts) {
    this.#parts = parts;
    const { tls, protocols } = parts;
    this.#server = createServer({
      ...this.#common(),
      ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
      requestCert: tls.client !== undefined,
      // One that is optional is looked at below, and let in as if it were none.
      rejectUnauthorized: tls.client?.mode === 'required',
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
      allowHalfOpen: true,
      SNICallback: (name, done) => {
        const context = this.#contextFor(name);
        done(context === undefined ? new Error('no certificate for the server name') : null, context);
      },
    });
    this.#server.on('secureConnection', (socket) => this.#secured(socket));
    this.#server.on('tlsClientError', (error, socket) => {
      socket.on('error', ignoreErrors);
      const done = this.#take(socket);
      log.info('handshake failed', { listener: parts.listener, client: socket.remoteAddress, error: error.message });
      done?.(undefined);
      socket.destroy();
    });
    this.refresh();
  }

  #common(): SecureContextOptions {
    const { minVersion, maxVersion, cipherSuites, client } = this.#parts.tls;
    return {
      minVersion,
      maxVersion,
      ...(cipherSuites.length === 0 ? {} : { ciphers: [...cipherSuites, ...TLS13_SUITES].join(':') }),
      ...(client === undefined ? {} : { ca: client.rootsPem }),
      honorCipherOrder: true,
    };
  }

  /** Takes the certificates as they are now; those that cannot be used are left out, with a warning. */
  refresh(): void {
    const { tls, certificateOf, listener } = this.#parts;
    const now = tls.certificates.map(certificateOf);
    if (now.length === this.#made.length && now.every((each, i) => each === this.#made[i])) return;
    this.#made = now;
    const shown: Shown[] = [];
    for (const [i, certificate] of now.entries()) {
      const name = tls.certificates[i];
      if (certificate === undefined) {
        log.warn('certificate is not there', { listener, certificate: name });
        continue;
      }
      try {
        shown.push({
          names: new X509Certificate(certificate.chainPem),
          context: createSecureContext({ ...this.#common(), cert: certificate.chainPem, key: certificate.keyPem }),
        });
      } catch (error) {
        log.warn('certificate cannot be used', { listener, certificate: name, error: (error as Error).message });
      }
    }
    this.#shown = shown;
    const first = tls.certificates.map(certificateOf).find((each) => each !== undefined);
    // For clients that name no server.
    if (shown.length > 0 && first !== undefined)
      try {
        this.#server.setSecureContext({ ...this.#common(), cert: first.chainPem, key: first.keyPem });
      } catch {
        // Said above.
      }
  }

  get usable(): boolean {
    return this.#shown.length > 0;
  }

  /** The first that fits the name, else the first. */
  #contextFor(serverName: string): SecureContext | undefined {
    const fits = this.#shown.find(({ names }) => names.checkHost(serverName) !== undefined);
    return (fits ?? this.#shown[0])?.context;
  }

  /** Handshakes; what was read of the socket was put back before. @param done undefined: it failed */
  accept(raw: Socket, done: (terminated: Terminated | undefined) => void): void {
    const ends = endsOf(raw);
    this.#waiting.set(ends, done);
    raw.once('close', () => this.#waiting.delete(ends));
    this.#server.emit('connection', raw);
  }

  #take(socket: Socket): ((terminated: Terminated | undefined) => void) | undefined {
    const ends = endsOf(socket);
    const done = this.#waiting.get(ends);
    this.#waiting.delete(ends);
    return done;
  }

  #secured(socket: TLSSocket): void {
    socket.on('error', ignoreErrors);
    const done = this.#take(socket);
    const { client } = this.#parts.tls;
    if (done === undefined) {
      socket.destroy();
      return;
    }
    const shown = client !== undefined && socket.authorized ? certificateOf(socket) : undefined;
    const { listener } = this.#parts;
    if (client !== undefined && shown !== undefined && !hasName(shown, client.subjectAltNames)) {
      log.info('client certificate refused: it has none of the names', { listener, client: socket.remoteAddress });
      done(undefined);
      socket.destroy();
    } else if (client?.mode === 'required' && shown === undefined) {
      log.info('client without a certificate refused', { listener, client: socket.remoteAddress });
      done(undefined);
      socket.destroy();
    } else done({ socket, clientCertificate: shown });
  }
}

const TLS13_SUITES = ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'];

const endsOf = (socket: Socket): string =>
  `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;

function certificateOf(socket: TLSSocket): ClientCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  // Node says undefined for a certificate without a subject, whatever its types say.
  const subject = (certificate.subject as string | undefined) ?? '';
  const names = (certificate.subjectAltName ?? '').split(', ');
  const ofKind = (kind: string): string[] =>
    names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));
  return {
    subject: subject.split('\n').reverse().join(','),
    uris: ofKind('URI:'),
    dnsNames: ofKind('DNS:'),
    sha256: createHash('sha256').update(certificate.raw).digest('hex'),
  };
}

const hasName = ({ uris, dnsNames }: ClientCertificate, wanted: readonly string[]): boolean =>
  wanted.length === 0 || wanted.some((name) => uris.includes(name) || dnsNames.includes(name));
