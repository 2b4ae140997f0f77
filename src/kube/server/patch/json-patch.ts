// JSON Patch (RFC 6902) over JSON Pointer (RFC 6901). Works on a private copy.

import { KubeError } from '../../client/types.ts';
import { badRequest } from '../errors.ts';
import { cloneJson, sameJson } from '../json.ts';

const MAX_OPERATIONS = 10_000;

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** @throws KubeError 400 for a patch that cannot be read, 422 for one that cannot be applied to this object */
export function applyJsonPatch(object: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('a JSON patch must be a list of operations');
  if (patch.length > MAX_OPERATIONS)
    throw badRequest(`the JSON patch has ${patch.length} operations, at most ${MAX_OPERATIONS} are taken`);
  const holder = { root: cloneJson(object) };
  for (const operation of patch as Operation[]) applyOne(holder, operation);
  return holder.root;
}

interface Holder {
  root: unknown;
}

function applyOne(holder: Holder, operation: Operation): void {
  const path = pointer(operation?.path);
  switch (operation.op) {
    case 'add':
      add(holder, path, cloneJson(operation.value));
      return;
    case 'remove':
      remove(holder, path);
      return;
    case 'replace':
      remove(holder, path);
      add(holder, path, cloneJson(operation.value));
      return;
    case 'move': {
      const from = pointer(operation.from);
      if (path.length > from.length && from.every((name, i) => name === path[i]))
        throw cannot(`a value cannot be moved into itself (${operation.from})`);
      add(holder, path, remove(holder, from));
      return;
    }
    case 'copy':
      add(holder, path, cloneJson(valueAtPointer(holder, pointer(operation.from))));
      return;
    case 'test':
      if (!sameJson(valueAtPointer(holder, path), operation.value))
        throw cannot(`testing value ${operation.path} failed`);
      return;
    default:
      throw badRequest(`\`${operation.op}\` is not an operation of JSON patch`);
  }
}

function pointer(text: unknown): string[] {
  if (typeof text !== 'string' || (text !== '' && !text.startsWith('/')))
    throw badRequest(`\`${text}\` is not a JSON pointer`);
  if (text === '') return [];
  const names = text
    .slice(1)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (names.includes('__proto__')) throw badRequest(`\`${text}\` names no field of an object`);
  return names;
}

function cannot(why: string): KubeError {
  return new KubeError(422, 'Invalid', `the server rejected our request due to an error in our request: ${why}`, {});
}

function missing(path: readonly string[]): KubeError {
  return cannot(`the JSON patch names a path that does not exist: /${path.join('/')}`);
}

function valueAtPointer(holder: Holder, path: readonly string[]): unknown {
  let at: unknown = holder.root;
  for (const name of path) {
    if (Array.isArray(at)) at = at[indexOf(name, at.length - 1, path)];
    else if (isObject(at) && Object.hasOwn(at, name)) at = at[name];
    else throw missing(path);
  }
  return at;
}

function add(holder: Holder, path: readonly string[], value: unknown): void {
  const last = path.at(-1);
  if (last === undefined) {
    holder.root = value;
    return;
  }
  const parent = valueAtPointer(holder, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(last === '-' ? parent.length : indexOf(last, parent.length, path), 0, value);
  else if (isObject(parent)) parent[last] = value;
  else throw missing(path);
}

function remove(holder: Holder, path: readonly string[]): unknown {
  const last = path.at(-1);
  const removed = valueAtPointer(holder, path);
  if (last === undefined) {
    holder.root = null;
    return removed;
  }
  const parent = valueAtPointer(holder, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else if (isObject(parent)) delete parent[last];
  return removed;
}

function indexOf(name: string, highest: number, path: readonly string[]): number {
  if (!/^(0|[1-9]\d{0,8})$/.test(name) || Number(name) > highest) throw missing(path);
  return Number(name);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
