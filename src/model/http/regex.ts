// Users' regular expressions: RE2's syntax and linear time, always over the whole text (Istio: StringMatch regex,
// Gateway API RegularExpression).

import { RE2JS } from 're2js';
import { fail, ok, type Result } from '../result.ts';

export type RegexTest = (text: string) => boolean;

/** Characters; Istio's own bound for a path match. */
const MOST_CHARACTERS = 1024;
/** Compiled patterns that are kept. */
const MOST_KEPT = 4096;

const kept = new Map<string, RegexTest>();

/** @returns a test of whole texts, or a sentence saying why the pattern is none */
export function compileRegex(pattern: string): Result<RegexTest, string> {
  const known = kept.get(pattern);
  if (known !== undefined) return ok(known);
  if (pattern.length > MOST_CHARACTERS)
    return fail(`regular expression has ${pattern.length} characters, at most ${MOST_CHARACTERS} are taken`);
  let test: RegexTest;
  try {
    const compiled = RE2JS.compile(pattern);
    test = (text) => compiled.matches(text);
  } catch (error) {
    return fail(`\`${pattern}\` is not a regular expression as RE2 knows them: ${(error as Error).message}`);
  }
  if (kept.size >= MOST_KEPT) kept.clear();
  kept.set(pattern, test);
  return ok(test);
}

const refused: RegexTest = () => {
  throw new Error('a regular expression that does not compile reached a decision: refuse it where it is read');
};

/** For patterns that were checked where they were read. A bad one throws when it is asked, never matches by mistake. */
export function checkedRegex(pattern: string): RegexTest {
  const compiled = compileRegex(pattern);
  return compiled.ok ? compiled.value : refused;
}
