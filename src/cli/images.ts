// What `ambit up` runs for an image name: the user's mappings, and programs in the place of the mesh's own parts.

import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Failure } from './failure.ts';

export interface ImageFlags {
  readonly image?: readonly string[];
  /** A program that speaks ZDS, delta ADS and the certificate service. */
  readonly ztunnel?: string;
  /** A program that serves delta ADS and the certificate service, from the Kubernetes API of its pod. */
  readonly istiod?: string;
}

/** @returns mappings `NAME=COMMAND` of the room. @throws Failure for one that cannot be meant */
export function imageMappings(flags: ImageFlags): string[] {
  const images = [...(flags.image ?? [])];
  for (const image of images)
    if (!/^[^=\s]+=.+$/.test(image))
      throw new Failure({
        what: `\`--image ${image}\` is not understood`,
        why: 'it is an image name, `=`, and the command to run for it',
        fix: "for example --image 'shop/api:1=node server.js'",
        exitCode: 2,
      });
  const { ztunnel, istiod } = flags;
  if (ztunnel !== undefined)
    images.push(`ambit/ztunnel=${programWord('ztunnel', ztunnel, 'speaks ZDS, ADS and the certificate service')}`);
  // As Istio's charts start it; everything else is in its environment.
  if (istiod !== undefined)
    images.push(`ambit/istiod=${programWord('istiod', istiod, 'serves ADS and the certificate service')} discovery`);
  return images;
}

/** One word of a command line: quoted, so that a path with blanks or shell signs stays one. */
function programWord(flag: string, path: string, does: string): string {
  const program = resolve(path);
  const why = notAProgram(program);
  if (why === undefined) return `'${program.replaceAll("'", `'"'"'`)}'`;
  throw new Failure({
    what: `\`--${flag} ${path}\` cannot be run`,
    why,
    fix: `give the path of a program that ${does}`,
    exitCode: 2,
  });
}

function notAProgram(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'it is no file';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? 'no such file'
      : `it may not be executed: chmod +x ${path}`;
  }
}
