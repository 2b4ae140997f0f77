import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fail, ok } from '../../model/result.ts';
import { commandWords, parseImageOption, parseImageSettings } from './mapping.ts';
import { formatImageName, matchesImage, parseImageName } from './name.ts';
import { type ImageSources, resolveImage } from './resolve.ts';
import { ImageStore } from './store.ts';

const nameOf = (text: string) => {
  const name = parseImageName(text);
  assert.ok(name.ok, name.ok ? '' : name.error);
  return name.value;
};

for (const [text, written] of [
  ['nginx', 'docker.io/library/nginx:latest'],
  ['ealen/echo-server:0.9', 'docker.io/ealen/echo-server:0.9'],
  ['localhost:5000/a/b', 'localhost:5000/a/b:latest'],
  ['gcr.io/k8s-staging-gateway-api/echo-basic:v1', 'gcr.io/k8s-staging-gateway-api/echo-basic:v1'],
  [`a/b@sha256:${'0'.repeat(64)}`, `docker.io/a/b@sha256:${'0'.repeat(64)}`],
] as const)
  test(`\`${text}\` is ${written}`, () => assert.equal(formatImageName(nameOf(text)), written));

for (const bad of ['', 'UPPER', 'a//b', 'a:b:c', 'a@b', 'a b', '-a'])
  test(`\`${bad}\` is no image name`, () => assert.equal(parseImageName(bad).ok, false));

for (const [pattern, text, wanted] of [
  ['nginx', 'nginx:1.2', true],
  ['nginx:1.2', 'nginx:1.2', true],
  ['nginx:1.3', 'nginx:1.2', false],
  ['docker.io/library/nginx', 'nginx', true],
  ['nginx:latest', 'nginx', true],
  ['registry.example.com/shop/*', 'registry.example.com/shop/order:1', true],
  ['*order*', 'registry.example.com/shop/order:1', true],
  ['shop/*', 'registry.example.com/shop/order:1', false],
  ['a.b/c', 'axb/c', false],
] as const)
  test(`pattern \`${pattern}\` ${wanted ? 'means' : 'does not mean'} \`${text}\``, () =>
    assert.equal(matchesImage(pattern, text, nameOf(text)), wanted));

for (const [line, words] of [
  ['node server.js', ['node', 'server.js']],
  ['"my app" \'a b\' c\\ d ""', ['my app', 'a b', 'c d', '']],
  ['a | b', ['sh', '-c', 'a | b']],
  ['echo "$HOME"', ['sh', '-c', 'echo "$HOME"']],
  ["echo '$HOME'", ['echo', '$HOME']],
] as const)
  test(`command line ${line}`, () => assert.deepEqual(commandWords(line), ok([...words])));
for (const bad of ['', '  ', 'a "b'])
  test(`command line \`${bad}\` is refused`, () => assert.equal(commandWords(bad).ok, false));

const sources = (overrides: Partial<ImageSources> = {}): ImageSources => ({
  host: {
    ambitRoot: '/opt/ambit',
    node: '/opt/node/bin/node',
    find: (p) => (['curl', 'sh'].includes(p) ? `/usr/bin/${p}` : undefined),
  },
  mappings: [],
  unpack: () => Promise.resolve(fail('no archive')),
  ...overrides,
});
const mapping = (text: string) => {
  const made = parseImageOption(text, '/home/ada');
  assert.ok(made.ok, made.ok ? '' : made.error);
  return made.value;
};

test('an unknown image is a problem that says what to type', async () => {
  const found = await resolveImage('acme/order:1', sources());
  assert.ok(
    !found.ok &&
      found.error.kind === 'unknown' &&
      found.error.message.includes('ambit up --image acme/order:1=COMMAND'),
  );
});

test('a built-in whose program is not installed is named, not faked', async () => {
  const found = await resolveImage('nginx', sources());
  assert.ok(!found.ok && found.error.kind === 'programMissing' && found.error.message.includes('`nginx`'));
});

test("the user's mapping goes before the built-in, the last one before the first", async () => {
  const mappings = [mapping('ambit/echo=first'), mapping('ambit/echo=./second --x')];
  const found = await resolveImage('ambit/echo', sources({ mappings }));
  assert.ok(found.ok);
  assert.deepEqual(found.value.entrypoint, ['/home/ada/second', '--x']);
  assert.equal(found.value.workingDir, '/home/ada');
});

test("Ambit's parts run their bundle with our own node and are trusted", async () => {
  const found = await resolveImage('ambit/ztunnel:dev', sources());
  assert.ok(found.ok);
  assert.deepEqual(found.value.entrypoint, ['/opt/node/bin/node', '/opt/ambit/dist/ztunnel.mjs']);
  assert.equal(found.value.system, true);
});

test('the same image of another registry is the same image', async () => {
  const found = await resolveImage('registry.example.com/mirror/ealen/echo-server:1', sources());
  assert.ok(found.ok);
  assert.equal(found.value.env.PORT, '80');
});

test('what lies below /tmp is shown to the container only when its image needs it', async () => {
  const made = parseImageOption('x=./run', '/tmp/project');
  assert.ok(made.ok);
  const found = await resolveImage('x', sources({ mappings: [made.value] }));
  assert.ok(found.ok && found.value.root.kind === 'host');
  assert.deepEqual(found.value.root.expose, ['/tmp/project']);
});

test('a machine without curl gets one in every container', async () => {
  const host = { ...sources().host, find: () => undefined };
  const found = await resolveImage('alpine', sources({ host }));
  assert.ok(found.ok && found.value.root.kind === 'host');
  assert.deepEqual(
    found.value.root.programs.map((p) => p.path),
    ['/usr/local/bin/curl', '/usr/local/bin/wget'],
  );
});

test('an archive brings its own configuration', async () => {
  const unpacked = {
    directory: '/x/rootfs',
    id: 'sha256:1',
    entrypoint: ['/app'],
    command: ['a'],
    env: { A: '1' },
    workingDir: '/w',
  };
  const found = await resolveImage(
    'order:1',
    sources({ mappings: [mapping('order=./order.tar')], unpack: () => Promise.resolve(ok(unpacked)) }),
  );
  assert.ok(found.ok);
  assert.deepEqual(found.value.root, { kind: 'archive', directory: '/x/rootfs' });
});

test('ambit.yaml maps names to command lines, maps and archives, and reports every problem', () => {
  const good = parseImageSettings(
    { a: 'node x.js', b: { command: ['b', '1 2'], env: { K: 'v' }, workingDir: 'sub' }, c: { archive: 'c.tar' } },
    '/p',
  );
  assert.ok(good.ok);
  assert.deepEqual(
    good.value.map((m) => m.workingDir),
    ['/p', '/p/sub', '/p'],
  );
  assert.deepEqual(good.value[2]?.run, { kind: 'archive', file: '/p/c.tar' });
  const bad = parseImageSettings({ a: 1, b: { cmd: 'x' }, c: { command: 'x', archive: 'y' } }, '/p');
  assert.ok(!bad.ok);
  assert.equal(bad.error.length, 3);
});

test('ambit.yaml in the folder of the command maps images; options go before it, and what is wrong is named', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'ambit-images-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const open = (options: string[]) =>
    ImageStore.open({ packageRoot: '/a', nodeExecutable: '/n', options, directory, folder: join(directory, 'images') });
  const entrypoint = async (store: ImageStore, name: string) => {
    const found = await store.resolve(name);
    return found.ok ? found.value.entrypoint.join(' ') : found.error.kind;
  };
  assert.equal(await entrypoint(await open([]), 'acme/order'), 'unknown');
  writeFileSync(join(directory, 'ambit.yaml'), 'images:\n  acme/order: node order.js\n  acme/cart: node cart.js\n');
  const store = await open(['acme/cart=sh cart.sh']);
  assert.equal(await entrypoint(store, 'acme/order:7'), 'node order.js');
  assert.equal(await entrypoint(store, 'acme/cart'), 'sh cart.sh');
  await assert.rejects(open(['nonsense']), /`--image nonsense` is not NAME=COMMAND/);
  writeFileSync(join(directory, 'ambit.yaml'), 'images: { a: { cmd: x } }');
  await assert.rejects(open([]), /ambit\.yaml`: `images\.a`: field `cmd` does not exist/);
  writeFileSync(join(directory, 'ambit.yaml'), 'images: [');
  await assert.rejects(open([]), /does not parse/);
});
