// Path templates of AuthorizationPolicy: `/orders/{*}/items`, `/files/{**}`. Matched in one pass, without backtracking.

import type { TemplatePart } from '../facts.ts';
import { fail, ok, type Result } from '../result.ts';

/**
 * @returns its parts, or a sentence saying what is wrong: operators fill a whole segment, none follows `{**}`, and `*`
 *          outside braces does not mix with them (Istio's rules)
 */
export function parsePathTemplate(text: string): Result<readonly TemplatePart[], string> {
  if (!text.startsWith('/')) return fail(`path template \`${text}\` does not begin with /`);
  const parts: TemplatePart[] = [];
  let literal = '';
  let rest = false;
  for (const segment of text.slice(1).split('/')) {
    literal += '/';
    if (segment !== '{*}' && segment !== '{**}') {
      if (/[{}*]/.test(segment))
        return fail(`segment \`${segment}\` of path template \`${text}\` is neither text nor {*} nor {**}`);
      literal += segment;
      continue;
    }
    if (rest) return fail(`in path template \`${text}\` an operator follows {**}`);
    parts.push({ text: literal }, segment === '{*}' ? 'one' : 'rest');
    rest = segment === '{**}';
    literal = '';
  }
  if (literal !== '') parts.push({ text: literal });
  return ok(parts);
}

export function matchesTemplate(parts: readonly TemplatePart[], path: string): boolean {
  let at = 0;
  for (const [index, part] of parts.entries()) {
    if (part === 'rest') {
      const last = parts[index + 1];
      if (last === undefined) return true;
      return typeof last === 'object' && path.length - at >= last.text.length && path.endsWith(last.text);
    }
    if (part === 'one') {
      const slash = path.indexOf('/', at);
      const end = slash < 0 ? path.length : slash;
      if (end === at) return false;
      at = end;
    } else {
      if (!path.startsWith(part.text, at)) return false;
      at += part.text.length;
    }
  }
  return at === path.length;
}

/** `/orders/{*}/items` */
export const formatTemplate = (parts: readonly TemplatePart[]): string =>
  parts.map((part) => (part === 'one' ? '{*}' : part === 'rest' ? '{**}' : part.text)).join('');
