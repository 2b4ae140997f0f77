// Kinds of which one at most may hold for a workload: Sidecar and Telemetry.

import { isSubset } from '../../derive/labels.ts';
import { type Labels, textRecord } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Resource } from '../resource.ts';
import { hasTargets, type World } from '../world.ts';

interface Scoped {
  readonly resource: Resource;
  readonly field: Field;
  readonly labels: Labels;
}

const sidecars = (world: World): readonly Scoped[] =>
  world.all(KIND.sidecar).map((resource) => scoped(resource, resource.spec.at('workloadSelector'), 'labels'));
const telemetries = (world: World): readonly Scoped[] =>
  world
    .all(KIND.telemetry)
    .filter((resource) => !hasTargets(resource))
    .map((resource) => scoped(resource, resource.spec.at('selector'), 'matchLabels'));

const scoped = (resource: Resource, field: Field, labels: string): Scoped => ({
  resource,
  field,
  labels: textRecord(field.at(labels).value),
});
const hasSelector = ({ labels }: Scoped): boolean => Object.keys(labels).length > 0;
const namesOf = (several: readonly Scoped[]): string =>
  several
    .map(({ resource }) => resource.name)
    .sort()
    .join(',');

/** A selector that picks no workload. @returns those of which something could be known */
function picksNothing(world: World, all: readonly Scoped[]): readonly Scoped[] {
  return all.filter(
    (one) =>
      world.knowsWorkloads &&
      hasSelector(one) &&
      !world.workloadsIn(one.resource.namespace).some(({ labels }) => isSubset(one.labels, labels)),
  );
}

const text = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

function overlaps(world: World, all: readonly Scoped[], say: (one: Scoped, names: string, pod: string) => void): void {
  const selective = Map.groupBy(all.filter(hasSelector), ({ resource }) => resource.namespace);
  for (const workload of world.workloads) {
    const picking = (selective.get(workload.namespace) ?? []).filter(({ labels }) => isSubset(labels, workload.labels));
    if (picking.length > 1) for (const one of picking) say(one, namesOf(picking), workload.resource.name);
  }
}

function defaults(all: readonly Scoped[], say: (one: Scoped, names: string) => void): void {
  const plain = all.filter((one) => !hasSelector(one));
  for (const one of plain) {
    const same = plain.filter(({ resource }) => resource.namespace === one.resource.namespace);
    if (same.length > 1) say(one, namesOf(same));
  }
}

export const sidecarAnalyzer: Analyzer = {
  name: 'sidecar.SelectorAnalyzer',
  description: 'Sidecars that select nothing, or the same workloads',
  codes: ['IST0101', 'IST0110', 'IST0111'],
  analyze(world, report) {
    const all = sidecars(world);
    for (const { resource, field, labels } of picksNothing(world, all))
      report('IST0101', resource, field, 'selector', text(labels));
    overlaps(world, all, ({ resource, field }, names, pod) =>
      report('IST0110', resource, field, names, resource.namespace, pod),
    );
    defaults(all, ({ resource }, names) => report('IST0111', resource, resource.root, names, resource.namespace));
  },
};

export const telemetryAnalyzer: Analyzer = {
  name: 'telemetry.SelectorAnalyzer',
  description: 'Telemetries that select nothing or the same workloads, or have no provider',
  codes: ['IST0101', 'IST0157', 'IST0159', 'IST0160'],
  analyze(world, report) {
    const all = telemetries(world);
    for (const { resource, field, labels } of picksNothing(world, all))
      report('IST0101', resource, field, 'selector', text(labels));
    overlaps(world, all, ({ resource, field }, names, pod) =>
      report('IST0159', resource, field, names, resource.namespace, pod),
    );
    defaults(all, ({ resource }, names) => report('IST0160', resource, resource.root, names, resource.namespace));
    for (const telemetry of world.all(KIND.telemetry))
      for (const block of ['tracing', 'metrics', 'accessLogging'])
        for (const entry of telemetry.spec.at(block).items()) {
          const providers = entry.at('providers');
          if (Array.isArray(providers.value) && providers.items().length === 0)
            report('IST0157', telemetry, providers, telemetry.name, telemetry.namespace);
        }
  },
};
