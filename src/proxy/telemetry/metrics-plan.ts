// What one configuration counts: the metrics that are on, in groups of equal labels, with tags added and removed. Made
// once per configuration; counting runs once per exchange.

import type { MetricOverride, MetricsConfig } from '../../model/proxy/telemetry-config.ts';
import type { Peer } from '../../model/traffic.ts';
import type { Exchange } from '../contracts.ts';
import { exchangeNames } from './attributes.ts';
import { type CelExpression, compileCel, FAULT } from './cel/compile.ts';
import {
  destinationIdentityOf,
  destinationOf,
  flagsText,
  grpcStatusOf,
  type ReportingProxy,
  serviceNamesOf,
  sourceIdentityOf,
  sourceOf,
  spiffeText,
} from './ends.ts';
import {
  type Label,
  REQUEST_METRICS,
  type RequestMetric,
  type RequestMetrics,
  type RequestSet,
} from './request-metrics.ts';

interface AddedTag {
  readonly name: string;
  /** Undefined: the expression cannot be read. */
  readonly value: CelExpression<Exchange> | undefined;
}

/** Metrics with the same labels. */
interface Group {
  readonly metrics: ReadonlySet<RequestMetric>;
  readonly removed: ReadonlySet<string>;
  readonly added: readonly AddedTag[];
}

/** Records that were found before; what is too much is found again by its labels. */
const MOST_REMEMBERED = 4096;
/** Of a value that an expression makes: labels are for telling apart, not for keeping. */
const MOST_TAG_CHARACTERS = 256;

export class MetricsPlan {
  readonly #proxy: ReportingProxy;
  readonly #metrics: RequestMetrics;
  readonly #groups: readonly Group[];
  readonly #remembered = new Map<string, readonly RequestSet[]>();
  /** Peers have one object for each version, so a number for the object tells them apart. */
  readonly #numbers = new WeakMap<object, number>();
  #lastNumber = 0;

  /** @param warn  is told once of each expression that cannot be read */
  constructor(proxy: ReportingProxy, config: MetricsConfig, metrics: RequestMetrics, warn: (problem: string) => void) {
    this.#proxy = proxy;
    this.#metrics = metrics;
    this.#groups = config.enabled ? groupsOf(proxy, config.overrides, warn) : [];
  }

  count(exchange: Exchange): void {
    const groups = this.#groups;
    if (groups.length === 0) return;
    const sets = this.#setsOf(exchange);
    const { endedAfterMs = 0, bytesReceived, bytesSent } = exchange;
    for (let i = 0; i < groups.length; i++) {
      const { metrics } = groups[i] as Group;
      const set = sets[i] as RequestSet;
      if (metrics.has('istio_requests_total')) set.countRequest();
      if (metrics.has('istio_request_duration_milliseconds')) set.observeDuration(endedAfterMs);
      if (metrics.has('istio_request_bytes')) set.observeRequestBytes(bytesReceived);
      if (metrics.has('istio_response_bytes')) set.observeResponseBytes(bytesSent);
      if (!exchange.isGrpc) continue;
      if (metrics.has('istio_request_messages_total')) set.countRequestMessages(exchange.requestMessages);
      if (metrics.has('istio_response_messages_total')) set.countResponseMessages(exchange.responseMessages);
    }
  }

  #setsOf(exchange: Exchange): readonly RequestSet[] {
    const source = sourceOf(this.#proxy, exchange);
    const identity = sourceIdentityOf(this.#proxy, exchange);
    const destination = destinationOf(exchange);
    const service = exchange.service ?? exchange.upstream?.service;
    let key = `${this.#number(source)} ${this.#number(destination)} ${exchange.upstream?.meshed} ${service?.key} ${identity === undefined ? '' : spiffeText(identity)} ${exchange.responseStatus} ${flagsText(exchange)}`;
    if (exchange.isGrpc) key += ` ${grpcStatusOf(exchange)}`;
    let values: (readonly string[])[] | undefined;
    for (const group of this.#groups) {
      if (group.added.length === 0) continue;
      const own = group.added.map(({ value }) => tagText(value, exchange));
      values ??= [];
      values.push(own);
      key += `\n${own.join('\n')}`;
    }
    let sets = this.#remembered.get(key);
    if (sets === undefined) {
      const labels = this.#labels(exchange, source, destination);
      let next = 0;
      sets = this.#groups.map((group) =>
        this.#metrics.set(adjusted(labels, group, group.added.length === 0 ? [] : (values?.[next++] ?? []))),
      );
      if (this.#remembered.size >= MOST_REMEMBERED) this.#remembered.clear();
      this.#remembered.set(key, sets);
    }
    return sets;
  }

  #number(of: object | undefined): number {
    if (of === undefined) return 0;
    let number = this.#numbers.get(of);
    if (number === undefined) {
      number = ++this.#lastNumber;
      this.#numbers.set(of, number);
    }
    return number;
  }

  /** Names and values as Istio's Envoy writes them. */
  #labels(exchange: Exchange, source: Peer | undefined, destination: Peer | undefined): readonly Label[] {
    const proxy = this.#proxy;
    const sourceIdentity = sourceIdentityOf(proxy, exchange);
    const destinationIdentity = destinationIdentityOf(exchange.upstream);
    const service = exchange.service ?? exchange.upstream?.service;
    const serviceNames = service && serviceNamesOf(service);
    const mutual = exchange.client.identity !== undefined ? 'mutual_tls' : 'none';
    const { isGrpc } = exchange;
    return [
      ['reporter', proxy.reporter],
      ...peerLabels('source', source, sourceIdentity && spiffeText(sourceIdentity)),
      ...peerLabels('destination', destination, destinationIdentity && spiffeText(destinationIdentity)),
      ['destination_service', serviceNames?.hostname ?? 'unknown'],
      ['destination_service_name', serviceNames?.name ?? 'unknown'],
      ['destination_service_namespace', serviceNames?.namespace ?? 'unknown'],
      ['request_protocol', isGrpc ? 'grpc' : 'http'],
      ['response_code', String(exchange.responseStatus)],
      ['response_flags', flagsText(exchange)],
      ['grpc_response_status', String(grpcStatusOf(exchange) ?? '')],
      ['connection_security_policy', proxy.reporter === 'source' ? 'unknown' : mutual],
    ];
  }
}

const peerLabels = (side: 'source' | 'destination', peer: Peer | undefined, principal: string | undefined): Label[] => [
  [`${side}_workload`, peer?.workload || 'unknown'],
  [`${side}_workload_namespace`, peer?.namespace || 'unknown'],
  [`${side}_canonical_service`, peer?.canonicalName || 'unknown'],
  [`${side}_canonical_revision`, peer?.canonicalRevision || 'unknown'],
  [`${side}_principal`, principal ?? 'unknown'],
  [`${side}_app`, peer?.app || 'unknown'],
  [`${side}_version`, peer?.canonicalRevision || 'unknown'],
  [`${side}_cluster`, peer?.cluster || 'unknown'],
];

function adjusted(labels: readonly Label[], group: Group, values: readonly string[]): readonly Label[] {
  if (group.removed.size === 0 && group.added.length === 0) return labels;
  const changed = new Map(labels);
  for (const name of group.removed) changed.delete(name);
  group.added.forEach(({ name }, i) => {
    changed.set(name, values[i] ?? 'unknown');
  });
  return [...changed];
}

function tagText(expression: CelExpression<Exchange> | undefined, exchange: Exchange): string {
  const value = expression === undefined ? FAULT : expression(exchange);
  if (value === FAULT || value === null || typeof value === 'object') return 'unknown';
  return String(value).slice(0, MOST_TAG_CHARACTERS);
}

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

function groupsOf(
  proxy: ReportingProxy,
  overrides: readonly MetricOverride[],
  warn: (problem: string) => void,
): Group[] {
  const mode = proxy.reporter === 'source' ? 'client' : 'server';
  const expressions = new Map<string, CelExpression<Exchange> | undefined>();
  const groups = new Map<string, { metrics: Set<RequestMetric>; removed: Set<string>; added: AddedTag[] }>();
  for (const metric of REQUEST_METRICS) {
    let disabled = false;
    const tags = new Map<string, string | undefined>();
    for (const override of overrides) {
      if (override.mode !== 'both' && override.mode !== mode) continue;
      if (override.metric !== undefined && override.metric !== metric) continue;
      disabled = override.disabled ?? disabled;
      for (const { tag, value } of override.tags) tags.set(tag, value);
    }
    if (disabled) continue;
    const key = JSON.stringify(
      [...tags].sort(([a], [b]) => (a < b ? -1 : 1)).map(([tag, value]) => [tag, value ?? null]),
    );
    const known = groups.get(key);
    if (known !== undefined) {
      known.metrics.add(metric);
      continue;
    }
    const group = { metrics: new Set([metric]), removed: new Set<string>(), added: [] as AddedTag[] };
    for (const [name, value] of tags) {
      if (value === undefined) group.removed.add(name);
      else if (LABEL_NAME.test(name)) group.added.push({ name, value: expressionOf(value, name) });
      else warn(`metric tag \`${name}\` cannot be a label: letters, digits and underscores are`);
    }
    groups.set(key, group);
  }
  return [...groups.values()];

  function expressionOf(text: string, tag: string): CelExpression<Exchange> | undefined {
    if (expressions.has(text)) return expressions.get(text);
    const compiled = compileCel(text, exchangeNames(proxy));
    if (!compiled.ok) warn(`metric tag \`${tag}\` reads \`unknown\`: ${compiled.error}`);
    const expression = compiled.ok ? compiled.value : undefined;
    expressions.set(text, expression);
    return expression;
  }
}
