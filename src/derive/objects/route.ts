// HTTPRoute, GRPCRoute, TLSRoute and TCPRoute: who they attach to and what their status says, read; the rules kept as
// written, since each kind of parent reads references in them in its own way.

import { integer, type Json, list, optionalText, record, text, texts } from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

export const ROUTE_KINDS = ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'] as const;
export type RouteKind = (typeof ROUTE_KINDS)[number];

/** A parent, with what was left out filled in. */
export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Undefined: every one. */
  readonly sectionName: string | undefined;
  readonly port: number | undefined;
  /** As written: statuses repeat it so. */
  readonly written: Json;
}

/** One entry of `status.parents`, or of `status.ancestors` of a policy. */
export interface FoundParent {
  readonly ref: Json;
  readonly controllerName: string;
  readonly conditions: readonly Condition[];
}

export interface Route extends Meta {
  readonly kind: RouteKind;
  readonly parents: readonly ParentRef[];
  /** Lower case; none: those of the parent. */
  readonly hostnames: readonly string[];
  readonly rules: readonly Json[];
  readonly found: readonly FoundParent[];
}

/** What older guides write on HTTPRoutes instead of `rules[].retry`. */
export const RETRY_ANNOTATIONS = {
  attempts: 'retry.istio.io/attempts',
  perTryTimeout: 'retry.istio.io/per-try-timeout',
  retryOn: 'retry.istio.io/retry-on',
} as const;

const GATEWAY_GROUP = 'gateway.networking.k8s.io';

function parseParent(item: unknown, namespace: string): ParentRef {
  const written = record(item);
  return {
    group: optionalText(written.group) ?? GATEWAY_GROUP,
    kind: optionalText(written.kind) ?? 'Gateway',
    namespace: text(written.namespace) || namespace,
    name: text(written.name),
    sectionName: optionalText(written.sectionName) || undefined,
    port: integer(written.port),
    written,
  };
}

/** @param refField  `parentRef` of routes, `ancestorRef` of policies */
export const parseFoundParents = (entries: unknown, refField: string): readonly FoundParent[] =>
  list(entries).map((item) => {
    const entry = record(item);
    return {
      ref: record(entry[refField]),
      controllerName: text(entry.controllerName),
      conditions: parseConditions(entry),
    };
  });

/** @returns a parser of one kind, for all four have these fields in common */
export const parseRoute =
  (kind: RouteKind) =>
  (object: Json): Route => {
    const meta = parseMeta(object, Object.values(RETRY_ANNOTATIONS));
    const spec = record(object.spec);
    return {
      ...meta,
      kind,
      parents: list(spec.parentRefs).map((item) => parseParent(item, meta.namespace)),
      hostnames: texts(spec.hostnames).map((host) => host.toLowerCase()),
      rules: list(spec.rules).map(record),
      found: parseFoundParents(record(object.status).parents, 'parentRef'),
    };
  };
