// One object under analysis, and where it came from.

import { type Json, type Labels, record, text, textRecord } from '../derive/read.ts';
import { Field, type Path } from './field.ts';

/** Places in a file, for messages. */
export interface Positions {
  readonly file: string;
  /** Line, from 1, of the field at the path; of what encloses it when there is no such field. */
  lineOf(path: Path): number;
}

const CLUSTER_KINDS: ReadonlySet<string> = new Set([
  'Namespace',
  'Node',
  'GatewayClass',
  'PersistentVolume',
  'StorageClass',
  'PriorityClass',
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'IngressClass',
]);

export class Resource {
  readonly object: Json;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Empty for what stands in no namespace. */
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly root: Field;
  /** Undefined for what came from an API. */
  readonly positions: Positions | undefined;

  /** @param defaultNamespace  of objects that name none */
  constructor(object: Json, defaultNamespace: string, positions?: Positions) {
    const metadata = record(object.metadata);
    const apiVersion = text(object.apiVersion);
    const slash = apiVersion.indexOf('/');
    this.group = slash < 0 ? '' : apiVersion.slice(0, slash);
    this.version = apiVersion.slice(slash + 1);
    this.kind = text(object.kind);
    this.namespace = CLUSTER_KINDS.has(this.kind) ? '' : text(metadata.namespace) || defaultNamespace;
    this.name = text(metadata.name) || text(metadata.generateName);
    this.labels = textRecord(metadata.labels);
    this.annotations = textRecord(metadata.annotations);
    this.object =
      this.namespace === text(metadata.namespace)
        ? object
        : { ...object, metadata: { ...metadata, namespace: this.namespace } };
    this.root = new Field(this.object);
    this.positions = positions;
  }

  /** `networking.istio.io/VirtualService`; core kinds begin with the slash. */
  get type(): string {
    return `${this.group}/${this.kind}`;
  }

  /** `<namespace>/<name>`, or the name alone. */
  get key(): string {
    return this.namespace === '' ? this.name : `${this.namespace}/${this.name}`;
  }

  get spec(): Field {
    return this.root.at('spec');
  }
}
