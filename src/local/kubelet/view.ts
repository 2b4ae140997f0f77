// Which files a container sees. Without an archive: this machine's, as a private view. Folders that programs write to
// are copy-on-write, the others read-only; /tmp, /run and /dev are the container's own; Ambit's state is hidden.
// `readHostFiles` looks, once a room; `rootfsOf` plans, purely.

import { accessSync, constants, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { RootfsStep } from '../../platform/linux/rootfs.ts';
import type { ImageProgram, ImageRoot } from '../images/types.ts';

/** Folders with what packages and people change; small enough in number to cost little a container. */
const CHANGING = new Set(['etc', 'home', 'opt', 'root', 'srv', 'usr', 'var']);
const OWN = new Set(['dev', 'proc', 'run', 'sys', 'tmp']);
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
/** Below these, folders are made the container's own where it could not write otherwise (rootless). */
const WRITABLE_BELOW = ['/etc', '/opt', '/srv', '/usr/local', '/var', '/var/cache', '/var/lib', '/var/log'];
const MAX_WRITABLE = 400;
const MAX_SPLIT = 100;

export interface HostEntry {
  readonly name: string;
  readonly kind: 'directory' | 'link' | 'file';
  readonly target?: string;
}

export interface HostFiles {
  /** Entries of `/`, and of those folders that have mounts below them. */
  readonly entries: ReadonlyMap<string, readonly HostEntry[]>;
  readonly mountPoints: readonly string[];
  /** Folder at the top → folders below it that are to be the container's own. */
  readonly writable: ReadonlyMap<string, readonly string[]>;
  readonly unreadable: ReadonlySet<string>;
  readonly devices: readonly string[];
}

const below = (path: string, folder: string): boolean => path.startsWith(folder === '/' ? '/' : `${folder}/`);

function listing(path: string): HostEntry[] {
  const entries: HostEntry[] = [];
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isSymbolicLink())
      entries.push({ name: entry.name, kind: 'link', target: readlinkSync(join(path, entry.name)) });
    else if (entry.isDirectory()) entries.push({ name: entry.name, kind: 'directory' });
    else if (entry.isFile()) entries.push({ name: entry.name, kind: 'file' });
  }
  return entries;
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch {
    return [];
  }
}

/** Mount points of a mountinfo text, octal escapes resolved. */
export function parseMountPoints(mountinfo: string): string[] {
  const points: string[] = [];
  for (const line of mountinfo.split('\n')) {
    const point = line.split(' ')[4];
    if (point)
      points.push(
        point.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
      );
  }
  return points;
}

/** @param rootless files of users who are not mapped into the room cannot be changed, even in a copy, without help */
export function readHostFiles(rootless: boolean): HostFiles {
  const mountPoints = parseMountPoints(readFileSync('/proc/self/mountinfo', 'utf8'));
  const entries = new Map<string, readonly HostEntry[]>([['/', listing('/')]]);
  const unreadable = new Set<string>();
  for (const { name, kind } of entries.get('/') ?? []) {
    const path = `/${name}`;
    if (kind !== 'directory' || OWN.has(name)) continue;
    try {
      accessSync(path, constants.R_OK | constants.X_OK);
      if (CHANGING.has(name) && mountPoints.some((point) => below(point, path))) entries.set(path, listing(path));
    } catch {
      unreadable.add(path);
    }
  }
  const writable = new Map<string, string[]>();
  let count = 0;
  for (const parent of rootless ? WRITABLE_BELOW : [])
    for (const path of [parent, ...directoriesIn(parent)]) {
      const [, top = '', ...rest] = path.split('/');
      if (rest.length === 0 || count++ >= MAX_WRITABLE) continue;
      writable.set(`/${top}`, [...(writable.get(`/${top}`) ?? []), rest.join('/')]);
    }
  return { entries, mountPoints, writable, unreadable, devices: presentDevices() };
}

function presentDevices(): string[] {
  const present = new Set(readdirSync('/dev'));
  return DEVICES.filter((name) => present.has(name));
}

/** Something of the room at a place in the container. */
export interface Mount {
  readonly from: string;
  readonly at: string;
  readonly readOnly: boolean;
  /** Of what is mounted: a file is mounted on a file. */
  readonly kind: 'directory' | 'file';
}

export interface ViewOptions {
  readonly root: ImageRoot;
  readonly host: HostFiles;
  /** Paths that no container may see. */
  readonly hidden: readonly string[];
  /** In the order in which they are to be mounted. */
  readonly mounts: readonly Mount[];
  readonly readOnlyRoot: boolean;
}

export function rootfsOf(options: ViewOptions): RootfsStep[] {
  const { root, host, mounts } = options;
  const steps =
    root.kind === 'archive' ? archiveView(root.directory) : hostView(host, options.hidden, root.expose, root.programs);
  for (const { at, kind } of mounts) if (kind === 'directory') steps.push({ kind: 'directory', at, mode: 0o755 });
  for (const at of ['/dev', '/proc', '/sys']) steps.push({ kind: 'directory', at, mode: 0o755 });
  if (options.readOnlyRoot) {
    for (const { at, kind } of mounts) if (kind === 'file') steps.push({ kind: 'placeholder', at });
    steps.push({ kind: 'seal' });
  }
  steps.push({ kind: 'bind', from: '/sys', at: '/sys', readOnly: true }, ...devices(host));
  for (const { from, at, readOnly } of mounts) steps.push({ kind: 'bind', from, at, readOnly });
  return steps;
}

function archiveView(directory: string): RootfsStep[] {
  return [
    { kind: 'copyOnWrite', lower: directory, at: '/' },
    { kind: 'directory', at: '/tmp', mode: 0o1777 },
  ];
}

function hostView(
  host: HostFiles,
  hidden: readonly string[],
  expose: readonly string[],
  programs: readonly ImageProgram[],
): RootfsStep[] {
  const steps: RootfsStep[] = [{ kind: 'tmpfs', at: '/', mode: 0o755 }];
  for (const entry of host.entries.get('/') ?? []) steps.push(...topLevel(host, entry));
  steps.push({ kind: 'tmpfs', at: '/run', mode: 0o755 }, { kind: 'tmpfs', at: '/tmp', mode: 0o1777 });
  for (const path of hidden)
    if (!below(path, '/tmp') && !below(path, '/run')) steps.push({ kind: 'tmpfs', at: path, mode: 0o700 });
  for (const path of expose) steps.push({ kind: 'bind', from: path, at: path, readOnly: true });
  for (const program of programs)
    steps.push(
      program.kind === 'link'
        ? { kind: 'link', at: program.path, target: program.target }
        : { kind: 'file', at: program.path, text: program.text, mode: 0o755 },
    );
  return steps;
}

function topLevel(host: HostFiles, entry: HostEntry): RootfsStep[] {
  const path = `/${entry.name}`;
  if (OWN.has(entry.name)) return [];
  if (entry.kind === 'link') return [{ kind: 'link', at: path, target: entry.target ?? '' }];
  if (entry.kind === 'file') return [];
  if (host.unreadable.has(path)) return [{ kind: 'directory', at: path, mode: 0o755 }];
  if (!CHANGING.has(entry.name)) return [{ kind: 'bind', from: path, at: path, readOnly: true }];
  const children = host.entries.get(path);
  if (children === undefined) return [copyOnWrite(host, path)];
  // An overlay does not show what is mounted below it: the folders beside such mounts are overlaid one by one.
  if (children.length > MAX_SPLIT) return [{ kind: 'bind', from: path, at: path, readOnly: true }];
  const steps: RootfsStep[] = [{ kind: 'directory', at: path, mode: 0o755 }];
  for (const child of children) {
    const at = join(path, child.name);
    const mounted = host.mountPoints.some((point) => point === at || below(point, at));
    if (child.kind === 'link') steps.push({ kind: 'link', at, target: child.target ?? '' });
    else if (child.kind === 'directory' && !mounted) steps.push({ kind: 'copyOnWrite', lower: at, at });
    else steps.push({ kind: 'bind', from: at, at, readOnly: true });
  }
  return steps;
}

function copyOnWrite(host: HostFiles, path: string): RootfsStep {
  const writable = host.writable.get(path);
  return { kind: 'copyOnWrite', lower: path, at: path, ...(writable !== undefined && { writable }) };
}

function devices(host: HostFiles): RootfsStep[] {
  const link = (at: string, target: string): RootfsStep => ({ kind: 'link', at, target });
  return [
    { kind: 'tmpfs', at: '/dev', mode: 0o755 },
    ...host.devices.map(
      (name): RootfsStep => ({ kind: 'bind', from: `/dev/${name}`, at: `/dev/${name}`, readOnly: false }),
    ),
    link('/dev/fd', '/proc/self/fd'),
    link('/dev/stdin', '/proc/self/fd/0'),
    link('/dev/stdout', '/proc/self/fd/1'),
    link('/dev/stderr', '/proc/self/fd/2'),
    link('/dev/ptmx', 'pts/ptmx'),
    { kind: 'terminals', at: '/dev/pts' },
    { kind: 'tmpfs', at: '/dev/shm', mode: 0o1777, sizeBytes: 64 << 20 },
  ];
}
