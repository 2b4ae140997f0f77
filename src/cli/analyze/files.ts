// Files and folders to analyse, read as they stand; a folder means its own files, or with --recursive all below it.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { type DocumentProblem, parseDocuments } from '../../analyze/documents.ts';
import type { Resource } from '../../analyze/resource.ts';

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);
const MAX_FILE_BYTES = 64 << 20;

export interface ReadFiles {
  readonly resources: readonly Resource[];
  readonly problems: readonly DocumentProblem[];
}

/** What cannot be read is a problem of its file; the others are analysed all the same. */
export function readFiles(
  paths: readonly string[],
  options: { readonly namespace: string; readonly recursive: boolean },
): ReadFiles {
  const resources: Resource[] = [];
  const problems: DocumentProblem[] = [];
  for (const path of paths)
    try {
      for (const file of filesOf(path, options.recursive)) {
        const found = parseDocuments(file === '-' ? 'stdin' : file, contentOf(file), options.namespace);
        resources.push(...found.resources);
        problems.push(...found.problems);
      }
    } catch (error) {
      problems.push({ file: path, line: 0, message: error instanceof Error ? error.message : String(error) });
    }
  return { resources, problems };
}

function contentOf(file: string): string {
  if (file !== '-' && statSync(file).size > MAX_FILE_BYTES)
    throw new Error(`\`${file}\` is larger than ${MAX_FILE_BYTES >> 20} MiB: split it`);
  return readFileSync(file === '-' ? 0 : file, 'utf8');
}

function filesOf(path: string, recursive: boolean): string[] {
  if (path === '-' || !statSync(path).isDirectory()) return [path];
  const files = readdirSync(path, { recursive, withFileTypes: true })
    .filter((entry) => entry.isFile() && EXTENSIONS.has(extname(entry.name)))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  if (files.length === 0)
    throw new Error(`no .yaml, .yml or .json file in \`${path}\`${recursive ? '' : ' itself (see --recursive)'}`);
  return files;
}
