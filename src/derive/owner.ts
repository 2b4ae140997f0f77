// What a workload is called: the controller its users know (a Deployment, not its ReplicaSet), and the canonical
// service name and revision that metrics are labelled with.

import { LABEL } from './names.ts';
import type { Pod } from './objects/pod.ts';
import type { Labels } from './read.ts';

/** Strips `-<suffix>` when the name ends so. */
const without = (name: string, suffix: string | undefined): string | undefined =>
  suffix !== undefined && suffix !== '' && name.endsWith(`-${suffix}`) && name.length > suffix.length + 1
    ? name.slice(0, -suffix.length - 1)
    : undefined;

function controllerName(pod: Pod): string {
  const { controller, labels } = pod;
  if (controller === undefined || !pod.generated) return pod.name;
  const { kind, name } = controller;
  switch (kind) {
    case 'ReplicaSet':
      return without(name, labels[LABEL.podTemplateHash]) ?? without(name, labels[LABEL.rolloutTemplateHash]) ?? name;
    case 'ReplicationController':
      return labels[LABEL.deploymentConfig] ?? name;
    case 'Job':
      return /^(.+)-[0-9]{8,10}$/.exec(name)?.[1] ?? name; // a CronJob's run ends with its minute since 1970
    default:
      return name;
  }
}

export const workloadName = (pod: Pod): string => pod.labels[LABEL.workloadName] ?? controllerName(pod);

export const canonicalService = (
  labels: Labels,
  fallback: string,
): { readonly canonicalName: string; readonly canonicalRevision: string } => ({
  canonicalName: labels[LABEL.canonicalName] ?? labels[LABEL.appName] ?? labels[LABEL.app] ?? fallback,
  canonicalRevision: labels[LABEL.canonicalRevision] ?? labels[LABEL.appVersion] ?? labels[LABEL.version] ?? 'latest',
});
