// Where meshes live: one folder a name under `$AMBIT_HOME` (default `~/.ambit`).

import { homedir } from 'node:os';
import { join } from 'node:path';
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
