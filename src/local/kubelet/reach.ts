// Whether another user than root could use the files that a container needs from this machine. Images are programs of this
// machine, and root's own folders (`/root`, say) are closed to others: there a container has to stay root.

import { type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { User } from '../../platform/linux/container.ts';
import type { Image } from '../images/types.ts';

type Look = (path: string) => Pick<Stats, 'mode' | 'uid' | 'gid'>;

const READ = 4;
const ENTER = 1;

function may(user: User, { mode, uid, gid }: ReturnType<Look>, bits: number): boolean {
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}

/**
 * The first of these paths that the user could not read, or not get to; undefined when all are open to it.
 * @param paths absolute; one that does not exist is left to whoever uses it
 */
export function outOfReach(user: User, paths: readonly string[], look: Look = statSync): string | undefined {
  if (user.uid === 0) return undefined;
  return paths.find((path) => {
    try {
      if (!may(user, look(path), READ)) return true;
      for (let folder = dirname(path); ; folder = dirname(folder)) {
        if (!may(user, look(folder), ENTER)) return true;
        if (folder === dirname(folder)) return false;
      }
    } catch {
      return false;
    }
  });
}

/** What of this machine a command line needs, as far as it tells: programs, scripts, where it starts. */
export function filesNeeded(image: Image, argv: readonly string[], workingDir: string): readonly string[] {
  if (image.root.kind !== 'host') return []; // its files are its own
  const links = image.root.programs.flatMap((program) => (program.kind === 'link' ? [program.target] : []));
  const named = argv.filter((word, i) => word.startsWith('/') || (i > 0 && /^[\w./-]+\.\w+$/.test(word)));
  return [workingDir, ...named.map((word) => resolve(workingDir, word)), ...links];
}
