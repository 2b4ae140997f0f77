// State from a file instead of a control plane (`LOCAL_XDS_PATH`, `LOCAL_XDS`): workloads, services and policies in the shape
// of the configuration dump, for trying things out. Every problem is named with its place; with any, nothing is used.

import type { AddressUpdate } from '../model/indexed-world.ts';
import type { Policy } from '../model/policy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { decodeLocalState } from '../wire/dump/decode.ts';

export interface LocalState {
  readonly addresses: readonly AddressUpdate[];
  readonly policies: readonly Policy[];
}

/** @param value  the parsed YAML; undefined or null is empty */
export function parseLocalState(value: unknown): Result<LocalState, readonly string[]> {
  const state = decodeLocalState(value);
  if (!state.ok)
    return fail(state.error.map(({ at, message }) => `local state${at === '' ? '' : `.${at}`} ${message}`));
  const { services, workloads, policies } = state.value;
  return ok({
    addresses: [
      ...services.map((service) => ({ kind: 'service', service }) as const),
      ...workloads.map((workload) => ({ kind: 'workload', workload }) as const),
    ],
    policies,
  });
}
