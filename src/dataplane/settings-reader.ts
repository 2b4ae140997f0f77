// Reads settings one by one and remembers every problem, so that a start-up error names all of them. A value that cannot be
// used yields a harmless stand-in, which nobody sees because the whole is refused then.

import type { Result } from '../model/result.ts';

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * `10s`, `1h30m`, `500ms`; a bare number is seconds.
 * @returns milliseconds, undefined if it is no duration or longer than a century
 */
export function parseDurationMs(text: string): number | undefined {
  const bare = text.trim();
  if (/^\d+$/.test(bare)) return sane(Number(bare) * 1000);
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d)\s*)+$/.test(bare)) return undefined;
  let total = 0;
  for (const [, number, unit] of bare.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(number) * (UNITS_MS[unit as string] as number);
  return sane(Math.round(total));
}
const sane = (ms: number): number | undefined => (ms <= 36_525 * 86_400_000 ? ms : undefined);

export class SettingsReader {
  readonly problems: string[] = [];
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  problem(text: string): void {
    this.problems.push(text);
  }

  /** An empty value counts as not set. */
  text(name: string): string | undefined {
    return this.#env[name] || undefined;
  }
  /** As it is: set to the empty text differs from not set. */
  raw(name: string): string | undefined {
    return this.#env[name];
  }

  boolean<T>(name: string, fallback: T): boolean | T {
    const value = this.text(name);
    if (value === undefined) return fallback;
    if (value === 'true' || value === 'false') return value === 'true';
    this.problem(`${name}=\`${value}\` is neither true nor false`);
    return fallback;
  }

  integer(name: string, fallback: number, min = 0, max = 2 ** 31 - 1): number {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    this.problem(`${name}=\`${value}\` is no whole number from ${min} to ${max}`);
    return fallback;
  }

  durationMs(name: string, fallback: number): number {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const ms = parseDurationMs(value);
    if (ms !== undefined) return ms;
    this.problem(`${name}=\`${value}\` is no duration: write 10s, 5m or 24h`);
    return fallback;
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    this.problem(`${name}=\`${value}\` is not one of ${choices.join(', ')}`);
    return fallback;
  }

  /** Variables `<prefix><K>`, by K, in the order of their names. */
  prefixed(prefix: string): [key: string, value: string][] {
    return Object.entries(this.#env)
      .filter((entry): entry is [string, string] => entry[0].startsWith(prefix) && entry[1] !== undefined)
      .map(([name, value]): [string, string] => [name.slice(prefix.length), value])
      .filter(([key]) => key !== '')
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** The value of a result, its error noted as a problem. */
  take<T>(name: string, result: Result<T, string>, fallback: T): T {
    if (result.ok) return result.value;
    this.problem(`${name}: ${result.error}`);
    return fallback;
  }
}
