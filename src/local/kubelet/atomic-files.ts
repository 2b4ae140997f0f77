// Replaces all files of a folder at once, as the kubelet does, so that a reader never sees half of an update:
//
//   <folder>/name        -> ..data/name
//   <folder>/..data      -> ..2026_05_04_09_08_07.123456789
//   <folder>/..2026_…/   the files
//
// The link `..data` is renamed over the old one.

import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { VolumeFiles } from './volume-files.ts';

const DATA = '..data';

let counter = 0;

function stamp(): string {
  const [date = '', time = ''] = new Date().toISOString().slice(0, 19).split('T');
  return `..${date.replaceAll('-', '_')}_${time.replaceAll(':', '_')}.${String(++counter).padStart(9, '0')}`;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Writes `files` as the whole contents of `folder`, which is made when it is missing. */
export function writeAtomically(folder: string, files: VolumeFiles): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const before = linkTarget(join(folder, DATA));
  const now = stamp();
  for (const [path, { data, mode }] of files) {
    const file = join(folder, now, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, data);
    chmodSync(file, mode);
  }
  mkdirSync(join(folder, now), { recursive: true });
  symlinkSync(now, join(folder, `${DATA}_new`));
  renameSync(join(folder, `${DATA}_new`), join(folder, DATA));
  const names = new Set([...files.keys()].map((path) => path.split('/')[0] as string));
  for (const name of names)
    if (linkTarget(join(folder, name)) === undefined) symlinkSync(join(DATA, name), join(folder, name));
  for (const name of readdirSync(folder)) if (!name.startsWith('..') && !names.has(name)) rmSync(join(folder, name));
  if (before !== undefined) rmSync(join(folder, before), { recursive: true, force: true });
}
