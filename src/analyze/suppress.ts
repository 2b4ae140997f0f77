// Messages that somebody does not want: by annotation on the object, or by `CODE=Kind name.namespace` with wildcards.

import { fail, ok, type Result } from '../model/result.ts';
import type { Message } from './message.ts';
import type { Resource } from './resource.ts';

const ANNOTATION = 'galley.istio.io/analyze-suppress';

/** One pattern of `--suppress`. */
export interface Suppression {
  readonly code: string;
  readonly kind: string;
  /** `name.namespace`, or the name alone; `*` stands for any text. */
  readonly name: string;
}

export function parseSuppression(written: string): Result<Suppression, string> {
  const match = /^([A-Z]{3}\d{4})=(\S+)\s+(\S+)$/.exec(written.trim());
  if (match === null) return fail(`\`${written}\` is not of the form CODE=Kind name.namespace`);
  return ok({ code: match[1] as string, kind: match[2] as string, name: match[3] as string });
}

/** `*` any text, in one pass without backtracking over more than one star at a time. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return first === text;
  const last = rest.pop() ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}

const fullName = (resource: Resource): string =>
  resource.namespace === '' ? resource.name : `${resource.name}.${resource.namespace}`;

export function isSuppressed(message: Message, suppressions: readonly Suppression[]): boolean {
  const { resource, code } = message;
  const annotated = (resource.annotations[ANNOTATION] ?? '').split(',').map((one) => one.trim());
  if (annotated.includes('*') || annotated.includes(code)) return true;
  return suppressions.some(
    (one) => one.code === code && matches(one.kind, resource.kind) && matches(one.name, fullName(resource)),
  );
}
