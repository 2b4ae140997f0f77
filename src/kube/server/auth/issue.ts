// Issues the cluster's certificates. Imported only when some are missing or old.

import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { ClusterIdentity, KeyPair } from './identity.ts';

export interface IssueOptions {
  readonly caDays: number;
  readonly leafDays: number;
  readonly servingNames: readonly string[];
  readonly servingIps: readonly string[];
  readonly admin: { readonly user: string; readonly group: string };
}

const DAY_MS = 86_400_000;
const BACKDATED_MS = 5 * 60_000; // a client whose clock is a little behind
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** @param known  its authority and token key are kept; the leaf certificates are made anew */
export async function issueIdentity(
  known: ClusterIdentity | undefined,
  now: Date,
  options: IssueOptions,
): Promise<ClusterIdentity> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const ca = known?.ca ?? (await issueAuthority(now, options.caDays));
  const names: x509.JsonGeneralNames = [
    ...options.servingNames.map((value) => ({ type: 'dns', value }) as const),
    ...options.servingIps.map((value) => ({ type: 'ip', value }) as const),
  ];
  const serving = await issueLeaf(ca, now, options.leafDays, [{ CN: ['kube-apiserver'] }], SERVER_AUTH, names);
  const subject = [{ O: [options.admin.group] }, { CN: [options.admin.user] }];
  const admin = await issueLeaf(ca, now, options.leafDays, subject, CLIENT_AUTH, []);
  return { ca, serving, admin, tokenKeyPem: known?.tokenKeyPem ?? (await newKeyPem()) };
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function newKeyPem(): Promise<string> {
  return pemOf((await generate()).privateKey);
}

function life(now: Date, days: number): { notBefore: Date; notAfter: Date; serialNumber: string } {
  return {
    notBefore: new Date(now.getTime() - BACKDATED_MS),
    notAfter: new Date(now.getTime() + days * DAY_MS),
    serialNumber: `01${randomBytes(15).toString('hex')}`,
  };
}

async function issueAuthority(now: Date, days: number): Promise<KeyPair> {
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...life(now, days),
    name: [{ CN: ['ambit-kubernetes-ca'] }],
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: `${certificate.toString('pem')}\n`, keyPem: await pemOf(keys.privateKey) };
}

async function issueLeaf(
  ca: KeyPair,
  now: Date,
  days: number,
  subject: x509.JsonName,
  usage: string,
  names: x509.JsonGeneralNames,
): Promise<KeyPair> {
  const keys = await generate();
  const issuer = new x509.X509Certificate(ca.certPem);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    x509.PemConverter.decodeFirst(ca.keyPem),
    ALGORITHM,
    false,
    ['sign'],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    ...life(now, days),
    subject: new x509.Name(subject).toString(),
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  return { certPem: `${certificate.toString('pem')}\n`, keyPem: await pemOf(keys.privateKey) };
}
