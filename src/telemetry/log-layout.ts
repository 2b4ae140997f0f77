// How one log line looks: ztunnel's plain layout (tab-separated, RFC 3339 UTC with microseconds) and its JSON layout.
// Pure. Runs once per line; an access log line per connection goes through here, so it only concatenates.

import type { Level } from './log-filter.ts';

/** Text that the plain layout shows without quotes, such as an address. In JSON it is an ordinary string. */
export class Bare {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
export const bare = (text: string): Bare => new Bare(text);

/** A missing value (`undefined`) is left out of the line. An error is written as its message and those of its causes. */
export type FieldValue = string | number | bigint | boolean | Bare | Error | undefined;
export type Fields = Readonly<Record<string, FieldValue>>;

export type LogFormat = 'plain' | 'json';

/** A peer can put any text into a message; one line must stay one line, and a terminal must not obey it. */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;
const UNSAFE_ONCE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;
const escapeCharacter = (c: string): string => {
  if (c === '\n') return '\\n';
  if (c === '\t') return '\\t';
  if (c === '\r') return '\\r';
  return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
};
/** Nearly every text: printable ASCII without quote and backslash, which needs nothing done. */
const ORDINARY = /^[ !#-[\]-~]*$/;
const safe = (text: string): string =>
  ORDINARY.test(text) || !UNSAFE_ONCE.test(text) ? text : text.replace(UNSAFE, escapeCharacter);
/** JSON leaves U+007F to U+009F and the line separators alone: terminals and line readers do not. */
const quote = (text: string): string => {
  if (ORDINARY.test(text)) return `"${text}"`;
  const quoted = JSON.stringify(text);
  return UNSAFE_ONCE.test(quoted) ? quoted.replace(UNSAFE, escapeCharacter) : quoted;
};

/** An error's message with those of its causes, outermost first; at most 8 deep. */
export function errorText(error: Error): string {
  let text = error.message || error.name;
  let cause = error.cause;
  for (let depth = 0; cause instanceof Error && depth < 8; depth++, cause = cause.cause)
    if (cause.message !== '' && !text.includes(cause.message)) text += `: ${cause.message}`;
  return text;
}

function plainValue(value: Exclude<FieldValue, undefined>): string {
  if (typeof value === 'string') return quote(value);
  if (value instanceof Bare) return safe(value.text);
  if (value instanceof Error) return quote(errorText(value));
  return String(value);
}

function jsonValue(value: Exclude<FieldValue, undefined>): string {
  if (typeof value === 'string') return quote(value);
  if (value instanceof Bare) return quote(value.text);
  if (value instanceof Error) return quote(errorText(value));
  if (typeof value === 'number' && !Number.isFinite(value)) return quote(String(value));
  return String(value);
}

/** One line with its newline. `time` is what `formatTime` gives. */
export function formatLine(
  format: LogFormat,
  time: string,
  level: Level,
  scope: string,
  message: string,
  fields: Fields | undefined,
): string {
  if (format === 'json') {
    let line = `{"level":"${level}","time":"${time}","scope":${quote(scope)},"message":${quote(message)}`;
    for (const key in fields) {
      const value = fields[key];
      if (value !== undefined) line += `,${quote(key)}:${jsonValue(value)}`;
    }
    return `${line}}\n`;
  }
  let line = `${time}\t${level}\t${scope}\t${safe(message)}`;
  let gap = '\t';
  for (const key in fields) {
    const value = fields[key];
    if (value === undefined) continue;
    line += `${gap}${safe(key)}=${plainValue(value)}`;
    gap = ' ';
  }
  return `${line}\n`;
}

let second = Number.NaN;
let prefix = '';

/**
 * RFC 3339 in UTC with microseconds: `2026-05-04T09:08:07.123456Z`.
 * @param micros  Unix time in microseconds
 */
export function formatTime(micros: number): string {
  const s = Math.floor(micros / 1e6);
  if (s !== second) {
    second = s;
    prefix = new Date(s * 1000).toISOString().slice(0, 20);
  }
  return `${prefix}${String(Math.floor(micros - s * 1e6)).padStart(6, '0')}Z`;
}
