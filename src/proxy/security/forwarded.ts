// Headers by which proxies speak of the client: who it is by x-forwarded-for, -proto and -client-cert, and what a client
// at the edge may not say. Runs once a request, before anything judges it. Leans to believing nobody: what was not
// written by a proxy that the configuration trusts is dropped or not looked at.

import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { type Ip, parseIp } from '../../model/ip.ts';
import type { Fields } from '../../wire/http1/index.ts';
import type { ClientCertificate } from '../contracts.ts';

const FORWARDED_FOR = 'x-forwarded-for';
const FORWARDED_PROTO = 'x-forwarded-proto';
const CLIENT_CERTIFICATE = 'x-forwarded-client-cert';
/** Addresses of x-forwarded-for that are looked at, from its end. */
const MOST_HOPS = 100;

export interface ForwardedBy {
  /** `edge`: a gateway, which writes what it saw; `inner`: a waypoint, behind proxies of the mesh, which writes nothing. */
  readonly place: 'edge' | 'inner';
  /** `numTrustedProxies`: how many proxies before this one are believed. */
  readonly trustedProxies: number;
  /** Who connected: at a waypoint the address that the tunnel carries. */
  readonly peer: Ip;
  /** Of the connection that the request came by. */
  readonly scheme: 'http' | 'https';
}

/**
 * Makes out the original client's address and brings the forwarding headers up to date (Envoy: use_remote_address at the
 * edge, xff_num_trusted_hops).
 * @returns the address; undefined where a trusted proxy should have written one and wrote something else
 */
export function applyForwarding(fields: Fields, by: ForwardedBy): Ip | undefined {
  const remote = remoteAddress(fields, by);
  if (by.place === 'inner') {
    if (!fields.has(FORWARDED_PROTO)) fields.set(FORWARDED_PROTO, by.scheme);
    return remote;
  }
  const sent = fields.joined(FORWARDED_FOR);
  fields.set(FORWARDED_FOR, sent === undefined || sent === '' ? by.peer : `${sent},${by.peer}`);
  const proto = by.trustedProxies > 0 ? fields.get(FORWARDED_PROTO)?.toLowerCase() : undefined;
  fields.set(FORWARDED_PROTO, proto === 'http' || proto === 'https' ? proto : by.scheme);
  fields.set('x-envoy-external-address', remote ?? by.peer);
  return remote;
}

function remoteAddress(fields: Fields, by: ForwardedBy): Ip | undefined {
  // At the edge the proxy next to this one wrote the last address; an inner proxy's own neighbour is the edge itself.
  const fromEnd = by.place === 'edge' ? by.trustedProxies : by.trustedProxies + 1;
  if (fromEnd === 0) return by.peer;
  const sent = fields.joined(FORWARDED_FOR);
  if (sent === undefined) return by.peer;
  const written = addressFromEnd(sent, fromEnd);
  if (written === undefined) return by.peer;
  const ip = parseIp(written);
  return ip.ok ? ip.value : undefined;
}

/** The n-th member from the end of a list, 1 the last; undefined: there are fewer. */
function addressFromEnd(list: string, n: number): string | undefined {
  if (n > MOST_HOPS) return undefined;
  let end = list.length;
  for (let i = 1; ; i++) {
    const comma = list.lastIndexOf(',', end - 1);
    const at = end === 0 ? -1 : comma;
    if (i === n) return list.slice(at + 1, end).trim();
    if (at < 0) return undefined;
    end = at;
  }
}

/**
 * Takes out what only proxies of the mesh may say, at the trust edge: `x-envoy-*` (retries, timeouts, original path),
 * `x-istio-attributes`, `x-forwarded-client-cert`. Before `applyForwarding`.
 */
export function stripEdgeFields(fields: Fields): void {
  let found: string[] | undefined;
  for (let i = 0; i < fields.count; i++) {
    const key = fields.keyAt(i);
    if (key.startsWith('x-envoy-') || key === 'x-istio-attributes' || key === CLIENT_CERTIFICATE) {
      found ??= [];
      found.push(key);
    }
  }
  if (found !== undefined) for (const key of found) fields.delete(key);
}

export interface ClientCertificateFacts {
  /** Who writes: this proxy. */
  readonly own: SpiffeId;
  /** Who came, by mutual TLS of the mesh. */
  readonly client: SpiffeId | undefined;
  /** Shown to a gateway by a client outside the mesh. */
  readonly certificate: ClientCertificate | undefined;
}

/**
 * Writes x-forwarded-client-cert in the place of whatever a client sent (Envoy: SANITIZE_SET; `By`, `Hash`, `Subject`,
 * `URI`, `DNS`). Without a proved client the header is only taken out.
 */
export function writeClientCertificate(fields: Fields, facts: ClientCertificateFacts | undefined): void {
  fields.delete(CLIENT_CERTIFICATE);
  if (facts === undefined) return;
  const { client, certificate } = facts;
  if (client === undefined && certificate === undefined) return;
  const parts = [`By=${formatSpiffeId(facts.own)}`];
  if (certificate !== undefined) {
    parts.push(`Hash=${certificate.sha256}`, `Subject=${quoted(certificate.subject)}`);
    for (const uri of certificate.uris) parts.push(`URI=${plainOrQuoted(uri)}`);
    for (const name of certificate.dnsNames) parts.push(`DNS=${plainOrQuoted(name)}`);
  } else if (client !== undefined) parts.push(`URI=${formatSpiffeId(client)}`);
  fields.set(CLIENT_CERTIFICATE, parts.join(';'));
}

/** A subject's text may hold anything: what no field can carry becomes `?`, so that it cannot end the value early. */
const quoted = (text: string): string =>
  `"${text.replace(/[^\t -~\x80-\xff]/g, '?').replace(/[\\"]/g, (c) => `\\${c}`)}"`;
const plainOrQuoted = (text: string): string =>
  /^[!#-+\--:<>-~]+$/.test(text) && !text.includes('=') ? text : quoted(text);
