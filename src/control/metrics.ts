// The control plane's metrics, with the names that istiod's users have on their dashboards.

import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import { type Counter, type Gauge, type Histogram, type Labelled, Registry } from '../telemetry/registry.ts';

/** Seconds. */
const CONVERGENCE_BOUNDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 20, 30];

export interface ControlMetrics {
  readonly registry: Registry;
  readonly connected: Labelled<Gauge>;
  readonly pushes: Labelled<Counter>;
  readonly pushErrors: Labelled<Counter>;
  readonly rejects: Labelled<Counter>;
  readonly expiredNonces: Labelled<Counter>;
  readonly convergence: Histogram;
  readonly refusedStreams: Labelled<Counter>;
  readonly kubernetesEvents: Labelled<Counter>;
  readonly services: Gauge;
  readonly workloads: Gauge;
  readonly policies: Gauge;
  readonly csrs: Counter;
  readonly issued: Counter;
  readonly csrErrors: Counter;
  readonly idErrors: Counter;
  readonly authenticationFailures: Counter;
  readonly signingErrors: Counter;
  readonly rootExpiry: Gauge;
  readonly chainExpiry: Gauge;
  readonly statusWrites: Labelled<Counter>;
}

export function createMetrics(version: string): ControlMetrics {
  const registry = new Registry();
  registry.gauges('pilot_info', 'Pilot version and build information', ['version']).labels(version).set(1);
  const metrics: ControlMetrics = {
    registry,
    connected: registry.gauges('pilot_xds', 'Number of endpoints connected to this pilot using XDS', ['version']),
    pushes: registry.counters('pilot_xds_pushes', 'Pilot build and send errors for lds, rds, cds and eds', ['type']),
    pushErrors: registry.counters('pilot_xds_write_timeout', 'Pilot XDS response write timeouts', ['type']),
    rejects: registry.counters(
      'pilot_total_xds_rejects',
      'Total number of XDS responses from pilot rejected by proxy',
      ['type'],
    ),
    expiredNonces: registry.counters('pilot_xds_expired_nonce', 'Total number of XDS requests with an expired nonce', [
      'type',
    ]),
    convergence: registry
      .histograms(
        'pilot_proxy_convergence_time',
        'Delay in seconds between config change and a proxy receiving all required configuration',
        'seconds',
        [],
        CONVERGENCE_BOUNDS,
      )
      .labels(),
    refusedStreams: registry.counters('ambit_control_refused_streams', 'Discovery streams refused', ['status']),
    kubernetesEvents: registry.counters('pilot_k8s_reg_events', 'Events from k8s registry', ['type', 'event']),
    services: registry.gauge('pilot_services', 'Total services known to pilot'),
    workloads: registry.gauge('ambit_control_workloads', 'Workloads known to the control plane'),
    policies: registry.gauge('ambit_control_policies', 'Policies for node proxies known to the control plane'),
    csrs: registry.counter('citadel_server_csr_count', 'The number of CSRs received by Citadel server'),
    issued: registry.counter(
      'citadel_server_success_cert_issuance_count',
      'The number of certificates issuances that have succeeded',
    ),
    csrErrors: registry.counter(
      'citadel_server_csr_parsing_err_count',
      'The number of errors occurred when parsing the CSR',
    ),
    idErrors: registry.counter(
      'citadel_server_id_extraction_err_count',
      'The number of errors occurred when extracting the ID from CSR',
    ),
    authenticationFailures: registry.counter(
      'citadel_server_authentication_failure_count',
      'The number of authentication failures',
    ),
    signingErrors: registry.counter(
      'citadel_server_csr_sign_err_count',
      'The number of errors occurred when signing the CSR',
    ),
    rootExpiry: registry.gauge(
      'citadel_server_root_cert_expiry_timestamp',
      'The unix timestamp, in seconds, when Citadel root cert will expire',
    ),
    chainExpiry: registry.gauge(
      'citadel_server_cert_chain_expiry_timestamp',
      'The unix timestamp, in seconds, when Citadel cert chain will expire',
    ),
    statusWrites: registry.counters('ambit_control_status_writes', 'Writes of object statuses', ['kind', 'result']),
  };
  registerProcessMetrics(registry);
  return metrics;
}
