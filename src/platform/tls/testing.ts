// Certificates for tests and benchmarks: an authority made on the spot, and leaves with any SANs, uses and times.

import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { parseSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type { WorkloadCredential } from './types.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;

export interface LeafOptions {
  /** Default: the identity's URI alone. */
  readonly names?: readonly JsonGeneralName[];
  /** Default: both server and client. `none` leaves the extension out. */
  readonly usage?: 'both' | 'server' | 'client' | 'none';
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

const USAGES: Readonly<Record<'both' | 'server' | 'client', string[]>> = {
  both: [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth],
  server: [ExtendedKeyUsage.serverAuth],
  client: [ExtendedKeyUsage.clientAuth],
};

export class TestAuthority {
  readonly rootPem: string;
  readonly #root: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(root: X509Certificate, key: webcrypto.CryptoKey) {
    this.#root = root;
    this.#key = key;
    this.rootPem = root.toString('pem');
  }

  static async create(): Promise<TestAuthority> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const root = await X509CertificateGenerator.createSelfSigned({
      name: 'O=test authority',
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + 24 * HOUR_MS),
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new TestAuthority(root, keys.privateKey);
  }

  /** A credential for `uri`; what the certificate really says can be bent with `options`. */
  async issue(uri: string, options: LeafOptions = {}): Promise<WorkloadCredential> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const usage = options.usage ?? 'both';
    const leaf = await X509CertificateGenerator.create({
      subject: '',
      issuer: this.#root.subject,
      signingKey: this.#key,
      publicKey: keys.publicKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(options.notBeforeMs ?? Date.now() - HOUR_MS),
      notAfter: new Date(options.notAfterMs ?? Date.now() + HOUR_MS),
      extensions: [
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
        ...(usage === 'none' ? [] : [new ExtendedKeyUsageExtension(USAGES[usage])]),
        new SubjectAlternativeNameExtension([...(options.names ?? [{ type: 'url', value: uri } as const])], true),
      ],
    });
    const privateKey = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      identity: spiffe(uri),
      certificateChainPem: leaf.toString('pem'),
      privateKeyPem: PemConverter.encode(privateKey, 'PRIVATE KEY'),
      rootsPem: this.rootPem,
    };
  }
}

/** @throws Error when `uri` is no SPIFFE id: a mistake in the test */
export function spiffe(uri: string): SpiffeId {
  const id = parseSpiffeId(uri);
  if (!id.ok) throw new Error(id.error);
  return id.value;
}
