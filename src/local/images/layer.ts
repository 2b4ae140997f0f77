// Unpacks one layer of an image over those before it (OCI image specification: layer file system changesets): files
// replace files, `.wh.<name>` takes a name away, `.wh..wh..opq` empties what earlier layers put into a folder.
// Every path is followed inside the tree: no archive writes outside it. Owners are not kept: all is the room's root's.

import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { resolveInside } from '../../platform/linux/rootfs.ts';
import { readTar, type TarEntry, TarError } from './tar.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

export interface LayerLimits {
  /** Of all layers together; counted down. */
  bytes: number;
  entries: number;
}

/** Where an entry lies: links of folders on the way are followed, its own name is not. */
function placeOf(root: string, path: string): string {
  const plain = join('/', path);
  return plain === '/' ? root : join(resolveInside(root, dirname(plain)), basename(plain));
}

const isDirectory = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** @throws TarError for a broken layer, Node's errors for a full disk and the like */
export async function unpackLayer(root: string, source: AsyncIterable<Buffer>, limits: LayerLimits): Promise<void> {
  /** What this very layer has made: an opaque folder keeps it. */
  const own = new Set<string>();
  const modes = new Map<string, number>();
  for await (const entry of readTar(source)) {
    if (--limits.entries < 0) throw new TarError('it has too many files');
    limits.bytes -= entry.size;
    if (limits.bytes < 0) throw new TarError('it unpacks to more than the limit');
    const at = placeOf(root, entry.path);
    const name = basename(at);
    if (name === OPAQUE) clear(dirname(at), own);
    else if (name.startsWith(WHITEOUT))
      rmSync(join(dirname(at), name.slice(WHITEOUT.length)), { recursive: true, force: true });
    else {
      mkdirSync(dirname(at), { recursive: true });
      await place(root, at, entry, modes);
      for (let path = at; path !== root && !own.has(path); path = dirname(path)) own.add(path);
    }
  }
  // Only now: a folder that may not be written to still had to be filled.
  for (const [path, mode] of modes) if (isDirectory(path)) chmodSync(path, mode);
}

function clear(folder: string, own: ReadonlySet<string>): void {
  if (!isDirectory(folder)) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!own.has(path)) rmSync(path, { recursive: true, force: true });
    else if (isDirectory(path)) clear(path, own);
  }
}

async function place(root: string, at: string, entry: TarEntry, modes: Map<string, number>): Promise<void> {
  if (entry.kind === 'other') return; // devices and pipes: a room has its own
  if (at === root || (entry.kind === 'directory' && isDirectory(at))) {
    if (entry.kind === 'directory') modes.set(at, entry.mode);
    return;
  }
  rmSync(at, { recursive: true, force: true });
  switch (entry.kind) {
    case 'directory':
      mkdirSync(at, { mode: 0o700 });
      modes.set(at, entry.mode);
      break;
    case 'symlink':
      symlinkSync(entry.link, at);
      break;
    case 'hardlink':
      linkSync(placeOf(root, entry.link), at);
      break;
    case 'file': {
      const fd = openSync(at, 'wx', 0o600);
      try {
        for await (const piece of entry.data) writeSync(fd, piece);
      } finally {
        closeSync(fd);
      }
      chmodSync(at, entry.mode);
      break;
    }
  }
}
