// A Pod, reduced to what the mesh needs: a tenth of the object, so that ten thousand of them stay small.

import { type Ip, parseIp } from '../../model/ip.ts';
import { ANNOTATION } from '../names.ts';
import { flag, integer, type Json, list, optionalText, record, text } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';

export interface Pod extends Meta {
  readonly uid: string;
  /** Empty before the network has been set up, or when the status holds anything that is no address. */
  readonly ips: readonly Ip[];
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  readonly ready: boolean;
  /** Succeeded or Failed: out of the mesh. */
  readonly finished: boolean;
  readonly failed: boolean;
  /** Named TCP ports of the containers that run next to each other (restartable init containers among them). */
  readonly namedPorts: Readonly<Record<string, number>>;
  /** The name the pod was generated from, and the controller that did. */
  readonly generated: boolean;
  readonly controller: { readonly kind: string; readonly name: string } | undefined;
}

function parseIps(status: Json): readonly Ip[] {
  const several = list(status.podIPs).map((item) => text(record(item).ip));
  const written = several.length > 0 ? several : [text(status.podIP)].filter((ip) => ip !== '');
  const parsed = written.map(parseIp);
  return parsed.flatMap((ip) => (ip.ok ? [ip.value] : [])).length === parsed.length
    ? parsed.flatMap((ip) => (ip.ok ? [ip.value] : []))
    : [];
}

function parseNamedPorts(spec: Json): Readonly<Record<string, number>> {
  const beside = list(spec.initContainers).filter((item) => record(item).restartPolicy === 'Always');
  const ports: Record<string, number> = {};
  for (const container of [...list(spec.containers), ...beside])
    for (const item of list(record(container).ports)) {
      const port = record(item);
      const name = text(port.name);
      const number = integer(port.containerPort);
      if (name === '' || number === undefined || (optionalText(port.protocol) ?? 'TCP') !== 'TCP') continue;
      if (!Object.hasOwn(ports, name)) ports[name] = number;
    }
  return ports;
}

export function parsePod(object: Json): Pod {
  const metadata = record(object.metadata);
  const spec = record(object.spec);
  const status = record(object.status);
  const owner = list(metadata.ownerReferences)
    .map(record)
    .find((reference) => flag(reference.controller));
  const ready = list(status.conditions).some((item) => {
    const condition = record(item);
    return condition.type === 'Ready' && condition.status === 'True';
  });
  return {
    ...parseMeta(object, [ANNOTATION.redirection, ANNOTATION.waypointPolicy]),
    uid: text(metadata.uid),
    ips: parseIps(status),
    node: text(spec.nodeName),
    serviceAccount: text(spec.serviceAccountName),
    hostNetwork: flag(spec.hostNetwork),
    ready: ready && metadata.deletionTimestamp === undefined,
    finished: status.phase === 'Succeeded' || status.phase === 'Failed',
    failed: status.phase === 'Failed',
    namedPorts: parseNamedPorts(spec),
    generated: text(metadata.generateName) !== '',
    controller: owner && { kind: text(owner.kind), name: text(owner.name) },
  };
}
