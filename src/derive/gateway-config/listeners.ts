// Listeners of a Gateway as its proxy holds them. One that cannot be served as it was asked for is left out: a listener
// that should ask clients for certificates and cannot is closed, not open.
// Source: Gateway API, Listener; Istio: TLS options `gateway.istio.io/*`, the Secret `<name>-cacert`.

import type { ClientValidation, ListenerTls, ProxyListener } from '../../model/proxy/proxy-config.ts';
import type { ListenerVerdict } from '../gateway/listeners.ts';
import type { Collection, Reader } from '../graph/graph.ts';
import type { ConfigMap, Secret } from '../objects/config-map.ts';
import type { ObjectRef, ListenerTls as WrittenTls } from '../objects/gateway.ts';

export interface SecretWorld {
  readonly secrets: Collection<Secret>;
  readonly configMaps: Collection<ConfigMap>;
}

const MODE_OPTION = 'gateway.istio.io/tls-terminate-mode';
const CIPHERS_OPTION = 'gateway.istio.io/tls-cipher-suites';
/** Istio has no option for it; the values are those of its Gateway (`tls.minProtocolVersion`). */
const LEAST_VERSION_OPTION = 'ambit.dev/tls-min-protocol-version';
/** These show the mesh's own certificates, which gateways do not hold for clients outside. */
const MESH_MODES: ReadonlySet<string> = new Set(['ISTIO_SIMPLE', 'ISTIO_MUTUAL']);

/** Roots that come with a certificate: in its own Secret, or in the one beside it. Empty: there are none. */
export const rootsBeside = (get: Reader, { secrets }: SecretWorld, secret: string): string =>
  get.one(secrets, secret)?.authorities || get.one(secrets, `${secret}-cacert`)?.authorities || '';

/** `<namespace>/<name>` */
export const keyOf = ({ namespace, name }: ObjectRef): string => `${namespace}/${name}`;

/** @returns undefined: clients show none; `closed`: they should, and nobody could judge them */
function clientsOf(get: Reader, world: SecretWorld, tls: WrittenTls): ClientValidation | 'closed' | undefined {
  const validation = (rootsPem: string, mode: ClientValidation['mode']): ClientValidation | 'closed' =>
    rootsPem === '' ? 'closed' : { rootsPem, mode, subjectAltNames: [] };
  if (tls.clientAuthorities.length > 0) {
    const roots = tls.clientAuthorities.map((ref) =>
      ref.kind === 'Secret'
        ? (get.one(world.secrets, keyOf(ref))?.authorities ?? '')
        : (get.one(world.configMaps, keyOf(ref))?.authorities ?? ''),
    );
    return validation(roots.filter((pem) => pem !== '').join('\n'), tls.admitsUnverified ? 'optional' : 'required');
  }
  const mode = tls.options[MODE_OPTION];
  if (mode !== 'MUTUAL' && mode !== 'OPTIONAL_MUTUAL') return undefined;
  const [first] = tls.certificates;
  const roots = first === undefined ? '' : rootsBeside(get, world, keyOf(first));
  return validation(roots, mode === 'MUTUAL' ? 'required' : 'optional');
}

/** What says neither 1.2 nor nothing is taken for the strictest. */
function leastVersion(written: string | undefined): 'TLSv1.2' | 'TLSv1.3' {
  return written === undefined || written === 'TLSV1_2' || written === 'TLS_AUTO' ? 'TLSv1.2' : 'TLSv1.3';
}

function tlsOf(get: Reader, world: SecretWorld, tls: WrittenTls | undefined): ListenerTls | 'closed' {
  if (tls === undefined) return 'closed';
  if (tls.mode === 'Passthrough') return { mode: 'passthrough' };
  if (MESH_MODES.has(tls.options[MODE_OPTION] ?? '') || tls.certificates.length === 0) return 'closed';
  const client = clientsOf(get, world, tls);
  if (client === 'closed') return 'closed';
  return {
    mode: 'terminate',
    certificates: tls.certificates.map(keyOf),
    client,
    minVersion: leastVersion(tls.options[LEAST_VERSION_OPTION]),
    maxVersion: 'TLSv1.3',
    cipherSuites: (tls.options[CIPHERS_OPTION] ?? '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  };
}

type Protocol = ProxyListener['protocol'];
const PROTOCOLS: ReadonlySet<string> = new Set<Protocol>(['HTTP', 'HTTPS', 'TLS', 'TCP']);

export const proxyListeners = (
  get: Reader,
  world: SecretWorld,
  verdicts: readonly ListenerVerdict[],
): readonly ProxyListener[] =>
  verdicts.flatMap(({ listener, usable }): ProxyListener[] => {
    if (!usable || !PROTOCOLS.has(listener.protocol)) return [];
    const secure = listener.protocol === 'HTTPS' || listener.protocol === 'TLS';
    const tls = secure ? tlsOf(get, world, listener.tls) : undefined;
    if (tls === 'closed') return [];
    return [
      {
        name: listener.name,
        port: listener.port,
        protocol: listener.protocol as Protocol,
        hostname: listener.hostname || '*',
        tls,
        redirectsToHttps: false,
      },
    ];
  });
