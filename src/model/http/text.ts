// Whether a text satisfies a predicate: the definition, and the closure that fast forms run.

import type { TextPredicate } from '../facts.ts';
import { cidrContains, parseIp } from '../ip.ts';
import { unreachable } from '../result.ts';
import { matchesTemplate } from './path-template.ts';
import { checkedRegex } from './regex.ts';

export type TextTest = (text: string) => boolean;

/** Total, but for a regular expression that does not compile. */
export function textSatisfies(predicate: TextPredicate, text: string): boolean {
  switch (predicate.kind) {
    case 'exact':
      return text === predicate.value;
    case 'prefix':
      return text.startsWith(predicate.value);
    case 'suffix':
      return text.endsWith(predicate.value);
    case 'present':
      return text !== '';
    case 'exactIgnoringCase':
      return text.toLowerCase() === predicate.value;
    case 'prefixIgnoringCase':
      return text.toLowerCase().startsWith(predicate.value);
    case 'pathPrefix':
      return hasPathPrefix(text, predicate.value);
    case 'pathTemplate':
      return matchesTemplate(predicate.parts, text);
    case 'regex':
      return checkedRegex(predicate.pattern)(text);
    case 'cidr': {
      const ip = parseIp(text);
      return ip.ok && cidrContains(predicate.range, ip.value);
    }
    case 'port':
      return false;
    default:
      return unreachable(predicate);
  }
}

export const hasPathPrefix = (path: string, prefix: string): boolean =>
  path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f);

/** The value of a `pathPrefix`: trailing slashes are ignored (Gateway API). */
export const pathPrefixOf = (written: string): string => written.replace(/\/+$/, '');

/** One predicate with what it needs prepared. */
export function compileText(predicate: TextPredicate): TextTest {
  if (predicate.kind === 'regex') return checkedRegex(predicate.pattern);
  return (text) => textSatisfies(predicate, text);
}

/** Whether one of them holds; exact texts as one set. */
export function compileAnyText(predicates: readonly TextPredicate[]): TextTest {
  const exact = new Set<string>();
  const rest: TextTest[] = [];
  for (const predicate of predicates)
    if (predicate.kind === 'exact') exact.add(predicate.value);
    else rest.push(compileText(predicate));
  const [value] = exact;
  const [only] = rest;
  if (rest.length === 0) return exact.size === 1 ? (text) => text === value : (text) => exact.has(text);
  if (exact.size === 0 && rest.length === 1 && only !== undefined) return only;
  return (text) => exact.has(text) || rest.some((test) => test(text));
}
