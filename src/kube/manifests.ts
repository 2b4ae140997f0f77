// Manifests as people write them: files, folders and standard input of YAML or JSON documents, each object with the place
// it came from. Reading stops before anything is applied: a file that does not parse changes nothing.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { LineCounter, parseAllDocuments } from 'yaml';
import type { KubeObject } from './client/types.ts';

export interface Manifest {
  readonly object: KubeObject & { apiVersion: string; kind: string };
  readonly file: string;
  /** Line of the document's first key, counted from 1. */
  readonly line: number;
}

export interface ManifestProblem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);
const MAX_ALIASES = 100; // a "billion laughs" file is refused, not expanded

/**
 * Reads every document of the paths; `-` is standard input, a folder means its files with ending yaml, yml or json, sorted.
 * @returns the objects in the order to apply them (namespaces and definitions first), and every problem found
 */
export function readManifests(paths: readonly string[]): { manifests: Manifest[]; problems: ManifestProblem[] } {
  const manifests: Manifest[] = [];
  const problems: ManifestProblem[] = [];
  for (const path of paths) {
    try {
      for (const file of filesOf(path)) parse(file, readFileSync(file === '-' ? 0 : file, 'utf8'), manifests, problems);
    } catch (error) {
      problems.push({ file: path, line: 0, message: error instanceof Error ? error.message : String(error) });
    }
  }
  return { manifests: inApplyOrder(manifests), problems };
}

function filesOf(path: string): string[] {
  if (path === '-' || !statSync(path).isDirectory()) return [path];
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && EXTENSIONS.has(extname(entry.name)))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  if (files.length === 0) throw new Error(`no .yaml, .yml or .json file in \`${path}\``);
  return files;
}

function parse(file: string, text: string, manifests: Manifest[], problems: ManifestProblem[]): void {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter, prettyErrors: false });
  for (const document of Array.isArray(documents) ? documents : []) {
    const start = document.contents?.range?.[0] ?? 0;
    const line = lineCounter.linePos(start).line;
    for (const error of document.errors)
      problems.push({ file, line: lineCounter.linePos(error.pos[0]).line, message: error.message });
    if (document.errors.length > 0) continue;
    try {
      collect(document.toJS({ maxAliasCount: MAX_ALIASES }), file, line, manifests, problems);
    } catch (error) {
      problems.push({ file, line, message: error instanceof Error ? error.message : String(error) });
    }
  }
}

function collect(value: unknown, file: string, line: number, manifests: Manifest[], problems: ManifestProblem[]): void {
  if (value === null || value === undefined) return; // an empty document
  if (typeof value !== 'object' || Array.isArray(value)) {
    problems.push({ file, line, message: 'a document must be an object with apiVersion and kind' });
    return;
  }
  const object = value as KubeObject & { items?: unknown };
  if (typeof object.kind === 'string' && object.kind.endsWith('List') && Array.isArray(object.items)) {
    for (const item of object.items) collect(item, file, line, manifests, problems);
    return;
  }
  if (typeof object.apiVersion !== 'string' || object.apiVersion === '')
    problems.push({ file, line, message: 'apiVersion is missing' });
  else if (typeof object.kind !== 'string' || object.kind === '')
    problems.push({ file, line, message: 'kind is missing' });
  else if (!object.metadata?.name && !object.metadata?.generateName)
    problems.push({ file, line, message: 'metadata.name is missing' });
  else manifests.push({ object: { ...object, apiVersion: object.apiVersion, kind: object.kind }, file, line });
}

const FIRST = ['CustomResourceDefinition', 'Namespace', 'ServiceAccount', 'ConfigMap', 'Secret'];

/** Stable: what others need comes first, everything else as written. */
const inApplyOrder = (manifests: readonly Manifest[]): Manifest[] => {
  const rank = (m: Manifest): number => {
    const at = FIRST.indexOf(m.object.kind);
    return at < 0 ? FIRST.length : at;
  };
  return manifests
    .map((m, i) => ({ m, i }))
    .sort((a, b) => rank(a.m) - rank(b.m) || a.i - b.i)
    .map(({ m }) => m);
};
