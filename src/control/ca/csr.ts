// Certificate signing requests of proxies. Only the public key and the proof that the sender has its private key count;
// names in the request are ignored, since they are what the caller may not choose.

import { createPublicKey } from 'node:crypto';
import { fail, ok, type Result } from '../../model/result.ts';
import { MAX_RSA_BITS, MIN_RSA_BITS, pemBlocks, x509 } from './x509.ts';

const MAX_CSR_CHARS = 64 * 1024;
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** What is wrong with the key, if anything. */
function keyProblem(publicKey: ArrayBuffer): string | undefined {
  const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS
        ? undefined
        : `an RSA key of ${modulusLength} bits; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are accepted`;
    case 'ec':
      return CURVES.has(namedCurve) ? undefined : `a key on curve ${namedCurve}`;
    case 'ed25519':
      return undefined;
    default:
      return `a key of type ${key.asymmetricKeyType}`;
  }
}

/**
 * Reads a PKCS#10 request and verifies its signature.
 * @param pem  exactly one PEM block
 * @returns the public key, or a sentence saying what is wrong
 */
export async function readCsr(pem: string): Promise<Result<InstanceType<typeof x509.PublicKey>, string>> {
  if (pem.length > MAX_CSR_CHARS) return fail(`the request is longer than ${MAX_CSR_CHARS} characters`);
  const blocks = pemBlocks(pem, 'CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST');
  const [block] = blocks;
  if (block === undefined || blocks.length > 1)
    return fail('the request is not one PEM block of a certificate request');
  try {
    const request = new x509.Pkcs10CertificateRequest(block);
    const problem = keyProblem(request.publicKey.rawData);
    if (problem !== undefined) return fail(problem);
    if (!(await request.verify())) return fail('the signature of the request does not verify');
    return ok(request.publicKey);
  } catch {
    return fail('the request is not valid PKCS#10');
  }
}
