// Where tokens are found in a request, and how they are taken out of it. Every line of a repeated header, every value
// of a repeated parameter and every cookie of the name counts: a token that nobody looked at must not get through.

import type { TokenPlace } from '../../model/proxy/security.ts';
import type { Fields } from '../../wire/http1/index.ts';

/** More tokens than this in one request are an attack on the verifier's time. */
export const MOST_TOKENS = 8;

/**
 * @param query   with its `?`, or empty
 * @param longer  prefixes of lines that belong to another place of the same header
 * @returns tokens as sent, perhaps empty texts; at most `MOST_TOKENS` + 1
 */
export function tokensAt(place: TokenPlace, fields: Fields, query: string, longer: readonly string[]): string[] {
  const found: string[] = [];
  const take = (token: string): void => {
    if (found.length <= MOST_TOKENS) found.push(token);
  };
  switch (place.kind) {
    case 'header':
      for (const line of fields.all(place.name))
        if (line.startsWith(place.prefix) && !longer.some((prefix) => line.startsWith(prefix)))
          take(line.slice(place.prefix.length).trim());
      break;
    case 'query':
      for (const [name, value] of parametersOf(query)) if (name === place.name) take(unescaped(value));
      break;
    case 'cookie':
      for (const line of fields.all('cookie'))
        for (const [name, value] of cookiesOf(line)) if (name === place.name) take(value);
      break;
  }
  return found;
}

/**
 * Takes one token out of its place.
 * @returns the query as it is then
 */
export function removeToken(place: TokenPlace, token: string, fields: Fields, query: string): string {
  switch (place.kind) {
    case 'header':
      rewriteLines(fields, place.name, (line) =>
        line.startsWith(place.prefix) && line.slice(place.prefix.length).trim() === token ? undefined : line,
      );
      return query;
    case 'cookie':
      rewriteLines(fields, 'cookie', (line) => {
        const rest = cookiesOf(line).filter(([name, value]) => name !== place.name || value !== token);
        return rest.length === 0 ? undefined : rest.map(([, , written]) => written).join('; ');
      });
      return query;
    case 'query': {
      const rest = parametersOf(query).filter(([name, value]) => name !== place.name || unescaped(value) !== token);
      return rest.length === 0 ? '' : `?${rest.map(([, , written]) => written).join('&')}`;
    }
  }
}

function rewriteLines(fields: Fields, name: string, rewrite: (line: string) => string | undefined): void {
  const lines = fields.all(name);
  const kept = lines.map(rewrite).filter((line) => line !== undefined);
  if (kept.length === lines.length && kept.every((line, i) => line === lines[i])) return;
  fields.delete(name);
  for (const line of kept) fields.append(name, line);
}

/** Name, value, and the whole as written. */
function parametersOf(query: string): [name: string, value: string, written: string][] {
  if (query.length < 2) return [];
  return query
    .slice(1)
    .split('&')
    .map((written) => {
      const equals = written.indexOf('=');
      return equals < 0 ? [written, '', written] : [written.slice(0, equals), written.slice(equals + 1), written];
    });
}

/** A token needs no escapes; who writes them all the same means the same token. */
function unescaped(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function cookiesOf(line: string): [name: string, value: string, written: string][] {
  return line.split(';').map((pair) => {
    const written = pair.trim();
    const equals = written.indexOf('=');
    if (equals < 0) return [written, '', written];
    return [written.slice(0, equals).trim(), written.slice(equals + 1).trim(), written];
  });
}
