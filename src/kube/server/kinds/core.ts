// Rules of the small core kinds: Namespace, Node, ConfigMap, Secret, ServiceAccount, EndpointSlice, Event, roles.

import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { INode } from 'kubernetes-models/v1/Node';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import { parseIp } from '../../../model/ip.ts';
import { duplicate, type FieldFault, forbiddenField, immutable, invalidField, required } from '../errors.ts';
import { sameJson } from '../json.ts';
import type { KindRules } from './kind.ts';
import { isPort, PORT_TEXT } from './validate-names.ts';

export const namespaceRules: KindRules<INamespace> = {
  defaults(namespace) {
    namespace.metadata ??= {};
    const { labels, name = '' } = namespace.metadata;
    namespace.metadata.labels = { ...labels, 'kubernetes.io/metadata.name': name };
  },
  admit(namespace) {
    namespace.spec = { finalizers: ['kubernetes'] };
    namespace.status = { phase: 'Active' };
  },
  carryOver(namespace, before) {
    namespace.spec = structuredClone(before.spec ?? {});
  },
};

export const nodeRules: KindRules<INode> = {
  defaults(node) {
    node.spec ??= {};
  },
};

const MAX_DATA_BYTES = 1024 * 1024;
const DATA_KEY = /^[-._a-zA-Z0-9]{1,253}$/;

export const configMapRules: KindRules<IConfigMap> = {
  validate: ({ data = {}, binaryData = {} }) => [
    ...validateDataKeys(data, 'data'),
    ...validateDataKeys(binaryData, 'binaryData'),
    ...validateSize([...Object.values(data), ...Object.values(binaryData)]),
    ...Object.entries(binaryData).flatMap(([key, value]) => validateBase64(value, `binaryData[${key}]`)),
  ],
  validateUpdate: (map, before) =>
    before.immutable === true ? keepsImmutable(map, before, ['data', 'binaryData', 'immutable']) : [],
};

export const secretRules: KindRules<ISecret> = {
  defaults(secret) {
    secret.type ??= 'Opaque';
    if (secret.stringData === undefined) return;
    secret.data ??= {};
    for (const [key, text] of Object.entries(secret.stringData))
      secret.data[key] = Buffer.from(text).toString('base64');
    delete secret.stringData;
  },
  validate(secret) {
    const { data = {} } = secret;
    const faults = [...validateDataKeys(data, 'data'), ...validateSize(Object.values(data))];
    for (const [key, value] of Object.entries(data)) faults.push(...validateBase64(value, `data[${key}]`));
    for (const key of SECRET_KEYS[secret.type ?? ''] ?? [])
      if (data[key] === undefined) faults.push(required(`data[${key}]`));
    return faults;
  },
  validateUpdate(secret, before) {
    const faults = secret.type === before.type ? [] : [immutable('type', secret.type)];
    return before.immutable === true ? [...faults, ...keepsImmutable(secret, before, ['data', 'immutable'])] : faults;
  },
};

const SECRET_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/basic-auth': [],
};

function validateDataKeys(data: object, path: string): FieldFault[] {
  return Object.keys(data).flatMap((key) =>
    DATA_KEY.test(key) && key !== '.' && !key.startsWith('..')
      ? []
      : [
          invalidField(
            `${path}[${key}]`,
            key,
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name')",
          ),
        ],
  );
}

function validateSize(values: string[]): FieldFault[] {
  const bytes = values.reduce((sum, value) => sum + value.length, 0);
  return bytes <= MAX_DATA_BYTES * 1.4
    ? []
    : [{ type: 'tooLong', path: 'data', detail: `may not be more than ${MAX_DATA_BYTES} bytes` }];
}

function validateBase64(value: string, path: string): FieldFault[] {
  const fine = value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value);
  return fine ? [] : [invalidField(path, undefined, 'illegal base64 data')];
}

function keepsImmutable<T extends object>(now: T, before: T, fields: (keyof T & string)[]): FieldFault[] {
  return fields.flatMap((field) =>
    sameJson(now[field], before[field]) ? [] : [forbiddenField(field, 'field is immutable when `immutable` is set')],
  );
}

export const endpointSliceRules: KindRules<IEndpointSlice> = {
  defaults(slice) {
    slice.endpoints ??= [];
    for (const port of slice.ports ?? []) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate(slice) {
    const faults: FieldFault[] = [];
    if (!slice.addressType) faults.push(required('addressType'));
    if ((slice.endpoints ?? []).length > 1000)
      faults.push({ type: 'tooLong', path: 'endpoints', detail: 'must have at most 1000 items' });
    for (const [i, endpoint] of (slice.endpoints ?? []).entries()) {
      const { addresses = [] } = endpoint;
      if (addresses.length === 0) faults.push(required(`endpoints[${i}].addresses`, 'must contain at least 1 address'));
      for (const [j, address] of addresses.entries())
        if (slice.addressType !== 'FQDN' && !parseIp(address).ok)
          faults.push(invalidField(`endpoints[${i}].addresses[${j}]`, address, 'must be a valid IP address'));
    }
    const names = new Set<string>();
    for (const [i, port] of (slice.ports ?? []).entries()) {
      if (names.has(port.name ?? '')) faults.push(duplicate(`ports[${i}].name`, port.name ?? ''));
      names.add(port.name ?? '');
      if (port.port !== undefined && !isPort(port.port))
        faults.push(invalidField(`ports[${i}].port`, port.port, PORT_TEXT));
    }
    return faults;
  },
  validateUpdate: (slice, before) =>
    slice.addressType === before.addressType ? [] : [immutable('addressType', slice.addressType)],
};

export const roleBindingRules: KindRules<IRoleBinding> = {
  defaults(binding) {
    if (binding.roleRef !== undefined) binding.roleRef.apiGroup ||= 'rbac.authorization.k8s.io';
    for (const subject of binding.subjects ?? [])
      if (subject.kind !== 'ServiceAccount') subject.apiGroup ??= 'rbac.authorization.k8s.io';
  },
  validate({ roleRef, subjects = [] }) {
    const faults: FieldFault[] = [];
    for (const field of ['kind', 'name'] as const) if (!roleRef?.[field]) faults.push(required(`roleRef.${field}`));
    for (const [i, subject] of subjects.entries()) {
      if (!subject.name) faults.push(required(`subjects[${i}].name`));
      if (subject.kind === 'ServiceAccount' && !subject.namespace) faults.push(required(`subjects[${i}].namespace`));
    }
    return faults;
  },
  validateUpdate: (binding, before) =>
    sameJson(binding.roleRef, before.roleRef)
      ? []
      : [invalidField('roleRef', binding.roleRef, 'cannot change roleRef')],
};
