// `%START_TIME%` and `%START_TIME(%Y-%m-%dT%T.%3f)%`: UTC, by strftime's letters as far as logs use them.

import type { Reported } from './ends.ts';

let second = Number.NaN;
let secondText = '';

/** `2026-05-04T09:08:07.123Z`; most lines share their second with the one before. */
export function isoTime(ms: number): string {
  const whole = Math.floor(ms / 1000);
  if (whole !== second) {
    second = whole;
    secondText = new Date(whole * 1000).toISOString().slice(0, 20);
  }
  const rest = Math.floor(ms) - whole * 1000;
  return `${secondText}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const two = (n: number): string => String(n).padStart(2, '0');

type Part = (at: Date, ms: number) => string;
const date: Part = (at) => `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
const time: Part = (at) => `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
/** Digits of the second's fraction; the clock gives microseconds at most. */
const fraction =
  (digits: number): Part =>
  (_, ms) =>
    String(Math.floor((ms - Math.floor(ms / 1000) * 1000) * 1000))
      .padStart(6, '0')
      .padEnd(9, '0')
      .slice(0, digits);

const PARTS: Readonly<Record<string, Part>> = {
  Y: (at) => String(at.getUTCFullYear()),
  m: (at) => two(at.getUTCMonth() + 1),
  d: (at) => two(at.getUTCDate()),
  e: (at) => String(at.getUTCDate()).padStart(2, ' '),
  b: (at) => MONTHS[at.getUTCMonth()] ?? '',
  a: (at) => DAYS[at.getUTCDay()] ?? '',
  H: (at) => two(at.getUTCHours()),
  M: (at) => two(at.getUTCMinutes()),
  S: (at) => two(at.getUTCSeconds()),
  F: date,
  T: time,
  s: (_, ms) => String(Math.floor(ms / 1000)),
  f: fraction(9),
  '1f': fraction(1),
  '3f': fraction(3),
  '6f': fraction(6),
  '9f': fraction(9),
  E3S: (at, ms) => `${two(at.getUTCSeconds())}.${fraction(3)(at, ms)}`,
  E6S: (at, ms) => `${two(at.getUTCSeconds())}.${fraction(6)(at, ms)}`,
  z: () => '+0000',
  Z: () => 'UTC',
  '%': () => '%',
};

/** @param format  empty: ISO 8601 with milliseconds  @returns undefined: it has a letter that is not known */
export function startTime(format: string): ((exchange: Reported) => string) | undefined {
  if (format === '') return (exchange) => isoTime(exchange.startedAtMs);
  const parts: (string | Part)[] = [];
  let end = 0;
  for (const match of format.matchAll(/%(E[36]S|[1369]?f|.)/g)) {
    const part = PARTS[match[1] ?? ''];
    if (part === undefined) return undefined;
    parts.push(format.slice(end, match.index), part);
    end = match.index + match[0].length;
  }
  parts.push(format.slice(end));
  return ({ startedAtMs }) => {
    const at = new Date(startedAtMs);
    let text = '';
    for (const part of parts) text += typeof part === 'string' ? part : part(at, startedAtMs);
    return text;
  };
}
