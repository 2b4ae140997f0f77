// Namespaces, Nodes and EndpointSlices, reduced to what the mesh needs.

import { type Ip, parseIp } from '../../model/ip.ts';
import type { Locality } from '../../model/workload.ts';
import { ANNOTATION, LABEL } from '../names.ts';
import { integer, type Json, list, optionalText, record, text, texts } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';

export type Namespace = Meta;

export const parseNamespace = (object: Json): Namespace =>
  parseMeta(object, [ANNOTATION.trafficDistribution, ANNOTATION.canaryWeight, ANNOTATION.waypointPolicy]);

export interface Node {
  readonly name: string;
  readonly locality: Locality;
}

export function parseNode(object: Json): Node {
  const { name, labels } = parseMeta(object);
  return {
    name,
    locality: {
      region: labels[LABEL.region] ?? '',
      zone: labels[LABEL.zone] ?? '',
      subzone: labels[LABEL.subzone] ?? '',
    },
  };
}

/** An address that the slice lists and no pod stands behind. */
export interface LooseEndpoint {
  readonly addresses: readonly Ip[];
  readonly ready: boolean;
}

export interface EndpointSlice extends Meta {
  /** Name of the Service in the same namespace; a slice of no service is nothing to us. */
  readonly service: string;
  /** TCP only. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  /** `<namespace>/<name>/<uid>` of the pods it refers to. */
  readonly pods: readonly string[];
  readonly loose: readonly LooseEndpoint[];
}

export const podReference = (pod: {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}): string => `${pod.namespace}/${pod.name}/${pod.uid}`;

/** @returns undefined for a slice that belongs to no Service, or holds names instead of addresses */
export function parseEndpointSlice(object: Json): EndpointSlice | undefined {
  const meta = parseMeta(object);
  const service = meta.labels[LABEL.serviceName];
  if (service === undefined || object.addressType === 'FQDN') return undefined;
  const pods: string[] = [];
  const loose: LooseEndpoint[] = [];
  for (const item of list(object.endpoints)) {
    const endpoint = record(item);
    const target = record(endpoint.targetRef);
    if (target.kind === 'Pod') {
      const namespace = text(target.namespace) || meta.namespace;
      pods.push(podReference({ namespace, name: text(target.name), uid: text(target.uid) }));
      continue;
    }
    const parsed = texts(endpoint.addresses).map(parseIp);
    const addresses = parsed.flatMap((ip) => (ip.ok ? [ip.value] : []));
    if (addresses.length === 0 || addresses.length < parsed.length) continue;
    if (loose.some((other) => other.addresses[0] === addresses[0])) continue;
    const ready = record(endpoint.conditions).ready;
    loose.push({ addresses, ready: ready === undefined || ready === null || ready === true });
  }
  const ports = list(object.ports).flatMap((item) => {
    const port = record(item);
    const name = optionalText(port.name);
    const number = integer(port.port);
    if (name === undefined || number === undefined || (optionalText(port.protocol) ?? 'TCP') !== 'TCP') return [];
    return [{ name, port: number }];
  });
  return { ...meta, labels: {}, service, ports, pods, loose };
}
