// Makes gen/schemas.json from the declarations of kubernetes-models: names and types of fields, nothing else.
// Run `node src/kube/server/schema/generate.ts`; generate.test.ts fails when the file is not what this makes.
//
// A schema is `{ "<type>": { "<field>" or "<field>!" (required): "<type expression>" } }`; type expressions:
//   s string · s:A|B one of · i integer · n number · b boolean · q string or integer (Quantity, IntOrString) · * anything
//   []T list · {}T map · #name another type of the file

import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { argv } from 'node:process';

export type Schemas = Record<string, Record<string, string>>;

const root = join(import.meta.dirname, '../../../..');
const modules = join(root, 'node_modules');
const core = (path: string) => join(modules, 'kubernetes-models', `${path}.d.ts`);
const gatewayApi = (path: string) =>
  join(modules, '@kubernetes-models/gateway-api/gateway.networking.k8s.io', `${path}.d.ts`);
const istio = (path: string) => join(modules, '@kubernetes-models/istio', `${path}.d.ts`);

const ROOTS = [
  ...['Namespace', 'Node', 'Pod', 'Service', 'ServiceAccount', 'ConfigMap', 'Secret', 'Event', 'Binding'].map((kind) =>
    core(`v1/${kind}`),
  ),
  ...['Deployment', 'ReplicaSet', 'DaemonSet'].map((kind) => core(`apps/v1/${kind}`)),
  core('autoscaling/v1/Scale'),
  core('policy/v1/Eviction'),
  core('discovery.k8s.io/v1/EndpointSlice'),
  core('coordination.k8s.io/v1/Lease'),
  core('apiextensions.k8s.io/v1/CustomResourceDefinition'),
  ...['TokenRequest', 'TokenReview', 'SelfSubjectReview'].map((kind) => core(`authentication.k8s.io/v1/${kind}`)),
  ...['SubjectAccessReview', 'SelfSubjectAccessReview', 'LocalSubjectAccessReview', 'SelfSubjectRulesReview'].map(
    (kind) => core(`authorization.k8s.io/v1/${kind}`),
  ),
  ...['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding'].map((kind) =>
    core(`rbac.authorization.k8s.io/v1/${kind}`),
  ),
  ...['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'].map((kind) =>
    core(`admissionregistration.k8s.io/v1/${kind}`),
  ),
  core('policy/v1/PodDisruptionBudget'),
  ...['NetworkPolicy', 'Ingress', 'IngressClass'].map((kind) => core(`networking.k8s.io/v1/${kind}`)),
  core('scheduling.k8s.io/v1/PriorityClass'),
  core('autoscaling/v2/HorizontalPodAutoscaler'),
  ...['GatewayClass', 'Gateway', 'HTTPRoute', 'GRPCRoute', 'TLSRoute', 'ReferenceGrant', 'BackendTLSPolicy'].map(
    (kind) => gatewayApi(`v1/${kind}`),
  ),
  ...['TCPRoute', 'UDPRoute'].map((kind) => gatewayApi(`v1alpha2/${kind}`)),
  gatewayApi('v1/ListenerSet'),
  ...['DestinationRule', 'Gateway', 'ServiceEntry', 'Sidecar', 'VirtualService', 'WorkloadEntry', 'WorkloadGroup'].map(
    (kind) => istio(`networking.istio.io/v1/${kind}`),
  ),
  istio('networking.istio.io/v1alpha3/EnvoyFilter'),
  istio('networking.istio.io/v1beta1/ProxyConfig'),
  ...['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'].map((kind) =>
    istio(`security.istio.io/v1/${kind}`),
  ),
  istio('telemetry.istio.io/v1/Telemetry'),
  istio('extensions.istio.io/v1alpha1/WasmPlugin'),
];

/** Numbers that need not be whole, by type and field; everywhere else in Kubernetes' own kinds they are. */
const FRACTIONS = new Set(['JSONSchemaProps.maximum', 'JSONSchemaProps.minimum', 'JSONSchemaProps.multipleOf']);

/** Types whose declaration says less than the API does. */
const KNOWN: Record<string, string> = {
  Quantity: 'q',
  IntOrString: 'q',
  JSON: '*',
  JSONSchemaPropsOrArray: '*',
  JSONSchemaPropsOrBool: '*',
  JSONSchemaPropsOrStringArray: '*',
  FieldsV1: '*',
  RawExtension: '*',
  JSONSchemaProps: '*',
};

export function generateSchemas(): Schemas {
  const schemas: Schemas = {};
  const queue = [...ROOTS];
  const seen = new Set(queue);
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const reference = (path: string): string => {
      if (!seen.has(path)) {
        seen.add(path);
        queue.push(path);
      }
      return `#${typeName(path)}`;
    };
    new Declaration(file, reference, schemas).read();
  }
  for (const name of Object.keys(schemas)) inherit(schemas, name);
  resolveAliases(schemas);
  return Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** `.../kubernetes-models/apps/v1/Deployment.d.ts` → `apps.v1.Deployment`. */
function typeName(path: string): string {
  const parts = path.replace(/\.d\.ts$/, '').split('/');
  const kind = parts.pop() ?? '';
  const version = parts.pop() ?? '';
  const group = parts.pop() ?? '';
  if (version === 'resource' || version === 'intstr' || version === 'runtime') return kind;
  return `${group === 'kubernetes-models' ? 'core' : group}.${version}.${kind}`;
}

/** What an interface extends is written out in it. */
function inherit(schemas: Schemas, name: string): Record<string, string> {
  const { '<': parents, ...own } = schemas[name] ?? {};
  const inherited = (parents?.split(' ') ?? []).map((parent) => inherit(schemas, parent.slice(1)));
  schemas[name] = Object.assign({}, ...inherited, own);
  return schemas[name] ?? {};
}

/** A type that only names another one is written where it is used. */
function resolveAliases(schemas: Schemas): void {
  const aliases = new Map<string, string>();
  for (const [name, fields] of Object.entries(schemas))
    if (fields['='] !== undefined) {
      aliases.set(`#${name}`, fields['=']);
      delete schemas[name];
    }
  const resolve = (type: string): string =>
    type.replace(/#[\w.-]+$/, (name) => (aliases.has(name) ? resolve(aliases.get(name) ?? '') : name));
  for (const fields of Object.values(schemas))
    for (const [field, type] of Object.entries(fields)) fields[field] = resolve(type);
}

class Declaration {
  readonly #file: string;
  readonly #name: string;
  readonly #reference: (path: string) => string;
  readonly #schemas: Schemas;
  readonly #imports = new Map<string, string>();
  #tokens: string[] = [];
  #at = 0;

  constructor(file: string, reference: (path: string) => string, schemas: Schemas) {
    this.#file = file;
    this.#name = typeName(file);
    this.#reference = reference;
    this.#schemas = schemas;
  }

  read(): void {
    const text = readFileSync(this.#file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, names = '', from = ''] of text.matchAll(/import \{([^}]*)\} from "([^"]+)"/g)) {
      if (from.startsWith('@kubernetes-models/base')) continue;
      const path = from.startsWith('.')
        ? join(dirname(this.#file), from.replace(/\.js$/, '.d.ts'))
        : join(modules, `${from}.d.ts`);
      for (const name of names.split(',')) this.#imports.set(name.trim(), path);
    }
    const own = `I${basename(this.#file, '.d.ts')}`;
    this.#imports.set(own, this.#file);
    const start = new RegExp(`export (?:interface|type) ${own}\\b(?: extends ([^{=]*))?[^{=]*=?`).exec(text);
    if (!start) throw new Error(`${this.#file}: no declaration of ${own}`);
    this.#tokens = text.slice(start.index + start[0].length).match(/"[^"]*"|[\w.]+|[{}[\]<>()&,|;:?=]/g) ?? [];
    const type = this.#type(this.#name, own);
    if (type !== `#${this.#name}`) this.#schemas[this.#name] = { '=': type };
    const parents = (start[1] ?? '').split(',').flatMap((name) => this.#imports.get(name.trim()) ?? []);
    if (parents.length > 0)
      this.#schemas[this.#name] = { ...this.#schemas[this.#name], '<': parents.map(this.#reference).join(' ') };
  }

  #next(expected?: string): string {
    const token = this.#tokens[this.#at++] ?? '';
    if (expected !== undefined && token !== expected)
      throw new Error(
        `${this.#file}: expected \`${expected}\`, found \`${token}\` after ${this.#tokens.slice(this.#at - 8, this.#at).join(' ')}`,
      );
    return token;
  }

  #type(path: string, field: string): string {
    const options = [this.#single(path, field)];
    this.#skipIntersection();
    while (this.#tokens[this.#at] === '|') {
      this.#at++;
      options.push(this.#single(path, field));
    }
    const solid = options.filter((option) => option !== 'null');
    if (solid.every((option) => option.startsWith('"'))) return `s:${solid.map((text) => text.slice(1, -1)).join('|')}`;
    const kinds = new Set(solid);
    if (kinds.size === 1) return solid[0] ?? '*';
    return kinds.size === 2 && kinds.has('s') && (kinds.has('i') || kinds.has('n')) ? 'q' : '*';
  }

  /** `{…all fields…} & (one of them is set)`: the first part names every field, the rest is for the validators. */
  #skipIntersection(): void {
    if (this.#tokens[this.#at] !== '&') return;
    for (let depth = 0; ; this.#at++) {
      const token = this.#tokens[this.#at] ?? ';';
      if (depth === 0 && (token === ';' || token === '>')) return;
      if ('{[(<'.includes(token)) depth++;
      else if ('}])>'.includes(token)) depth--;
    }
  }

  #single(path: string, field: string): string {
    const token = this.#next();
    if (token.startsWith('"')) return token;
    if (token === '{') return this.#object(path);
    if (token === 'Array') {
      this.#next('<');
      const items = this.#type(path, field);
      this.#next('>');
      return `[]${items}`;
    }
    if (token === 'string') return 's';
    if (token === 'boolean') return 'b';
    if (token === 'number') return this.#isFraction(field) ? 'n' : 'i';
    if (token === 'null') return 'null';
    if (/^\d+$/.test(token)) return 'i';
    if (token === 'unknown' || token === 'any' || token === 'object') return '*';
    const file = this.#imports.get(token);
    if (file === undefined) throw new Error(`${this.#file}: what is \`${token}\`?`);
    return KNOWN[basename(file, '.d.ts')] ?? this.#reference(file);
  }

  #isFraction(field: string): boolean {
    return (
      /@kubernetes-models.(istio|gateway-api)/.test(this.#file) ||
      FRACTIONS.has(`${basename(this.#file, '.d.ts')}.${field}`)
    );
  }

  #object(path: string): string {
    const fields: Record<string, string> = {};
    while (this.#tokens[this.#at] !== '}') {
      if (this.#tokens[this.#at] === '[') {
        this.#at += 4; // [ key : string
        this.#next(']');
        this.#next(':');
        const values = this.#type(path, '');
        this.#next(';');
        this.#next('}');
        return `{}${values}`;
      }
      const name = this.#next().slice(1, -1);
      const optional = this.#tokens[this.#at] === '?';
      if (optional) this.#at++;
      this.#next(':');
      const type = this.#type(`${path}.${name}`, name);
      this.#next(';');
      const atRoot = name === 'apiVersion' || name === 'kind';
      if (atRoot && path === this.#name && type.startsWith('s:')) fields[name] = 's';
      else fields[optional ? name : `${name}!`] = type;
    }
    this.#next('}');
    if (path !== this.#name && Object.keys(fields).length === 0) return '{}*';
    this.#schemas[path] = fields;
    return `#${path}`;
  }
}

/** One type a line, so that a change reads well in a diff. */
export function formatSchemas(schemas: Schemas): string {
  const lines = Object.entries(schemas).map(([name, fields]) => `${JSON.stringify(name)}:${JSON.stringify(fields)}`);
  return `{\n${lines.join(',\n')}\n}\n`;
}

if (argv[1] === import.meta.filename)
  writeFileSync(join(import.meta.dirname, '../gen/schemas.json'), formatSchemas(generateSchemas()));
