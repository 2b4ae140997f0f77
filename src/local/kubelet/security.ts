// The powers of a container: what a container runtime gives by default, changed by its securityContext. Powers over the
// machine itself (SYS_ADMIN, MKNOD, SYS_MODULE, …) are for the mesh's own parts alone: nothing that a user's container
// does may change the host, also where the room was made by root. Pure.

import { CAPABILITIES, type Capability } from '../../platform/linux/capabilities.ts';
import type { User } from '../../platform/linux/container.ts';
import type { ContainerSpec, PodSpec } from './types.ts';

const DEFAULT: readonly Capability[] = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SYS_CHROOT',
];
/** What a user's container may have added; all of it ends at the pod's own namespaces. */
const GRANTABLE: ReadonlySet<string> = new Set<Capability>([
  ...DEFAULT,
  'IPC_LOCK',
  'NET_ADMIN',
  'NET_BROADCAST',
  'SYS_NICE',
  'SYS_PTRACE',
]);

export interface Powers {
  readonly capabilities: readonly Capability[] | 'all';
  /** Asked for and not given, for an event that says so. */
  readonly refused: readonly string[];
}

/** What the manifest says of user and group; the container's own word counts before the pod's. Undefined: root. */
export function userOf(container: ContainerSpec, pod: PodSpec | undefined): User | undefined {
  const uid = container.securityContext?.runAsUser ?? pod?.securityContext?.runAsUser ?? 0;
  const gid = container.securityContext?.runAsGroup ?? pod?.securityContext?.runAsGroup ?? 0;
  return uid === 0 && gid === 0 ? undefined : { uid, gid };
}

/**
 * @param system the image is a part of Ambit itself
 * A container with `runAsUser` other than 0 has no power that root has, also where it cannot be another user.
 */
export function powersOf(container: ContainerSpec, pod: PodSpec | undefined, system: boolean): Powers {
  const own = container.securityContext;
  const privileged = own?.privileged === true;
  if (privileged && system) return { capabilities: 'all', refused: [] };
  const user = own?.runAsUser ?? pod?.securityContext?.runAsUser ?? 0;
  const { add = [], drop = [] } = own?.capabilities ?? {};
  const named = (list: readonly string[]): string[] => list.map((name) => name.toUpperCase().replace(/^CAP_/, ''));
  const dropped = new Set(named(drop));
  const wanted = new Set<string>(user === 0 && !dropped.has('ALL') ? DEFAULT : []);
  for (const name of dropped) wanted.delete(name);
  for (const name of named(add)) {
    if (name === 'ALL') for (const each of Object.keys(CAPABILITIES)) wanted.add(each);
    else wanted.add(name);
  }
  const allowed = (name: string): name is Capability => name in CAPABILITIES && (system || GRANTABLE.has(name));
  return {
    capabilities: [...wanted].filter(allowed).sort(),
    refused: [...(privileged ? ['privileged'] : []), ...[...wanted].filter((name) => !allowed(name))],
  };
}
