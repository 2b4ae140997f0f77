// Whether what a TLS listener refers to may be used and can be: grants before existence, existence before form. Only
// form is judged here; whether key and certificate fit is for whoever serves them.
// Source: Gateway API, "Cross namespace certificate references".

import { Buffer } from 'node:buffer';
import type { Collection, Index, Reader } from '../graph/graph.ts';
import type { ConfigMap, Secret } from '../objects/config-map.ts';
import type { Gateway, Listener, ObjectRef } from '../objects/gateway.ts';
import { mayRefer, type ReferenceGrant } from '../objects/reference-grant.ts';

export interface CertificateWorld {
  readonly secrets: Collection<Secret>;
  readonly configMaps: Collection<ConfigMap>;
  readonly grants: Index<ReferenceGrant>;
}

export type TlsReason =
  | 'InvalidCertificateRef'
  | 'RefNotPermitted'
  | 'InvalidCACertificateRef'
  | 'InvalidCACertificateKind';

export interface TlsFault {
  readonly reason: TlsReason;
  readonly message: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g;
const ASN1_SEQUENCE = 0x30;

/** Whether a text holds at least one PEM block whose label ends so, and each such block holds a DER sequence. */
function isPem(text: string, label: RegExp): boolean {
  const blocks = [...text.matchAll(BLOCK)].filter((match) => label.test(match[1] as string));
  return (
    blocks.length > 0 &&
    blocks.every((match) => Buffer.from((match[2] as string).slice(0, 64), 'base64')[0] === ASN1_SEQUENCE)
  );
}

const CERTIFICATE = /^CERTIFICATE$/;
const PRIVATE_KEY = /PRIVATE KEY$/;
const MAX_CERTIFICATES = 2;
const MODE_OPTION = 'gateway.istio.io/tls-terminate-mode';
/** Istio's modes with the mesh's own certificates, which a gateway here does not show to the outside. */
const MESH_MODES: ReadonlySet<string> = new Set(['ISTIO_SIMPLE', 'ISTIO_MUTUAL']);
const CLIENT_MODES: ReadonlySet<string> = new Set(['MUTUAL', 'OPTIONAL_MUTUAL']);

function refers(get: Reader, world: CertificateWorld, gateway: Gateway, ref: ObjectRef): TlsFault | undefined {
  const from = { group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace: gateway.namespace };
  if (mayRefer(get, world.grants, from, ref)) return undefined;
  return {
    reason: 'RefNotPermitted',
    message: `${ref.kind} ${ref.namespace}/${ref.name} is in another namespace, and no ReferenceGrant there admits Gateways of ${gateway.namespace}`,
  };
}

function certificateFault(
  get: Reader,
  world: CertificateWorld,
  gateway: Gateway,
  ref: ObjectRef,
): TlsFault | undefined {
  const invalid = (message: string): TlsFault => ({ reason: 'InvalidCertificateRef', message });
  if (ref.kind !== 'Secret' || ref.group !== '')
    return invalid(`certificateRefs: ${ref.group || 'core'}/${ref.kind} \`${ref.name}\` is no Secret`);
  const denied = refers(get, world, gateway, ref);
  if (denied !== undefined) return denied;
  const key = `${ref.namespace}/${ref.name}`;
  const secret = get.one(world.secrets, key);
  if (secret === undefined) return invalid(`Secret ${key} does not exist`);
  if (!isPem(secret.certificate, CERTIFICATE)) return invalid(`Secret ${key}: tls.crt holds no certificate in PEM`);
  if (!isPem(secret.privateKey, PRIVATE_KEY)) return invalid(`Secret ${key}: tls.key holds no private key in PEM`);
  return undefined;
}

function authorityFault(get: Reader, world: CertificateWorld, gateway: Gateway, ref: ObjectRef): TlsFault | undefined {
  if (ref.group !== '' || (ref.kind !== 'ConfigMap' && ref.kind !== 'Secret'))
    return {
      reason: 'InvalidCACertificateKind',
      message: `caCertificateRefs: ${ref.group || 'core'}/${ref.kind} \`${ref.name}\` is neither a ConfigMap nor a Secret`,
    };
  const denied = refers(get, world, gateway, ref);
  if (denied !== undefined) return denied;
  const key = `${ref.namespace}/${ref.name}`;
  const found = ref.kind === 'Secret' ? get.one(world.secrets, key) : get.one(world.configMaps, key);
  const problem =
    found === undefined
      ? 'does not exist'
      : isPem(found.authorities, CERTIFICATE)
        ? undefined
        : 'holds no ca.crt in PEM';
  return problem && { reason: 'InvalidCACertificateRef', message: `${ref.kind} ${key} ${problem}` };
}

/** What is wrong with the certificate that a Gateway shows to backends. */
export function backendCertificateFault(
  get: Reader,
  world: CertificateWorld,
  gateway: Gateway,
): { readonly reason: 'InvalidClientCertificateRef' | 'RefNotPermitted'; readonly message: string } | undefined {
  const ref = gateway.backendCertificate;
  const fault = ref && certificateFault(get, world, gateway, ref);
  if (fault === undefined) return undefined;
  const reason = fault.reason === 'RefNotPermitted' ? fault.reason : 'InvalidClientCertificateRef';
  return { reason, message: `clientCertificateRef: ${fault.message}` };
}

/** @returns what is wrong with a listener's TLS references; undefined: nothing, or it ends no TLS */
export function tlsFault(
  get: Reader,
  world: CertificateWorld,
  gateway: Gateway,
  { tls, protocol }: Listener,
): TlsFault | undefined {
  if (protocol !== 'HTTPS' && protocol !== 'TLS') return undefined;
  if (tls?.mode === 'Passthrough') return undefined;
  const invalid = (message: string): TlsFault => ({ reason: 'InvalidCertificateRef', message });
  const certificates = tls?.certificates ?? [];
  const mode = tls?.options[MODE_OPTION] ?? '';
  if (MESH_MODES.has(mode))
    return invalid(`option ${MODE_OPTION}: ${mode} is not supported: use MUTUAL, with certificateRefs`);
  if (certificates.length === 0 || certificates.length > MAX_CERTIFICATES)
    return invalid(`a listener that ends TLS needs one or two certificateRefs, this has ${certificates.length}`);
  for (const ref of certificates) {
    const fault = certificateFault(get, world, gateway, ref);
    if (fault !== undefined) return fault;
  }
  const [first] = certificates;
  if (CLIENT_MODES.has(mode) && tls?.clientAuthorities.length === 0 && first !== undefined) {
    const key = `${first.namespace}/${first.name}`;
    const roots = get.one(world.secrets, key)?.authorities || get.one(world.secrets, `${key}-cacert`)?.authorities;
    if (!isPem(roots ?? '', CERTIFICATE))
      return {
        reason: 'InvalidCACertificateRef',
        message: `option ${MODE_OPTION}: ${mode}: neither Secret ${key} nor ${key}-cacert holds a ca.crt in PEM`,
      };
  }
  for (const ref of tls?.clientAuthorities ?? []) {
    const fault = authorityFault(get, world, gateway, ref);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
