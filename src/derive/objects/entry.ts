// ServiceEntry and WorkloadEntry: services and workloads that Kubernetes does not know.

import { type Cidr, type Ip, isV4, parseCidr, parseIp } from '../../model/ip.ts';
import type { PortProtocol } from '../../model/proxy/service-config.ts';
import type { AppProtocol, Locality } from '../../model/workload.ts';
import { ANNOTATION } from '../names.ts';
import { parseProtocol, proxiedProtocol } from '../protocol.ts';
import { integer, type Json, type Labels, list, optionalRecord, record, text, textRecord, texts } from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

/** One workload outside Kubernetes: a WorkloadEntry's spec, or an inline endpoint of a ServiceEntry. */
export interface EntryPoint {
  /** As written: an address, or a DNS name; empty when it is only reachable through another network's gateway. */
  readonly address: string;
  readonly ip: Ip | undefined;
  /** Port name to port number. */
  readonly ports: Readonly<Record<string, number>>;
  readonly labels: Labels;
  readonly network: string;
  readonly locality: Locality;
  readonly serviceAccount: string;
  /** Load-balancing weight; 0 when not given. */
  readonly weight: number;
}

export type Resolution = 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS';
const RESOLUTIONS: ReadonlySet<string> = new Set(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']);

export interface EntryServicePort {
  readonly name: string;
  readonly port: number;
  /** 0: not given, the same as `port`. */
  readonly target: number;
  readonly appProtocol: AppProtocol;
  /** Undefined for UDP, which no proxy takes. */
  readonly proxied: PortProtocol | undefined;
}

export interface ServiceEntry extends Meta {
  /** Lower case, without repetitions and what is no host name: proxies refuse a resource whose key they cannot read. */
  readonly hosts: readonly string[];
  /** Undefined when one of the written addresses cannot be read: then the entry makes no service at all. */
  readonly addresses: readonly Cidr[] | undefined;
  readonly ports: readonly EntryServicePort[];
  readonly resolution: Resolution;
  readonly endpoints: readonly EntryPoint[];
  readonly selector: Labels | undefined;
  readonly subjectAltNames: readonly string[];
  /** Addresses that the control plane allocated earlier, from the status. */
  readonly allocated: readonly { readonly host: string; readonly ip: Ip }[];
  readonly conditions: readonly Condition[];
}

export interface WorkloadEntry extends Meta {
  readonly point: EntryPoint;
  readonly conditions: readonly Condition[];
}

export const SERVICE_ENTRY_CONDITIONS: ReadonlySet<string> = new Set([
  'istio.io/WaypointBound',
  'istio.io/WaypointMissing',
  'istio.io/VisibilityApplied',
]);
export const WORKLOAD_ENTRY_CONDITIONS: ReadonlySet<string> = new Set(['istio.io/WaypointBound']);

const HOST = /^[*a-z0-9_.-]{1,253}$/;

function parseLocality(written: string): Locality {
  const [region = '', zone = '', subzone = ''] = written.split('/');
  return { region, zone, subzone };
}

function parsePoint(spec: Json): EntryPoint {
  const address = text(spec.address);
  const ip = parseIp(address);
  const ports = Object.entries(record(spec.ports)).flatMap(([name, value]) => {
    const number = integer(value);
    return number === undefined ? [] : [[name, number] as const];
  });
  return {
    address,
    ip: ip.ok ? ip.value : undefined,
    ports: Object.fromEntries(ports),
    labels: textRecord(spec.labels),
    network: text(spec.network),
    locality: parseLocality(text(spec.locality)),
    serviceAccount: text(spec.serviceAccount),
    weight: integer(spec.weight) ?? 0,
  };
}

function parseAddresses(written: readonly string[]): readonly Cidr[] | undefined {
  const parsed = written.map(parseCidr);
  const good = parsed.flatMap((range) => (range.ok ? [range.value] : []));
  return good.length === parsed.length ? good : undefined;
}

export const isWildcard = (host: string): boolean => host.startsWith('*');
export const isWholeAddress = (range: Cidr): boolean => range.length === (isV4(range.ip) ? 32 : 128);

export function parseServiceEntry(object: Json): ServiceEntry {
  const spec = record(object.spec);
  const resolution = text(spec.resolution);
  const selector = optionalRecord(spec.workloadSelector);
  return {
    ...parseMeta(object, [
      ANNOTATION.trafficDistribution,
      ANNOTATION.canaryWeight,
      ANNOTATION.connectStrategy,
      ANNOTATION.waypointPolicy,
    ]),
    hosts: [...new Set(texts(spec.hosts).map((host) => host.toLowerCase()))].filter((host) => HOST.test(host)),
    addresses: parseAddresses(texts(spec.addresses)),
    ports: list(spec.ports).flatMap((item) => {
      const port = record(item);
      const number = integer(port.number);
      if (number === undefined) return [];
      const protocol = text(port.protocol);
      const name = text(port.name);
      return [
        {
          name,
          port: number,
          target: integer(port.targetPort) ?? 0,
          appProtocol: parseProtocol(protocol),
          proxied: protocol.toUpperCase() === 'UDP' ? undefined : proxiedProtocol(number, name, protocol || undefined),
        },
      ];
    }),
    resolution: RESOLUTIONS.has(resolution) ? (resolution as Resolution) : 'NONE',
    endpoints: selector === undefined ? list(spec.endpoints).map((item) => parsePoint(record(item))) : [],
    selector: selector && textRecord(selector.labels),
    subjectAltNames: texts(spec.subjectAltNames),
    allocated: list(record(object.status).addresses).flatMap((item) => {
      const ip = parseIp(text(record(item).value));
      return ip.ok ? [{ host: text(record(item).host), ip: ip.value }] : [];
    }),
    conditions: parseConditions(object.status, SERVICE_ENTRY_CONDITIONS),
  };
}

/** Labels stand in the metadata and in the spec; the spec's win. */
export function parseWorkloadEntry(object: Json): WorkloadEntry {
  const meta = parseMeta(object, [ANNOTATION.redirection, ANNOTATION.waypointPolicy]);
  const point = parsePoint(record(object.spec));
  return {
    ...meta,
    labels: { ...meta.labels, ...point.labels },
    point,
    conditions: parseConditions(object.status, WORKLOAD_ENTRY_CONDITIONS),
  };
}
