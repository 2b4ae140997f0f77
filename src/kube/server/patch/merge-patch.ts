// JSON Merge Patch (RFC 7386): null removes, objects merge, everything else replaces.

import { cloneJson } from '../json.ts';
import { isRecord } from '../schema/check.ts';

export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return cloneJson(patch);
  const merged: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete merged[key];
    else merged[key] = applyMergePatch(merged[key], value);
  return merged;
}
