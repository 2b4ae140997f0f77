// Images that the user brings as a file: what `docker save` writes, or an OCI image layout in a tar archive, either
// compressed or not. Unpacked once into the mesh's state folder; the same image is found there again.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { fail, ok, type Result } from '../../model/result.ts';
import { unpackLayer } from './layer.ts';
import type { UnpackedImage } from './resolve.ts';
import { readTar, TarError } from './tar.ts';

const MAX_IMAGE_BYTES = 32 * 2 ** 30;
const MAX_FILES = 2_000_000;
const MAX_MEMBERS = 100_000;
const MAX_METADATA_BYTES = 16 << 20;
const MAX_INDEX_DEPTH = 4;

/**
 * Unpacks an archive below `folder`, unless that was done before.
 * @returns where it is and how it is run, or a sentence about what is wrong with the file
 */
export async function unpackArchive(file: string, folder: string): Promise<Result<UnpackedImage, string>> {
  const name = createHash('sha256').update(file).digest('hex').slice(0, 16);
  const workspace = join(folder, `.unpacking-${name}`);
  try {
    rmSync(workspace, { recursive: true, force: true });
    mkdirSync(workspace, { recursive: true, mode: 0o700 });
    return ok(await unpack(file, folder, workspace));
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

type Chunks = AsyncIterable<Buffer>;

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** What the stream holds once its compression, if it has any, is undone. */
async function decompressed(source: Chunks): Promise<Chunks> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    head = Buffer.concat([head, next.value]);
    if (head.length >= ZSTD.length) break;
  }
  const whole = (async function* () {
    if (head.length > 0) yield head;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  })();
  const starts = (magic: Buffer): boolean => head.subarray(0, magic.length).equals(magic);
  const undo = starts(GZIP) ? createGunzip() : starts(ZSTD) ? createZstdDecompress() : undefined;
  if (undo === undefined) return whole;
  const packed = Readable.from(whole);
  packed.on('error', (error) => undo.destroy(error));
  undo.on('error', () => {}); // whoever reads is told
  return packed.pipe(undo);
}

/** The members of an uncompressed archive, each to be read where it lies. */
class Archive {
  readonly #file: string;
  readonly #members = new Map<string, { readonly start: number; readonly size: number }>();

  private constructor(file: string) {
    this.#file = file;
  }

  static async open(file: string): Promise<Archive> {
    const archive = new Archive(file);
    for await (const entry of readTar(createReadStream(file))) {
      if (entry.kind !== 'file') continue;
      archive.#members.set(entry.path.replace(/^(\.\/)+/, ''), { start: entry.start, size: entry.size });
      if (archive.#members.size > MAX_MEMBERS) throw new TarError('it has too many members');
    }
    return archive;
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  stream(name: string): Chunks {
    const member = this.#members.get(name);
    if (member === undefined) throw new TarError(`\`${name}\` is missing from it`);
    if (member.size === 0) return Readable.from([]);
    return createReadStream(this.#file, { start: member.start, end: member.start + member.size - 1 });
  }

  /** A blob holds what its name promises; other names promise nothing. @throws TarError */
  async verify(name: string): Promise<void> {
    const promised = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (promised === undefined) return;
    const hash = createHash('sha256');
    for await (const chunk of this.stream(name)) hash.update(chunk);
    if (hash.digest('hex') !== promised)
      throw new TarError(`\`${name}\` does not have the contents that its name promises`);
  }

  async json(name: string): Promise<{ readonly value: unknown; readonly digest: string }> {
    if ((this.#members.get(name)?.size ?? 0) > MAX_METADATA_BYTES) throw new TarError(`\`${name}\` is too large`);
    const parts: Buffer[] = [];
    await this.verify(name);
    for await (const chunk of this.stream(name)) parts.push(chunk);
    const bytes = Buffer.concat(parts);
    return { value: JSON.parse(bytes.toString('utf8')), digest: createHash('sha256').update(bytes).digest('hex') };
  }
}

type Json = Record<string, unknown>;
const record = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const texts = (value: unknown): string[] => list(value).filter((each): each is string => typeof each === 'string');

/** The member that holds a blob. A digest becomes a path, so it is held to its alphabet. */
function blobOf(descriptor: unknown): string {
  const digest = String(record(descriptor).digest ?? '');
  const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
  if (match === null) throw new TarError(`digest \`${digest}\` is not a sha256`);
  return `blobs/sha256/${match[1]}`;
}

/** Names of the members that hold configuration and layers, the lowest layer first. */
async function partsOf(archive: Archive): Promise<{ readonly config: string; readonly layers: readonly string[] }> {
  if (archive.has('manifest.json')) {
    const [first] = list((await archive.json('manifest.json')).value);
    const { Config, Layers } = record(first);
    if (typeof Config === 'string') return { config: Config, layers: texts(Layers) };
  }
  if (!archive.has('index.json'))
    throw new TarError('it holds neither manifest.json (docker save) nor index.json (OCI image layout)');
  let document = record((await archive.json('index.json')).value);
  for (let depth = 0; depth < MAX_INDEX_DEPTH; depth++) {
    if (document.config !== undefined)
      return { config: blobOf(document.config), layers: list(document.layers).map(blobOf) };
    document = record((await archive.json(blobOf(choose(list(document.manifests))))).value);
  }
  throw new TarError('its indexes are nested too deeply');
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The manifest for this machine; an index with a single one means that. */
function choose(manifests: readonly unknown[]): unknown {
  if (manifests.length === 1) return manifests[0];
  const wanted = ARCHITECTURES[arch()] ?? arch();
  const found = manifests.find((each) => {
    const platform = record(record(each).platform);
    return platform.os === 'linux' && platform.architecture === wanted;
  });
  if (found === undefined) throw new TarError(`it has no image for linux/${wanted}`);
  return found;
}

async function unpack(file: string, folder: string, workspace: string): Promise<UnpackedImage> {
  const archive = await Archive.open(await plainFile(file, join(workspace, 'archive.tar')));
  const { config, layers } = await partsOf(archive);
  const { value, digest } = await archive.json(config);
  const target = join(folder, digest);
  const directory = join(target, 'rootfs');
  if (!existsSync(join(target, 'complete'))) {
    const root = join(workspace, 'rootfs');
    mkdirSync(root, { mode: 0o755 });
    const limits = { bytes: MAX_IMAGE_BYTES, entries: MAX_FILES };
    for (const layer of layers) {
      await archive.verify(layer);
      await unpackLayer(root, await decompressed(archive.stream(layer)), limits);
    }
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { mode: 0o700 });
    renameSync(root, directory);
    writeFileSync(join(target, 'complete'), '');
  }
  const settings = record(record(value).config);
  const env = texts(settings.Env).map((line): [string, string] => {
    const equals = line.indexOf('=');
    return equals < 0 ? [line, ''] : [line.slice(0, equals), line.slice(equals + 1)];
  });
  return {
    directory,
    id: `sha256:${digest}`,
    entrypoint: texts(settings.Entrypoint),
    command: texts(settings.Cmd),
    env: Object.fromEntries(env),
    workingDir: typeof settings.WorkingDir === 'string' && settings.WorkingDir !== '' ? settings.WorkingDir : '/',
  };
}

/** The file itself, or an uncompressed copy, since members are read from where they lie. */
async function plainFile(file: string, copy: string): Promise<string> {
  let head = Buffer.alloc(0);
  for await (const chunk of createReadStream(file, { end: 3 }) as Chunks) head = Buffer.concat([head, chunk]);
  if (!head.subarray(0, 2).equals(GZIP) && !head.equals(ZSTD)) return file;
  await pipeline(await decompressed(createReadStream(file)), createWriteStream(copy, { mode: 0o600 }));
  return copy;
}
