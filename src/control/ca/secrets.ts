// The Secrets that hold an authority, under the names and keys that istiod reads and writes.

import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { CaFiles } from './bundle.ts';
import type { Previous, TrustRecord } from './trust.ts';
import { pemBlocks } from './x509.ts';

/** The user's own authority. */
export const PLUGGED_SECRET = 'cacerts';
/** The one that the control plane made itself. */
export const SELF_SIGNED_SECRET = 'istio-ca-secret';
/** Which roots were in use and which are still trusted: ours, for restarts. */
export const TRUST_SECRET = 'istio-ca-trust';

const decode = (secret: ISecret, key: string): string =>
  Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

/** Reads either layout: Istio's `ca-cert.pem`…, or `tls.crt`, `tls.key`, `ca.crt` as cert-manager writes. */
export function filesOf(secret: ISecret): CaFiles {
  if (secret.data?.['ca-cert.pem'] === undefined && secret.data?.['tls.crt'] !== undefined)
    return {
      certificate: decode(secret, 'tls.crt'),
      key: decode(secret, 'tls.key'),
      chain: decode(secret, 'tls.crt'),
      roots: decode(secret, 'ca.crt'),
    };
  return {
    certificate: decode(secret, 'ca-cert.pem'),
    key: decode(secret, 'ca-key.pem'),
    chain: decode(secret, 'cert-chain.pem'),
    roots: decode(secret, 'root-cert.pem'),
  };
}

/** As istiod writes it, the empty keys included, so that either can take over from the other. */
export const selfSignedSecret = (namespace: string, files: CaFiles): ISecret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: SELF_SIGNED_SECRET, namespace },
  type: 'istio.io/ca-root',
  data: {
    'ca-cert.pem': encode(files.certificate),
    'ca-key.pem': encode(files.key),
    'cert-chain.pem': '',
    'key.pem': '',
    'root-cert.pem': '',
  },
});

export function recordSecret(namespace: string, { active, previous }: TrustRecord): ISecret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: TRUST_SECRET, namespace },
    type: 'istio.io/ca-trust',
    data: {
      'active-roots.pem': encode(active.join('')),
      'previous-roots.pem': encode(previous?.roots.join('') ?? ''),
      'bridge.pem': encode(previous?.bridge.join('') ?? ''),
      'previous-until': encode(previous === undefined ? '' : new Date(previous.untilMs).toISOString()),
    },
  };
}

export function recordOfSecret(secret: ISecret): TrustRecord {
  const blocks = (key: string): readonly string[] => pemBlocks(decode(secret, key), 'CERTIFICATE');
  const untilMs = Date.parse(decode(secret, 'previous-until'));
  const roots = blocks('previous-roots.pem');
  const previous: Previous | undefined =
    roots.length === 0 || Number.isNaN(untilMs) ? undefined : { roots, bridge: blocks('bridge.pem'), untilMs };
  return { active: blocks('active-roots.pem'), previous };
}
