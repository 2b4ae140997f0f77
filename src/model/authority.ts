// The authority of a tunnel request: `ip:port`, `[v6]:port` or `hostname:port`.

import { formatHostPort, type HostPort, parseIp } from './ip.ts';

export type Authority =
  | { readonly kind: 'ip'; readonly at: HostPort }
  | { readonly kind: 'hostname'; readonly hostname: string; readonly port: number };

const PORT = /^[0-9]{1,5}$/;
const HOSTNAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$/;
/** RFC 1035 §2.3.4, with a trailing dot. */
const MAX_HOSTNAME = 254;

/** @returns undefined if the text is neither; port 0 is none */
export function parseAuthority(text: string): Authority | undefined {
  const colon = text.lastIndexOf(':');
  const portText = text.slice(colon + 1);
  const port = Number(portText);
  if (colon < 1 || !PORT.test(portText) || port < 1 || port > 65535) return undefined;
  const host = text.slice(0, colon);
  const bracketed = host.startsWith('[') && host.endsWith(']');
  const ip = parseIp(bracketed ? host.slice(1, -1) : host);
  if (ip.ok) {
    if (bracketed !== host.includes(':')) return undefined;
    return { kind: 'ip', at: { ip: ip.value, port } };
  }
  if (host.length > MAX_HOSTNAME || !HOSTNAME.test(host) || /^[0-9.]+$/.test(host)) return undefined;
  return { kind: 'hostname', hostname: host, port };
}

/** As it goes into `:authority`. */
export const formatAuthority = (authority: Authority): string =>
  authority.kind === 'ip' ? formatHostPort(authority.at) : `${authority.hostname}:${authority.port}`;
