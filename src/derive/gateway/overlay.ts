// Strategic merge of a user's overlay into a rendered object: mappings are merged, lists of objects by the key that
// Kubernetes merges them by, all else is replaced; null removes. `$patch: replace` and `$patch: delete` are obeyed.
// Source: Kubernetes, "Notes on the strategic merge patch".

import { type Json, optionalRecord } from '../read.ts';

/** Field of a list -> the keys of its items, the first that they have counts. Other lists are replaced whole. */
const MERGE_KEYS: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  ephemeralContainers: ['name'],
  env: ['name'],
  volumes: ['name'],
  volumeMounts: ['mountPath'],
  volumeDevices: ['devicePath'],
  ports: ['containerPort', 'port'],
  imagePullSecrets: ['name'],
  hostAliases: ['ip'],
  topologySpreadConstraints: ['topologyKey'],
  resourceClaims: ['name'],
};

/** Bound on nesting: an overlay is a user's text. */
const MAX_DEPTH = 64;

export function strategicMerge(base: Json, overlay: Json, depth = 0): Json {
  if (depth > MAX_DEPTH) throw new RangeError('the overlay is nested too deeply');
  if (overlay.$patch === 'replace') return without(overlay);
  if (overlay.$patch === 'delete') return {};
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(overlay)) {
    if (key === '__proto__') continue;
    if (value === null) {
      delete merged[key];
      continue;
    }
    const before = Object.hasOwn(merged, key) ? merged[key] : undefined;
    merged[key] = mergeValue(key, before, value, depth);
  }
  return merged;
}

function mergeValue(key: string, before: unknown, value: unknown, depth: number): unknown {
  const mapping = optionalRecord(value);
  if (mapping !== undefined) return strategicMerge(optionalRecord(before) ?? {}, mapping, depth + 1);
  if (!Array.isArray(value) || !Array.isArray(before)) return value;
  const keys = MERGE_KEYS[key];
  const identity = keys?.find((candidate) => value.every((item) => optionalRecord(item)?.[candidate] !== undefined));
  if (identity === undefined) return value;
  const items = value as readonly Json[];
  if (items.some((item) => item.$patch === 'replace')) return items.filter((item) => item.$patch !== 'replace');
  const result = [...(before as readonly Json[])];
  for (const item of items) {
    const at = result.findIndex((one) => optionalRecord(one)?.[identity] === item[identity]);
    if (item.$patch === 'delete') {
      if (at >= 0) result.splice(at, 1);
    } else if (at >= 0) result[at] = strategicMerge(result[at] as Json, item, depth + 1);
    else result.push(strategicMerge({}, item, depth + 1));
  }
  return result;
}

function without({ $patch: _directive, ...rest }: Json): Json {
  return rest;
}
