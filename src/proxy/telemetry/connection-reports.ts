// Connections that an L7 proxy passes on: counted as Istio's Envoy counts them, and logged in the formats of the proxy's
// access logs, where everything that is of requests is empty.

import type { HttpRequest } from '../../model/http/request.ts';
import type { Clock } from '../../platform/clock.ts';
import type {
  ByteMeter,
  ConnectionInfo,
  ConnectionTelemetry,
  EarlyDenial,
  OpenConnection,
  Outcome,
} from '../../telemetry/connection.ts';
import { Fields } from '../../wire/http1/index.ts';
import type { ClientInfo, ResponseFlag } from '../contracts.ts';
import type { AccessLog } from './access-logs.ts';
import type { Reported, ReportingProxy } from './ends.ts';
import { endLabels, flagsLabel, labelsOfGroup, type MetricGroup, securityLabel, tagValues } from './metric-groups.ts';
import { TCP_METRICS, type TcpCounters, type TcpMetric, type TcpMetrics } from './tcp-metrics.ts';

export interface ConnectionReportsOptions {
  readonly proxy: ReportingProxy;
  readonly clock: Clock;
  readonly metrics: TcpMetrics;
  /** What is in force now; a connection keeps that of its beginning. */
  readonly current: () => { readonly groups: readonly MetricGroup<TcpMetric>[]; readonly logs: readonly AccessLog[] };
}

/** Envoy's flag for how ztunnel's kind of connection failed. */
const FLAGS: Readonly<Partial<Record<Outcome['flag'], ResponseFlag>>> = {
  CONNECT: 'UF',
  TLS_FAILURE: 'UF',
  H2_HANDSHAKE_FAILURE: 'UF',
  NETWORK_POLICY: 'UF',
};
const NO_FIELDS = new Fields();

export class ConnectionReports implements ConnectionTelemetry {
  readonly #options: ConnectionReportsOptions;

  constructor(options: ConnectionReportsOptions) {
    this.#options = options;
  }

  open(info: ConnectionInfo, meter: ByteMeter): OpenConnection {
    const { clock, metrics } = this.#options;
    const { groups, logs } = this.#options.current();
    const startedAtMs = clock.nowMs();
    const opened = reportedOf(info, startedAtMs);
    const live = metrics.open(this.#counters(groups, opened), meter);
    let over = false;
    return {
      finish: (outcome) => {
        if (over) return;
        over = true;
        const flag = FLAGS[outcome.flag];
        const closed: Reported = {
          ...opened,
          bytesReceived: meter.toServer,
          bytesSent: meter.toClient,
          endedAfterMs: Math.max(0, clock.nowMs() - startedAtMs),
          upstreamFailure: outcome.error,
          flags: new Set(flag === undefined ? [] : [flag]),
        };
        live.finish(this.#counters(groups, closed));
        for (const log of logs) log.write(closed);
      },
    };
  }

  /** Refused before it was decided where to go: logged, not counted. */
  denied(denial: EarlyDenial): void {
    const { logs } = this.#options.current();
    const refused: Reported = {
      ...connectionOf(clientOf(denial.sourceAddress, denial.destinationAddress), this.#options.clock.nowMs()),
      details: denial.error.replaceAll(' ', '_'),
      flags: new Set(flagOfDenial(denial.error)),
    };
    for (const log of logs) log.write(refused);
  }

  /** Gauges of the node proxy, which this kind does not have. */
  sockets(): void {}
  onDemandDns(): void {}

  #counters(groups: readonly MetricGroup<TcpMetric>[], reported: Reported): TcpCounters {
    const { proxy, metrics } = this.#options;
    const counters = new Map<TcpMetric, ReturnType<TcpMetrics['set']>>();
    if (groups.length === 0) return counters;
    const labels = [
      ...endLabels(proxy, reported),
      ['request_protocol', 'tcp'] as const,
      flagsLabel(reported),
      securityLabel(proxy, reported),
    ];
    for (const group of groups) {
      const set = metrics.set(labelsOfGroup(labels, group, tagValues(group, reported)));
      for (const metric of TCP_METRICS) if (group.metrics.has(metric)) counters.set(metric, set);
    }
    return counters;
  }
}

function flagOfDenial(error: string): ResponseFlag[] {
  if (error.startsWith('no route')) return ['NR'];
  if (error.startsWith('no healthy upstream')) return ['UH'];
  return error.startsWith('too many connections') ? ['UO'] : [];
}

type Addresses = Pick<ClientInfo, 'source' | 'destination'>;

const clientOf = (source: Addresses['source'], destination: Addresses['destination']): ClientInfo => ({
  source,
  destination,
  identity: undefined,
  peer: undefined,
  serverName: undefined,
  secure: false,
  clientCertificate: undefined,
});

/** @returns what is known of a connection at its beginning */
function reportedOf(info: ConnectionInfo, startedAtMs: number): Reported {
  const { source, sourceIdentity, destination, destinationIdentity, destinationService, hboneAuthority } = info;
  const client: ClientInfo = {
    ...clientOf(info.sourceAddress, info.originalDestination),
    identity: sourceIdentity,
    peer: source,
    secure: sourceIdentity !== undefined,
  };
  const service = destinationService && {
    key: `${destinationService.namespace}/${destinationService.hostname}`,
    hostname: destinationService.hostname,
  };
  const hop = info.destinationAddress;
  const upstream = service && {
    service,
    port: info.originalDestination.port,
    subset: undefined,
    endpoint: {
      workload: undefined,
      address: hop,
      tunnel:
        hboneAuthority === undefined ? undefined : { hop, expected: destinationIdentity ? [destinationIdentity] : [] },
    },
    localAddress: undefined,
    meshed: hboneAuthority !== undefined,
    peer: destination,
  };
  return { ...connectionOf(client, startedAtMs), service, upstream };
}

function connectionOf(client: ClientInfo, startedAtMs: number): Reported {
  const request: HttpRequest = {
    connection: { source: client.source, identity: client.identity, destination: client.destination },
    method: '',
    scheme: '',
    authority: '',
    path: '',
    query: '',
    headers: NO_FIELDS,
    remoteIp: undefined,
    sni: client.serverName,
    token: undefined,
  };
  return {
    id: '',
    startedAtMs,
    client,
    protocol: undefined,
    request,
    originalPath: '',
    requestFields: NO_FIELDS,
    isGrpc: false,
    token: undefined,
    service: undefined,
    verdict: undefined,
    route: undefined,
    upstream: undefined,
    tries: 1,
    responseStatus: 0,
    responseFields: undefined,
    responseTrailers: undefined,
    details: '',
    upstreamFailure: undefined,
    flags: new Set(),
    bytesReceived: 0,
    bytesSent: 0,
    requestMessages: 0,
    responseMessages: 0,
    responseStartedAfterMs: undefined,
    endedAfterMs: undefined,
  };
}
