// pods/ephemeralcontainers, the door of `kubectl debug`: containers are added to a pod that runs, and nothing else of it
// changes (Kubernetes API reference: EphemeralContainer). Once there, one is neither changed nor taken away.

import type { IEphemeralContainer } from 'kubernetes-models/v1/EphemeralContainer';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { KubeObject } from '../../client/types.ts';
import { duplicate, type FieldFault, forbiddenField, invalidField, required } from '../errors.ts';
import { sameJson } from '../json.ts';
import { defaultContainer } from './pod.ts';
import { nameProblem } from './validate-names.ts';

const PATH = 'spec.ephemeralContainers';
const NOT_ALLOWED = ['ports', 'livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle'] as const;

const listOf = (pod: KubeObject): IEphemeralContainer[] => (pod as IPod).spec?.ephemeralContainers ?? [];

/** The pod as it is, with the containers that were sent. */
export function withEphemeralContainers<T extends KubeObject>(pod: T, sent: KubeObject): T {
  const ephemeralContainers = structuredClone(listOf(sent));
  for (const container of ephemeralContainers) defaultContainer(container, false);
  return { ...pod, spec: { ...(pod as IPod).spec, ephemeralContainers } };
}

export function ephemeralFaults(next: KubeObject, before: KubeObject): FieldFault[] {
  const faults: FieldFault[] = [];
  const { spec } = next as IPod;
  const others = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(({ name }) => name);
  const names = new Set(others);
  const now = listOf(next);
  for (const [i, container] of now.entries()) {
    const at = `${PATH}[${i}]`;
    const { name, image, targetContainerName } = container;
    if (!name) faults.push(required(`${at}.name`));
    else if (nameProblem('label', name))
      faults.push(invalidField(`${at}.name`, name, nameProblem('label', name) ?? ''));
    else if (names.has(name)) faults.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (!image) faults.push(required(`${at}.image`));
    for (const field of NOT_ALLOWED)
      if (container[field] !== undefined)
        faults.push(forbiddenField(`${at}.${field}`, 'cannot be set for an Ephemeral Container'));
    if (targetContainerName && !others.includes(targetContainerName))
      faults.push(invalidField(`${at}.targetContainerName`, targetContainerName, 'is no container of this pod'));
  }
  for (const old of listOf(before)) {
    const same = now.find(({ name }) => name === old.name);
    if (same === undefined)
      faults.push(forbiddenField(PATH, `existing ephemeral containers "${old.name}" may not be removed`));
    else if (!sameJson(same, old))
      faults.push(forbiddenField(PATH, `existing ephemeral containers "${old.name}" may not be changed`));
  }
  return faults;
}
