import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { unpackArchive } from './archive.ts';
import { unpackLayer } from './layer.ts';
import { parsePax, readTar, TarError } from './tar.ts';

interface Member {
  readonly path: string;
  readonly type?: string;
  readonly data?: string | Buffer;
  readonly link?: string;
  readonly mode?: number;
}

function header(path: string, type: string, size: number, mode: number, link: string): Buffer {
  const block = Buffer.alloc(512);
  block.write(path.slice(0, 100), 0);
  block.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  block.write('0000000\0'.repeat(2), 108);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0        ', 136);
  block.write(type, 156);
  block.write(link.slice(0, 100), 157);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);

/** A tar archive of these members; long paths get an extended header. */
function tar(members: readonly Member[]): Buffer {
  const parts: Buffer[] = [];
  for (const { path, type = '0', data = '', link = '', mode = 0o644 } of members) {
    const bytes = Buffer.from(data);
    if (Buffer.byteLength(path) > 100) {
      const body = `path=${path}\n`;
      let length = body.length + 3;
      while (`${length} `.length + Buffer.byteLength(body) !== length) length++;
      const record = Buffer.from(`${length} ${body}`);
      parts.push(header('pax', 'x', record.length, 0o644, ''), padded(record));
    }
    parts.push(header(path, type, bytes.length, mode, link), padded(bytes));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

const folder = (t: TestContext): string => {
  const path = mkdtempSync(join(tmpdir(), 'ambit-archive-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
};
const unpackTo = (root: string, members: readonly Member[]): Promise<void> =>
  unpackLayer(root, Readable.from([tar(members)]), { bytes: 1 << 20, entries: 1000 });

test('entries are read alike however the stream was cut', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 700 }), { maxLength: 5 }),
      fc.integer({ min: 1, max: 600 }),
      async (files, cut) => {
        const bytes = tar(files.map((data, i) => ({ path: `${'d/'.repeat(i * 20)}f${i}`, data })));
        const chunks = Array.from({ length: Math.ceil(bytes.length / cut) }, (_, i) =>
          bytes.subarray(i * cut, (i + 1) * cut),
        );
        const seen: string[] = [];
        for await (const entry of readTar(Readable.from(chunks))) {
          const parts: Buffer[] = [];
          if (seen.length % 2 === 0) for await (const part of entry.data) parts.push(part);
          seen.push(entry.path);
          if (seen.length % 2 === 1) assert.equal(Buffer.concat(parts).toString(), files[seen.length - 1]);
        }
        assert.deepEqual(
          seen,
          files.map((_, i) => `${'d/'.repeat(i * 20)}f${i}`),
        );
      },
    ),
    { numRuns: 50 },
  ));

test('any bytes are read or refused with a TarError', () =>
  fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
      try {
        for await (const entry of readTar(Readable.from([Buffer.from(bytes)]))) assert.ok(entry.size >= 0);
      } catch (error) {
        assert.ok(error instanceof TarError, String(error));
      }
    }),
  ));

test('extended records that lie about their length are refused', () => {
  for (const bad of ['5 a', '0 a=b\n', 'x a=b\n', '99 a=b\n'])
    assert.throws(() => parsePax(Buffer.from(bad)), TarError);
  assert.deepEqual([...parsePax(Buffer.from('6 a=b\n'))], [['a', 'b']]);
});

test('later layers replace and take away; an opaque folder keeps only what its own layer brings', async (t) => {
  const root = folder(t);
  await unpackTo(root, [
    { path: 'etc/', type: '5', mode: 0o555 },
    { path: 'etc/a', data: 'one' },
    { path: 'etc/b', data: 'two', mode: 0o4755 },
    { path: 'var/x', data: 'x' },
    { path: 'bin', type: '2', link: 'usr/bin' },
    { path: 'usr/bin/tool', data: 'tool' },
    { path: 'usr/bin/same', type: '1', link: 'usr/bin/tool' },
  ]);
  assert.equal(statSync(join(root, 'etc')).mode & 0o777, 0o555);
  await unpackTo(root, [
    { path: 'etc/.wh.a' },
    { path: 'var/y', data: 'y' },
    { path: 'var/.wh..wh..opq' },
    { path: 'bin/more', data: 'by the link' },
  ]);
  assert.deepEqual(readdirSync(join(root, 'etc')), ['b']);
  assert.deepEqual(readdirSync(join(root, 'var')), ['y']);
  assert.equal(readlinkSync(join(root, 'bin')), 'usr/bin');
  assert.deepEqual(readdirSync(join(root, 'usr/bin')).sort(), ['more', 'same', 'tool']);
});

test('no archive writes outside its tree', async (t) => {
  const at = folder(t);
  const root = join(at, 'root');
  mkdirSync(root);
  mkdirSync(join(at, 'outside'));
  await unpackTo(root, [
    { path: '../../outside/a', data: 'a' },
    { path: 'up', type: '2', link: '../../outside' },
    { path: 'up/b', data: 'b' },
    { path: 'absolute', type: '2', link: join(at, 'outside') },
    { path: 'absolute/c', data: 'c' },
    { path: 'up/.wh.keep' },
  ]);
  assert.deepEqual(readdirSync(join(at, 'outside')), []);
});

test('size and number of files are bounded', async (t) => {
  const root = folder(t);
  const source = () =>
    Readable.from([
      tar([
        { path: 'a', data: 'xxxx' },
        { path: 'b', data: 'xxxx' },
      ]),
    ]);
  await assert.rejects(unpackLayer(root, source(), { bytes: 7, entries: 10 }), /more than the limit/);
  await assert.rejects(unpackLayer(root, source(), { bytes: 70, entries: 1 }), /too many files/);
});

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const config = { config: { Entrypoint: ['/app'], Cmd: ['serve'], Env: ['A=1', 'B=x=y'], WorkingDir: '/srv' } };
const layer = tar([{ path: 'app', data: '#!/bin/sh\n', mode: 0o755 }]);

test('what docker save writes becomes a tree and its settings, once', async (t) => {
  const at = folder(t);
  const members = [
    { path: 'manifest.json', data: JSON.stringify([{ Config: 'c.json', RepoTags: ['x:1'], Layers: ['l/layer.tar'] }]) },
    { path: 'c.json', data: JSON.stringify(config) },
    { path: 'l/layer.tar', data: layer },
  ];
  for (const [name, bytes] of [
    ['plain.tar', tar(members)],
    ['packed.tar.gz', gzipSync(tar(members))],
  ] as const) {
    writeFileSync(join(at, name), bytes);
    const unpacked = await unpackArchive(join(at, name), join(at, 'images'));
    assert.ok(unpacked.ok, unpacked.ok ? '' : unpacked.error);
    assert.deepEqual(unpacked.value.entrypoint, ['/app']);
    assert.deepEqual(unpacked.value.env, { A: '1', B: 'x=y' });
    assert.equal(unpacked.value.workingDir, '/srv');
    assert.equal(readFileSync(join(unpacked.value.directory, 'app'), 'utf8'), '#!/bin/sh\n');
    assert.equal(readdirSync(join(at, 'images')).length, 1);
  }
});

/** An OCI image layout for two platforms. */
function layout(tamper: boolean): Buffer {
  const blobs = new Map<string, Buffer>();
  const blob = (bytes: Buffer): { digest: string; size: number } => {
    blobs.set(`blobs/sha256/${sha(bytes)}`, bytes);
    return { digest: `sha256:${sha(bytes)}`, size: bytes.length };
  };
  const packed = zstdCompressSync(layer);
  const manifest = blob(
    Buffer.from(JSON.stringify({ config: blob(Buffer.from(JSON.stringify(config))), layers: [blob(packed)] })),
  );
  const platform = (architecture: string) => ({ ...manifest, platform: { os: 'linux', architecture } });
  const index = { manifests: [platform('amd64'), platform('arm64')] };
  if (tamper) blobs.set(`blobs/sha256/${sha(packed)}`, zstdCompressSync(tar([{ path: 'app', data: 'other' }])));
  return tar([
    { path: 'index.json', data: JSON.stringify(index) },
    ...[...blobs].map(([path, data]) => ({ path, data })),
  ]);
}

test('an OCI layout is read for this machine, its layers compressed or not', async (t) => {
  const at = folder(t);
  writeFileSync(join(at, 'x.tar'), layout(false));
  const unpacked = await unpackArchive(join(at, 'x.tar'), join(at, 'images'));
  assert.ok(unpacked.ok, unpacked.ok ? '' : unpacked.error);
  assert.equal(statSync(join(unpacked.value.directory, 'app')).mode & 0o777, 0o755);
});

test('a blob that is not what its digest says is refused, and nothing is left', async (t) => {
  const at = folder(t);
  writeFileSync(join(at, 'x.tar'), layout(true));
  const unpacked = await unpackArchive(join(at, 'x.tar'), join(at, 'images'));
  assert.ok(!unpacked.ok && unpacked.error.includes('does not have the contents'), JSON.stringify(unpacked));
  assert.deepEqual(readdirSync(join(at, 'images')), []);
});

for (const [name, bytes, words] of [
  ['a file that is no archive', Buffer.from('hello'.repeat(200)), /header/],
  ['an archive without an image', tar([{ path: 'a', data: 'b' }]), /neither manifest.json/],
  ['a truncated one', layout(false).subarray(0, 900), /ends in the middle/],
  [
    'a digest that is a path',
    tar([{ path: 'index.json', data: '{"manifests":[{"digest":"sha256:../../x"}]}' }]),
    /is not a sha256/,
  ],
] as const)
  test(`${name} is refused with a sentence`, async (t) => {
    const at = folder(t);
    writeFileSync(join(at, 'x.tar'), bytes);
    const unpacked = await unpackArchive(join(at, 'x.tar'), join(at, 'images'));
    assert.ok(!unpacked.ok);
    assert.match(unpacked.error, words);
    assert.equal(existsSync(join(at, 'images', 'rootfs')), false);
  });

test('a file that is not there is refused with a sentence', async (t) => {
  const unpacked = await unpackArchive('/nowhere/x.tar', folder(t));
  assert.ok(!unpacked.ok && /ENOENT/.test(unpacked.error));
});
