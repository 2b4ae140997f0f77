// YAML and JSON text -> resources that know the line of each of their fields. Pure: who reads the files passes the text.

import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import { list, record, text } from '../derive/read.ts';
import type { Path } from './field.ts';
import { type Positions, Resource } from './resource.ts';

export interface DocumentProblem {
  readonly file: string;
  /** From 1; 0 when the whole file is meant. */
  readonly line: number;
  readonly message: string;
}

/** A "billion laughs" file is refused, not expanded. */
const MOST_ALIASES = 100;

/**
 * Reads every document of one file; a `List` counts as its items.
 * @param file  its name, for messages
 * @returns the resources in the order of the file, and what could not be read
 */
export function parseDocuments(
  file: string,
  content: string,
  defaultNamespace: string,
): { readonly resources: readonly Resource[]; readonly problems: readonly DocumentProblem[] } {
  const resources: Resource[] = [];
  const problems: DocumentProblem[] = [];
  const lines = new LineCounter();
  const documents = parseAllDocuments(content, { lineCounter: lines, prettyErrors: false });
  for (const document of Array.isArray(documents) ? documents : []) {
    const problem = (at: number, message: string): void => {
      problems.push({ file, line: lines.linePos(at).line, message });
    };
    const start = document.contents?.range?.[0] ?? 0;
    for (const error of document.errors) problem(error.pos[0], error.message);
    if (document.errors.length > 0) continue;
    try {
      const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES });
      const linesOf = (prefix: Path): Positions => ({
        file,
        lineOf: (path) => lines.linePos(offsetOf(document as Document, [...prefix, ...path]) ?? start).line,
      });
      for (const [object, prefix] of objectsIn(value)) {
        const reason = unusable(object);
        if (reason === undefined) resources.push(new Resource(record(object), defaultNamespace, linesOf(prefix)));
        else problem(offsetOf(document as Document, prefix) ?? start, reason);
      }
    } catch (error) {
      problem(start, error instanceof Error ? error.message : String(error));
    }
  }
  return { resources, problems };
}

function objectsIn(value: unknown): readonly (readonly [unknown, Path])[] {
  if (value === null || value === undefined) return []; // an empty document
  const { kind, items } = record(value);
  if (!text(kind).endsWith('List') || !Array.isArray(items)) return [[value, []]];
  return list(items).map((item, i) => [item, ['items', i]]);
}

function unusable(value: unknown): string | undefined {
  const object = record(value);
  if (Object.keys(object).length === 0) return 'a document must be an object with apiVersion and kind';
  if (text(object.apiVersion) === '') return 'apiVersion is missing';
  if (text(object.kind) === '') return 'kind is missing';
  const metadata = record(object.metadata);
  return text(metadata.name) === '' && text(metadata.generateName) === '' ? 'metadata.name is missing' : undefined;
}

/** Where the last step that exists stands: the key of a mapping, the item of a list. */
function offsetOf(document: Document, path: Path): number | undefined {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0];
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
      );
      if (pair === undefined || !isScalar(pair.key)) return offset;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined || item === null) return offset;
      node = item as Node;
      offset = (isCollection(node) || isScalar(node) || isAlias(node) ? node.range?.[0] : undefined) ?? offset;
    } else return offset;
  }
  return offset;
}
