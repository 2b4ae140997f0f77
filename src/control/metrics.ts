// The control plane's metrics, with the names that istiod's users have on their dashboards.

import { familyHeader, labelText, sample } from '../telemetry/openmetrics.ts';
import { registerProcessMetrics } from '../telemetry/process-metrics.ts';
import {
  type Collector,
  type Counter,
  type Gauge,
  type Histogram,
  type Labelled,
  Registry,
} from '../telemetry/registry.ts';

/** Seconds. */
const CONVERGENCE_BOUNDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 5, 10, 20, 30];

/** More label sets than this come from a peer's imagination; they are counted together. */
const MAX_LABEL_SETS = 1000;

/** Counters named as istiod names them: without the `_total` that OpenMetrics asks for. */
class PlainCounters implements Labelled<Counter>, Collector {
  readonly #name: string;
  readonly #help: string;
  readonly #labelNames: readonly string[];
  readonly #counts = new Map<string, number>();

  constructor(name: string, help: string, labelNames: readonly string[]) {
    this.#name = name;
    this.#help = help;
    this.#labelNames = labelNames;
    if (labelNames.length === 0) this.#counts.set('', 0);
  }

  labels(...values: string[]): Counter {
    const known = labelText(this.#labelNames, values);
    const full = this.#counts.size >= MAX_LABEL_SETS && !this.#counts.has(known);
    const key = full
      ? labelText(
          this.#labelNames,
          this.#labelNames.map(() => 'overflow'),
        )
      : known;
    return { inc: (by = 1) => void this.#counts.set(key, (this.#counts.get(key) ?? 0) + by) };
  }

  render(): string {
    if (this.#counts.size === 0) return '';
    let text = familyHeader({ name: this.#name, help: this.#help, type: 'counter' });
    for (const [labels, count] of this.#counts) text += sample(this.#name, labels, count);
    return text;
  }
}

export interface ControlMetrics {
  readonly registry: Registry;
  readonly connected: Labelled<Gauge>;
  readonly pushes: Labelled<Counter>;
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
  const counters = (name: string, help: string, labelNames: readonly string[]): Labelled<Counter> => {
    const made = new PlainCounters(name, help, labelNames);
    registry.collector(made);
    return made;
  };
  const counter = (name: string, help: string): Counter => counters(name, help, []).labels();
  registry.gauges('pilot_info', 'Pilot version and build information', ['version']).labels(version).set(1);
  const metrics: ControlMetrics = {
    registry,
    connected: registry.gauges('pilot_xds', 'Number of endpoints connected to this pilot using XDS', ['version']),
    pushes: counters('pilot_xds_pushes', 'Pilot build and send errors for lds, rds, cds and eds', ['type']),
    rejects: counters('pilot_total_xds_rejects', 'Total number of XDS responses from pilot rejected by proxy', [
      'type',
    ]),
    expiredNonces: counters('pilot_xds_expired_nonce', 'Total number of XDS requests with an expired nonce', ['type']),
    convergence: registry
      .histograms(
        'pilot_proxy_convergence_time',
        'Delay in seconds between config change and a proxy receiving all required configuration',
        'seconds',
        [],
        CONVERGENCE_BOUNDS,
      )
      .labels(),
    refusedStreams: counters('ambit_control_refused_streams', 'Discovery streams refused', ['status']),
    kubernetesEvents: counters('pilot_k8s_reg_events', 'Events from k8s registry', ['type', 'event']),
    services: registry.gauge('pilot_services', 'Total services known to pilot'),
    workloads: registry.gauge('ambit_control_workloads', 'Workloads known to the control plane'),
    policies: registry.gauge('ambit_control_policies', 'Policies for node proxies known to the control plane'),
    csrs: counter('citadel_server_csr_count', 'The number of CSRs received by Citadel server'),
    issued: counter(
      'citadel_server_success_cert_issuance_count',
      'The number of certificates issuances that have succeeded',
    ),
    csrErrors: counter('citadel_server_csr_parsing_err_count', 'The number of errors occurred when parsing the CSR'),
    idErrors: counter(
      'citadel_server_id_extraction_err_count',
      'The number of errors occurred when extracting the ID from CSR',
    ),
    authenticationFailures: counter(
      'citadel_server_authentication_failure_count',
      'The number of authentication failures',
    ),
    signingErrors: counter('citadel_server_csr_sign_err_count', 'The number of errors occurred when signing the CSR'),
    rootExpiry: registry.gauge(
      'citadel_server_root_cert_expiry_timestamp',
      'The unix timestamp, in seconds, when Citadel root cert will expire',
    ),
    chainExpiry: registry.gauge(
      'citadel_server_cert_chain_expiry_timestamp',
      'The unix timestamp, in seconds, when Citadel cert chain will expire',
    ),
    statusWrites: counters('ambit_control_status_writes', 'Writes of object statuses', ['kind', 'result']),
  };
  registerProcessMetrics(registry);
  return metrics;
}
