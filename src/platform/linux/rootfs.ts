// The file tree of a container, built from steps inside a mount namespace of its own. What to build is decided elsewhere
// (local/kubelet); here the kernel is told. Paths of steps are the container's; a symbolic link on the way is followed
// inside the tree, never out of it.

import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoName, hasCode, SystemError } from './errors.ts';
import { check, lastErrno, libc } from './libc.ts';

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MS_REC = 16384;
const MNT_DETACH = 2;
const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const SYS_MOUNT_SETATTR = 442; // the same number on every architecture
const MOUNT_ATTR_RDONLY = 1;
const MOUNT_ATTR_NOSUID = 2;
const MOUNT_ATTR_NODEV = 4;
const MAX_LINKS = 40;

export type RootfsStep =
  /** An empty file system in memory. */
  | { readonly kind: 'tmpfs'; readonly at: string; readonly mode: number; readonly sizeBytes?: number }
  | { readonly kind: 'directory'; readonly at: string; readonly mode: number }
  | { readonly kind: 'file'; readonly at: string; readonly text: string; readonly mode: number }
  /** An empty file to mount something on. */
  | { readonly kind: 'placeholder'; readonly at: string }
  /** In place of a file or link of that name. */
  | { readonly kind: 'link'; readonly at: string; readonly target: string }
  /** Something of this room seen at another place; `at` is made when it is missing. */
  | { readonly kind: 'bind'; readonly from: string; readonly at: string; readonly readOnly: boolean }
  /**
   * `lower` with changes kept in memory, seen by this container alone; read-only where the kernel refuses.
   * `writable` folders below it become the container's own: in a user namespace it has no power over files of users who
   * are not mapped into it, and may otherwise only change the uppermost folder.
   */
  | { readonly kind: 'copyOnWrite'; readonly lower: string; readonly at: string; readonly writable?: readonly string[] }
  /** Terminals of the container's own. */
  | { readonly kind: 'terminals'; readonly at: string }
  /** Everything so far becomes read-only, the root included; what is mounted later does not. */
  | { readonly kind: 'seal' };

/**
 * Carries out the steps below `root`, an existing folder; `upper` holds the changes of copy-on-write folders and must lie
 * on a file system in memory outside `root`.
 * @throws SystemError naming the path that could not be made
 */
export function buildRootfs(root: string, upper: string, steps: readonly RootfsStep[]): void {
  let overlays = 0;
  for (const step of steps) {
    if (step.kind === 'seal') {
      makeReadOnly(root);
      continue;
    }
    // A link is made where it stands; everything else goes to where links lead.
    const path =
      step.kind === 'link'
        ? join(resolveInside(root, dirname(step.at)), basename(step.at))
        : resolveInside(root, step.at);
    switch (step.kind) {
      case 'tmpfs': {
        makeDirectory(path, step.at, 0o755);
        const size = step.sizeBytes === undefined ? '' : `,size=${step.sizeBytes}`;
        mount('tmpfs', path, 'tmpfs', MS_NOSUID | MS_NODEV, `mode=${step.mode.toString(8)}${size}`, step.at);
        break;
      }
      case 'directory':
        makeDirectory(path, step.at, step.mode);
        break;
      case 'file':
        makeDirectory(dirname(path), step.at, 0o755);
        doing(step.at, () => writeFileSync(path, step.text, { mode: step.mode }));
        break;
      case 'link':
        makeDirectory(dirname(path), step.at, 0o755);
        doing(step.at, () => link(step.target, path));
        break;
      case 'placeholder':
        doing(step.at, () => emptyFile(path));
        break;
      case 'bind':
        bindAt(step.from, path, step.at);
        if (step.readOnly) makeReadOnly(path);
        break;
      case 'copyOnWrite':
        makeDirectory(path, step.at, 0o755);
        if (!overlay(step.lower, path, join(upper, `${overlays++}`), step.writable ?? [])) {
          bindAt(step.lower, path, step.at);
          makeReadOnly(path);
        }
        break;
      case 'terminals':
        makeDirectory(path, step.at, 0o755);
        mount('devpts', path, 'devpts', MS_NOSUID | MS_NOEXEC, 'newinstance,ptmxmode=0666,mode=0620', step.at);
        break;
    }
  }
}

/** Makes `root`, a mount point, the root of this mount namespace; nothing of the old tree stays reachable. */
export function pivotInto(root: string): void {
  const before = process.cwd();
  process.chdir(root);
  try {
    // Old and new root may be one path (pivot_root(2)): the old one then lies on top and is taken away.
    check(libc.pivot_root('.', '.'), 'pivot_root', () => 'root of the container not changed');
    check(libc.umount2('.', MNT_DETACH), 'umount2', () => 'root of the room not taken out of the container');
  } catch (error) {
    process.chdir(before);
    throw error;
  }
}

/** Where uid 0 needs no capability to change the running kernel (core_pattern, sysrq), and what tells of the machine. */
const KERNEL_READ_ONLY = ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus', '/proc/fs', '/proc/acpi'];
const KERNEL_HIDDEN = ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/proc/latency_stats'];

/** To be called inside a container whose /proc is mounted: it may look at the kernel's settings, not change them. */
export function protectKernel(): void {
  for (const path of KERNEL_READ_ONLY) {
    if (!existsSync(path)) continue;
    mount(path, path, null, MS_BIND | MS_REC, null, path);
    makeReadOnly(path);
  }
  if (!existsSync('/dev/null')) return;
  for (const path of KERNEL_HIDDEN) if (existsSync(path)) mount('/dev/null', path, null, MS_BIND, null, path);
}

function mount(
  source: string,
  path: string,
  type: string | null,
  flags: number,
  data: string | null,
  at: string,
): void {
  check(libc.mount(source, path, type, flags, data), 'mount', () => `\`${at}\` of a container not mounted`);
}

function doing(at: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    const errno = cause instanceof Error && 'errno' in cause ? -Number(cause.errno) : 0;
    throw new SystemError(`\`${at}\` of a container not made`, 'open', errno, { cause });
  }
}

const makeDirectory = (path: string, at: string, mode: number): void =>
  doing(at, () => mkdirSync(path, { recursive: true, mode }));

function bindAt(from: string, path: string, at: string): void {
  doing(at, () => {
    if (lstatSync(from).isDirectory()) mkdirSync(path, { recursive: true });
    else emptyFile(path);
  });
  mount(from, path, null, MS_BIND | MS_REC, null, at);
}

function emptyFile(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, 'a', 0o644));
}

function link(target: string, path: string): void {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** Recursive, and only ever adds: mounts that the user namespace has locked keep their own flags. */
function makeReadOnly(path: string): void {
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), 0);
  if (libc.mountSetattr(SYS_MOUNT_SETATTR, AT_FDCWD, path, AT_RECURSIVE, attributes, attributes.length) === 0) return;
  if (errnoName(lastErrno()) !== 'ENOSYS') check(-1, 'mount_setattr', () => `\`${path}\` not made read-only`);
  // Before Linux 5.12: this mount alone, which is all there is below the folders that matter.
  check(
    libc.mount(null, path, null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, null),
    'mount',
    () => `\`${path}\` not made read-only`,
  );
}

/** @returns false when this kernel or this folder does not allow it: a mount below it, or a file system without support */
function overlay(lower: string, path: string, changes: string, writable: readonly string[]): boolean {
  if (/[:,\\]/.test(lower)) return false; // these would need escaping in the option text
  const [top, work] = [join(changes, 'top'), join(changes, 'work')];
  mkdirSync(top, { recursive: true });
  mkdirSync(work);
  chmodSync(top, statSync(lower).mode & 0o7777); // the folder itself is seen as the upper one is
  for (const folder of writable) mkdirSync(join(top, folder), { recursive: true });
  const data = `lowerdir=${lower},upperdir=${top},workdir=${work}`;
  // `userxattr` is what a user namespace may have; kernels before 5.11 do not know it, and root does not need it.
  return [`${data},userxattr`, data].some(
    (options) => libc.mount('overlay', path, 'overlay', MS_NOSUID | MS_NODEV, options) === 0,
  );
}

/**
 * Where `path` of the container lies: links are followed as if `root` were `/`.
 * @throws SystemError ELOOP after 40 links
 */
export function resolveInside(root: string, path: string): string {
  const todo = path.split('/').reverse();
  let at: string[] = [];
  let links = 0;
  while (todo.length > 0) {
    const part = todo.pop() as string;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const target = linkTarget(join(root, ...at, part));
    if (target === undefined) {
      at.push(part);
      continue;
    }
    if (++links > MAX_LINKS) throw new SystemError(`\`${path}\` of a container not found`, 'readlink', 40);
    if (target.startsWith('/')) at = [];
    todo.push(...target.split('/').reverse());
  }
  return join(root, ...at);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (['EINVAL', 'ENOENT', 'ENOTDIR', 'EACCES'].some((code) => hasCode(error, code))) return undefined;
    throw error;
  }
}
