// Authorities of users, as files: roots and intermediates of any make.

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { CaFiles } from '../ca/bundle.ts';
import { randomSerial, signerOf, x509 } from '../ca/x509.ts';

export interface TestAuthority {
  readonly certificate: string;
  readonly key: string;
  readonly parsed: InstanceType<typeof x509.X509Certificate>;
  readonly privateKey: KeyObject;
}

export interface AuthorityWish {
  readonly name?: string;
  readonly parent?: TestAuthority;
  readonly pathLength?: number;
  readonly ca?: boolean;
  readonly notAfter?: Date;
  readonly rsa?: boolean;
}

const HOUR_MS = 3_600_000;

export async function makeAuthority(wish: AuthorityWish = {}): Promise<TestAuthority> {
  const { publicKey, privateKey } = wish.rsa
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const signer = signerOf(wish.parent?.privateKey ?? privateKey);
  if (signer === undefined) throw new Error('unusable key');
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const subject = new x509.Name(`CN=${wish.name ?? 'test'},O=ambit`);
  const parentId = wish.parent?.parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  const parsed = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject,
    issuer: wish.parent?.parsed.subjectName ?? subject,
    notBefore: new Date(Date.now() - HOUR_MS),
    notAfter: wish.notAfter ?? new Date(Date.now() + 24 * HOUR_MS),
    publicKey: spki,
    signingKey: signer.key,
    signingAlgorithm: signer.algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(wish.ca ?? true, wish.pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(spki),
      ...(parentId === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(parentId)]),
    ],
  });
  return {
    certificate: `${parsed.toString('pem')}\n`,
    key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    parsed,
    privateKey,
  };
}

/** An intermediate under a root of its own, as a company would bring it. */
export async function pluggedFiles(wish: AuthorityWish = {}): Promise<CaFiles> {
  const root = await makeAuthority({ name: `${wish.name ?? 'plugged'} root` });
  const intermediate = await makeAuthority({ name: 'plugged intermediate', ...wish, parent: root });
  return {
    certificate: intermediate.certificate,
    key: intermediate.key,
    chain: intermediate.certificate + root.certificate,
    roots: root.certificate,
  };
}
