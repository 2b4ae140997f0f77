// CustomResourceDefinitions: what makes one acceptable, and the kind that it defines.

import type { ICustomResourceDefinition } from 'kubernetes-models/apiextensions.k8s.io/v1/CustomResourceDefinition';
import type { KubeObject } from '../../client/types.ts';
import { type FieldFault, immutable, invalidField, required } from '../errors.ts';
import { ALL_VERBS, type Column, type Kind, type KindRules } from '../kinds/kind.ts';
import { nameProblem } from '../kinds/validate-names.ts';
import type { ObjectNode } from '../schema/node.ts';
import { NAME_AND_AGE } from '../table/columns.ts';
import { columnFromPath } from '../table/json-path.ts';
import { applyDefaults, compileRoot, regularExpression } from './schema.ts';

export const DEFINITIONS = 'apiextensions.k8s.io/customresourcedefinitions';
const ESTABLISHED = [
  { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' },
  {
    type: 'Established',
    status: 'True',
    reason: 'InitialNamesAccepted',
    message: 'the initial names have been accepted',
  },
] as const;

export const definitionRules: KindRules<ICustomResourceDefinition> = {
  defaults({ spec }) {
    if (spec?.names === undefined) return;
    spec.names.singular ??= (spec.names.kind ?? '').toLowerCase();
    spec.names.listKind ??= `${spec.names.kind}List`;
    spec.conversion ??= { strategy: 'None' };
  },
  admit(definition, { now }) {
    definition.status = establishedStatus(definition, now());
  },
  validate(definition) {
    const { spec, metadata } = definition;
    if (spec === undefined) return [required('spec')];
    const faults: FieldFault[] = [];
    const { group = '', names, scope, versions = [] } = spec;
    if (!group.includes('.'))
      faults.push(invalidField('spec.group', group, 'should be a domain with at least one dot'));
    for (const field of ['plural', 'kind'] as const) if (!names?.[field]) faults.push(required(`spec.names.${field}`));
    if (metadata?.name !== `${names?.plural}.${group}`)
      faults.push(invalidField('metadata.name', metadata?.name, 'must be spec.names.plural+"."+spec.group'));
    if (scope !== 'Namespaced' && scope !== 'Cluster') faults.push(required('spec.scope'));
    if (versions.filter(({ storage }) => storage === true).length !== 1)
      faults.push(invalidField('spec.versions', undefined, 'must have exactly one version marked as storage version'));
    for (const [i, version] of versions.entries()) {
      const at = `spec.versions[${i}]`;
      const problem = nameProblem('label1035', version.name ?? '');
      if (problem !== undefined) faults.push(invalidField(`${at}.name`, version.name, problem));
      if (version.schema?.openAPIV3Schema === undefined)
        faults.push(required(`${at}.schema.openAPIV3Schema`, 'schemas are required'));
      else faults.push(...patternFaults(version.schema.openAPIV3Schema, `${at}.schema.openAPIV3Schema`, 0));
    }
    return faults;
  },
  validateUpdate({ spec }, before) {
    const faults: FieldFault[] = [];
    if (spec?.group !== before.spec?.group) faults.push(immutable('spec.group', spec?.group));
    if (spec?.scope !== before.spec?.scope) faults.push(immutable('spec.scope', spec?.scope));
    if (spec?.names?.kind !== before.spec?.names?.kind) faults.push(immutable('spec.names.kind', spec?.names?.kind));
    return faults;
  },
};

/** Names are accepted and the kind is served from the moment of writing. */
function establishedStatus(
  { spec }: ICustomResourceDefinition,
  now: Date,
): NonNullable<ICustomResourceDefinition['status']> {
  const lastTransitionTime = `${now.toISOString().slice(0, 19)}Z`;
  return {
    ...(spec?.names === undefined ? {} : { acceptedNames: structuredClone(spec.names) }),
    conditions: ESTABLISHED.map((condition) => ({ ...condition, lastTransitionTime })),
    storedVersions: (spec?.versions ?? []).filter(({ storage }) => storage).map(({ name }) => name),
  };
}

function patternFaults(schema: unknown, path: string, depth: number): FieldFault[] {
  if (typeof schema !== 'object' || schema === null || depth > 64) return [];
  return Object.entries(schema).flatMap(([key, value]) => {
    if (key === 'pattern' && typeof value === 'string')
      return regularExpression(value) === undefined
        ? [invalidField(`${path}.pattern`, value, 'is not a regular expression')]
        : [];
    return patternFaults(value, `${path}.${key}`, depth + 1);
  });
}

/**
 * The definition that a cluster with this kind would have, for clients that look for it before they use the kind
 * (istiod does). Its schema is open: the kind is built in, and checked by what is built in.
 */
export function definitionOf(kind: Kind, now: Date): ICustomResourceDefinition {
  const { group, plural, singular, shortNames, categories } = kind;
  const definition: ICustomResourceDefinition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, generation: 1, annotations: ANNOTATIONS[group] ?? {} },
    spec: {
      group,
      scope: kind.namespaced ? 'Namespaced' : 'Cluster',
      names: { plural, singular, kind: kind.kind, shortNames: [...shortNames], categories: [...categories] },
      versions: kind.versions.map((name) => ({
        name,
        served: true,
        storage: name === kind.storageVersion,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        subresources: { status: {} },
      })),
    },
  };
  definitionRules.defaults?.(definition);
  definition.status = establishedStatus(definition, now);
  return definition;
}

const ANNOTATIONS: Readonly<Record<string, Record<string, string>>> = {
  'gateway.networking.k8s.io': {
    'gateway.networking.k8s.io/bundle-version': 'v1.5.0',
    'gateway.networking.k8s.io/channel': 'experimental',
  },
};

/** The kind that an accepted definition defines; undefined while no version of it is served. */
export function kindOf(definition: ICustomResourceDefinition): Kind | undefined {
  const { group = '', names, scope, versions = [] } = definition.spec ?? {};
  const served = versions.filter((version) => version.served === true);
  const [first] = served;
  const storage = versions.find((version) => version.storage === true)?.name ?? first?.name;
  if (first === undefined || names === undefined || storage === undefined) return undefined;
  const byName = new Map(served.map((version) => [version.name, version]));
  const schemas = new Map<string, ObjectNode>();
  const columns = new Map<string, readonly Column[]>();
  const source = (version: string) => byName.get(version) ?? first;
  const singular = names.singular ?? names.kind.toLowerCase();
  return {
    group,
    plural: names.plural,
    singular,
    kind: names.kind,
    namespaced: scope === 'Namespaced',
    versions: served.map(({ name }) => name),
    storageVersion: storage,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    verbs: ALL_VERBS,
    status: first.subresources?.status !== undefined,
    scale: scaleOf(first.subresources?.scale),
    subresources: {},
    generation: true,
    custom: true,
    selectableFields: (first.selectableFields ?? []).map(({ jsonPath }) => jsonPath.replace(/^\./, '')),
    schema: (version) =>
      memo(schemas, version, () =>
        compileRoot(`${group}.${version}.${names.kind}`, source(version).schema?.openAPIV3Schema),
      ),
    columns: (version) => memo(columns, version, () => columnsOf(source(version).additionalPrinterColumns)),
    rules: {
      defaults: (object: KubeObject) => applyDefaults(source(storage).schema?.openAPIV3Schema, object),
    },
    nameRule: 'subdomain',
  };
}

function memo<T>(known: Map<string, T>, key: string, make: () => T): T {
  let value = known.get(key);
  if (value === undefined) {
    value = make();
    known.set(key, value);
  }
  return value;
}

type Version = NonNullable<ICustomResourceDefinition['spec']>['versions'][number];

function scaleOf(scale: NonNullable<Version['subresources']>['scale'] | undefined): Kind['scale'] {
  if (scale === undefined) return undefined;
  return {
    specReplicas: scale.specReplicasPath,
    statusReplicas: scale.statusReplicasPath,
    labelSelector: scale.labelSelectorPath ?? '.status.selector',
  };
}

function columnsOf(printed: Version['additionalPrinterColumns']): readonly Column[] {
  const [name, age] = NAME_AND_AGE;
  if (name === undefined || age === undefined) return NAME_AND_AGE;
  if (!printed?.length) return NAME_AND_AGE;
  return [name, ...printed.map((column) => columnFromPath(column))];
}
