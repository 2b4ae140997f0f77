// TLS to endpoints that a DestinationRule or BackendTLSPolicy asks for (simple, mutual), over a socket or a tunnel. The
// mesh's own TLS is elsewhere. A hop that cannot be secured as written fails; it is never plain. Runs per connection;
// parameters are made ready once for each configuration.

import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, getCACertificates, type SecureContext, type TLSSocket } from 'node:tls';
import type { TextPredicate } from '../../model/facts.ts';
import { compileText, type TextTest } from '../../model/http/text.ts';
import type { ProxyCertificate } from '../../model/proxy/proxy-config.ts';
import type { UpstreamTls } from '../../model/proxy/service-config.ts';

export class UpstreamTlsError extends Error {
  override readonly name = 'UpstreamTlsError';
}

/** The certificate resource of that name, once it is known; another object after a change. */
export type CertificateOf = (name: string) => ProxyCertificate | undefined;

export interface SecureOptions {
  readonly tls: UpstreamTls;
  readonly certificateOf: CertificateOf;
  /** Host of the request, without port; undefined where there is none. */
  readonly host: string | undefined;
  /** What is offered, most wanted first; empty: no HTTP. What was chosen: `socket.alpnProtocol`. */
  readonly alpn: readonly string[];
  /** Undefined: the caller measures, and destroys `raw` when it is over. */
  readonly timeoutMs: number | undefined;
}

interface Ready {
  readonly context: SecureContext;
  readonly certificate: ProxyCertificate | undefined;
  readonly names: readonly NameTest[];
}

/** By configuration object: another one is made when it changes. */
const prepared = new WeakMap<UpstreamTls, Ready>();

/**
 * Handshakes over an established connection, which belongs to the result from now on and is destroyed on failure.
 * @returns a socket that nobody reads yet. @throws UpstreamTlsError, with a text for logs
 */
export async function secureUpstream(raw: Duplex, options: SecureOptions): Promise<TLSSocket> {
  const { tls, certificateOf, host, alpn, timeoutMs } = options;
  let ready: Ready;
  const serverName = tls.serverName || host || '';
  try {
    ready = prepare(tls, certificateOf);
    if (tls.roots.kind === 'system' && ready.names.length === 0 && serverName === '')
      throw new UpstreamTlsError('tls not possible: no name that the endpoint must have; set sni or subjectAltNames');
  } catch (error) {
    raw.destroy();
    throw error;
  }
  const verified = tls.roots.kind !== 'unverified';
  const socket = connect({
    socket: raw,
    secureContext: ready.context,
    ...(serverName !== '' && isIP(serverName) === 0 ? { servername: serverName } : {}),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
    rejectUnauthorized: verified,
    checkServerIdentity: () => undefined, // below, by the rule's own names
  });
  await handshake(socket, timeoutMs);
  const problem = verified ? nameProblem(socket, ready.names, serverName) : undefined;
  const wrong = problem ?? alpnProblem(socket, alpn);
  if (wrong === undefined) return socket;
  socket.destroy();
  throw new UpstreamTlsError(wrong);
}

function prepare(tls: UpstreamTls, certificateOf: CertificateOf): Ready {
  const certificate = tls.certificate === undefined ? undefined : certificateOf(tls.certificate);
  const known = prepared.get(tls);
  if (known !== undefined && known.certificate === certificate) return known;
  const { roots } = tls;
  if (roots.kind === 'unusable') throw new UpstreamTlsError(`tls not possible: ${roots.why}`);
  if (tls.mode === 'mutual' && certificate === undefined)
    throw new UpstreamTlsError(`tls not possible: client certificate \`${tls.certificate ?? ''}\` is not there`);
  if (roots.kind === 'pem' && !roots.pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new UpstreamTlsError('tls not possible: the roots hold no certificate');
  let context: SecureContext;
  try {
    context = createSecureContext({
      minVersion: 'TLSv1.2',
      ...(roots.kind === 'pem' ? { ca: roots.pem } : {}),
      ...(roots.kind === 'system' ? systemRoots() : {}),
      ...(tls.mode === 'mutual' && certificate !== undefined
        ? { cert: certificate.chainPem, key: certificate.keyPem }
        : {}),
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UpstreamTlsError(`tls not possible: certificate or roots are not usable: ${why}`, { cause });
  }
  const ready: Ready = { context, certificate, names: tls.subjectAltNames.map(nameTest) };
  prepared.set(tls, ready);
  return ready;
}

/** Those of the machine's image; the library's own where it brings none. */
function systemRoots(): { readonly ca?: string[] } {
  const ca = getCACertificates('system');
  return ca.length === 0 ? {} : { ca };
}

function handshake(socket: TLSSocket, timeoutMs: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const lose = (why: string, cause?: Error): void => {
      clearTimeout(timer);
      socket.on('error', ignore);
      socket.destroy();
      reject(new UpstreamTlsError(`tls handshake failed: ${why}`, { cause }));
    };
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => lose(`no answer in ${timeoutMs / 1000} s`), timeoutMs);
    const onError = (error: Error & { code?: string }): void => lose(error.code ?? error.message, error);
    const onClose = (): void => lose('the connection was closed');
    socket.once('error', onError);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('close', onClose);
      socket.off('error', onError);
      socket.on('error', ignore); // until its user listens
      resolve();
    });
  });
}

const ignore = (): void => {};

function alpnProblem(socket: TLSSocket, alpn: readonly string[]): string | undefined {
  // A server that knows no ALPN speaks HTTP/1.1; one that was offered h2 alone must take it (RFC 9113 §3.2).
  return alpn.length === 1 && alpn[0] === 'h2' && socket.alpnProtocol !== 'h2'
    ? 'the endpoint does not speak h2'
    : undefined;
}

// ---- names -------------------------------------------------------------------------------------------------------

interface SubjectName {
  readonly kind: 'DNS' | 'URI' | 'IP Address';
  readonly value: string;
}
type NameTest = (name: SubjectName) => boolean;

function nameProblem(socket: TLSSocket, tests: readonly NameTest[], serverName: string): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return 'the endpoint showed no certificate';
  if (tests.length > 0) {
    const names = subjectNames(certificate);
    if (names.some((name) => tests.some((test) => test(name)))) return undefined;
    return `the endpoint's certificate has none of the names that it must have: ${names.map(({ value }) => value).join(', ')}`;
  }
  if (serverName === '') return undefined; // a private root, and no name to ask for (Istio: chain only)
  const fits =
    isIP(serverName) === 0
      ? certificate.checkHost(serverName, { subject: 'never', partialWildcards: false })
      : certificate.checkIP(serverName);
  return fits === undefined ? `the endpoint's certificate is not for \`${serverName}\`` : undefined;
}

/** A wildcard in a certificate stands for one label of a name that is asked for in full (RFC 9525 §6.3). */
function nameTest(predicate: TextPredicate): NameTest {
  const test: TextTest = compileText(predicate);
  if (predicate.kind !== 'exact') return ({ value }) => test(value);
  const dot = predicate.value.indexOf('.');
  const wildcard = dot > 0 ? `*${predicate.value.slice(dot).toLowerCase()}` : undefined;
  const lower = predicate.value.toLowerCase();
  return ({ kind, value }) =>
    kind === 'DNS' ? value.toLowerCase() === lower || value.toLowerCase() === wildcard : test(value);
}

/**
 * Names of a certificate, from the library's text, in which every value that could be misread is quoted: quoted values
 * are passed over, so that none can pose as several (CVE-2021-44532).
 */
function subjectNames(certificate: X509Certificate): SubjectName[] {
  const text = certificate.subjectAltName ?? '';
  const names: SubjectName[] = [];
  const entry = /(DNS|URI|IP Address|[A-Za-z ]+):(?:"(?:[^"\\]|\\.)*"|([^",]*))(?:, |$)/y;
  for (let found = entry.exec(text); found !== null; found = entry.exec(text)) {
    const [, kind, value] = found;
    if (value === undefined || value === '') continue;
    if (kind === 'DNS' || kind === 'URI' || kind === 'IP Address') names.push({ kind, value });
  }
  return names;
}
