// Istio's StringMatch: exact, prefix or regex.

import type { TextPredicate } from '../../model/facts.ts';
import { compileRegex } from '../../model/http/regex.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { type Json, optionalText } from '../read.ts';

/** An absent header satisfies nothing; every present one begins with nothing. */
export const PRESENT: TextPredicate = { kind: 'prefix', value: '' };

/**
 * @param emptyIsPresent  for headers and query parameters: nothing written, or the regex `*`, asks for presence
 * @param ignoreCase      exact and prefix only
 */
export function readStringMatch(
  match: Json,
  {
    emptyIsPresent = false,
    ignoreCase = false,
  }: { readonly emptyIsPresent?: boolean; readonly ignoreCase?: boolean } = {},
): Result<TextPredicate, string> {
  const exact = optionalText(match.exact);
  if (exact !== undefined && (exact !== '' || !emptyIsPresent))
    return ok(ignoreCase ? { kind: 'exactIgnoringCase', value: exact.toLowerCase() } : { kind: 'exact', value: exact });
  const prefix = optionalText(match.prefix);
  if (prefix !== undefined)
    return ok(
      ignoreCase ? { kind: 'prefixIgnoringCase', value: prefix.toLowerCase() } : { kind: 'prefix', value: prefix },
    );
  const pattern = optionalText(match.regex);
  if (pattern === '*' && emptyIsPresent) return ok(PRESENT);
  if (pattern !== undefined) {
    const compiled = compileRegex(pattern);
    return compiled.ok ? ok({ kind: 'regex', pattern }) : fail(compiled.error);
  }
  return emptyIsPresent ? ok(PRESENT) : fail('neither exact nor prefix nor regex is written');
}
