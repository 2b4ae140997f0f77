// The volumes of one pod as folders of the room: made before its containers start, kept up to date while it runs.

import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveInside } from '../../platform/linux/rootfs.ts';
import { writeAtomically } from './atomic-files.ts';
import { expand } from './expand.ts';
import { type ContainerSpec, PodProblem, type VolumeSpec } from './types.ts';
import type { Mount } from './view.ts';
import { filesOf, isMadeOfObjects, type VolumeFiles, type VolumeInput } from './volume-files.ts';

/** Where the paths of a node are in the room: `hostPath` never means the real machine. */
export interface NodeFolders {
  /** Ends in nothing that a manifest could choose. */
  hostPath(path: string): string;
}

/** The parts of a node's file system that the mesh shares, as ARCHITECTURE.md has them; all else is the node's own empty place. */
export function nodeFolders(nodeFolder: string): NodeFolders {
  const shared: readonly (readonly [from: string, to: string])[] = [
    ['/var/run/ztunnel', join(nodeFolder, 'ztunnel')],
    ['/run/ztunnel', join(nodeFolder, 'ztunnel')],
    ['/var/run/istio-cni', join(nodeFolder, 'istio-cni')],
    ['/run/istio-cni', join(nodeFolder, 'istio-cni')],
    ['/var/run/netns', '/run/netns'],
    ['/run/netns', '/run/netns'],
  ];
  return {
    hostPath(path) {
      const plain = join('/', path);
      for (const [from, to] of shared)
        if (plain === from || plain.startsWith(`${from}/`)) return join(to, plain.slice(from.length));
      return resolveInside(join(nodeFolder, 'host'), plain);
    },
  };
}

const failed = (message: string): PodProblem => new PodProblem('FailedMount', message);

const fingerprint = (files: VolumeFiles): string => {
  const hash = createHash('sha256');
  for (const [path, { data, mode }] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${path}\0${mode}\0${data.length}\0`).update(data);
  return hash.digest('hex');
};

export class PodVolumes {
  readonly #folder: string;
  readonly #node: NodeFolders;
  readonly #system: boolean;
  readonly #written = new Map<string, string>();

  /** @param system the pod is a part of the mesh: it may see the namespaces of the node's pods */
  constructor(folder: string, node: NodeFolders, system: boolean) {
    this.#folder = folder;
    this.#node = node;
    this.#system = system;
  }

  /**
   * Makes a volume, or brings it up to date.
   * @returns its folder (or file, for a hostPath that is one)
   * @throws PodProblem FailedMount
   */
  prepare(volume: VolumeSpec, input: VolumeInput): string {
    const path = join(this.#folder, volume.name);
    if (isMadeOfObjects(volume)) {
      const files = filesOf(volume, input);
      const print = fingerprint(files);
      if (this.#written.get(volume.name) !== print) {
        writeAtomically(path, files);
        this.#written.set(volume.name, print);
      }
      return path;
    }
    if (volume.emptyDir !== undefined) {
      mkdirSync(path, { recursive: true });
      chmodSync(path, 0o777); // whatever the umask: whoever the container runs as may write
      return path;
    }
    if (volume.hostPath !== undefined) return this.#hostPath(volume.hostPath.path, volume.hostPath.type ?? '');
    const [kind = 'nothing'] = Object.keys(volume).filter((key) => key !== 'name');
    throw failed(
      `volume "${volume.name}" is of kind \`${kind}\`, which a room does not have; use emptyDir, configMap, secret, projected, downwardAPI or hostPath`,
    );
  }

  #hostPath(wanted: string, type: string): string {
    const path = this.#node.hostPath(wanted);
    if (path.startsWith('/run/netns') && !this.#system)
      throw failed(`hostPath \`${wanted}\` is for the mesh's own parts`);
    const found = existsSync(path);
    if (type === 'File' || type === 'Socket') {
      if (!found)
        throw failed(`hostPath type check failed: ${wanted} is not a ${type === 'File' ? 'file' : 'socket file'}`);
      return path;
    }
    if (type === 'Directory' && !(found && statSync(path).isDirectory()))
      throw failed(`hostPath type check failed: ${wanted} is not a directory`);
    if (found) return path;
    mkdirSync(type === 'FileOrCreate' ? join(path, '..') : path, { recursive: true });
    if (type === 'FileOrCreate') writeFileSync(path, '');
    return path;
  }

  /**
   * The mounts of one container.
   * @param folders volume name → what `prepare` gave
   * @throws PodProblem naming a volume or subPath that is not there
   */
  mounts(
    container: ContainerSpec,
    folders: ReadonlyMap<string, string>,
    env: Readonly<Record<string, string>>,
  ): Mount[] {
    const mounts: Mount[] = [];
    for (const mount of container.volumeMounts ?? []) {
      const folder = folders.get(mount.name);
      if (folder === undefined) throw failed(`volumeMounts[${mount.name}]: there is no volume of that name`);
      const inner =
        mount.subPathExpr !== undefined ? expand(mount.subPathExpr, (name) => env[name]) : (mount.subPath ?? '');
      if (inner.startsWith('/') || inner.split('/').includes('..'))
        throw failed(`subPath \`${inner}\` must be relative and not lead out of the volume`);
      const from = inner === '' ? folder : resolveInside(folder, inner);
      if (!existsSync(from)) mkdirSync(from, { recursive: true });
      mounts.push({
        from,
        at: mount.mountPath,
        readOnly: mount.readOnly === true || this.#isReadOnly(mount.name),
        kind: statSync(from).isDirectory() ? 'directory' : 'file',
      });
    }
    return mounts;
  }

  /** What is made from objects may be read only, whatever the mount says. */
  #isReadOnly(name: string): boolean {
    return this.#written.has(name);
  }
}
