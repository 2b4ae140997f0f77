// A Kubernetes Service, reduced to what the mesh needs.

import { type Ip, parseIp } from '../../model/ip.ts';
import type { PortProtocol } from '../../model/proxy/service-config.ts';
import type { AppProtocol, IpFamilies } from '../../model/workload.ts';
import { ANNOTATION } from '../names.ts';
import { portProtocol, proxiedProtocol } from '../protocol.ts';
import { flag, integer, type Json, type Labels, list, optionalText, record, text, textRecord, texts } from '../read.ts';
import type { StatusAddress } from './gateway.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a container port. */
  readonly target: number | string;
  readonly appProtocol: AppProtocol;
  /** Undefined for UDP and SCTP, which no proxy takes. */
  readonly proxied: PortProtocol | undefined;
}

export interface KubeService extends Meta {
  readonly externalName: boolean;
  /** Undefined: endpoints are written by hand. */
  readonly selector: Labels | undefined;
  readonly clusterIps: readonly Ip[];
  readonly ports: readonly ServicePort[];
  readonly ipFamilies: IpFamilies;
  readonly localOnly: boolean;
  readonly trafficDistribution: string | undefined;
  readonly publishNotReady: boolean;
  readonly type: string;
  /** What a load balancer gave it: addresses and host names. */
  readonly external: readonly StatusAddress[];
  /** Our conditions as they stand on the object. */
  readonly conditions: readonly Condition[];
}

/** The condition types that the control plane writes on Services. */
export const SERVICE_CONDITIONS: ReadonlySet<string> = new Set(['istio.io/WaypointBound']);

function parsePort(item: unknown): readonly ServicePort[] {
  const port = record(item);
  const number = integer(port.port);
  if (number === undefined) return [];
  const name = text(port.name);
  const target = port.targetPort;
  const transport = optionalText(port.protocol) ?? 'TCP';
  return [
    {
      name,
      port: number,
      target: (typeof target === 'string' && target !== '' && target) || integer(target) || number,
      appProtocol: portProtocol(number, name, transport, optionalText(port.appProtocol)),
      proxied: transport === 'TCP' ? proxiedProtocol(number, name, optionalText(port.appProtocol)) : undefined,
    },
  ];
}

function parseExternal(item: unknown): readonly StatusAddress[] {
  const ingress = record(item);
  const ip = parseIp(text(ingress.ip));
  if (ip.ok) return [{ kind: 'ip', ip: ip.value }];
  const hostname = text(ingress.hostname);
  return hostname === '' ? [] : [{ kind: 'hostname', hostname }];
}

function parseFamilies(families: readonly string[]): IpFamilies {
  if (families.length === 2) return 'dual';
  if (families.length === 0) return 'automatic';
  return families[0] === 'IPv4' ? 'ipv4' : 'ipv6';
}

export function parseService(object: Json): KubeService {
  const spec = record(object.spec);
  const several = texts(spec.clusterIPs);
  const selector = textRecord(spec.selector);
  return {
    ...parseMeta(object, [ANNOTATION.trafficDistribution, ANNOTATION.canaryWeight, ANNOTATION.waypointPolicy]),
    externalName: spec.type === 'ExternalName',
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    clusterIps: (several.length > 0 ? several : [text(spec.clusterIP)]).flatMap((written) => {
      const ip = parseIp(written);
      return ip.ok ? [ip.value] : [];
    }),
    ports: list(spec.ports).flatMap(parsePort),
    ipFamilies: parseFamilies(texts(spec.ipFamilies)),
    localOnly: spec.internalTrafficPolicy === 'Local',
    trafficDistribution: optionalText(spec.trafficDistribution),
    publishNotReady: flag(spec.publishNotReadyAddresses),
    type: optionalText(spec.type) ?? 'ClusterIP',
    external: list(record(record(object.status).loadBalancer).ingress).flatMap(parseExternal),
    conditions: parseConditions(object.status, SERVICE_CONDITIONS),
  };
}
