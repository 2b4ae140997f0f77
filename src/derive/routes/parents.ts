// Which parents take a route: listeners of Gateways, and services for the waypoint before them.
// Source: Gateway API, "Attaching to Gateways" and GAMMA; Istio: order in which failures are reported.

import type { RouteAttachment } from '../../model/proxy/route-resource.ts';
import type { ListenerVerdict } from '../gateway/listeners.ts';
import type { GatewayRole } from '../gateway/role.ts';
import type { Collection, Index, Reader } from '../graph/graph.ts';
import { selects } from '../labels.ts';
import { MESH_CONTROLLER } from '../names.ts';
import type { Namespace } from '../objects/cluster.ts';
import type { AllowedNamespaces } from '../objects/gateway.ts';
import type { ParentRef, Route } from '../objects/route.ts';
import type { RoutableService } from './backends.ts';
import { ANY_HOST, intersectHosts, isTakenBy } from './hosts.ts';

/** A Gateway of ours with what became of its listeners. */
export interface ParentGateway {
  readonly namespace: string;
  readonly name: string;
  readonly role: GatewayRole;
  readonly verdicts: readonly ListenerVerdict[];
}

export interface ParentWorld {
  /** By `<namespace>/<name>`; Gateways of others are missing. */
  readonly gateways: Collection<ParentGateway>;
  readonly namespaces: Collection<Namespace>;
  /** Services by `<kind>/<namespace>/<name>` of their object. */
  readonly servicesByObject: Index<RoutableService>;
  /** Keys of the waypoints before a service, by the service's key. */
  readonly waypointsOf: Collection<readonly string[]>;
}

export type RefusedParent =
  | 'NoMatchingParent'
  | 'NotAllowedByListeners'
  | 'NoMatchingListenerHostname'
  | 'ParentRefConflict';

/** What a route has at one proxy by one parent. */
export interface Attachment {
  /** `<namespace>/<name>` of the Gateway. */
  readonly proxy: string;
  readonly attachment: RouteAttachment;
}

export interface ParentOutcome {
  readonly ref: ParentRef;
  readonly side: 'gateway' | 'mesh';
  readonly controllerName: string;
  readonly refused: { readonly reason: RefusedParent; readonly message: string } | undefined;
  readonly attachments: readonly Attachment[];
  /** `<namespace>/<gateway>/<listener>` that count the route, used or not. */
  readonly listeners: readonly string[];
  /** Of services: which waypoint holds the route, or why none does. Undefined for Gateways. */
  readonly waypoints: string | undefined;
}

/** Whether a listener in namespace `own` takes routes of `namespace`. */
export function admits(
  get: Reader,
  namespaces: Collection<Namespace>,
  allowed: AllowedNamespaces,
  own: string,
  namespace: string,
): boolean {
  if (allowed.from === 'All') return true;
  if (allowed.from === 'Same') return own === namespace;
  const labels = get.one(namespaces, namespace)?.labels;
  return labels !== undefined && allowed.selector !== undefined && selects(allowed.selector, labels);
}

type Refusal = NonNullable<ParentOutcome['refused']>;
const refuse = (reason: RefusedParent, message: string): Refusal => ({ reason, message });

/** Host names of other listeners that could take the requests of this one. */
export const besides = (verdicts: readonly ListenerVerdict[], { listener }: ListenerVerdict): readonly string[] =>
  verdicts.flatMap((other) =>
    other.listener !== listener &&
    other.usable &&
    other.listener.port === listener.port &&
    other.listener.protocol === listener.protocol
      ? [other.listener.hostname]
      : [],
  );

function atGateway(get: Reader, world: ParentWorld, route: Route, ref: ParentRef): ParentOutcome | undefined {
  const key = `${ref.namespace}/${ref.name}`;
  const parent = get.one(world.gateways, key);
  if (parent === undefined) return undefined;
  const { role, verdicts } = parent;
  const outcome = (
    refused: Refusal | undefined,
    attachments: readonly Attachment[] = [],
    listeners: readonly string[] = [],
  ): ParentOutcome => ({
    ref,
    side: 'gateway',
    controllerName: role.controller,
    refused,
    attachments,
    listeners,
    waypoints: undefined,
  });
  if (role.kind !== 'router')
    return outcome(
      refuse('NotAllowedByListeners', `${key} is a waypoint: name the Service that it stands before as parent`),
    );
  const named = verdicts.filter(
    ({ listener }) =>
      (ref.sectionName === undefined || listener.name === ref.sectionName) &&
      (ref.port === undefined || listener.port === ref.port),
  );
  if (named.length === 0)
    return outcome(refuse('NoMatchingParent', `Gateway ${key} has no listener ${describe(ref) || 'at all'}`));
  const open = named.filter(
    ({ listener, supportedKinds }) =>
      supportedKinds.some(({ group, kind }) => group === 'gateway.networking.k8s.io' && kind === route.kind) &&
      admits(get, world.namespaces, listener.allowed, parent.namespace, route.namespace),
  );
  if (open.length === 0)
    return outcome(
      refuse(
        'NotAllowedByListeners',
        `no listener of Gateway ${key} takes a ${route.kind} of namespace ${route.namespace}: see allowedRoutes`,
      ),
    );
  // TCP knows no host names.
  const hostnames = route.kind === 'TCPRoute' ? [] : route.hostnames;
  const matching = open.flatMap((verdict) => {
    const hosts = route.kind === 'TCPRoute' ? [ANY_HOST] : intersectHosts(verdict.listener.hostname, hostnames);
    return hosts.length === 0 ? [] : [{ verdict, hosts }];
  });
  if (matching.length === 0)
    return outcome(
      refuse(
        'NoMatchingListenerHostname',
        `no listener of Gateway ${key} has a host name in common with ${hostnames.join(', ')}`,
      ),
    );
  const attachments = matching.flatMap(({ verdict, hosts }): Attachment[] => {
    if (!verdict.usable) return [];
    const { name, hostname } = verdict.listener;
    const others = besides(verdicts, verdict);
    const left = hosts.filter((host) => !isTakenBy(host, hostname, others));
    return left.length === 0 ? [] : [{ proxy: key, attachment: { kind: 'listener', listener: name, hosts: left } }];
  });
  return outcome(
    undefined,
    attachments,
    matching.map(({ verdict }) => `${key}/${verdict.listener.name}`),
  );
}

const describe = ({ sectionName, port }: ParentRef): string =>
  [sectionName === undefined ? '' : `\`${sectionName}\``, port === undefined ? '' : `on port ${port}`]
    .filter((part) => part !== '')
    .join(' ');

const isService = ({ group, kind }: ParentRef): boolean => (group === '' || group === 'core') && kind === 'Service';
const isEntry = ({ group, kind }: ParentRef): boolean => group === 'networking.istio.io' && kind === 'ServiceEntry';
const isGateway = ({ group, kind }: ParentRef): boolean => group === 'gateway.networking.k8s.io' && kind === 'Gateway';

/** Undefined: every port; `none`: there is no such port. */
function portOf({ ports }: RoutableService, { sectionName, port }: ParentRef): number | 'none' | undefined {
  if (sectionName === undefined && port === undefined) return undefined;
  const found = ports.find(
    (each) => (sectionName === undefined || each.name === sectionName) && (port === undefined || each.port === port),
  );
  return found?.port ?? 'none';
}

/** Waypoints look at routes of their own namespace and of the service's: the others are consumers' (GAMMA). */
function atService(get: Reader, world: ParentWorld, route: Route, ref: ParentRef): ParentOutcome {
  const what = `${ref.kind} ${ref.namespace}/${ref.name}`;
  const outcome = (
    refused: Refusal | undefined,
    attachments: readonly Attachment[] = [],
    waypoints = '',
  ): ParentOutcome => ({
    ref,
    side: 'mesh',
    controllerName: MESH_CONTROLLER,
    refused,
    attachments,
    listeners: [],
    waypoints,
  });
  const infos = get.all(world.servicesByObject, `${ref.kind}/${ref.namespace}/${ref.name}`);
  if (infos.length === 0) return outcome(refuse('NoMatchingParent', `${what} was not found`));
  const attachments: Attachment[] = [];
  const unheld = new Set<string>();
  const held = new Set<string>();
  for (const info of infos) {
    const port = portOf(info, ref);
    if (port === 'none') return outcome(refuse('NoMatchingParent', `${what} has no port ${describe(ref)}`));
    const service = info.key;
    const waypoints = get.one(world.waypointsOf, service) ?? [];
    if (waypoints.length === 0) unheld.add(`${what} has no waypoint: clients in ambient mode do not see this route`);
    for (const proxy of waypoints) {
      const own = proxy.slice(0, proxy.indexOf('/'));
      if (route.namespace !== info.namespace && route.namespace !== own)
        unheld.add(
          `waypoint ${proxy} only takes routes of its own namespace and of ${info.namespace}: a consumer's route has no effect there`,
        );
      else {
        held.add(proxy);
        attachments.push({ proxy, attachment: { kind: 'service', service, port } });
      }
    }
  }
  const message = [held.size === 0 ? '' : `held by waypoint ${[...held].join(', ')}`, ...unheld]
    .filter((part) => part !== '')
    .join('; ');
  return outcome(undefined, attachments, message);
}

const sameParent = (a: ParentRef, b: ParentRef): boolean =>
  a.group === b.group &&
  a.kind === b.kind &&
  a.namespace === b.namespace &&
  a.name === b.name &&
  a.sectionName === b.sectionName &&
  a.port === b.port;

/** @returns one outcome for each parent that is ours to answer for */
export function attachToParents(get: Reader, world: ParentWorld, route: Route): readonly ParentOutcome[] {
  return route.parents.flatMap((ref, at) => {
    const outcome = isGateway(ref)
      ? atGateway(get, world, route, ref)
      : isService(ref) || isEntry(ref)
        ? atService(get, world, route, ref)
        : undefined;
    if (outcome === undefined) return [];
    const repeats = route.parents.slice(0, at).some((earlier) => sameParent(earlier, ref));
    return repeats
      ? [
          {
            ...outcome,
            refused: refuse('ParentRefConflict', `parentRefs names ${ref.kind} ${ref.name} twice`),
            attachments: [],
            listeners: [],
          },
        ]
      : [outcome];
  });
}
