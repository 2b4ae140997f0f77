// The few mounts that a room makes for itself; the file trees of containers are in rootfs.ts.

import { check, libc } from './libc.ts';

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_SHARED = 1 << 20;

/** An empty file system in memory over `path`. @throws SystemError EPERM outside a mount namespace of our own */
export function mountTmpfs(path: string, options = 'mode=755'): void {
  check(libc.mount('tmpfs', path, 'tmpfs', MS_NOSUID | MS_NODEV, options), 'mount', () => `\`${path}\` not mounted`);
}

/** Shows `source`, and what is mounted below it, at `target` too. */
export function bindMount(source: string, target: string): void {
  check(
    libc.mount(source, target, null, MS_BIND | MS_REC, null),
    'mount',
    () => `\`${source}\` not shown at \`${target}\``,
  );
}

/** Lets what is mounted below `path` from now on appear in containers that show `path`; it becomes a mount point itself. */
export function shareMounts(path: string): void {
  bindMount(path, path);
  check(libc.mount('none', path, null, MS_SHARED, null), 'mount', () => `mounts below \`${path}\` not shared`);
}
