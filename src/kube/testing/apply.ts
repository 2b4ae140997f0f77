// Patches as the in-memory API understands them: JSON merge patch (RFC 7396), and server-side apply cut down to what our
// writers rely on: a manager owns the leaves it applied, and what it no longer applies goes, unless another owns it too.

export type Json = Record<string, unknown>;

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 7396. Neither argument is changed. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return structuredClone(patch);
  const merged: Json = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

/** Lists that the API merges by a member's field. */
const LIST_KEYS: Readonly<Record<string, string>> = { conditions: 'type', ownerReferences: 'uid' };

function mergeApplied(target: unknown, applied: unknown, field = ''): unknown {
  const listKey = LIST_KEYS[field];
  if (listKey !== undefined && Array.isArray(applied)) {
    const items = [...(Array.isArray(target) ? (target as Json[]) : [])];
    for (const item of applied as Json[]) {
      const at = items.findIndex((other) => other[listKey] === item[listKey]);
      if (at < 0) items.push(item);
      else items[at] = mergeApplied(items[at], item) as Json;
    }
    return items;
  }
  if (!isRecord(applied)) return structuredClone(applied);
  const merged: Json = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(applied)) merged[key] = mergeApplied(merged[key], value, key);
  return merged;
}

/** `target` without the leaves of `before` that are not in `after`. */
function withoutLeft(target: unknown, before: unknown, after: unknown, field = ''): unknown {
  const listKey = LIST_KEYS[field];
  if (listKey !== undefined && Array.isArray(before)) {
    const kept = new Set((Array.isArray(after) ? (after as Json[]) : []).map((item) => item[listKey]));
    const left = new Set((before as Json[]).map((item) => item[listKey]).filter((key) => !kept.has(key)));
    return (Array.isArray(target) ? (target as Json[]) : []).filter((item) => !left.has(item[listKey]));
  }
  if (!isRecord(before) || !isRecord(target)) return after === undefined ? undefined : target;
  const result: Json = { ...target };
  for (const key of Object.keys(before)) {
    const next = withoutLeft(result[key], before[key], isRecord(after) ? after[key] : undefined, key);
    if (next === undefined) delete result[key];
    else result[key] = next;
  }
  return result;
}

/**
 * One server-side apply.
 * @param before  what this manager applied last time, if it did
 */
export const applyPatch = (target: unknown, before: unknown, applied: unknown): unknown =>
  mergeApplied(before === undefined ? target : withoutLeft(target, before, applied), applied);
