// What `ambit waypoint` does with waypoints' Gateways: makes, lists, waits for and deletes them. As istioctl does it:
// names, flags, columns and the field manager are the same, so that either can go on with what the other made.

import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import { GATEWAYS, NAMESPACES } from '../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../kube/client/types.ts';
import { Failure } from './failure.ts';

export const WAYPOINT_CLASS = 'istio-waypoint';
export const TRAFFIC_TYPES = ['service', 'workload', 'all', 'none'] as const;

const FIELD_MANAGER = 'istioctl';
const FOR_LABEL = 'istio.io/waypoint-for';
const REVISION_LABEL = 'istio.io/rev';
const USE_LABEL = 'istio.io/use-waypoint';
const MODE_LABEL = 'istio.io/dataplane-mode';

export interface WaypointWish {
  readonly name: string;
  /** Undefined: left out, for whoever applies it. */
  readonly namespace: string | undefined;
  readonly traffic: string | undefined;
  readonly revision: string | undefined;
}

/** The Gateway of a waypoint. @throws Failure for a name or kind of traffic that cannot be */
export function waypointGateway({ name, namespace, traffic, revision }: WaypointWish): IGateway {
  if (name === 'none')
    throw new Failure({
      what: 'a waypoint cannot be called `none`',
      why: `the label ${USE_LABEL}: none means that there is no waypoint`,
      fix: 'choose another --name',
      exitCode: 2,
    });
  if (traffic !== undefined && !(TRAFFIC_TYPES as readonly string[]).includes(traffic))
    throw new Failure({
      what: `invalid traffic type: ${traffic}`,
      why: `valid options are: ${TRAFFIC_TYPES.join(', ')}`,
      fix: traffic.includes('/')
        ? `a waypoint is not made for one object: label the object ${USE_LABEL}=${name}`
        : '--for service',
      exitCode: 2,
    });
  const labels = {
    ...(revision !== undefined && { [REVISION_LABEL]: revision }),
    ...(traffic !== undefined && { [FOR_LABEL]: traffic }),
  };
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      ...(Object.keys(labels).length > 0 && { labels }),
      name,
      ...(namespace !== undefined && { namespace }),
    },
    spec: { gatewayClassName: WAYPOINT_CLASS, listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  };
}

export interface ApplyWish {
  readonly enroll: boolean;
  readonly overwrite: boolean;
  /** Undefined: do not wait. */
  readonly waitMs: number | undefined;
}

/**
 * Applies a waypoint, and enrols its namespace where asked to.
 * @param say  told each step in words
 */
export async function applyWaypoint(
  client: KubeClient,
  gateway: IGateway,
  wish: ApplyWish,
  say: (line: string) => void,
): Promise<void> {
  const { name = '', namespace = 'default' } = gateway.metadata ?? {};
  if (wish.enroll) {
    const labels = (await namespaceOf(client, namespace)).metadata?.labels ?? {};
    const enrolled = labels[USE_LABEL];
    if (enrolled !== undefined && enrolled !== name && !wish.overwrite)
      throw new Failure({
        what: `namespace ${namespace} already has an enrolled waypoint, \`${enrolled}\``,
        why: `its label ${USE_LABEL} would be changed to \`${name}\``,
        fix: 'add --overwrite, or leave out --enroll-namespace',
      });
    if (labels[MODE_LABEL] !== 'ambient')
      say(
        `warning: namespace ${namespace} is not in the ambient mesh: kubectl label namespace ${namespace} ${MODE_LABEL}=ambient`,
      );
  }
  await client.patch(GATEWAYS, name, namespace, 'apply', gateway, { fieldManager: FIELD_MANAGER, force: true });
  if (wish.waitMs !== undefined) await waitProgrammed(client, [{ name, namespace }], wish.waitMs);
  say(`waypoint ${namespace}/${name} applied`);
  if (!wish.enroll) return;
  await client.patch(
    NAMESPACES,
    namespace,
    undefined,
    'merge',
    { metadata: { labels: { [USE_LABEL]: name } } },
    { fieldManager: FIELD_MANAGER },
  );
  say(`namespace ${namespace} labeled with "${USE_LABEL}: ${name}"`);
}

async function namespaceOf(client: KubeClient, namespace: string) {
  const found = await client.get(NAMESPACES, namespace);
  if (found !== undefined) return found;
  throw new Failure({
    what: `there is no namespace ${namespace}`,
    why: 'the API does not know it',
    fix: `kubectl create namespace ${namespace}`,
  });
}

/** Waypoints of one namespace, or of all; in order of namespace and name. */
export async function listWaypoints(client: KubeClient, namespace: string | undefined): Promise<IGateway[]> {
  const { items } = await client
    .list(GATEWAYS, namespace === undefined ? {} : { namespace })
    .catch((error: unknown): { items: IGateway[] } => {
      if (error instanceof KubeError && error.code === 404) return { items: [] }; // no Gateway API, no waypoints
      throw error;
    });
  const key = ({ metadata }: IGateway): string => `${metadata?.namespace}/${metadata?.name}`;
  return items
    .filter(({ spec }) => spec.gatewayClassName === WAYPOINT_CLASS)
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

export interface WaypointLine {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  /** As labelled; `none` without a label, though services are served then. */
  readonly traffic: string;
  readonly programmed: string;
  readonly reason: string;
  readonly message: string;
}

export function waypointLine({ metadata, status }: IGateway): WaypointLine {
  const programmed = status?.conditions?.find(({ type }) => type === 'Programmed');
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    revision: metadata?.labels?.[REVISION_LABEL] ?? 'default',
    traffic: metadata?.labels?.[FOR_LABEL] ?? 'none',
    programmed: programmed?.status ?? 'Unknown',
    reason: programmed?.reason ?? 'Pending',
    message: programmed?.message ?? '',
  };
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

const LOOK_AGAIN_MS = 100;

/** Waits until the control plane has programmed all of them. @throws Failure after the time, with what is missing */
export async function waitProgrammed(
  client: KubeClient,
  waypoints: readonly Named[],
  timeoutMs: number,
  now: () => number = Date.now,
): Promise<void> {
  const end = now() + timeoutMs;
  let waiting = waypoints;
  for (;;) {
    const lines: WaypointLine[] = [];
    for (const { name, namespace } of waiting) {
      const found = await client.get(GATEWAYS, name, namespace);
      if (found === undefined)
        throw new Failure({
          what: `waypoint ${namespace}/${name} is gone`,
          why: 'somebody deleted it',
          fix: 'apply it again',
        });
      const line = waypointLine(found);
      if (line.programmed !== 'True' || isStale(found)) lines.push(line);
    }
    if (lines.length === 0) return;
    if (now() >= end) {
      const why = lines.map((line) => `${line.namespace}/${line.name}: ${line.message || line.reason}`).join('; ');
      throw new Failure({
        what: `not programmed within ${Math.round(timeoutMs / 1000)} s: ${lines.map(({ name }) => name).join(', ')}`,
        why,
        fix: 'ambit waypoint status; kubectl describe gateway; a longer --waypoint-timeout',
      });
    }
    waiting = lines;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** The condition was written for an earlier spec. */
function isStale({ metadata, status }: IGateway): boolean {
  const programmed = status?.conditions?.find(({ type }) => type === 'Programmed');
  return (programmed?.observedGeneration ?? 0) < (metadata?.generation ?? 0);
}

/** Deletes waypoints by name; refuses a Gateway that is none. Nothing is deleted unless all can be. */
export async function deleteWaypoints(
  client: KubeClient,
  namespace: string,
  names: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  for (const name of names) {
    const found = await client.get(GATEWAYS, name, namespace);
    if (found === undefined)
      throw new Failure({
        what: `there is no waypoint ${namespace}/${name}`,
        why: 'the API does not know a Gateway of that name',
        fix: 'ambit waypoint list -A',
      });
    if (found.spec.gatewayClassName !== WAYPOINT_CLASS)
      throw new Failure({
        what: `Gateway ${namespace}/${name} is no waypoint`,
        why: `its class is ${found.spec.gatewayClassName}, not ${WAYPOINT_CLASS}`,
        fix: `kubectl delete gateway -n ${namespace} ${name}, if it is meant`,
      });
  }
  for (const name of names) {
    await client.delete(GATEWAYS, name, namespace);
    say(`waypoint ${namespace}/${name} deleted`);
  }
}
