// Whether the analysed objects say that something is in ambient. When they do not, nothing is claimed.

import { isSubset } from '../../derive/labels.ts';
import type { KnownHost } from '../hosts.ts';
import type { World } from '../world.ts';

/** The namespace of the service is labelled, or pods behind it are in ambient. */
export function isInAmbient(world: World, { resource, selector }: KnownHost): boolean {
  if (world.isAmbient(resource.namespace)) return true;
  if (selector === undefined) return false;
  return world.workloadsIn(resource.namespace).some(({ ambient, labels }) => ambient && isSubset(selector, labels));
}
