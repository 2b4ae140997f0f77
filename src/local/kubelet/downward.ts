// What a pod may be told about itself (`fieldRef`, `resourceFieldRef`), in variables and in files. Pure.

import { fail, ok, type Result } from '../../model/result.ts';
import { dividedQuantity, parseQuantity } from './quantity.ts';
import type { ContainerSpec, Pod } from './types.ts';

/** What the node adds to what the pod's object says. */
export interface PodPlace {
  readonly nodeName: string;
  readonly hostIp: string;
  readonly podIp: string;
  /** Taken where a container has no limit of its own: cores, bytes. */
  readonly allocatable: Readonly<Record<string, number>>;
}

const quoted = (map: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');

/** @returns the value, or a sentence about a path that does not exist */
export function fieldValue(path: string, pod: Pod, place: PodPlace): Result<string, string> {
  const { metadata, spec } = pod;
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (subscript !== null) {
    const map = subscript[1] === 'labels' ? metadata?.labels : metadata?.annotations;
    return ok(map?.[subscript[2] as string] ?? '');
  }
  switch (path) {
    case 'metadata.name':
      return ok(metadata?.name ?? '');
    case 'metadata.namespace':
      return ok(metadata?.namespace ?? '');
    case 'metadata.uid':
      return ok(metadata?.uid ?? '');
    case 'metadata.labels':
      return ok(quoted(metadata?.labels));
    case 'metadata.annotations':
      return ok(quoted(metadata?.annotations));
    case 'spec.nodeName':
      return ok(place.nodeName);
    case 'spec.serviceAccountName':
      return ok(spec?.serviceAccountName ?? 'default');
    case 'status.hostIP':
    case 'status.hostIPs':
      return ok(place.hostIp);
    case 'status.podIP':
    case 'status.podIPs':
      return ok(place.podIp);
    default:
      return fail(`field \`${path}\` cannot be referred to`);
  }
}

export interface ResourceField {
  readonly resource: string;
  readonly divisor?: string | number;
}

/** `limits.cpu` and its kind; a limit that is not set is what the node has, a request that is not set is the limit or 0. */
export function resourceValue(field: ResourceField, container: ContainerSpec, place: PodPlace): Result<string, string> {
  const [kind, name, ...rest] = field.resource.split('.');
  if ((kind !== 'limits' && kind !== 'requests') || name === undefined || rest.length > 0)
    return fail(`resource \`${field.resource}\` cannot be referred to`);
  const { limits, requests } = container.resources ?? {};
  const set = kind === 'limits' ? limits?.[name] : (requests?.[name] ?? limits?.[name]);
  const value = set === undefined ? (kind === 'limits' ? (place.allocatable[name] ?? 0) : 0) : parseQuantity(set);
  return value === undefined
    ? fail(`\`${set}\` of ${field.resource} is no quantity`)
    : ok(dividedQuantity(value, field.divisor));
}
