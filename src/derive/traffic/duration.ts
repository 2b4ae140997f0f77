// Durations as protobuf's JSON writes them (`1.5s`), as Go does (`1h30m`), and as Gateway API does (`500ms`).

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};
const PART = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)/y;

/** @returns milliseconds; undefined for anything that is no duration, and for negative ones */
export function durationMs(value: unknown): number | undefined {
  if (typeof value !== 'string' || value === '' || value.length > 64) return undefined;
  if (value === '0') return 0;
  let total = 0;
  PART.lastIndex = 0;
  while (PART.lastIndex < value.length) {
    const match = PART.exec(value);
    if (match === null) return undefined;
    total += Number(match[1]) * (UNIT_MS[match[2] as string] as number);
  }
  return Number.isFinite(total) ? total : undefined;
}
