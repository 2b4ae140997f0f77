// Which application protocol a port speaks, from what its author wrote. Explicit `appProtocol` before the port's name
// before its number, as Istio's protocol selection does.

import type { PortProtocol } from '../model/proxy/service-config.ts';
import type { AppProtocol } from '../model/workload.ts';

const NAMED: Readonly<Record<string, AppProtocol>> = {
  http: 'http11',
  http2: 'http2',
  https: 'tls',
  tls: 'tls',
  grpc: 'grpc',
};

/** What some port numbers are, unless said otherwise: protocols where the server speaks first must not be sniffed. */
const SERVER_FIRST_PORTS: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/** What L7 proxies make of the words: they tell TCP, which is passed as it is, from what must be found out. */
const PROXIED: Readonly<Record<string, PortProtocol>> = {
  http: 'http',
  http2: 'http2',
  https: 'tls',
  tls: 'tls',
  grpc: 'grpc',
  'grpc-web': 'grpcWeb',
  tcp: 'tcp',
  mongo: 'tcp',
  mysql: 'tcp',
  redis: 'tcp',
  'kubernetes.io/h2c': 'http2',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'tls',
};

/**
 * How an L7 proxy takes a port.
 * @param written  protocol of a ServiceEntry's port, or `appProtocol`; undefined: the port's name and number say
 */
export function proxiedProtocol(port: number, name: string, written: string | undefined): PortProtocol {
  const lower = name.toLowerCase();
  const fromName = /^grpc-web(-|$)/.test(lower) ? 'grpc-web' : (lower.split('-', 1)[0] as string);
  const word = written?.toLowerCase() ?? (SERVER_FIRST_PORTS.has(port) ? 'tcp' : fromName);
  return Object.hasOwn(PROXIED, word) ? (PROXIED[word] as PortProtocol) : 'unknown';
}

const lookUp = (word: string): AppProtocol => (Object.hasOwn(NAMED, word) ? (NAMED[word] as AppProtocol) : 'unknown');

/** Protocol of a ServiceEntry port, or of an `appProtocol` value; unknown words are `unknown`. */
export function parseProtocol(word: string): AppProtocol {
  const lower = word.toLowerCase();
  if (lower === 'grpc-web') return 'unknown';
  if (lower === 'kubernetes.io/h2c') return 'http2';
  return lookUp(lower);
}

/** Protocol of a Kubernetes Service port. @param transport  `TCP`, `UDP` or `SCTP` */
export function portProtocol(
  port: number,
  name: string,
  transport: string,
  appProtocol: string | undefined,
): AppProtocol {
  if (transport === 'UDP') return 'unknown';
  if (appProtocol !== undefined) return parseProtocol(appProtocol);
  if (SERVER_FIRST_PORTS.has(port)) return 'unknown';
  const lower = name.toLowerCase();
  if (lower === 'grpc-web' || lower.startsWith('grpc-web-')) return 'unknown';
  return lookUp(lower.split('-', 1)[0] as string);
}
