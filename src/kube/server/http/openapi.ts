// /openapi/v3: paths that say what kubectl asks of them (that unknown fields are checked here), and the shapes of kinds
// for `kubectl explain`. Types and names of fields; the prose is not ours to copy.

import { createHash } from 'node:crypto';
import { apiVersionOf } from '../../client/resources.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';
import type { ObjectNode, SchemaNode } from '../schema/node.ts';
import { Discovery } from './discovery.ts';
import { KUBERNETES_VERSION } from './version.ts';

type JsonSchema = Record<string, unknown>;

export class OpenApi {
  readonly #registry: Registry;
  readonly #discovery: Discovery;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#discovery = new Discovery(registry);
  }

  /** The index: one document a group and version, addressed by a hash that changes with it. */
  index(): object {
    const hash = createHash('sha256').update(`${VERSION}${this.#registry.revision}`).digest('hex').slice(0, 32);
    const paths: Record<string, object> = {};
    for (const { versions } of this.#discovery.groups())
      for (const { group, version } of versions) {
        const path = group === '' ? `api/${version}` : `apis/${group}/${version}`;
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
    return { paths };
  }

  /** @param path  `api/v1`, `apis/apps/v1` */
  document(path: string): object | undefined {
    const parts = path.split('/');
    const [group, version] = parts[0] === 'api' ? ['', parts[1]] : [parts[1], parts[2]];
    const found = this.#discovery
      .groups()
      .find(({ name }) => name === group)
      ?.versions.find((one) => one.version === version);
    if (found === undefined) return undefined;
    const schemas: Record<string, JsonSchema> = {};
    const paths: Record<string, object> = {};
    for (const kind of found.kinds) {
      const name = `${group || 'core'}.${version}.${kind.kind}`;
      const gvk = { group: kind.group, version: found.version, kind: kind.kind };
      schemas[name] = {
        ...objectSchema(kind.schema(found.version), schemas),
        'x-kubernetes-group-version-kind': [gvk],
      };
      Object.assign(paths, pathsOf(kind, found.version, name, gvk));
    }
    return {
      openapi: '3.0.0',
      info: { title: 'Ambit', version: VERSION },
      paths,
      components: { schemas },
    };
  }
}

/**
 * /openapi/v2 without any definition, in the protobuf that kubectl asks for (Document: 1 swagger, 2 info {1 title, 2 version}).
 * kubectl looks there for kinds that v3 does not name; finding nothing, it goes on to say that the kind is not served.
 */
export function emptyOpenApiV2(): Buffer {
  const text = (field: number, value: string) =>
    Buffer.concat([Buffer.from([(field << 3) | 2, value.length]), Buffer.from(value)]);
  const info = Buffer.concat([text(1, 'Ambit'), text(2, KUBERNETES_VERSION)]);
  return Buffer.concat([text(1, '2.0'), Buffer.from([(2 << 3) | 2, info.length]), info]);
}

export const OPENAPI_V2_TYPE = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

const VERSION = KUBERNETES_VERSION;

function pathsOf(kind: Kind, version: string, schema: string, gvk: object): Record<string, object> {
  const { group } = kind;
  const base = `${group === '' ? '/api' : '/apis'}/${apiVersionOf({ group, version })}`;
  const collection = kind.namespaced ? `${base}/namespaces/{namespace}/${kind.plural}` : `${base}/${kind.plural}`;
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } };
  const operation = (action: string) => ({
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk,
    parameters: ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => ({
      name,
      in: 'query',
      schema: { type: 'string', uniqueItems: true },
    })),
    requestBody: { required: true, content },
    responses: { 200: { description: 'OK', content } },
  });
  const read = (action: string) => ({
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk,
    responses: { 200: { description: 'OK', content } },
  });
  const onCollection = {
    ...(kind.verbs.includes('list') ? { get: read('list') } : {}),
    ...(kind.verbs.includes('create') ? { post: operation('post') } : {}),
  };
  if (!kind.verbs.includes('patch')) return { [collection]: onCollection };
  // Strategic merge is not offered here: kubectl then uses what it knows of its own kinds.
  const patch = {
    ...operation('patch'),
    requestBody: {
      required: true,
      content: { 'application/merge-patch+json': {}, 'application/apply-patch+yaml': {} },
    },
  };
  return {
    [collection]: onCollection,
    [`${collection}/{name}`]: { get: read('get'), put: operation('put'), patch, delete: operation('delete') },
  };
}

/** @param schemas  named types are added here and referred to */
function schemaOf(node: SchemaNode, schemas: Record<string, JsonSchema>): JsonSchema {
  switch (node.type) {
    case 'any':
      return { 'x-kubernetes-preserve-unknown-fields': true };
    case 'intOrString':
      return { 'x-kubernetes-int-or-string': true };
    case 'list':
      return { type: 'array', items: schemaOf(node.items, schemas), ...listExtensions(node.rule) };
    case 'map':
      return { type: 'object', additionalProperties: schemaOf(node.values, schemas) };
    case 'object':
      if (node.name === undefined) return objectSchema(node, schemas);
      if (schemas[node.name] === undefined) {
        schemas[node.name] = {}; // before its fields, which may lead back here
        schemas[node.name] = objectSchema(node, schemas);
      }
      return { $ref: `#/components/schemas/${node.name}` };
    default: {
      const { rules = {} } = node;
      return {
        type: node.type,
        ...(rules.oneOf === undefined ? {} : { enum: rules.oneOf }),
        ...(rules.minimum === undefined ? {} : { minimum: rules.minimum }),
        ...(rules.maximum === undefined ? {} : { maximum: rules.maximum }),
      };
    }
  }
}

function objectSchema(node: ObjectNode, schemas: Record<string, JsonSchema>): JsonSchema {
  const properties = Object.fromEntries([...node.fields].map(([name, field]) => [name, schemaOf(field, schemas)]));
  return {
    type: 'object',
    ...(node.fields.size === 0 ? {} : { properties }),
    ...(node.required.length === 0 ? {} : { required: node.required }),
    ...(node.open ? { 'x-kubernetes-preserve-unknown-fields': true } : {}),
  };
}

function listExtensions(rule: Extract<SchemaNode, { type: 'list' }>['rule']): JsonSchema {
  switch (rule.merge) {
    case 'byKey':
      return {
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': rule.keys,
        'x-kubernetes-patch-merge-key': rule.patchKey,
        'x-kubernetes-patch-strategy': 'merge',
      };
    case 'set':
      return { 'x-kubernetes-list-type': 'set', 'x-kubernetes-patch-strategy': 'merge' };
    default:
      return { 'x-kubernetes-list-type': 'atomic' };
  }
}
