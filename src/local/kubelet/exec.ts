// Running a command in a container that runs: for probes and hooks (output collected), for `kubectl exec` (streams).

import type { Container } from '../../platform/linux/container.ts';
import { type Ending, type Program, type ProgramSpec, StartError, startProgram } from './program.ts';

/** A container with the program that it runs; the command gets the same environment, folder, user and powers. */
export interface Running {
  readonly container: Container;
  readonly program: Program;
  readonly launch: ProgramSpec;
}

const MAX_OUTPUT_BYTES = 10_240;

export interface ExecOptions {
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** Starts a command with streams. @throws StartError */
export function startExec(running: Running, argv: readonly string[], options: ExecOptions): Promise<Program> {
  const { env, workingDir, capabilities, user } = running.launch;
  return startProgram(running.container, { argv, env, workingDir, capabilities, user, ...options });
}

/** Runs a command to its end, or kills it. @returns its exit code and the beginning of its output, undefined when it took too long */
export async function runCommand(
  running: Running,
  argv: readonly string[],
  timeoutMs: number,
): Promise<{ exitCode: number; output: string } | undefined> {
  let program: Program;
  try {
    program = await startExec(running, argv, { stdin: false, tty: false });
  } catch (error) {
    if (error instanceof StartError) return { exitCode: 126, output: error.message };
    throw error;
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  program.io.onOutput((_stream, chunk) => {
    if (bytes < MAX_OUTPUT_BYTES) parts.push(chunk);
    bytes += chunk.length;
  });
  let late: NodeJS.Timeout | undefined;
  const ending = await Promise.race<Ending | undefined>([
    program.ended,
    new Promise((resolve) => {
      late = setTimeout(() => resolve(undefined), timeoutMs);
    }),
  ]);
  clearTimeout(late);
  if (ending === undefined) {
    program.child.kill('SIGKILL');
    return undefined;
  }
  return { exitCode: ending.exitCode, output: Buffer.concat(parts).subarray(0, MAX_OUTPUT_BYTES).toString('utf8') };
}
