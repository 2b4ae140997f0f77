// The images of a room: the user's mappings and what this machine has, asked once and remembered where that is safe.

import { accessSync, constants } from 'node:fs';
import type { Result } from '../../model/result.ts';
import { unpackArchive } from './archive.ts';
import { parseImageOption } from './mapping.ts';
import { type ImageSources, resolveImage, type UnpackedImage } from './resolve.ts';
import type { Image, ImageMapping, ImageProblem } from './types.ts';

const FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

function findProgram(name: string): string | undefined {
  for (const folder of FOLDERS) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      // the next folder
    }
  }
  return undefined;
}

export interface ImageStoreOptions {
  /** Ambit's own folder. */
  readonly packageRoot: string;
  readonly nodeExecutable: string;
  /** `NAME=COMMAND`, as `--image` gives them. */
  readonly options: readonly string[];
  /** Where relative paths of these start, absolute. */
  readonly directory: string;
  /** Archives are unpacked below it. */
  readonly folder: string;
}

export class ImageStore {
  readonly #sources: ImageSources;
  readonly #unpacked = new Map<string, Promise<Result<UnpackedImage, string>>>();

  /** @throws Error naming the option that is not understood */
  constructor(options: ImageStoreOptions) {
    const mappings: ImageMapping[] = options.options.map((text) => {
      const mapping = parseImageOption(text, options.directory);
      if (!mapping.ok) throw new Error(mapping.error);
      return mapping.value;
    });
    this.#sources = {
      host: { ambitRoot: options.packageRoot, node: options.nodeExecutable, find: findProgram },
      mappings,
      unpack: (file) => {
        let unpacked = this.#unpacked.get(file);
        if (unpacked === undefined) {
          unpacked = unpackArchive(file, options.folder);
          this.#unpacked.set(file, unpacked);
          // A file that could not be read may be there, and whole, the next time.
          void unpacked.then((result) => {
            if (!result.ok) this.#unpacked.delete(file);
          });
        }
        return unpacked;
      },
    };
  }

  resolve(name: string): Promise<Result<Image, ImageProblem>> {
    return resolveImage(name, this.#sources);
  }
}
