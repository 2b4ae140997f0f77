// meta.k8s.io Tables: what kubectl prints without knowing the kind.

import type { KubeObject } from '../../client/types.ts';
import type { Column, ServedKind } from '../kinds/kind.ts';
import { inVersion } from '../kinds/kind.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

interface ColumnDefinition {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: 'meta.k8s.io/v1';
  readonly metadata: object;
  readonly columnDefinitions: readonly ColumnDefinition[] | null;
  readonly rows: readonly { readonly cells: readonly unknown[]; readonly object?: unknown }[];
}

export function tableOf(
  { kind, version }: ServedKind,
  objects: readonly KubeObject[],
  metadata: object,
  options: { readonly include: IncludeObject; readonly nowMs: number; readonly withColumns: boolean },
): Table {
  const columns = kind.columns(version);
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: options.withColumns ? columns.map(definition) : null,
    rows: objects.map((object) => ({
      cells: columns.map((column) => cell(column, object, options.nowMs)),
      ...shown({ kind, version }, object, options.include),
    })),
  };
}

function definition({ name, type = 'string', wide }: Column): ColumnDefinition {
  return { name, type, format: name === 'Name' ? 'name' : '', description: '', priority: wide ? 1 : 0 };
}

/** A cell never fails: an object that is odd enough shows it. */
function cell(column: Column, object: KubeObject, nowMs: number): unknown {
  try {
    return column.cell(object, nowMs);
  } catch {
    return '<unknown>';
  }
}

function shown(served: ServedKind, object: KubeObject, include: IncludeObject): { object?: unknown } {
  if (include === 'None') return {};
  return { object: include === 'Object' ? inVersion(served.kind, served.version, object) : metadataOnly(object) };
}

export function metadataOnly({ metadata }: KubeObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}
