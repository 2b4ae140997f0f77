// Issuing certificates: to workloads, to the control plane itself, and from one authority to its successor.

import type { CaBundle } from './bundle.ts';
import { randomSerial, type Signer, x509 } from './x509.ts';

type PublicKey = InstanceType<typeof x509.PublicKey>;

/** Clocks differ; a certificate must not come from the future. As istiod. */
const BACKDATED_MS = 2 * 60 * 1000;

/** Whom a leaf is for: a SPIFFE URI, or host names of a server. */
export type Subject = { readonly uri: string } | { readonly hosts: readonly string[] };

const keyIdentifier = (certificate: InstanceType<typeof x509.X509Certificate>): string | undefined =>
  certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;

/** Tells two authorities of one name apart. */
function authorityKey(issuer: InstanceType<typeof x509.X509Certificate>): InstanceType<typeof x509.Extension>[] {
  const id = keyIdentifier(issuer);
  return id === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(id)];
}

const toPem = (certificate: InstanceType<typeof x509.X509Certificate>): string =>
  `${certificate.toString('pem').trim()}\n`;

/**
 * A leaf for client and server authentication, with an empty subject: the critical alternative name says it all.
 * @param ttlSeconds  from now; cut to the authority's own end
 * @returns PEM
 */
export async function issueLeaf(
  authority: CaBundle,
  publicKey: PublicKey,
  subject: Subject,
  ttlSeconds: number,
  nowMs: number,
): Promise<string> {
  const names: { type: 'url' | 'dns'; value: string }[] =
    'uri' in subject ? [{ type: 'url', value: subject.uri }] : subject.hosts.map((value) => ({ type: 'dns', value }));
  const { KeyUsageFlags, ExtendedKeyUsage } = x509;
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    issuer: authority.certificate.subjectName,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(Math.min(nowMs + ttlSeconds * 1000, authority.notAfterMs)),
    publicKey,
    signingKey: authority.signer.key,
    signingAlgorithm: authority.signer.algorithm,
    extensions: [
      new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      ...authorityKey(authority.certificate),
      new x509.SubjectAlternativeNameExtension(names, true),
    ],
  });
  return toPem(leaf);
}

/**
 * A certificate for a new authority's root, signed by the old authority: peers that know only the old root accept what
 * the new one issues. It is the root that is signed, not an intermediate below it, because OpenSSL does not try a second
 * way once it has found an issuer; a root that a peer knows, it takes first.
 * @returns PEM; undefined when the old authority may not sign authorities, or not as many below it
 */
export async function issueBridge(old: CaBundle, next: CaBundle, nowMs: number): Promise<string | undefined> {
  if (old.pathLength !== undefined && old.pathLength < 1 + next.chain.length) return undefined;
  const { anchor } = next;
  const id = keyIdentifier(anchor);
  const bridge = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: anchor.subjectName,
    issuer: old.certificate.subjectName,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(Math.min(old.notAfterMs, anchor.notAfter.getTime())),
    publicKey: anchor.publicKey,
    signingKey: old.signer.key,
    signingAlgorithm: old.signer.algorithm,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.BasicConstraintsExtension(true, undefined, true),
      ...(id === undefined ? [] : [new x509.SubjectKeyIdentifierExtension(id)]),
      ...authorityKey(old.certificate),
    ],
  });
  return toPem(bridge);
}

/** @returns PEM of a self-signed root for this key */
export async function issueRoot(
  publicKey: PublicKey,
  signer: Signer,
  organization: string,
  ttlSeconds: number,
  nowMs: number,
): Promise<string> {
  const name = new x509.Name([{ O: [organization] }]);
  const root = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: name,
    issuer: name,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + ttlSeconds * 1000),
    publicKey,
    signingKey: signer.key,
    signingAlgorithm: signer.algorithm,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      new x509.BasicConstraintsExtension(true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return toPem(root);
}
