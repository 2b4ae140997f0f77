// Child processes of a benchmark: started with a line to wait for, measured from /proc, ended by pid.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Clock ticks a second of /proc/PID/stat; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Running {
  readonly pid: number;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** Starts a program that writes its output to a file, as a container's does, and does not wait for it. */
export function startLogging(
  command: readonly string[],
  logFile: string,
  env: Readonly<Record<string, string>> = {},
): Running {
  const [program, ...args] = command;
  if (program === undefined) throw new Error('no program');
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(program, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } });
  closeSync(log);
  return asRunning(child);
}

function asRunning(child: ChildProcess): Running {
  const { pid } = child;
  if (pid === undefined) throw new Error(`\`${child.spawnfile}\` was not started`);
  return {
    pid,
    child,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Resolves when stdout or stderr has a line that matches. */
  readonly ready: RegExp;
  readonly timeoutMs?: number;
}

/** Starts a program. @throws Error with the tail of its output when it ends or stays silent instead of getting ready */
export async function start(command: readonly string[], options: StartOptions): Promise<Running> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error('no program');
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
  const tail: string[] = [];
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => failed('was not ready in time'), options.timeoutMs ?? 15_000);
    const failed = (why: string): void => {
      clearTimeout(timer);
      reject(new Error(`\`${command.join(' ').slice(0, 200)}\` ${why}:\n${tail.slice(-20).join('\n')}`));
    };
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        tail.push(line);
        if (tail.length > 100) tail.shift();
        if (!options.ready.test(line)) return;
        clearTimeout(timer);
        resolve();
      });
    child.on('error', (error) => failed(error.message));
    child.on('exit', (code, signal) => failed(`ended (${code ?? signal})`));
  });
  await ready;
  return asRunning(child);
}

/** Runs a program to its end and reads its stdout. @throws Error when it fails */
export async function run(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error('no program');
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new Error(`\`${command.join(' ').slice(0, 200)}\` failed (${code}):\n${err.slice(-2000)}`);
  return out;
}

/** CPU time of a process, all threads, user and system; seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process; megabytes. */
export function rssMB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return (Number(line?.[1] ?? 0) * 1024) / 1e6;
}
