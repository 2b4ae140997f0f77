// Reading the certificate service's answer: leaf first, intermediates, the root bundle last. Nothing of it is used before
// the leaf was found to be for the key and the identity that were asked for.

import { type KeyObject, X509Certificate } from 'node:crypto';
import { formatSpiffeId, type SpiffeId } from '../../model/identity.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { DerError, subjectUris } from '../../platform/tls/der.ts';
import type { WorkloadCertificate } from './workload-certificate.ts';

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
/** A chain or a root bundle with more certificates than this is nobody's. */
const MAX_CERTIFICATES = 100;

/** The PEM blocks of a text, each ending in a newline. */
export const pemBlocks = (text: string): string[] =>
  Array.from(text.matchAll(BLOCK), ([block]) => `${block}\n`).slice(0, MAX_CERTIFICATES);

/**
 * @param chain  `cert_chain` of the answer
 * @param nowMs  a certificate that is over already is refused
 * @returns what may be used, or a sentence saying why nothing may
 */
export function readCertificateReply(
  chain: readonly string[],
  identity: SpiffeId,
  privateKey: KeyObject,
  nowMs: number,
): Result<WorkloadCertificate, string> {
  const root = chain.at(-1);
  if (chain.length < 2 || root === undefined) return fail(`the answer holds ${chain.length} certificates, so no root`);
  if (chain.length > MAX_CERTIFICATES) return fail(`the answer holds ${chain.length} certificates`);
  const links: string[] = [];
  for (const [i, text] of chain.slice(0, -1).entries()) {
    const [first] = pemBlocks(text);
    if (first === undefined) return fail(`certificate ${i + 1} of the answer is not PEM`);
    links.push(first);
  }
  const roots = pemBlocks(root);
  if (roots.length === 0) return fail('the root of the answer is not PEM');
  try {
    for (const pem of [...links.slice(1), ...roots]) new X509Certificate(pem);
    const leaf = new X509Certificate(links[0] as string);
    const [uri] = subjectUris(leaf.raw);
    const wanted = formatSpiffeId(identity);
    if (uri !== wanted) return fail(`the certificate is for \`${uri ?? 'nobody'}\` instead of \`${wanted}\``);
    if (!leaf.checkPrivateKey(privateKey)) return fail('the certificate is for another key');
    const notAfterMs = leaf.validToDate.getTime();
    if (!(notAfterMs > nowMs)) return fail(`the certificate ended at ${leaf.validToDate.toISOString()} already`);
    return ok({
      identity,
      certificateChainPem: links.join(''),
      privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      rootsPem: roots.join(''),
      notBeforeMs: leaf.validFromDate.getTime(),
      notAfterMs,
    });
  } catch (error) {
    // DerError, or what OpenSSL says about bytes that are no certificate.
    const why = error instanceof DerError || error instanceof Error ? error.message : String(error);
    return fail(`a certificate of the answer cannot be read: ${why}`);
  }
}
