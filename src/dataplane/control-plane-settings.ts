// Settings that every proxy reads alike (Istio's names): how to reach the control plane, and how long to drain.

import { fail, ok, type Result } from '../model/result.ts';
import type { ControlPlaneAccess, TokenSource, TrustRoots } from './grpc/access.ts';
import type { SettingsReader } from './settings-reader.ts';

const ROOT_FILE = './var/run/secrets/istio/root-cert.pem';
const TOKEN_FILE = './var/run/secrets/tokens/istio-token';
const KUBERNETES_ADDRESS = 'https://istiod.istio-system.svc:15012';
const OUTSIDE_ADDRESS = 'https://localhost:15012';

/** What the process finds around it. */
export interface Surroundings {
  /** Whether a file is there: a root or token setting is a path if it exists, else the thing itself. */
  readonly exists: (path: string) => boolean;
}

export interface AccessDefaults {
  readonly clusterId: string;
  /** Of the proxy configuration; before what the surroundings suggest. */
  readonly discoveryAddress: string | undefined;
  readonly tls12: boolean;
}

/** @returns undefined where the address is set to the empty text: that service is not used */
export type AccessOf = (kind: 'XDS' | 'CA') => ControlPlaneAccess | undefined;

/** `XDS_ADDRESS`, `CA_ADDRESS`, their root certificates, names and headers, and `AUTH_TOKEN`. */
export function controlPlaneAccess(raw: Surroundings, read: SettingsReader, defaults: AccessDefaults): AccessOf {
  const token = readToken(raw, read);
  const inKubernetes = read.text('KUBERNETES_SERVICE_HOST') !== undefined;
  const otherwise = defaults.discoveryAddress ?? (inKubernetes ? KUBERNETES_ADDRESS : OUTSIDE_ADDRESS);
  return (kind) => {
    const address = read.raw(`${kind}_ADDRESS`) ?? otherwise;
    if (address.trim() === '') return undefined;
    return {
      ...read.take(`${kind}_ADDRESS`, parseServer(address.trim()), { host: '', port: 0 }),
      roots: readRoots(`${kind}_ROOT_CA`, raw, read),
      alternativeName: read.text(`ALT_${kind}_HOSTNAME`),
      tls12: defaults.tls12,
      token,
      clusterId: defaults.clusterId,
      headers: readHeaders(`${kind}_HEADER_`, read),
    };
  };
}

/** `https://host:port`; without a scheme too. */
function parseServer(text: string): Result<{ readonly host: string; readonly port: number }, string> {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
  if (url === null || url.hostname === '') return fail(`\`${text}\` is no address: write https://host:port`);
  if (url.protocol !== 'https:') return fail(`\`${text}\` is not https; the control plane is only spoken to over TLS`);
  if ((url.pathname !== '/' && url.pathname !== '') || url.search !== '' || url.username !== '')
    return fail(`\`${text}\` has more than a host and a port`);
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  return ok({ host, port: url.port === '' ? 443 : Number(url.port) });
}

function readRoots(name: string, raw: Surroundings, read: SettingsReader): TrustRoots {
  const value = read.text(name);
  if (value === undefined) return { kind: 'file', path: ROOT_FILE };
  if (value === 'SYSTEM') return { kind: 'system' };
  if (raw.exists(value)) return { kind: 'file', path: value };
  if (!value.includes('-----BEGIN CERTIFICATE-----'))
    read.problem(
      `${name}=\`${value.slice(0, 200)}\` is neither a file that exists, nor SYSTEM, nor a certificate in PEM`,
    );
  return { kind: 'pem', pem: value };
}

function readToken(raw: Surroundings, read: SettingsReader): TokenSource {
  const value = read.text('AUTH_TOKEN');
  if (value === undefined) return raw.exists(TOKEN_FILE) ? { kind: 'file', path: TOKEN_FILE } : { kind: 'none' };
  if (raw.exists(value)) return { kind: 'file', path: value };
  if (!/^[\x21-\x7e]+$/.test(value)) read.problem('AUTH_TOKEN is neither a file that exists nor a token'); // Never shown.
  return { kind: 'literal', token: value };
}

/** gRPC's own headers cannot be set; `-bin` ones would need another encoding. */
const RESERVED = /^(:.*|te|content-type|user-agent|grpc-.*|.*-bin|connection|host|transfer-encoding)$/;

function readHeaders(prefix: string, read: SettingsReader): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [key, value] of read.prefixed(prefix)) {
    const name = key.toLowerCase();
    if (!/^[a-z0-9_.-]+$/.test(name) || RESERVED.test(name) || !/^[\x20-\x7e]*$/.test(value))
      read.problem(`${prefix}${key} is not a header that can be sent`);
    else headers[name] = value;
  }
  return headers;
}

/** How long connections may finish after the proxy was told to end; milliseconds. */
export function readDrainMs(read: SettingsReader): number {
  if (read.text('CONNECTION_TERMINATION_DEADLINE') !== undefined)
    return read.durationMs('CONNECTION_TERMINATION_DEADLINE', 0);
  if (read.text('TERMINATION_GRACE_PERIOD_SECONDS') === undefined) return 5_000;
  const grace = read.integer('TERMINATION_GRACE_PERIOD_SECONDS', 30, 0, 86_400);
  return (grace > 10 ? grace - 5 : Math.max(grace - 1, 1)) * 1000;
}
