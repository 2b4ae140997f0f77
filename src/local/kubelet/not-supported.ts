// What a manifest may ask for and a room does not have; the pod runs without it, and says so. Limits of CPU and memory are
// not among it: nearly every manifest has some, and nothing but the machine enforces them here (docs). Pure.

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
