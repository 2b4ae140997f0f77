// What a load generator measured: latencies and counts within the measured time, printed as one line of JSON.

import type { LoadOptions, LoadResult } from './protocol.ts';

/** Latencies of the measured time, milliseconds. */
const latencies = new Float64Array(4_000_000);
let measuring = false;
let done = 0;
let failed = 0;

export function finished(startedMs: number): void {
  if (!measuring) return;
  if (done < latencies.length) latencies[done] = performance.now() - startedMs;
  done++;
}

export function finishedBytes(bytes: number): void {
  if (measuring) done += bytes;
}

export function lost(error: Error): void {
  failed++;
  if (failed === 1) console.error(`first failure: ${error.message}`);
}

/** Measures after the warm-up, prints the result and ends the process. */
export function record({ warmupMs, durationMs }: LoadOptions, withLatencies: boolean): void {
  setTimeout(() => {
    measuring = true;
    const startedMs = performance.now();
    console.log('measuring');
    setTimeout(() => {
      measuring = false;
      const seconds = (performance.now() - startedMs) / 1_000;
      const sorted = withLatencies ? latencies.subarray(0, Math.min(done, latencies.length)).sort() : undefined;
      const at = (q: number): number => sorted?.[Math.floor(sorted.length * q)] ?? Number.NaN;
      const result: LoadResult = { done, seconds, failed, ...(sorted ? { p50: at(0.5), p99: at(0.99) } : {}) };
      process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());
    }, durationMs);
  }, warmupMs);
}

/** Spreads `rate` calls a second evenly over the callers; timers are good for a millisecond. */
export function pace(callers: readonly { send(): void }[], rate: number): void {
  const startedMs = performance.now();
  let sent = 0;
  setInterval(() => {
    const due = Math.floor(((performance.now() - startedMs) * rate) / 1_000);
    for (; sent < due; sent++) callers[sent % callers.length]?.send();
  }, 1);
}
