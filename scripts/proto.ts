// Generates src/wire/gen from proto/ with buf and protoc-gen-es, offline. `node scripts/proto.ts [OUT_DIR]`.
// The result is committed; a test beside it generates again and compares.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
export const GENERATED = join(root, 'src/wire/gen');

/** buf's binary in its platform package: the wrapper's own binary exists only after an install script has run. */
function bufBinary(): string {
  const name = `@bufbuild/buf-${process.platform}-${process.arch}`;
  const resolve = createRequire(import.meta.url).resolve;
  try {
    return join(dirname(resolve(`${name}/package.json`)), 'bin', 'buf');
  } catch (cause) {
    throw new Error(`protobuf code not generated: npm package ${name} is not installed; run \`npm install\``, {
      cause,
    });
  }
}

/** Writes the generated modules below `out` (emptied first). Needs no network. */
export function generate(out: string): void {
  rmSync(out, { recursive: true, force: true });
  const template = {
    version: 'v2',
    plugins: [
      {
        local: join(root, 'node_modules/.bin/protoc-gen-es'),
        out,
        opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'],
      },
    ],
  };
  execFileSync(bufBinary(), ['generate', join(root, 'proto'), '--template', JSON.stringify(template)], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}` },
  });
}

/** Path below `dir` to text, for comparing two generations. */
export function contents(dir: string): Map<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return new Map(paths.map((path) => [relative(dir, path), readFileSync(path, 'utf8')]));
}

if (import.meta.main) generate(process.argv[2] ?? GENERATED);
