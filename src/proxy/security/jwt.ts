// One JSON Web Token: its parts, read strictly, and what its claims allow. Pure but for the signature itself (jwks.ts).
// A failure is the text that the client is told, in the words that Envoy uses, since people search for them.

import { fail, ok, type Result } from '../../model/result.ts';
import { isKnownAlgorithm, type SignedText } from './jwks.ts';

export interface Jwt extends SignedText {
  readonly payloadBase64: string;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly issuer: string;
  readonly subject: string;
  readonly audiences: readonly string[];
  /** Unix time, seconds; undefined: no bound. */
  readonly expiresAt: number | undefined;
  readonly notBefore: number | undefined;
}

/** Characters. Header lists are bounded above it; what is longer is no token that anybody issues. */
const MOST_TOKEN_CHARACTERS = 32 * 1024;
/** Envoy's allowance for clocks that differ. */
const CLOCK_SKEW_SECONDS = 60;

const BASE64URL = /^[A-Za-z0-9_-]+$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @returns the token's parts, nothing of which is proved yet */
export function readJwt(text: string): Result<Jwt, string> {
  if (text.length > MOST_TOKEN_CHARACTERS) return fail('Jwt is too long');
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  if (first < 0 || second < 0 || text.indexOf('.', second + 1) >= 0)
    return fail('Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections');

  const head = readPart('header', text.slice(0, first));
  if (!head.ok) return head;
  const { alg, kid, crit } = head.value;
  if (typeof alg !== 'string') return fail('Jwt header [alg] field is required and must be a string');
  if (!isKnownAlgorithm(alg)) return fail('Jwt header [alg] is not supported');
  if (kid !== undefined && typeof kid !== 'string') return fail('Jwt header [kid] field is not a string');
  // RFC 7515 §4.1.11: what must be understood and is not makes the token invalid.
  if (crit !== undefined) return fail('Jwt header [crit] field is not supported');

  const payloadBase64 = text.slice(first + 1, second);
  const payload = readPart('payload', payloadBase64);
  if (!payload.ok) return payload;
  const claims = payload.value;
  const { iss = '', sub = '' } = claims;
  if (typeof iss !== 'string') return fail('Jwt payload [iss] field is not a string');
  if (typeof sub !== 'string') return fail('Jwt payload [sub] field is not a string');
  const audiences = audiencesOf(claims.aud);
  if (audiences === undefined) return fail('Jwt payload [aud] field is not a string or string list');
  for (const name of ['iat', 'nbf', 'exp'])
    if (claims[name] !== undefined && !isSeconds(claims[name]))
      return fail(`Jwt payload [${name}] field is not an integer`);

  const signature = text.slice(second + 1);
  if (!isBase64Url(signature)) return fail('Jwt signature is an invalid Base64url encoded');
  return ok({
    algorithm: alg,
    keyId: kid === '' ? undefined : kid,
    input: Buffer.from(text.slice(0, second), 'latin1'),
    signature: Buffer.from(signature, 'base64url'),
    payloadBase64,
    claims,
    issuer: iss,
    subject: sub,
    audiences,
    expiresAt: claims.exp as number | undefined,
    notBefore: claims.nbf as number | undefined,
  });
}

const isBase64Url = (text: string): boolean => BASE64URL.test(text) && text.length % 4 !== 1;
const isSeconds = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;

function readPart(name: 'header' | 'payload', part: string): Result<Readonly<Record<string, unknown>>, string> {
  if (!isBase64Url(part)) return fail(`Jwt ${name} is an invalid Base64url encoded`);
  try {
    const parsed: unknown = JSON.parse(utf8.decode(Buffer.from(part, 'base64url')));
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return ok(parsed as Readonly<Record<string, unknown>>);
  } catch {
    // Told below: what exactly is wrong helps only who forges.
  }
  return fail(`Jwt ${name} is an invalid JSON`);
}

function audiencesOf(aud: unknown): readonly string[] | undefined {
  if (aud === undefined) return [];
  if (typeof aud === 'string') return [aud];
  return Array.isArray(aud) && aud.every((entry) => typeof entry === 'string') ? aud : undefined;
}

/** @returns why a token does not hold at this time; undefined: it does */
export function timeFault(
  { expiresAt, notBefore }: Pick<Jwt, 'expiresAt' | 'notBefore'>,
  nowMs: number,
): string | undefined {
  const now = Math.floor(nowMs / 1000);
  if (notBefore !== undefined && notBefore > now + CLOCK_SKEW_SECONDS) return 'Jwt not yet valid';
  if (expiresAt !== undefined && expiresAt + CLOCK_SKEW_SECONDS < now) return 'Jwt is expired';
  return undefined;
}

/** Whether one audience is allowed; scheme and closing slash make no difference (as in Envoy). */
export function audienceAllowed(allowed: readonly string[], audiences: readonly string[]): boolean {
  if (allowed.length === 0) return true;
  const accepted = new Set(allowed.map(plainAudience));
  return audiences.some((audience) => accepted.has(plainAudience(audience)));
}

const plainAudience = (audience: string): string => audience.replace(/^https?:\/\//, '').replace(/\/$/, '');
