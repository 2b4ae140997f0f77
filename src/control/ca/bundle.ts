// A certificate authority's files: its certificate and key, the chain to a root, the roots. Read as a whole or not at
// all: with files that do not fit together, certificates would be issued that nobody accepts.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { fail, ok, type Result } from '../../model/result.ts';
import { pemBlocks, type Signer, signerOf, x509 } from './x509.ts';

export interface CaFiles {
  readonly certificate: string;
  readonly key: string;
  /** Intermediates; may be empty, may repeat the certificate. */
  readonly chain: string;
  /** Empty: the certificate is its own root. */
  readonly roots: string;
}

export interface CaBundle {
  readonly certificate: InstanceType<typeof x509.X509Certificate>;
  readonly signer: Signer;
  /** The root at the end of the chain; the certificate itself when that is one. */
  readonly anchor: InstanceType<typeof x509.X509Certificate>;
  /** PEM blocks that follow a leaf: the authority's own certificate unless it is a root, and what is above it. */
  readonly chain: readonly string[];
  /** PEM blocks. */
  readonly roots: readonly string[];
  /** Of the authority's certificate. */
  readonly notAfterMs: number;
  /** Of the root that ends first. */
  readonly rootNotAfterMs: number;
  /** How many authorities may stand below this one; undefined: any number. */
  readonly pathLength: number | undefined;
}

const parseCertificate = (pem: string): X509Certificate | undefined => {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
};

function parseKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

const issued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  subject.checkIssued(issuer) && subject.verify(issuer.publicKey);

interface Way {
  readonly chain: readonly X509Certificate[];
  readonly root: X509Certificate;
}

/** The certificates from `from` up to one that a root issued, or undefined when there is no such way. */
function climb(
  from: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): Way | undefined {
  if (roots.some((root) => root.fingerprint256 === from.fingerprint256)) return { chain: [], root: from };
  const above = roots.find((root) => issued(root, from));
  if (above !== undefined) return { chain: [from], root: above };
  for (const next of intermediates) {
    if (next.fingerprint256 === from.fingerprint256 || !issued(next, from)) continue;
    const way = climb(
      next,
      intermediates.filter((other) => other !== next),
      roots,
    );
    if (way !== undefined) return { chain: [from, ...way.chain], root: way.root };
  }
  return undefined;
}

/** Longer chains are a mistake, and trying all orders of them would take long. */
const MAX_CHAIN = 8;

/**
 * Reads and checks an authority's files.
 * @returns the bundle, or a sentence saying which file is wrong and why
 */
export function readBundle(files: CaFiles, nowMs: number): Result<CaBundle, string> {
  const [pem] = pemBlocks(files.certificate, 'CERTIFICATE');
  const certificate = pem === undefined ? undefined : parseCertificate(pem);
  if (pem === undefined || certificate === undefined) return fail('the certificate is not a PEM certificate');
  const key = parseKey(files.key);
  if (key === undefined) return fail('the key is not a PEM private key without passphrase');
  const signer = signerOf(key);
  if (signer === undefined) return fail('the key is none of RSA from 2048 bits, ECDSA P-256, P-384, P-521, Ed25519');
  if (!certificate.checkPrivateKey(key)) return fail('the key is not that of the certificate');
  if (!certificate.ca) return fail('the certificate is not that of an authority (basicConstraints CA:TRUE)');
  const notAfterMs = Date.parse(certificate.validTo);
  if (!(notAfterMs > nowMs)) return fail(`the certificate expired on ${certificate.validTo}`);

  const rootBlocks = pemBlocks(files.roots, 'CERTIFICATE');
  const roots = (rootBlocks.length === 0 ? [pem] : rootBlocks).map((block) => ({
    block,
    parsed: parseCertificate(block),
  }));
  const chain = pemBlocks(files.chain, 'CERTIFICATE').map(parseCertificate);
  if (roots.some(({ parsed }) => parsed === undefined)) return fail('the root certificate cannot be read');
  if (chain.some((item) => item === undefined)) return fail('the certificate chain cannot be read');
  if (chain.length > MAX_CHAIN) return fail(`the certificate chain is longer than ${MAX_CHAIN}`);
  const known = chain.filter((item) => item !== undefined);
  const way = climb(
    certificate,
    known,
    roots.flatMap(({ parsed }) => parsed ?? []),
  );
  if (way === undefined) return fail('no chain leads from the certificate to a root');

  const made = new x509.X509Certificate(pem);
  return ok({
    certificate: made,
    signer,
    anchor: new x509.X509Certificate(way.root.toString()),
    chain: way.chain.map((item) => item.toString()),
    roots: [...new Set(roots.map(({ block }) => block))],
    notAfterMs,
    rootNotAfterMs: Math.min(...roots.map(({ parsed }) => Date.parse(parsed?.validTo ?? ''))),
    pathLength: made.getExtension(x509.BasicConstraintsExtension)?.pathLength,
  });
}
