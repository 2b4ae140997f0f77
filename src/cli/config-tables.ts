// The tables of `ztunnel-config`: istioctl's columns, order and words.

import type { ConfigDump, DumpCertificateEntry, DumpService, DumpWaypoint, DumpWorkload } from './config-dump.ts';
import { table } from './output.ts';

export interface DumpFilter {
  readonly workloadNamespace?: string;
  readonly workloadNode?: string;
  readonly address?: string;
  readonly serviceNamespace?: string;
  readonly policyNamespace?: string;
  readonly direction?: string;
}

const byName = <T extends { namespace: string; name: string }>(a: T, b: T): number =>
  a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name);

export const workloadsOf = (dump: ConfigDump, filter: DumpFilter): DumpWorkload[] =>
  dump.workloads
    .filter(
      (w) =>
        (filter.workloadNamespace === undefined || w.namespace === filter.workloadNamespace) &&
        (filter.workloadNode === undefined || w.node === filter.workloadNode) &&
        (filter.address === undefined || (w.workloadIps ?? []).includes(filter.address)),
    )
    .sort(byName);

export const servicesOf = (dump: ConfigDump, filter: DumpFilter): DumpService[] =>
  dump.services
    .filter((s) => filter.serviceNamespace === undefined || s.namespace === filter.serviceNamespace)
    .sort(byName);

export const policiesOf = (dump: ConfigDump, filter: DumpFilter): ConfigDump['policies'] =>
  dump.policies
    .filter((p) => filter.policyNamespace === undefined || p.namespace === filter.policyNamespace)
    .sort(byName);

/** The name of the service or the address that the waypoint is at. */
function waypointName(waypoint: DumpWaypoint | undefined, dump: ConfigDump): string {
  const destination = waypoint?.destination;
  if (!destination) return 'None';
  const service = dump.services.find(
    (s) => (s.vips ?? []).includes(destination) || `${s.namespace}/${s.hostname}` === destination,
  );
  return service?.name ?? destination;
}

export const workloadTable = (dump: ConfigDump, filter: DumpFilter = {}): string =>
  table(
    ['NAMESPACE', 'POD NAME', 'ADDRESS', 'NODE', 'WAYPOINT', 'PROTOCOL'],
    workloadsOf(dump, filter).map((w) => [
      w.namespace,
      w.name,
      w.workloadIps?.[0] ?? w.hostname ?? '',
      w.node ?? '',
      waypointName(w.waypoint, dump),
      w.protocol ?? 'TCP',
    ]),
  );

export const serviceTable = (dump: ConfigDump, filter: DumpFilter = {}): string =>
  table(
    ['NAMESPACE', 'SERVICE NAME', 'SERVICE VIP', 'WAYPOINT', 'ENDPOINTS'],
    servicesOf(dump, filter).map((s) => {
      const endpoints = Object.values(s.endpoints ?? {});
      const healthy = endpoints.filter((e) => (e.status ?? 'Healthy') === 'Healthy').length;
      const vip = (s.vips ?? []).map((v) => v.slice(v.indexOf('/') + 1)).join(',');
      return [s.namespace, s.name, vip, waypointName(s.waypoint, dump), `${healthy}/${endpoints.length}`];
    }),
  );

export const policyTable = (dump: ConfigDump, filter: DumpFilter = {}): string =>
  table(
    ['NAMESPACE', 'POLICY NAME', 'ACTION', 'SCOPE'],
    policiesOf(dump, filter).map((p) => [p.namespace, p.name, p.action, p.scope]),
  );

export function certificateTable(dump: ConfigDump, now = new Date()): string {
  const row = (name: string, type: string, state: string, certificate: DumpCertificateEntry | undefined): string[] => [
    name,
    type,
    state.split(':')[0] ?? state,
    certificate === undefined
      ? 'false'
      : String(now >= new Date(certificate.validFrom) && now <= new Date(certificate.expirationTime)),
    certificate === undefined ? '' : BigInt(certificate.serialNumber || 0).toString(16),
    certificate?.expirationTime ?? '',
    certificate?.validFrom ?? '',
  ];
  const rows = [...dump.certificates]
    .sort((a, b) => a.identity.localeCompare(b.identity))
    .flatMap(({ identity, state, certChain = [], rootCerts = [] }) =>
      certChain.length === 0
        ? [row(identity, 'Leaf', state, undefined)]
        : [
            ...certChain.map((c, i) => row(identity, i === 0 ? 'Leaf' : 'Intermediate', state, c)),
            ...rootCerts.map((c) => row(identity, 'Root', state, c)),
          ],
    );
  return table(
    ['CERTIFICATE NAME', 'TYPE', 'STATUS', 'VALID CERT', 'SERIAL NUMBER', 'NOT AFTER', 'NOT BEFORE'],
    rows,
    5,
  );
}

export function connectionTable(dump: ConfigDump, filter: DumpFilter = {}): string {
  const rows: string[][] = [];
  const states = Object.values(dump.workloadState).sort((a, b) => byName(a.info, b.info));
  const named = (address: string): string => {
    const at = address.lastIndexOf(':');
    const ip = address.slice(0, at).replace(/^\[|\]$/g, '');
    const workload = dump.workloads.find((w) => w.workloadIps?.includes(ip));
    const service = dump.services.find((s) => (s.vips ?? []).some((vip) => vip.endsWith(`/${ip}`)));
    const name = service ? `${service.hostname}` : workload ? `${workload.name}.${workload.namespace}` : ip;
    return `${name}${address.slice(at)}`;
  };
  for (const { info, connections } of states) {
    if (filter.workloadNamespace !== undefined && info.namespace !== filter.workloadNamespace) continue;
    const workload = `${info.name}.${info.namespace}`;
    if (filter.direction !== 'outbound')
      for (const c of connections?.inbound ?? [])
        rows.push([workload, 'Inbound', named(c.actualDst), named(c.src), '', c.protocol]);
    if (filter.direction !== 'inbound')
      for (const c of connections?.outbound ?? [])
        rows.push([workload, 'Outbound', named(c.src), named(c.actualDst), named(c.originalDst), c.protocol]);
  }
  return table(['WORKLOAD', 'DIRECTION', 'LOCAL', 'REMOTE', 'REMOTE TARGET', 'PROTOCOL'], rows);
}
