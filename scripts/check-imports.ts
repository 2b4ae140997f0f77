// Holds the one direction of imports: a folder of src/ may import from the folders on the lines above its own, and from
// itself; folders on one line never from each other. The pure ones import no Node module. No cycles between files.
// (dependency-cruiser does this too, but cannot read TypeScript 7 yet.)

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = join(import.meta.dirname, '..');
const src = join(root, 'src');

const ORDER: readonly (readonly string[])[] = [
  ['model'],
  ['wire'],
  ['derive', 'migrate'],
  ['analyze'],
  ['platform'],
  ['telemetry'],
  ['kube'],
  ['dataplane'],
  ['control', 'ztunnel', 'proxy', 'node'],
  ['local'],
  ['cli'],
  ['dashboard'],
];
/** No effects at the heart. `node:buffer` is data. */
const PURE = new Set(['model', 'wire', 'derive', 'migrate', 'analyze']);
const IMPORT =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

const depthOf = (folder: string): number => ORDER.findIndex((line) => line.includes(folder));
const folderOf = (file: string): string => relative(src, file).split('/')[0] ?? '';
const isTest = (file: string): boolean => /\.test\.ts$|\/testing\/|\/testing\.ts$/.test(file);

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(src, name));
const problems: string[] = [];
const graph = new Map<string, string[]>();

for (const file of files) {
  const targets: string[] = [];
  for (const match of readFileSync(file, 'utf8').matchAll(IMPORT)) {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    const from = folderOf(file);
    const where = relative(root, file);
    if (name.startsWith('.')) {
      const target = resolve(dirname(file), name);
      if (!/^\s*(?:import|export)\s+type\b/.test(match[0])) targets.push(target); // types alone make no cycle
      const to = folderOf(target);
      if (!target.startsWith(`${src}/`)) {
        if (!isTest(file) && target !== join(root, 'package.json'))
          problems.push(`${where} imports ${name}, which is outside src/`);
      } else if (to !== from && !isTest(file) && depthOf(to) >= depthOf(from))
        problems.push(`${where} imports from ${to}/, which is not above ${from}/`);
      if (depthOf(from) < 0) problems.push(`${where}: folder ${from}/ has no place in the order of imports`);
    } else if (PURE.has(from) && name.startsWith('node:') && name !== 'node:buffer' && !isTest(file))
      problems.push(`${where} imports ${name}: ${from}/ is pure`);
  }
  graph.set(file, targets);
}

const state = new Map<string, 'open' | 'done'>();
function visit(file: string, path: readonly string[]): void {
  if (state.get(file) === 'done') return;
  if (state.get(file) === 'open') {
    const cycle = [...path.slice(path.indexOf(file)), file].map((name) => relative(root, name));
    problems.push(`cycle: ${cycle.join(' -> ')}`);
    return;
  }
  state.set(file, 'open');
  for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
  state.set(file, 'done');
}
for (const file of files) visit(file, []);

if (files.length === 0) problems.push('no source was found');
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.stdout.write(`imports: ${files.length} files, ${problems.length} problems\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
