// What a manifest may ask for and a room does not have; the pod runs without it, and says so. Pure.

import type { ContainerSpec, PodSpec } from './types.ts';

/** One sentence a wish that is not fulfilled. */
export function notSupported(spec: PodSpec | undefined): string[] {
  const found: string[] = [];
  const all: readonly ContainerSpec[] = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  if (spec?.hostPID) found.push('hostPID: containers see only their own processes');
  if (spec?.hostIPC) found.push('hostIPC: the machine is not reached');
  if (spec?.shareProcessNamespace) found.push('shareProcessNamespace: each container sees only its own processes');
  if (spec?.runtimeClassName) found.push(`runtimeClassName \`${spec.runtimeClassName}\`: a container is a process`);
  for (const { name, ports, volumeDevices } of all) {
    if (ports?.some(({ hostPort }) => hostPort !== undefined) && spec?.hostNetwork !== true)
      found.push(`hostPort of container ${name}: the node does not listen for it; use a Service`);
    if ((volumeDevices ?? []).length > 0) found.push(`volumeDevices of container ${name}: there are no block devices`);
  }
  return found;
}

/**
 * Whose limit of memory nothing enforces, one sentence: a program that would be killed in a cluster goes on here. Of CPU
 * nothing is said: there a program is only slower.
 */
export function memoryNotLimited(spec: PodSpec | undefined): string | undefined {
  const all: readonly ContainerSpec[] = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  const limited = all.filter(({ resources }) => resources?.limits?.memory !== undefined).map(({ name }) => name);
  if (limited.length === 0) return undefined;
  const whose = limited.length === 1 ? `container ${limited[0]}` : `containers ${limited.join(', ')}`;
  return `the memory limit of ${whose} is not enforced: only the machine limits a room`;
}
