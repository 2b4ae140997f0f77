// PeerAuthentication and AuthorizationPolicy as data. What a field cannot be read as is kept visible, never dropped
// silently: a policy must not become wider because somebody mistyped it.

import { ANNOTATION } from '../names.ts';
import {
  integer,
  type Json,
  type Labels,
  list,
  looseBoolean,
  optionalRecord,
  record,
  text,
  textRecord,
  texts,
} from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

export type MtlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

export interface PeerAuthentication extends Meta {
  /** Undefined: the whole namespace, or in the root namespace the mesh. A selector without labels counts as none. */
  readonly selector: Labels | undefined;
  readonly mode: MtlsMode;
  /** Ascending by port. Empty without a selector, where port modes have no effect. */
  readonly ports: readonly { readonly port: number; readonly mode: MtlsMode }[];
}

/** An unknown mode is read as STRICT: on doubt refuse. */
function parseMode(mtls: unknown): MtlsMode {
  const mode = record(mtls).mode;
  if (mode === undefined || mode === null || mode === 'UNSET') return 'UNSET';
  return mode === 'DISABLE' || mode === 'PERMISSIVE' ? mode : 'STRICT';
}

export function parsePeerAuthentication(object: Json): PeerAuthentication {
  const spec = record(object.spec);
  const labels = textRecord(record(spec.selector).matchLabels);
  const selector = Object.keys(labels).length === 0 ? undefined : labels;
  const ports = Object.entries(record(spec.portLevelMtls)).flatMap(([written, mtls]) => {
    const port = integer(written);
    return port === undefined || port < 1 || port > 65535 ? [] : [{ port, mode: parseMode(mtls) }];
  });
  return {
    ...parseMeta(object),
    selector,
    mode: parseMode(spec.mtls),
    ports: selector === undefined ? [] : ports.sort((a, b) => a.port - b.port),
  };
}

export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  /** Of the target; that of the policy unless written. */
  readonly namespace: string;
}

/** Field name to its values, as written in `source`, `operation` or a condition. */
export type FieldValues = Readonly<Record<string, readonly string[]>>;

export interface AuthorizationRule {
  readonly from: readonly FieldValues[];
  readonly to: readonly FieldValues[];
  readonly when: readonly {
    readonly key: string;
    readonly values: readonly string[];
    readonly notValues: readonly string[];
  }[];
  /** Places in the rule that hold something else than the field's type. */
  readonly malformed: readonly string[];
}

export interface AuthorizationPolicy extends Meta {
  /** Undefined: no selector. Empty: one that picks every workload. */
  readonly selector: Labels | undefined;
  readonly targetRefs: readonly TargetRef[];
  readonly action: string;
  /** Of CUSTOM; empty: none is named. */
  readonly provider: string;
  readonly dryRun: boolean;
  readonly rules: readonly AuthorizationRule[];
  readonly conditions: readonly Condition[];
}

export const POLICY_CONDITIONS: ReadonlySet<string> = new Set(['ZtunnelAccepted', 'WaypointAccepted']);

/** Reads one rule, noting what has the wrong shape: an unreadable restriction must not pass for no restriction. */
class RuleReader {
  readonly malformed: string[] = [];

  private list(place: string, value: unknown): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    this.malformed.push(place);
    return [];
  }

  private texts(place: string, value: unknown): readonly string[] {
    const items = this.list(place, value);
    const good = texts(items);
    if (good.length < items.length) this.malformed.push(place);
    return good;
  }

  private fields(place: string, value: unknown): FieldValues {
    if (optionalRecord(value) === undefined) this.malformed.push(place);
    const read = Object.entries(record(value)).map(([field, values]) => [field, this.texts(field, values)] as const);
    return Object.fromEntries(read.filter(([, values]) => values.length > 0));
  }

  read(rule: Json): AuthorizationRule {
    return {
      from: this.list('from', rule.from).map((entry) => this.fields('source', record(entry).source)),
      to: this.list('to', rule.to).map((entry) => this.fields('operation', record(entry).operation)),
      when: this.list('when', rule.when).map((entry) => {
        const condition = record(entry);
        return {
          key: text(condition.key),
          values: this.texts('values', condition.values),
          notValues: this.texts('notValues', condition.notValues),
        };
      }),
      malformed: this.malformed,
    };
  }
}

/** `targetRefs`, or the older single `targetRef`. */
export function parseTargetRefs(spec: Json, namespace: string): readonly TargetRef[] {
  const several = list(spec.targetRefs);
  const single = optionalRecord(spec.targetRef);
  return (several.length > 0 ? several : single === undefined ? [] : [single]).map((item) => {
    const ref = record(item);
    return {
      group: text(ref.group),
      kind: text(ref.kind),
      name: text(ref.name),
      namespace: text(ref.namespace) || namespace,
    };
  });
}

export function parseAuthorizationPolicy(object: Json): AuthorizationPolicy {
  const meta = parseMeta(object, [ANNOTATION.dryRun]);
  const spec = record(object.spec);
  const selector = optionalRecord(spec.selector);
  return {
    ...meta,
    selector: selector && textRecord(selector.matchLabels),
    targetRefs: parseTargetRefs(spec, meta.namespace),
    action: text(spec.action) || 'ALLOW',
    provider: text(record(spec.provider).name),
    dryRun: looseBoolean(meta.annotations[ANNOTATION.dryRun] ?? '') ?? false,
    rules: list(spec.rules).map((item) => new RuleReader().read(record(item))),
    conditions: parseConditions(object.status, POLICY_CONDITIONS),
  };
}
