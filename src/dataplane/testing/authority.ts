// A certificate authority for tests, made with @peculiar/x509: an implementation independent of the product's own
// certificate code. Keys exist only for the run.

import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

export interface IssueOptions {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const times = ({ notBefore, notAfter }: IssueOptions) => ({
  notBefore: notBefore ?? new Date(Date.now() - 120_000),
  notAfter: notAfter ?? new Date(Date.now() + 86_400_000),
});

export class TestAuthority {
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;
  #serial = 1;

  private constructor(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
  }

  static async create(organization = 'test'): Promise<TestAuthority> {
    const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: `O=${organization}`,
      ...times({ notAfter: new Date(Date.now() + 864_000_000) }),
      signingAlgorithm: EC,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new TestAuthority(certificate, keys);
  }

  get rootPem(): string {
    return `${this.#certificate.toString('pem')}\n`;
  }

  async #issue(publicKey: x509.PublicKeyType, names: x509.JsonGeneralNames, options: IssueOptions): Promise<string> {
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: (++this.#serial).toString(16).padStart(4, '0'),
      subject: '',
      issuer: this.#certificate.subject,
      ...times(options),
      signingAlgorithm: EC,
      publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.SubjectAlternativeNameExtension(names, true),
        new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      ],
    });
    return `${certificate.toString('pem')}\n`;
  }

  /** A server's certificate with these names and addresses. */
  async server(...names: string[]): Promise<IssuedCertificate> {
    const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const sans = names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? 'ip' : 'dns', value }) as const);
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    return {
      certificatePem: await this.#issue(keys.publicKey, sans, {}),
      privateKeyPem: `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`,
    };
  }

  /** Signs the key of a CSR for a SPIFFE id, as the certificate service does. @throws if the CSR's signature is bad */
  async sign(csrPem: string, spiffeId: string, options: IssueOptions = {}): Promise<string> {
    const csr = new x509.Pkcs10CertificateRequest(csrPem);
    if (!(await csr.verify())) throw new Error('CSR signature does not verify');
    return this.#issue(await csr.publicKey.export(), [{ type: 'url', value: spiffeId }], options);
  }
}

/** What a CSR says, read by the independent implementation. */
export async function readCsr(pem: string) {
  const csr = new x509.Pkcs10CertificateRequest(pem);
  const san = csr.extensions.find((extension) => extension instanceof x509.SubjectAlternativeNameExtension);
  return {
    subject: csr.subject,
    algorithm: csr.publicKey.algorithm,
    signatureAlgorithm: csr.signatureAlgorithm,
    verifies: await csr.verify(),
    names: san?.names.items.map((n) => ({ type: n.type, value: n.value })),
    critical: san?.critical,
    extensions: csr.extensions.length,
  };
}
