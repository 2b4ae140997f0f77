// Starting one program in a container and learning how it ended; containers and `exec` alike.

import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import type { Capability } from '../../platform/linux/capabilities.ts';
import type { Container, User } from '../../platform/linux/container.ts';
import { hasCode, SystemError } from '../../platform/linux/errors.ts';
import { ContainerIo } from './container-io.ts';

export interface ProgramSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly capabilities: readonly Capability[] | 'all';
  readonly stdin: boolean;
  readonly tty: boolean;
  /** Undefined: root of the room. */
  readonly user?: User | undefined;
}

export interface Ending {
  /** 128 + n for signal n. */
  readonly exitCode: number;
  readonly signal: number | undefined;
}

export interface Program {
  readonly child: ChildProcess;
  readonly io: ContainerIo;
  /** Resolves when the program has ended and everything it wrote has been read. */
  readonly ended: Promise<Ending>;
}

/** A program that could not be started, in the words that container runtimes use for it. */
export class StartError extends Error {
  readonly notFound: boolean;
  constructor(message: string, notFound: boolean) {
    super(message);
    this.notFound = notFound;
  }
}

/** After the program has ended, its orphans may hold its output open; they are not waited for longer than this. */
const DRAIN_MS = 300;

/**
 * Starts a program; resolves when it runs.
 * @throws StartError when it cannot be executed
 */
export async function startProgram(container: Container, spec: ProgramSpec): Promise<Program> {
  const [program] = spec.argv;
  if (program === undefined || program === '') throw new StartError('no command specified', true);
  const io = spec.tty ? container.withFiles(() => ContainerIo.terminal()) : ContainerIo.pipes({ stdin: spec.stdin });
  let child: ChildProcess;
  try {
    child = container.start({
      argv: argvFor(container, spec, io),
      env: spec.tty ? { TERM: 'xterm', ...spec.env } : spec.env,
      workingDir: spec.workingDir,
      capabilities: spec.capabilities,
      stdio: io.stdio,
      detached: spec.tty,
      user: spec.user,
    });
  } catch (error) {
    io.close();
    if (error instanceof SystemError)
      throw new StartError(`chdir to cwd ("${spec.workingDir}") set in config.json failed: ${error.code}`, false);
    throw error;
  }
  io.started();
  if (child.pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once('error', resolve));
    io.close();
    throw explain(program, error);
  }
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => {
      // A slow reader is waited for all the same: what the program wrote is not lost.
      const late = setInterval(() => {
        if (!io.backedUp) io.close();
      }, DRAIN_MS);
      void io.drained.then(() => {
        clearInterval(late);
        io.close();
        const number = signal === null ? undefined : constants.signals[signal];
        resolve({ exitCode: code ?? 128 + (number ?? 0), signal: number });
      });
    });
  });
  return { child, io, ended };
}

/** A terminal becomes the program's controlling one when a session's leader opens it: a shell does that on the way. */
function argvFor(container: Container, spec: ProgramSpec, io: ContainerIo): readonly [string, ...string[]] {
  const argv = spec.argv as readonly [string, ...string[]];
  if (io.terminal === undefined || !container.withFiles(() => existsSync('/bin/sh'))) return argv;
  return ['/bin/sh', '-c', `exec "$@" <${io.terminal.path} >${io.terminal.path} 2>&1`, 'sh', ...argv];
}

function explain(program: string, error: Error): StartError {
  if (hasCode(error, 'ENOENT')) {
    const where = program.includes('/')
      ? `stat ${program}: no such file or directory`
      : 'executable file not found in $PATH';
    return new StartError(`exec: "${program}": ${where}`, true);
  }
  if (hasCode(error, 'EACCES')) return new StartError(`exec: "${program}": permission denied`, false);
  return new StartError(`exec: "${program}": ${error.message}`, false);
}
