// What every REST operation is told, and what it works with.

import type { ServedKind, WriteContext } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';

export interface RestContext extends WriteContext {
  readonly registry: Registry;
  readonly random: () => number;
}

/** One object, or a place where one is to be made. */
export interface Target extends ServedKind {
  /** Set for namespaced kinds, except in lists and watches over all namespaces. */
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

export interface WriteParams {
  /** Who writes, for managedFields. */
  readonly manager: string;
  readonly dryRun?: boolean | undefined;
  /** Unknown fields: refuse, warn, or drop in silence. */
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore' | undefined;
  /** With server-side apply: take over what others own. */
  readonly force?: boolean | undefined;
  /** Told of what is not refused, but should be known. */
  readonly warn?: ((text: string) => void) | undefined;
}

export interface DeleteParams {
  readonly dryRun?: boolean | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: string | undefined;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
}
