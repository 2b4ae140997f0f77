// Makes gen/protobuf.json: the field numbers by which Kubernetes' Go clients send objects of its own kinds. They stand in
// the struct tags of the modules k8s.io/api and k8s.io/apimachinery; nothing else is read.
//
//   node src/kube/server/schema/generate-protobuf.ts FOLDER     (FOLDER has api/ and apimachinery/)
//
// A message is `{ "<number>": "<json name>[*]:<code>" }`; `*` marks a pointer, whose zero is a value; no name: its fields are
// the owner's own. Codes: s string · b boolean · i integer · d double · y bytes · t Time · u MicroTime · q Quantity ·
// x IntOrString · r raw JSON · e list of strings in a message · #type; []code list · {}code map

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv } from 'node:process';
import { schemaNames } from './node.ts';

type Messages = Record<string, Record<string, string>>;

const PACKAGES: readonly [folder: string, alias: string, group: string][] = [
  ['apimachinery/pkg/apis/meta/v1', 'metav1', 'meta.v1'],
  ['api/core/v1', 'v1', 'core.v1'],
  ['api/apps/v1', 'appsv1', 'apps.v1'],
  ['api/autoscaling/v1', 'autoscalingv1', 'autoscaling.v1'],
  ['api/policy/v1', 'policyv1', 'policy.v1'],
  ['api/discovery/v1', 'discoveryv1', 'discovery.k8s.io.v1'],
  ['api/coordination/v1', 'coordinationv1', 'coordination.k8s.io.v1'],
  ['api/rbac/v1', 'rbacv1', 'rbac.authorization.k8s.io.v1'],
  ['api/authentication/v1', 'authenticationv1', 'authentication.k8s.io.v1'],
  ['api/authorization/v1', 'authorizationv1', 'authorization.k8s.io.v1'],
  ['api/admissionregistration/v1', 'admissionregistrationv1', 'admissionregistration.k8s.io.v1'],
  ['api/networking/v1', 'networkingv1', 'networking.k8s.io.v1'],
  ['api/scheduling/v1', 'schedulingv1', 'scheduling.k8s.io.v1'],
  ['api/autoscaling/v2', 'autoscalingv2', 'autoscaling.v2'],
];

const SCALARS: Readonly<Record<string, string>> = {
  string: 's',
  bool: 'b',
  int: 'i',
  int32: 'i',
  int64: 'i',
  float64: 'd',
  'metav1.Time': 't',
  'metav1.MicroTime': 'u',
  Time: 't',
  MicroTime: 'u',
  'resource.Quantity': 'q',
  'intstr.IntOrString': 'x',
  'runtime.RawExtension': 'r',
  'types.UID': 's',
  'types.NodeName': 's',
  FieldsV1: 'r',
  JSON: 'r',
  ExtraValue: 'e',
};

interface Field {
  readonly number: string;
  readonly json: string;
  readonly type: string;
}

class Package {
  readonly group: string;
  readonly structs = new Map<string, Field[]>();
  readonly aliases = new Map<string, string>();

  constructor(folder: string, group: string) {
    this.group = group;
    for (const file of readdirSync(folder)) {
      if (!/^types(_\w+)?\.go$/.test(file) && !/^\w+_types?\.go$/.test(file)) continue;
      const text = readFileSync(join(folder, file), 'utf8');
      for (const [, name = '', body = ''] of text.matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm))
        this.structs.set(name, fieldsOf(body));
      for (const [, name = ''] of text.matchAll(/^type (\w+) struct ?\{\}$/gm)) this.structs.set(name, []);
      for (const [, name = '', type = ''] of text.matchAll(/^type (\w+) ([[\]\w.*]+)$/gm)) this.aliases.set(name, type);
    }
  }
}

function fieldsOf(body: string): Field[] {
  const fields: Field[] = [];
  for (const line of body.split('\n')) {
    const match = /^\s+(?:(\w+)\s+)?([*[\]\w.]+)\s+`([^`]*)`/.exec(line);
    const tags = match?.[3] ?? '';
    const number = /protobuf:"\w+,(\d+),/.exec(tags)?.[1];
    if (match === null || number === undefined) continue;
    const json = (/json:"([^"]*)"/.exec(tags)?.[1] ?? '').split(',')[0] ?? '';
    fields.push({ number, json, type: match[2] ?? '' });
  }
  return fields;
}

export function generateProtobuf(folder: string): Messages {
  const packages = new Map(PACKAGES.map(([path, alias, group]) => [alias, new Package(join(folder, path), group)]));
  const wanted = schemaNames().filter(
    (name) => !/\.(istio|gateway\.networking)\./.test(name) && !name.includes('istio.io'),
  );
  const messages: Messages = {};
  const queue = [...wanted, 'meta.v1.DeleteOptions'];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (messages[name] !== undefined) continue;
    const owner = [...packages.values()].find(({ group }) => name?.startsWith(`${group}.`));
    const struct = owner?.structs.get(name.slice((owner?.group.length ?? 0) + 1));
    if (owner === undefined || struct === undefined) continue;
    const message: Record<string, string> = {};
    messages[name] = message;
    for (const { number, json, type } of struct) {
      const code = codeOf(packages, owner, type.replace(/^\*/, ''), (reference) => queue.push(reference));
      message[number] = `${json}${type.startsWith('*') ? '*' : ''}:${code}`;
    }
  }
  return Object.fromEntries(Object.entries(messages).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function codeOf(packages: Map<string, Package>, owner: Package, type: string, refer: (name: string) => void): string {
  const known = SCALARS[type];
  if (known !== undefined) return known;
  if (type === '[]byte') return 'y';
  if (type.startsWith('[]')) return `[]${codeOf(packages, owner, type.slice(2).replace(/^\*/, ''), refer)}`;
  const map = /^map\[[\w.]+\](.+)$/.exec(type);
  if (map) return `{}${codeOf(packages, owner, map[1] ?? '', refer)}`;
  const [alias, name] = type.includes('.') ? (type.split('.') as [string, string]) : [undefined, type];
  const from = alias === undefined ? owner : packages.get(alias === 'apiv1' || alias === 'corev1' ? 'v1' : alias);
  if (from === undefined) throw new Error(`${owner.group}: where is \`${type}\`?`);
  const other = from.aliases.get(name);
  if (other !== undefined) return codeOf(packages, from, other, refer);
  if (!from.structs.has(name)) throw new Error(`${owner.group}: what is \`${type}\`?`);
  refer(`${from.group}.${name}`);
  return `#${from.group}.${name}`;
}

export function formatMessages(messages: Messages): string {
  const lines = Object.entries(messages).map(([name, fields]) => `${JSON.stringify(name)}:${JSON.stringify(fields)}`);
  return `{\n${lines.join(',\n')}\n}\n`;
}

if (argv[1] === import.meta.filename) {
  const folder = argv[2];
  if (folder === undefined) throw new Error('name the folder that has the modules');
  writeFileSync(join(import.meta.dirname, '../gen/protobuf.json'), formatMessages(generateProtobuf(folder)));
}
