// The authority that is made when the user brings none.

import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { issueRoot } from './authority.ts';
import type { CaBundle, CaFiles } from './bundle.ts';
import { signerOf, x509 } from './x509.ts';

/** Ten years, as istiod's CITADEL_SELF_SIGNED_CA_CERT_TTL. */
export const ROOT_TTL_SECONDS = 3650 * 24 * 3600;
/** A root is renewed, with the same key, when so much of its life is left. */
const RENEWAL_SHARE = 0.2;

const generate = promisify(generateKeyPair);

async function newKeys(rsaBits: number): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return rsaBits > 0 ? generate('rsa', { modulusLength: rsaBits }) : generate('ec', { namedCurve: 'prime256v1' });
}

const pemOf = (key: KeyObject): string => String(key.export({ format: 'pem', type: 'pkcs8' }));

/**
 * A new root.
 * @param organization  its only name, the trust domain as with istiod
 * @param rsaBits       0: ECDSA P-256, which takes no noticeable time to make
 */
export async function createSelfSigned(organization: string, rsaBits: number, nowMs: number): Promise<CaFiles> {
  const { publicKey, privateKey } = await newKeys(rsaBits);
  const signer = signerOf(privateKey);
  if (signer === undefined) throw new Error(`a self-signed authority cannot have an RSA key of ${rsaBits} bits`);
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const certificate = await issueRoot(spki, signer, organization, ROOT_TTL_SECONDS, nowMs);
  return { certificate, key: pemOf(privateKey), chain: '', roots: '' };
}

/** Whether a self-signed root is due to be renewed. */
export function isRenewalDue({ certificate, chain, notAfterMs }: CaBundle, nowMs: number): boolean {
  const life = notAfterMs - certificate.notBefore.getTime();
  return chain.length === 0 && notAfterMs - nowMs < life * RENEWAL_SHARE;
}

/** The same key and name for another ten years: what it has issued, and who trusts it, need not change. */
export const renewSelfSigned = (bundle: CaBundle, nowMs: number): Promise<string> => {
  const organization = bundle.certificate.subjectName.getField('O')[0] ?? 'cluster.local';
  return issueRoot(bundle.certificate.publicKey, bundle.signer, organization, ROOT_TTL_SECONDS, nowMs);
};
