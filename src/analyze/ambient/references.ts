// References of Gateway API routes: backends and parents that are not there. On a live mesh the status says so too; in
// files nothing else would.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND, ROUTES } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import type { World } from '../world.ts';

export const routeReferenceAnalyzer: Analyzer = {
  name: 'gatewayapi.ReferenceAnalyzer',
  description: 'routes of the Gateway API whose backend or parent does not exist',
  codes: ['AMB0045', 'AMB0046'],
  analyze(world, report) {
    for (const route of world.all(...ROUTES)) {
      for (const ref of backendsOf(route)) checkBackend(world, route, ref, report);
      for (const ref of route.spec.at('parentRefs').items()) checkParent(world, route, ref, report);
    }
  },
};

/** Backends of a route and of its mirrors. */
function backendsOf(route: Resource): readonly Field[] {
  return route.spec
    .at('rules')
    .items()
    .flatMap((rule) => {
      const refs = rule.at('backendRefs').items();
      const filters = [rule, ...refs].flatMap((owner) => owner.at('filters').items());
      const mirrors = filters.map((filter) => filter.at('requestMirror', 'backendRef')).filter(({ isSet }) => isSet);
      return [...refs, ...mirrors];
    });
}

/**
 * Whether a missing object is a mistake: the mesh is live, or others of its kind and namespace stand in the files. A
 * waypoint says nothing about where the gateways of its namespace are written down.
 */
const isKnown = (world: World, type: string, namespace: string): boolean =>
  world.isLive ||
  world
    .all(type)
    .some(
      (resource) =>
        resource.namespace === namespace &&
        !world.waypoints.some((waypoint) => waypoint.namespace === namespace && waypoint.name === resource.name),
    );

function checkBackend(world: World, route: Resource, ref: Field, report: Report): void {
  if ((ref.at('kind').text || 'Service') !== 'Service' || !['', 'core'].includes(ref.at('group').text)) return;
  const name = ref.at('name');
  const namespace = ref.at('namespace').text || route.namespace;
  if (name.text === '') return;
  const service = world.get(KIND.service, namespace, name.text);
  if (service === undefined) {
    if (isKnown(world, KIND.service, namespace)) report('AMB0045', route, name, `Service ${namespace}/${name.text}`);
    return;
  }
  const port = ref.at('port');
  const ports = service.spec.at('ports').items();
  if (port.number !== undefined && ports.length > 0 && !ports.some((one) => one.at('port').number === port.number))
    report('AMB0045', route, port, `port ${port.number} of Service ${namespace}/${name.text}`);
}

function checkParent(world: World, route: Resource, ref: Field, report: Report): void {
  const kind = ref.at('kind').text || 'Gateway';
  const type = kind === 'Gateway' ? KIND.gateway : kind === 'Service' ? KIND.service : undefined;
  const name = ref.at('name');
  if (type === undefined || name.text === '') return;
  const namespace = ref.at('namespace').text || route.namespace;
  const parent = world.get(type, namespace, name.text);
  if (parent === undefined) {
    if (isKnown(world, type, namespace)) report('AMB0046', route, name, `${kind} ${namespace}/${name.text}`);
    return;
  }
  const section = ref.at('sectionName');
  if (kind !== 'Gateway' || section.text === '') return;
  const listeners = parent.spec.at('listeners').items();
  if (!listeners.some((listener) => listener.at('name').text === section.text))
    report('AMB0046', route, section, `listener ${section.text} of Gateway ${namespace}/${name.text}`);
}
