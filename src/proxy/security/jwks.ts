// JSON Web Key sets and signatures. Only public-key algorithms exist here (RS, PS and ES 256-512, EdDSA): `none` and
// HMAC have no entry, so a token cannot choose them, and a key fits one family of algorithms only (RFC 8725 §3.1).
// Keys are read once per configuration; verifying runs once per new token.

import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { fail, ok, type Result } from '../../model/result.ts';

interface Algorithm {
  readonly keyType: 'rsa' | 'ec' | 'ed25519';
  /** Null: the algorithm has its own. */
  readonly hash: string | null;
  /** OpenSSL's name. */
  readonly curve?: string;
  readonly pss?: true;
}

const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map<string, Algorithm>([
  ['RS256', { keyType: 'rsa', hash: 'sha256' }],
  ['RS384', { keyType: 'rsa', hash: 'sha384' }],
  ['RS512', { keyType: 'rsa', hash: 'sha512' }],
  ['PS256', { keyType: 'rsa', hash: 'sha256', pss: true }],
  ['PS384', { keyType: 'rsa', hash: 'sha384', pss: true }],
  ['PS512', { keyType: 'rsa', hash: 'sha512', pss: true }],
  ['ES256', { keyType: 'ec', hash: 'sha256', curve: 'prime256v1' }],
  ['ES384', { keyType: 'ec', hash: 'sha384', curve: 'secp384r1' }],
  ['ES512', { keyType: 'ec', hash: 'sha512', curve: 'secp521r1' }],
  ['EdDSA', { keyType: 'ed25519', hash: null }],
]);

export const isKnownAlgorithm = (name: string): boolean => ALGORITHMS.has(name);

interface VerificationKey {
  readonly id: string | undefined;
  /** The one algorithm that the set allows for it, if it says one. */
  readonly algorithm: string | undefined;
  readonly key: KeyObject;
  readonly curve: string | undefined;
}

export type KeySet = readonly VerificationKey[];

const MOST_KEYS = 500;
const MOST_CHARACTERS = 1024 * 1024;
/** RFC 7518 §3.3. */
const LEAST_RSA_BITS = 2048;

/** Sets that were read, so that a changed configuration with the same keys reads none again. */
const kept = new Map<string, Result<KeySet, string>>();
let keptCharacters = 0;
const MOST_KEPT_CHARACTERS = 2 * 1024 * 1024;

/**
 * Reads a set (RFC 7517 §5). Keys that cannot verify signatures here (symmetric, for encryption, weak, unknown) are
 * passed over, as the RFC asks.
 * @returns the keys, at least one, or why there is none
 */
export function readKeySet(json: string): Result<KeySet, string> {
  if (json.length > MOST_CHARACTERS)
    return fail(`the key set has ${json.length} characters; ${MOST_CHARACTERS} are taken`);
  let set = kept.get(json);
  if (set === undefined) {
    set = parseKeySet(json);
    if (keptCharacters + json.length > MOST_KEPT_CHARACTERS) {
      kept.clear();
      keptCharacters = 0;
    }
    kept.set(json, set);
    keptCharacters += json.length;
  }
  return set;
}

function parseKeySet(json: string): Result<KeySet, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return fail('the key set is not JSON');
  }
  const listed = isRecord(parsed) ? parsed.keys : undefined;
  if (!Array.isArray(listed)) return fail('the key set has no list `keys`');
  const keys: VerificationKey[] = [];
  for (const jwk of listed.slice(0, MOST_KEYS)) {
    const key = isRecord(jwk) ? readKey(jwk) : undefined;
    if (key !== undefined) keys.push(key);
  }
  return keys.length > 0 ? ok(keys) : fail('the key set holds no public key for signatures');
}

function readKey(jwk: Readonly<Record<string, unknown>>): VerificationKey | undefined {
  if (jwk.kty !== 'RSA' && jwk.kty !== 'EC' && jwk.kty !== 'OKP') return undefined;
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined;
  if (Array.isArray(jwk.key_ops) && !jwk.key_ops.includes('verify')) return undefined;
  const algorithm = typeof jwk.alg === 'string' ? jwk.alg : undefined;
  if (algorithm !== undefined && !ALGORITHMS.has(algorithm)) return undefined;
  let key: KeyObject;
  try {
    key = createPublicKey({ key: jwk as Record<string, string>, format: 'jwk' });
  } catch {
    return undefined;
  }
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) < LEAST_RSA_BITS) return undefined;
  return { id: typeof jwk.kid === 'string' ? jwk.kid : undefined, algorithm, key, curve: details?.namedCurve };
}

/** What is signed, and by which of the sender's keys. */
export interface SignedText {
  readonly algorithm: string;
  readonly keyId: string | undefined;
  /** Header and payload as sent, with the dot between. */
  readonly input: Buffer;
  readonly signature: Buffer;
}

/** `noKey`: no key of the set has this id and algorithm. */
export type SignatureOutcome = 'valid' | 'invalid' | 'noKey';

/** Tries the keys that fit: an id on both sides must agree, and so must the algorithm. */
export function verifySignature(keys: KeySet, signed: SignedText): SignatureOutcome {
  const algorithm = ALGORITHMS.get(signed.algorithm);
  if (algorithm === undefined) return 'noKey';
  let outcome: SignatureOutcome = 'noKey';
  for (const key of keys) {
    if (signed.keyId !== undefined && key.id !== undefined && key.id !== signed.keyId) continue;
    if (key.algorithm !== undefined && key.algorithm !== signed.algorithm) continue;
    if (key.key.asymmetricKeyType !== algorithm.keyType || key.curve !== algorithm.curve) continue;
    outcome = 'invalid';
    if (holds(algorithm, key.key, signed)) return 'valid';
  }
  return outcome;
}

function holds(algorithm: Algorithm, key: KeyObject, { input, signature }: SignedText): boolean {
  try {
    return verify(
      algorithm.hash,
      input,
      algorithm.pss
        ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
        : { key, dsaEncoding: 'ieee-p1363' },
      signature,
    );
  } catch {
    return false;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
