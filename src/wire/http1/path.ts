// The one normal form of a request path: what is judged by policies, matched by routes and sent on (Istio:
// meshConfig.pathNormalization). Pure, total and idempotent; per request, with a fast way out for ordinary paths.
//
// Stricter than Istio where two readers could still disagree: a `%` without two hexadecimal digits, and `..;x`, which
// some servers read as `..`, are refused in every mode that normalises.

import { fail, ok, type Result } from '../../model/result.ts';

/**
 * NONE                       as received, without the fragment
 * BASE                       RFC 3986 §6.2.2: unreserved characters unescaped, dot segments resolved; `\` is `/`
 * MERGE_SLASHES              BASE, then `//` is `/`
 * DECODE_AND_MERGE_SLASHES   `%2F` and `%5C` are unescaped first, then MERGE_SLASHES
 */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

/** Istio's default. */
export const DEFAULT_PATH_NORMALIZATION: PathNormalization = 'BASE';

/**
 * relative          neither `/…` nor `*`
 * character         control, space or non-ASCII character
 * nul               `%00`, which Istio refuses always
 * malformedEscape   `%` without two hexadecimal digits
 * dotSegmentParams  `.` or `..` with parameters (`/..;x/`)
 */
export type PathFault = 'relative' | 'character' | 'nul' | 'malformedEscape' | 'dotSegmentParams';

export interface NormalPath {
  /** Without query and fragment. */
  readonly path: string;
  /** With its `?`, or empty. Never changed. */
  readonly query: string;
}

/** Anything that some mode could change or refuse. */
const UNUSUAL = /[^\x21-\x7e]|[%\\"<>^`{|}]|\/[./]/;
const NOT_VISIBLE = /[^\x21-\x7e]/;
const NUL = /%00/;
const MALFORMED_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
/** RFC 3986 §2.3: letters, digits, `-`, `.`, `_`, `~`. */
const ESCAPED_UNRESERVED = /%(?:2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])/g;
const ESCAPED_SLASH = /%2[Ff]/g;
const ESCAPED_BACKSLASH = /%5[Cc]/g;
/** Not allowed in a URI as they are; Envoy escapes them too. */
const TO_ESCAPE = /["<>^`{|}]/g;
const DOT_SEGMENT_PARAMS = /\/\.\.?;/;

const decoded = (triplet: string): string => String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
const encoded = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;

/**
 * @param target  origin-form or `*`: a path, its query, and perhaps a fragment, which is dropped (Istio: never judged,
 *                never sent)
 * @returns total: a path that servers could read in two ways is a fault, to be answered with 400
 */
export function normalizePath(target: string, mode: PathNormalization): Result<NormalPath, PathFault> {
  const hash = target.indexOf('#');
  const whole = hash < 0 ? target : target.slice(0, hash);
  const question = whole.indexOf('?');
  const path = question < 0 ? whole : whole.slice(0, question);
  const query = question < 0 ? '' : whole.slice(question);
  if (query !== '' && NOT_VISIBLE.test(query)) return fail('character');
  if (path.charCodeAt(0) !== 0x2f) return path === '*' && query === '' ? ok({ path, query }) : fail('relative');
  if (!UNUSUAL.test(path)) return ok({ path, query });
  if (NOT_VISIBLE.test(path)) return fail('character');
  if (NUL.test(path)) return fail('nul');
  if (mode === 'NONE') return ok({ path, query });
  return normalizeUnusual(path, query, mode);
}

function normalizeUnusual(received: string, query: string, mode: PathNormalization): Result<NormalPath, PathFault> {
  // INVARIANT (one pass): `%25` stays, and every other `%` begins an escape, so unescaping makes no new escape.
  if (MALFORMED_ESCAPE.test(received)) return fail('malformedEscape');
  let path = received;
  if (mode === 'DECODE_AND_MERGE_SLASHES') path = path.replace(ESCAPED_SLASH, '/').replace(ESCAPED_BACKSLASH, '/');
  path = path.replace(ESCAPED_UNRESERVED, decoded).replaceAll('\\', '/').replace(TO_ESCAPE, encoded);
  if (DOT_SEGMENT_PARAMS.test(path)) return fail('dotSegmentParams');
  if (path.includes('/.')) path = resolveDotSegments(path);
  if (mode !== 'BASE') path = path.replace(/\/{2,}/g, '/');
  return ok({ path, query });
}

/** RFC 3986 §5.2.4. `..` at the root stays there. */
function resolveDotSegments(path: string): string {
  const segments = path.split('/');
  const kept: string[] = [];
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] ?? '';
    if (segment !== '.' && segment !== '..') {
      kept.push(segment);
      continue;
    }
    if (segment === '..') kept.pop();
    if (i === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}
