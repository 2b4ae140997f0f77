// Names, labels and annotations: RFC 1123 names and Kubernetes' label syntax, with the messages that its users know.

import { isLabelValue, isQualifiedName } from '../../client/selectors.ts';
import type { ObjectMeta } from '../../client/types.ts';
import { type FieldFault, invalidField, required } from '../errors.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const PORT_NAME = /^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/;
const MAX_ANNOTATION_BYTES = 256 * 1024;

export type NameRule = 'subdomain' | 'label' | 'label1035' | 'path';

/** @returns what is wrong with a name, undefined when nothing is */
export function nameProblem(rule: NameRule, name: string): string | undefined {
  switch (rule) {
    case 'subdomain':
      return name.length <= 253 && SUBDOMAIN.test(name) ? undefined : SUBDOMAIN_TEXT;
    case 'label':
      return LABEL.test(name) ? undefined : LABEL_TEXT;
    case 'label1035':
      return LABEL_1035.test(name) ? undefined : LABEL_1035_TEXT;
    default:
      return name === '.' || name === '..' || /[/%]/.test(name)
        ? "may not be '.' or '..' or contain '/' or '%'"
        : undefined;
  }
}

const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character, at most 253 characters (e.g. 'example.com')";
const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character, at most 63 characters (e.g. 'my-name', or '123-abc')";
const LABEL_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character, at most 63 characters (e.g. 'my-name', or 'abc-123')";

/** A port's or protocol's name: at most 15 characters of a-z, 0-9 and `-`, with a letter. */
export function isPortName(name: string): boolean {
  return PORT_NAME.test(name) && /[a-z]/.test(name) && !name.includes('--');
}

export function isPort(port: unknown): port is number {
  return Number.isInteger(port) && (port as number) >= 1 && (port as number) <= 65535;
}

export const PORT_TEXT = 'must be between 1 and 65535, inclusive';
export const PORT_NAME_TEXT =
  "must be no more than 15 characters, contain at least one letter, only lower case alphanumeric characters and '-', begin and end with an alphanumeric character, and no two '-' in a row";

/** @param namespaced  whether a namespace must be there */
export function validateMeta(meta: ObjectMeta, rule: NameRule, namespaced: boolean): FieldFault[] {
  const faults: FieldFault[] = [];
  if (meta.name === undefined || meta.name === '')
    faults.push(required('metadata.name', 'name or generateName is required'));
  else {
    const problem = nameProblem(rule, meta.name);
    if (problem !== undefined) faults.push(invalidField('metadata.name', meta.name, problem));
  }
  if (namespaced) {
    if (!meta.namespace) faults.push(required('metadata.namespace'));
    else if (!LABEL.test(meta.namespace)) faults.push(invalidField('metadata.namespace', meta.namespace, LABEL_TEXT));
  }
  faults.push(...validateLabels(meta.labels, 'metadata.labels'), ...validateAnnotations(meta.annotations));
  for (const [i, finalizer] of (meta.finalizers ?? []).entries())
    if (!isQualifiedName(finalizer)) faults.push(invalidField(`metadata.finalizers[${i}]`, finalizer, KEY_TEXT));
  for (const [i, owner] of (meta.ownerReferences ?? []).entries())
    for (const field of ['apiVersion', 'kind', 'name', 'uid'] as const)
      if (!owner[field]) faults.push(required(`metadata.ownerReferences[${i}].${field}`, 'must not be empty'));
  if ((meta.ownerReferences ?? []).filter((owner) => owner.controller === true).length > 1)
    faults.push(
      invalidField('metadata.ownerReferences', undefined, 'only one reference can have Controller set to true'),
    );
  return faults;
}

const KEY_TEXT =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc'), with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, at most 63 characters (e.g. 'MyValue',  or 'my_value',  or '12345')";

export function validateLabels(labels: Readonly<Record<string, string>> | undefined, path: string): FieldFault[] {
  const faults: FieldFault[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    if (!isQualifiedName(key)) faults.push(invalidField(path, key, KEY_TEXT));
    if (!isLabelValue(value)) faults.push(invalidField(path, value, VALUE_TEXT));
  }
  return faults;
}

function validateAnnotations(annotations: Readonly<Record<string, string>> | undefined): FieldFault[] {
  const faults: FieldFault[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    bytes += key.length + Buffer.byteLength(value);
    if (!isQualifiedName(key.toLowerCase())) faults.push(invalidField('metadata.annotations', key, KEY_TEXT));
  }
  if (bytes > MAX_ANNOTATION_BYTES)
    faults.push({
      type: 'tooLong',
      path: 'metadata.annotations',
      detail: `may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
    });
  return faults;
}
