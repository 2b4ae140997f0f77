// The precompiled validators of @kubernetes-models for Gateway API and Istio kinds: patterns, limits, one-of rules that
// our trees do not hold. They are large, so each is imported when the first object of its kind is written.

import type { KubeObject } from '../../client/types.ts';
import { type FieldFault, invalidField, required, unsupported } from '../errors.ts';
import { valueAt } from '../json.ts';
import type { DeepValidator } from '../kinds/kind.ts';

interface AjvError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: { readonly missingProperty?: string; readonly allowedValues?: readonly string[] };
  readonly message?: string;
}

interface Model {
  validate(): void;
}

const MAX_FAULTS = 16;

/** @returns loads the validator, once */
export function deepValidatorOf(group: string, version: string, kind: string): () => Promise<DeepValidator> {
  const scope = group.endsWith('.istio.io') ? 'istio' : 'gateway-api';
  // Not a literal: the validators stay outside of the api process's bundle.
  const specifier = `@kubernetes-models/${scope}/${group}/${version}/${kind}`;
  let loading: Promise<DeepValidator> | undefined;
  return () => {
    loading ??= import(specifier).then((module: Record<string, new (object: KubeObject) => Model>) => {
      const model = module[kind];
      if (model === undefined) throw new Error(`${specifier} has no ${kind}`);
      return (object) => faultsOf(model, object);
    });
    return loading;
  };
}

function faultsOf(model: new (object: KubeObject) => Model, object: KubeObject): FieldFault[] {
  try {
    // The validator knows one version; all versions have its shape.
    const { apiVersion: _, ...rest } = object;
    new model(rest).validate();
    return [];
  } catch (error) {
    const { errors } = error as { errors?: AjvError[] };
    if (!Array.isArray(errors)) throw error;
    return mostTelling(errors).map((fault) => toFault(fault, object));
  }
}

/** Of a failed one-of, each branch tells its own; the deepest paths say most, and the one-of itself says least. */
function mostTelling(errors: readonly AjvError[]): AjvError[] {
  const plain = errors.filter(({ keyword }) => !['oneOf', 'anyOf', 'not', 'if'].includes(keyword));
  return (plain.length > 0 ? plain : errors).slice(0, MAX_FAULTS);
}

function toFault({ instancePath, keyword, params, message = 'is invalid' }: AjvError, object: KubeObject): FieldFault {
  const names = instancePath
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const path = names.reduce(
    (at, name) => (/^\d+$/.test(name) ? `${at}[${name}]` : at === '' ? name : `${at}.${name}`),
    '',
  );
  const value = names.some((name) => name.includes('.')) ? undefined : valueAt(object, names.join('.'));
  if (keyword === 'required')
    return required(path === '' ? `${params.missingProperty}` : `${path}.${params.missingProperty}`);
  if (keyword === 'enum') return unsupported(path, value, params.allowedValues ?? []);
  return invalidField(path, value, message);
}
