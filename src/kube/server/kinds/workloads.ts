// Deployment, ReplicaSet, DaemonSet: defaults and validation (Kubernetes API reference: apps/v1).

import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import type { IPodTemplateSpec } from 'kubernetes-models/v1/PodTemplateSpec';
import { type LabelSelectorObject, matchesLabels, selectorFromObject } from '../../client/selectors.ts';
import { KubeError } from '../../client/types.ts';
import { type FieldFault, immutable, invalidField, required, unsupported } from '../errors.ts';
import { sameJson } from '../json.ts';
import type { KindRules } from './kind.ts';
import { defaultPodSpec, validatePodSpec } from './pod.ts';
import { validateLabels } from './validate-names.ts';

export const deploymentRules: KindRules<IDeployment> = {
  defaults({ spec }) {
    if (spec === undefined) return;
    spec.replicas ??= 1;
    spec.strategy ??= {};
    spec.strategy.type ??= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
    }
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    defaultTemplate(spec.template);
  },
  admit(deployment) {
    deployment.status = {};
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec.selector'), required('spec.template')];
    const faults = [...validateReplicas(spec.replicas), ...validateTemplate(spec)];
    if (spec.strategy?.type === 'Recreate' && spec.strategy.rollingUpdate !== undefined)
      faults.push({
        type: 'forbidden',
        path: 'spec.strategy.rollingUpdate',
        detail: "may not be specified when strategy `type` is 'Recreate'",
      });
    faults.push(...validateRolling(spec.strategy?.rollingUpdate, 'spec.strategy.rollingUpdate'));
    for (const field of ['minReadySeconds', 'revisionHistoryLimit', 'progressDeadlineSeconds'] as const)
      if ((spec[field] ?? 0) < 0)
        faults.push(invalidField(`spec.${field}`, spec[field], 'must be greater than or equal to 0'));
    if ((spec.progressDeadlineSeconds ?? 600) <= (spec.minReadySeconds ?? 0))
      faults.push(
        invalidField(
          'spec.progressDeadlineSeconds',
          spec.progressDeadlineSeconds,
          'must be greater than minReadySeconds',
        ),
      );
    return faults;
  },
  validateUpdate: (deployment, before) => keepsSelector(deployment.spec, before.spec),
};

export const replicaSetRules: KindRules<IReplicaSet> = {
  defaults({ spec }) {
    if (spec === undefined) return;
    spec.replicas ??= 1;
    defaultTemplate(spec.template);
  },
  admit(set) {
    set.status = { replicas: 0 };
  },
  validate: ({ spec }) =>
    spec === undefined ? [required('spec.selector')] : [...validateReplicas(spec.replicas), ...validateTemplate(spec)],
  validateUpdate: (set, before) => keepsSelector(set.spec, before.spec),
};

export const daemonSetRules: KindRules<IDaemonSet> = {
  defaults({ spec }) {
    if (spec === undefined) return;
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
      spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
    }
    spec.revisionHistoryLimit ??= 10;
    defaultTemplate(spec.template);
  },
  admit(set) {
    set.status = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
  },
  validate: ({ spec }) =>
    spec === undefined
      ? [required('spec.selector'), required('spec.template')]
      : [
          ...validateTemplate(spec),
          ...validateRolling(spec.updateStrategy?.rollingUpdate, 'spec.updateStrategy.rollingUpdate'),
        ],
  validateUpdate: (set, before) => keepsSelector(set.spec, before.spec),
};

function defaultTemplate(template: IPodTemplateSpec | undefined): void {
  if (template === undefined) return;
  template.metadata ??= {};
  if (template.spec !== undefined) defaultPodSpec(template.spec);
}

function validateReplicas(replicas: number | undefined): FieldFault[] {
  return (replicas ?? 0) < 0 ? [invalidField('spec.replicas', replicas, 'must be greater than or equal to 0')] : [];
}

function validateTemplate(spec: { selector?: LabelSelectorObject; template?: IPodTemplateSpec }): FieldFault[] {
  const faults: FieldFault[] = [];
  const labels = spec.template?.metadata?.labels;
  if (spec.selector === undefined) faults.push(required('spec.selector'));
  else {
    const { matchLabels = {}, matchExpressions = [] } = spec.selector;
    if (Object.keys(matchLabels).length + matchExpressions.length === 0)
      faults.push(invalidField('spec.selector', spec.selector, 'empty selector is invalid for deployment'));
    faults.push(...validateLabels(matchLabels, 'spec.selector.matchLabels'));
    try {
      if (!matchesLabels(selectorFromObject(spec.selector), labels))
        faults.push(
          invalidField('spec.template.metadata.labels', labels ?? {}, '`selector` does not match template `labels`'),
        );
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      faults.push(invalidField('spec.selector', spec.selector, error.message));
    }
  }
  if (spec.template === undefined) return [...faults, required('spec.template')];
  faults.push(...validateLabels(labels, 'spec.template.metadata.labels'));
  const pod = spec.template.spec;
  if (pod === undefined) return [...faults, required('spec.template.spec.containers')];
  faults.push(...validatePodSpec(pod, 'spec.template.spec'));
  if (pod.restartPolicy !== undefined && pod.restartPolicy !== 'Always')
    faults.push(unsupported('spec.template.spec.restartPolicy', pod.restartPolicy, ['Always']));
  return faults;
}

function validateRolling(
  rolling: { maxUnavailable?: number | string; maxSurge?: number | string } | undefined,
  path: string,
): FieldFault[] {
  const faults: FieldFault[] = [];
  for (const field of ['maxUnavailable', 'maxSurge'] as const) {
    const value = rolling?.[field];
    if (value === undefined) continue;
    const fine = typeof value === 'number' ? Number.isInteger(value) && value >= 0 : /^\d{1,3}%$/.test(value);
    if (!fine)
      faults.push(invalidField(`${path}.${field}`, value, "must be a whole number or a percentage (e.g. '5' or '5%')"));
  }
  const isZero = (value: number | string | undefined) => Number.parseInt(String(value ?? 0), 10) === 0;
  if (rolling !== undefined && faults.length === 0 && isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge))
    faults.push(
      invalidField(`${path}.maxUnavailable`, rolling.maxUnavailable ?? 0, 'may not be 0 when `maxSurge` is 0'),
    );
  return faults;
}

function keepsSelector(
  spec: { selector?: unknown } | undefined,
  before: { selector?: unknown } | undefined,
): FieldFault[] {
  return sameJson(spec?.selector, before?.selector) ? [] : [immutable('spec.selector', spec?.selector)];
}
