// The images of a room: the user's mappings and what this machine has, asked once and remembered where that is safe.

import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Result } from '../../model/result.ts';
import { unpackArchive } from './archive.ts';
import { parseImageOption, parseImageSettings } from './mapping.ts';
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
  /** Where relative paths of these start, absolute; an `ambit.yaml` there maps images too. */
  readonly directory: string;
  /** Archives are unpacked below it. */
  readonly folder: string;
}

export class ImageStore {
  readonly #sources: ImageSources;
  readonly #unpacked = new Map<string, Promise<Result<UnpackedImage, string>>>();

  private constructor(options: ImageStoreOptions, mappings: readonly ImageMapping[]) {
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

  /** @throws Error naming the option or the settings that are not understood */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const mappings = [...(await settingsOf(options.directory))];
    for (const text of options.options) {
      const mapping = parseImageOption(text, options.directory);
      if (!mapping.ok) throw new Error(mapping.error);
      mappings.push(mapping.value); // what is typed goes before what is written down
    }
    return new ImageStore(options, mappings);
  }

  resolve(name: string): Promise<Result<Image, ImageProblem>> {
    return resolveImage(name, this.#sources);
  }
}

const SETTINGS = 'ambit.yaml';

async function settingsOf(directory: string): Promise<ImageMapping[]> {
  const file = join(directory, SETTINGS);
  if (!existsSync(file)) return [];
  const { parse } = await import('yaml'); // few have such a file, and reading it costs
  let settings: unknown;
  try {
    settings = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Error(`\`${file}\` does not parse: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  const images =
    typeof settings === 'object' && settings !== null && 'images' in settings ? settings.images : undefined;
  const mappings = parseImageSettings(images, directory);
  if (!mappings.ok) throw new Error(`\`${file}\`: ${mappings.error.join('; ')}`);
  return mappings.value;
}
