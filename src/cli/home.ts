// Where meshes live: one folder a name under `$AMBIT_HOME` (default `~/.ambit`).

import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from './failure.ts';

const NAME = /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/;

export const ambitHome = (): string => process.env.AMBIT_HOME || join(homedir(), '.ambit');

export function stateDirOf(name: string): string {
  if (!NAME.test(name))
    throw new Failure({
      what: `\`${name}\` cannot name a mesh`,
      why: 'a name is up to 32 lower-case letters, digits and dashes',
      fix: 'choose for example --name shop',
      exitCode: 2,
    });
  return join(ambitHome(), name);
}

/**
 * Makes a folder of the owner's alone, and those above it that are missing. Step by step: Node's own recursion never ends
 * where the kernel answers "no such file" to new folders, as below /proc. @throws the error of `mkdir`
 */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // another process was quicker
  }
}
