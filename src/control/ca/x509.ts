// The certificate library, made ready once: it wants reflect-metadata loaded first and a WebCrypto implementation.
// Everything that builds certificates imports it from here.

import 'reflect-metadata';
import { type KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

export { x509 };

export type CryptoKey = webcrypto.CryptoKey;

/** For the library: the kind of signature. */
export interface SigningAlgorithm {
  readonly name: string;
  readonly hash?: string;
}

/** A key to sign with, and how. */
export interface Signer {
  readonly key: CryptoKey;
  readonly algorithm: SigningAlgorithm;
}

const CURVES: Readonly<Record<string, readonly [curve: string, hash: string]>> = {
  prime256v1: ['P-256', 'SHA-256'],
  secp384r1: ['P-384', 'SHA-384'],
  secp521r1: ['P-521', 'SHA-512'],
};
export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 8192;

/** @returns undefined for a kind or size of key that we do not sign with */
export function signerOf(key: KeyObject): Signer | undefined {
  const details = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa': {
      const bits = details.modulusLength ?? 0;
      if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) return undefined;
      const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
      return { key: toCryptoKey(key, algorithm), algorithm };
    }
    case 'ec': {
      const [namedCurve, hash] = CURVES[details.namedCurve ?? ''] ?? [];
      if (namedCurve === undefined || hash === undefined) return undefined;
      return { key: toCryptoKey(key, { name: 'ECDSA', namedCurve }), algorithm: { name: 'ECDSA', hash } };
    }
    case 'ed25519':
      return { key: toCryptoKey(key, { name: 'Ed25519' }), algorithm: { name: 'Ed25519' } };
    default:
      return undefined;
  }
}

const toCryptoKey = (
  key: KeyObject,
  algorithm: { readonly name: string; readonly hash?: string; readonly namedCurve?: string },
): CryptoKey => key.toCryptoKey(algorithm, false, ['sign']);

/** RFC 5280 §4.1.2.2: positive, at most 20 octets, and not to be guessed. */
export function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]*-----END \1-----/g;

/** The PEM blocks with one of these labels, each ending in a newline. */
export const pemBlocks = (text: string, ...labels: readonly string[]): readonly string[] =>
  [...text.matchAll(PEM_BLOCK)].filter(([, label]) => labels.includes(label as string)).map(([block]) => `${block}\n`);
