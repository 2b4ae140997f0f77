// Which ports of which services a workload answers. Named ports are looked up on the workload; what it lacks is left
// out, so that no connection goes to a port that nobody listens on.

import type { PortMapping, ServiceKey } from '../model/workload.ts';
import { serviceKey } from '../model/workload.ts';
import type { EntryPoint } from './objects/entry.ts';
import type { Pod } from './objects/pod.ts';
import type { ServiceInfo } from './service.ts';

export type Membership = ReadonlyMap<ServiceKey, readonly PortMapping[]>;

const mapping = (servicePort: number, targetPort: number): PortMapping => ({
  servicePort,
  targetPort,
  appProtocol: 'unknown',
});

const own = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;

/** A pod's port for a name is that of its containers. A ServiceEntry's port names match them too, as a preference. */
function podPorts(pod: Pod, { source }: ServiceInfo): readonly PortMapping[] {
  if (source.kind === 'ServiceEntry')
    return source.ports.map(({ name, port, target }) =>
      mapping(port, own(pod.namedPorts, name) ?? (target === 0 ? port : target)),
    );
  return source.ports.flatMap(({ port, target }) => {
    const number = typeof target === 'number' ? target : own(pod.namedPorts, target);
    return number === undefined ? [] : [mapping(port, number)];
  });
}

/** An entry names its ports itself. */
function entryPorts(point: EntryPoint, { source }: ServiceInfo): readonly PortMapping[] {
  if (source.kind === 'ServiceEntry')
    return source.ports.map(({ name, port, target }) =>
      mapping(port, own(point.ports, name) ?? (target === 0 ? port : target)),
    );
  return source.ports.flatMap(({ name, port, target }) => {
    const number = typeof target === 'number' ? (own(point.ports, name) ?? target) : own(point.ports, target);
    return number === undefined ? [] : [mapping(port, number)];
  });
}

const keyed = (services: readonly ServiceInfo[], ports: (info: ServiceInfo) => readonly PortMapping[]): Membership =>
  new Map(services.map((info) => [serviceKey(info.service), ports(info)]));

export const podMembership = (pod: Pod, services: readonly ServiceInfo[]): Membership =>
  keyed(services, (info) => podPorts(pod, info));

export const entryMembership = (point: EntryPoint, services: readonly ServiceInfo[]): Membership =>
  keyed(services, (info) => entryPorts(point, info));
