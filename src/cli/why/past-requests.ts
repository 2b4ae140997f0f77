// A request that was: found by its id (or by a part of its line) in the access logs of gateways and waypoints.

import type { IPod } from 'kubernetes-models/v1/Pod';
import type { HttpKubeClient } from '../../kube/client/client.ts';
import { PODS, resourcePath } from '../../kube/client/resources.ts';
import { colours } from '../output.ts';
import { type LoggedRequest, parseRequestLine, reasonIn } from './request-log.ts';

const GATEWAY_LABEL = 'gateway.networking.k8s.io/gateway-name';
const LOG_LINES = 5_000;
const LOG_BYTES = 8 << 20;

/** Plain data. */
export interface PastRequest extends LoggedRequest {
  /** Pod of the gateway or waypoint, `<namespace>/<name>`. */
  readonly proxy: string;
  readonly reason: string;
}

export interface PastRequests {
  readonly id: string;
  /** In the order of time: a gateway's before a waypoint's. */
  readonly hops: readonly PastRequest[];
  readonly notes: readonly string[];
}

/** A request id as proxies give them: a UUID. */
export const isRequestId = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

export async function findRequest(id: string, client: HttpKubeClient): Promise<PastRequests> {
  const notes: string[] = [];
  const { items } = await client.list(PODS, { labelSelector: GATEWAY_LABEL });
  const found = await Promise.all(items.map((pod) => hopsIn(pod, id, client, notes)));
  if (items.length === 0) notes.push('there is no gateway and no waypoint in this mesh');
  const hops = found.flat().sort((a, b) => (a.time < b.time ? -1 : 1));
  if (hops.length === 0 && items.length > 0)
    notes.push(
      `the last ${LOG_LINES} lines of ${items.length} proxies do not have it; is the access log on (accessLogFile of the mesh configuration, or a Telemetry)?`,
    );
  return { id, hops, notes };
}

async function hopsIn(pod: IPod, id: string, client: HttpKubeClient, notes: string[]): Promise<PastRequest[]> {
  const { name = '', namespace = '' } = pod.metadata ?? {};
  try {
    const log = await client.text(resourcePath(PODS, namespace, name, 'log'), {
      tailLines: LOG_LINES,
      limitBytes: LOG_BYTES,
    });
    return log.split('\n').flatMap((line) => {
      const request = line.includes(id) ? parseRequestLine(line) : undefined;
      return request?.requestId === id
        ? [{ ...request, proxy: `${namespace}/${name}`, reason: reasonIn(request) }]
        : [];
    });
  } catch (error) {
    notes.push(
      `the log of ${namespace}/${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
    return [];
  }
}

export function pastInWords({ id, hops, notes }: PastRequests): string {
  const lines = hops.flatMap((hop) => [
    `${hop.time}  ${hop.proxy}`,
    `  ${hop.method} ${hop.authority}${hop.path} was answered with ${statusOf(hop)} after ${hop.durationMs} ms: ${hop.reason}`,
    `  from ${hop.downstreamRemote} to ${hop.downstreamLocal}${hop.upstreamHost === '-' ? '' : `, sent to ${hop.upstreamHost}`} (${hop.cluster})`,
    ...(hop.routeName === '-' || hop.routeName === '' ? [] : [`  by the route ${hop.routeName}`]),
    ...(hop.flags === '-' ? [] : [`  flags ${hop.flags}, details ${hop.details}`]),
  ]);
  const head = hops.length === 0 ? [`no access log tells of ${id}`] : [`request ${id}`];
  return [...head, ...lines, ...notes.map((note) => `note: ${note}`), ''].join('\n');
}

const statusOf = ({ status }: LoggedRequest): string =>
  status >= 400 || status === 0 ? colours.red(String(status)) : colours.green(String(status));
