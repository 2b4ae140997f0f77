// Runs the load generator once, and measures the CPU that given processes use within its measured time.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { inside } from '../network.ts';
import { cpuSeconds } from '../processes.ts';
import type { LoadOptions, LoadResult } from './protocol.ts';

export interface Measured extends LoadResult {
  /** Of all `pids` together, within the measured time. */
  readonly cpuSeconds: number;
}

/** @throws Error when the generator fails or anything it did failed: a figure with errors in it means nothing */
export async function load(
  netns: string,
  options: LoadOptions,
  pids: readonly number[],
  generator: 'client.ts' | 'http-client.ts' = 'client.ts',
): Promise<Measured> {
  const script = join(import.meta.dirname, generator);
  const [program, ...args] = inside(netns, [process.execPath, script, JSON.stringify(options)]);
  const child = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const cpu = (): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  let before = 0;
  let used = 0;
  let result: LoadResult | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'measuring') before = cpu();
    else {
      used = cpu() - before;
      result = JSON.parse(line) as LoadResult;
    }
  }
  if (result === undefined) throw new Error(`the load generator gave no result (${options.mode})`);
  if (result.failed > 0)
    throw new Error(`${result.failed} failures under load (${options.mode} ${options.host}:${options.port})`);
  return { ...result, cpuSeconds: used };
}
