// Shapes of the proxy's own resource and of certificates.

import type {
  ClientValidation,
  ListenerTls,
  ProxyCertificate,
  ProxyConfig,
  ProxyListener,
  ProxyRole,
} from '../../model/proxy/proxy-config.ts';
import { host, key, MAX_ITEMS, MAX_PEM, milliseconds, name, port, value } from './common-shapes.ts';
import { authorizationProvider, filters, security, telemetry } from './security-shapes.ts';
import { flag, integer, list, object, optional, type Shape, text, union, word, words } from './shape.ts';

const pem = text(MAX_PEM);
const version = words<'TLSv1.2' | 'TLSv1.3'>({ 'TLSv1.2': true, 'TLSv1.3': true });

const client = object<ClientValidation>({
  rootsPem: pem,
  mode: words<ClientValidation['mode']>({ required: true, optional: true }),
  subjectAltNames: list(value, MAX_ITEMS),
});

const listenerTls: Shape<ListenerTls> = union<ListenerTls, 'mode'>('mode', {
  passthrough: object({ mode: word('passthrough') }),
  terminate: object({
    mode: word('terminate'),
    certificates: list(key, MAX_ITEMS),
    client: optional(client),
    minVersion: version,
    maxVersion: version,
    cipherSuites: list(name, MAX_ITEMS),
  }),
});

const listener = object<ProxyListener>({
  name,
  port,
  protocol: words<ProxyListener['protocol']>({ HTTP: true, HTTPS: true, TLS: true, TCP: true }),
  hostname: host,
  tls: optional(listenerTls),
  redirectsToHttps: flag,
});

export const proxyShape: Shape<ProxyConfig> = object<ProxyConfig>({
  role: words<ProxyRole>({ waypoint: true, gateway: true }),
  namespace: name,
  name,
  listeners: list(listener, MAX_ITEMS),
  security,
  filters,
  telemetry,
  authorizationProviders: list(authorizationProvider, MAX_ITEMS),
  trustDomain: host,
  trustDomainAliases: list(host, MAX_ITEMS),
  pathNormalization: words<ProxyConfig['pathNormalization']>({
    NONE: true,
    BASE: true,
    MERGE_SLASHES: true,
    DECODE_AND_MERGE_SLASHES: true,
  }),
  trustedProxies: integer(0, 1000),
  writesClientIdentity: flag,
  hboneIdleMs: milliseconds,
  connectTimeoutMs: milliseconds,
});

export const certificateShape: Shape<ProxyCertificate> = object<ProxyCertificate>({
  chainPem: pem,
  keyPem: pem,
  rootsPem: pem,
});
