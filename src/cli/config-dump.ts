// What a ztunnel answers at `/config_dump`, as far as commands read it. The shape is the node proxy's own contract, so a
// dump of either make (or a file, `-f`) can be shown.

import { Failure } from './failure.ts';

export interface DumpWaypoint {
  destination?: string;
  hboneMtlsPort?: number;
}

export interface DumpWorkload {
  uid: string;
  name: string;
  namespace: string;
  workloadIps?: string[];
  hostname?: string;
  node?: string;
  protocol?: string;
  waypoint?: DumpWaypoint;
  serviceAccount?: string;
  trustDomain?: string;
  [key: string]: unknown;
}

export interface DumpService {
  name: string;
  namespace: string;
  hostname: string;
  vips?: string[];
  waypoint?: DumpWaypoint;
  endpoints?: Record<string, { workloadUid: string; port?: Record<string, number>; status?: string }>;
  [key: string]: unknown;
}

export interface DumpPolicy {
  name: string;
  namespace: string;
  action: string;
  scope: string;
  [key: string]: unknown;
}

export interface DumpCertificate {
  identity: string;
  state: string;
  certChain?: DumpCertificateEntry[];
  rootCerts?: DumpCertificateEntry[];
}

export interface DumpCertificateEntry {
  serialNumber: string;
  validFrom: string;
  expirationTime: string;
}

export interface DumpConnection {
  src: string;
  originalDst: string;
  actualDst: string;
  protocol: string;
}

export interface ConfigDump {
  workloads: DumpWorkload[];
  services: DumpService[];
  policies: DumpPolicy[];
  certificates: DumpCertificate[];
  workloadState: Record<
    string,
    {
      state: string;
      info: { name: string; namespace: string; serviceAccount: string };
      connections?: { inbound?: DumpConnection[]; outbound?: DumpConnection[] };
    }
  >;
}

export function parseConfigDump(text: string, source: string): ConfigDump {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure({
      what: `${source} is not a configuration dump`,
      why: 'it is not JSON',
      fix: 'take one with `ambit ztunnel-config all -o json`',
      cause,
    });
  }
  const dump = value as Partial<ConfigDump>;
  if (!Array.isArray(dump?.workloads) || !Array.isArray(dump.services))
    throw new Failure({
      what: `${source} is not a ztunnel's configuration dump`,
      why: 'it has no workloads and services',
      fix: 'name a ztunnel pod, or any pod whose node has one',
    });
  return {
    workloads: dump.workloads,
    services: dump.services,
    policies: dump.policies ?? [],
    certificates: dump.certificates ?? [],
    workloadState: dump.workloadState ?? {},
  };
}
