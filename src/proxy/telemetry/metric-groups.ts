// What a configuration says of a list of metrics: which are on, in groups of equal labels, with tags added and removed;
// and the labels that all metrics of traffic share. Made once per configuration.

import type { MetricsConfig } from '../../model/proxy/telemetry-config.ts';
import type { Peer } from '../../model/traffic.ts';
import { exchangeNames } from './attributes.ts';
import { type CelExpression, compileCel, FAULT } from './cel/compile.ts';
import {
  destinationIdentityOf,
  destinationOf,
  flagsText,
  type Reported,
  type ReportingProxy,
  serviceNamesOf,
  sourceIdentityOf,
  sourceOf,
  spiffeText,
} from './ends.ts';

export type Label = readonly [name: string, value: string];

interface AddedTag {
  readonly name: string;
  /** Undefined: the expression cannot be read. */
  readonly value: CelExpression<Reported> | undefined;
}

/** Metrics with the same labels. */
export interface MetricGroup<M extends string> {
  readonly metrics: ReadonlySet<M>;
  readonly removed: ReadonlySet<string>;
  readonly added: readonly AddedTag[];
}

/** Of a value that an expression makes: labels are for telling apart, not for keeping. */
const MOST_TAG_CHARACTERS = 256;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** @param warn  is told of each expression that cannot be read, and of each name that no label may have */
export function metricGroups<M extends string>(
  proxy: ReportingProxy,
  names: readonly M[],
  { enabled, overrides }: MetricsConfig,
  warn: (problem: string) => void,
): readonly MetricGroup<M>[] {
  if (!enabled) return [];
  const mode = proxy.reporter === 'source' ? 'client' : 'server';
  const expressions = new Map<string, CelExpression<Reported> | undefined>();
  const groups = new Map<string, { metrics: Set<M>; removed: Set<string>; added: AddedTag[] }>();
  for (const metric of names) {
    let disabled = false;
    const tags = new Map<string, string | undefined>();
    for (const override of overrides) {
      if (override.mode !== 'both' && override.mode !== mode) continue;
      if (override.metric !== undefined && override.metric !== metric) continue;
      disabled = override.disabled ?? disabled;
      for (const { tag, value } of override.tags) tags.set(tag, value);
    }
    if (disabled) continue;
    const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify(sorted.map(([tag, value]) => [tag, value ?? null]));
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

  function expressionOf(text: string, tag: string): CelExpression<Reported> | undefined {
    if (expressions.has(text)) return expressions.get(text);
    const compiled = compileCel(text, exchangeNames(proxy));
    if (!compiled.ok) warn(`metric tag \`${tag}\` reads \`unknown\`: ${compiled.error}`);
    const expression = compiled.ok ? compiled.value : undefined;
    expressions.set(text, expression);
    return expression;
  }
}

const NO_VALUES: readonly string[] = [];

/** Values of the tags that a group adds, in its order. */
export const tagValues = ({ added }: MetricGroup<string>, reported: Reported): readonly string[] =>
  added.length === 0 ? NO_VALUES : added.map(({ value }) => tagText(value, reported));

function tagText(expression: CelExpression<Reported> | undefined, reported: Reported): string {
  const value = expression === undefined ? FAULT : expression(reported);
  if (value === FAULT || value === null || typeof value === 'object') return 'unknown';
  return String(value).slice(0, MOST_TAG_CHARACTERS);
}

/** @param values  of `tagValues` */
export function labelsOfGroup(
  labels: readonly Label[],
  { removed, added }: MetricGroup<string>,
  values: readonly string[],
): readonly Label[] {
  if (removed.size === 0 && added.length === 0) return labels;
  const changed = new Map(labels);
  for (const name of removed) changed.delete(name);
  added.forEach(({ name }, i) => {
    changed.set(name, values[i] ?? 'unknown');
  });
  return [...changed];
}

/** Who called whom, in Istio's names. */
export function endLabels(proxy: ReportingProxy, reported: Reported): Label[] {
  const service = reported.service ?? reported.upstream?.service;
  const names = service && serviceNamesOf(service);
  const sourceIdentity = sourceIdentityOf(proxy, reported);
  const destinationIdentity = destinationIdentityOf(reported.upstream);
  return [
    ['reporter', proxy.reporter],
    ...peerLabels('source', sourceOf(proxy, reported), sourceIdentity && spiffeText(sourceIdentity)),
    ...peerLabels('destination', destinationOf(reported), destinationIdentity && spiffeText(destinationIdentity)),
    ['destination_service', names?.hostname ?? 'unknown'],
    ['destination_service_name', names?.name ?? 'unknown'],
    ['destination_service_namespace', names?.namespace ?? 'unknown'],
  ];
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

/** The last labels of every metric. A client side does not judge its own security. */
export const flagsLabel = (reported: Reported): Label => ['response_flags', flagsText(reported)];
export function securityLabel(proxy: ReportingProxy, { client }: Reported): Label {
  const mutual = client.identity === undefined ? 'none' : 'mutual_tls';
  return ['connection_security_policy', proxy.reporter === 'source' ? 'unknown' : mutual];
}
