import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { readManifests } from './manifests.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'ambit-manifests-'));
});
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(text: string, name = `f${++files}.yaml`): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}
const read = (text: string, name?: string) => readManifests([file(text, name)]);
const object = (kind: string, name: string): string => `apiVersion: v1\nkind: ${kind}\nmetadata: { name: ${name} }\n`;

test('documents with file and line; empty ones and comments are none', () => {
  const path = file(`# head\n---\n${object('ConfigMap', 'a')}---\n\n---\n# only this\n---\n${object('Secret', 'b')}`);
  const { manifests, problems } = readManifests([path]);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    manifests.map((m) => [m.object.kind, m.object.metadata?.name, m.file, m.line]),
    [
      ['ConfigMap', 'a', path, 3],
      ['Secret', 'b', path, 11],
    ],
  );
});

test('definitions and namespaces come first, the rest as written', () => {
  const kinds = [
    'Deployment',
    'Secret',
    'Service',
    'Namespace',
    'ServiceAccount',
    'CustomResourceDefinition',
    'ConfigMap',
  ];
  const { manifests } = read(kinds.map((kind) => object(kind, 'x')).join('---\n'));
  assert.deepEqual(
    manifests.map((m) => m.object.kind),
    ['CustomResourceDefinition', 'Namespace', 'ServiceAccount', 'ConfigMap', 'Secret', 'Deployment', 'Service'],
  );
});

test('lists are their items, nested ones too; JSON is YAML', () => {
  const item = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } };
  const { manifests, problems } = read(
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [item, { kind: 'ConfigMapList', items: [item, null] }] }),
    'list.json',
  );
  assert.deepEqual([manifests.length, problems.length], [2, 0]);
});

test('a folder is its files with a known ending, sorted, with those below', () => {
  for (const name of ['tree/b.yml', 'tree/a.yaml', 'tree/sub/c.json', 'tree/readme.md', 'tree/.hidden.yaml'])
    file(
      name.endsWith('.md')
        ? 'not: [yaml'
        : JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name.slice(5) } }),
      name,
    );
  const { manifests, problems } = readManifests([join(folder, 'tree')]);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    manifests.map((m) => m.object.metadata?.name),
    ['.hidden.yaml', 'a.yaml', 'b.yml', 'sub/c.json'],
  );
});

test('several paths are one list, and one bad path does not hide the others', () => {
  const good = file(object('ConfigMap', 'a'));
  const missing = join(folder, 'nowhere.yaml');
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  const { manifests, problems } = readManifests([missing, good, empty]);
  assert.equal(manifests.length, 1);
  assert.deepEqual(
    problems.map((p) => [p.file, p.line]),
    [
      [missing, 0],
      [empty, 0],
    ],
  );
  assert.match(problems[0]?.message ?? '', /ENOENT/);
  assert.match(problems[1]?.message ?? '', /no .yaml, .yml or .json file/);
});

const bad: { name: string; text: string; line: number; message: RegExp }[] = [
  { name: 'a bracket that is not closed', text: 'a: 1\nb: [1,\n', line: 3, message: /flow sequence/i },
  { name: 'a tab', text: 'a:\n\tb: 1\n', line: 2, message: /tab/i },
  { name: 'the same key twice', text: 'a: 1\na: 2\n', line: 2, message: /unique/i },
  { name: 'an unknown alias', text: 'apiVersion: v1\nkind: *k\n', line: 1, message: /alias/i },
  { name: 'a text', text: 'hello\n', line: 1, message: /must be an object/ },
  { name: 'a list at the top', text: '- a\n', line: 1, message: /must be an object/ },
  { name: 'no apiVersion', text: 'kind: Pod\nmetadata: { name: a }\n', line: 1, message: /apiVersion is missing/ },
  { name: 'no kind', text: 'apiVersion: v1\nmetadata: { name: a }\n', line: 1, message: /kind is missing/ },
  { name: 'no name', text: 'apiVersion: v1\nkind: Pod\n', line: 1, message: /metadata.name is missing/ },
  {
    name: 'metadata that is text',
    text: 'apiVersion: v1\nkind: Pod\nmetadata: x\n',
    line: 1,
    message: /metadata.name/,
  },
  { name: 'a kind that is a number', text: 'apiVersion: v1\nkind: 7\n', line: 1, message: /kind is missing/ },
  { name: 'the second document', text: `${object('ConfigMap', 'a')}---\nkind: Pod\n`, line: 5, message: /apiVersion/ },
];
for (const { name, text, line, message } of bad)
  test(`refused with its line: ${name}`, () => {
    const { problems } = read(text);
    assert.equal(problems.length, 1, JSON.stringify(problems));
    assert.equal(problems[0]?.line, line);
    assert.match(problems[0]?.message ?? '', message);
  });

test('a generated name is a name', () => {
  const { manifests, problems } = read('apiVersion: v1\nkind: Pod\nmetadata: { generateName: a- }\n');
  assert.deepEqual([manifests.length, problems.length], [1, 0]);
});

test('a good document beside a bad one is read', () => {
  const { manifests, problems } = read(`${object('ConfigMap', 'a')}---\na: [\n---\n${object('ConfigMap', 'b')}`);
  assert.ok(problems.length > 0);
  assert.ok(manifests.some((m) => m.object.metadata?.name === 'a'));
});

test('aliases that multiply are refused, not expanded', () => {
  const level = (name: string, of: string): string => `${name}: &${name} [${Array(10).fill(`*${of}`).join(', ')}]\n`;
  const bomb = `a: &a [${Array(10).fill('x').join(', ')}]\n${['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map((name, i) => level(name, 'abcdefgh'[i] as string)).join('')}`;
  const began = performance.now();
  const { manifests, problems } = read(`apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n${bomb}`);
  assert.deepEqual([manifests.length, problems.length], [0, 1]);
  assert.match(problems[0]?.message ?? '', /alias/i);
  assert.ok(performance.now() - began < 5000);
});

test('a few aliases are fine', () => {
  const { manifests } = read(
    'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, labels: &l { app: x } }\nother: *l\n',
  );
  assert.deepEqual(JSON.parse(JSON.stringify(manifests[0]?.object)).other, { app: 'x' });
});

test('keys of the language do not reach into prototypes', () => {
  const { manifests } = read('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n__proto__: { polluted: true }\n');
  assert.equal(manifests.length, 1);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});

test('any text is read or refused, nothing is thrown', () =>
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom('a', ':', ' ', '\n', '-', '---', '[', '{', '}', '&x', '*x', '!!set', '"', '|', '%', '\t', '\0'),
        {
          maxLength: 40,
        },
      ),
      (parts) => {
        const { manifests, problems } = read(parts.join(''), 'any.yaml');
        for (const { object: read } of manifests) assert.ok(read.kind && read.apiVersion && read.metadata);
        for (const problem of problems) assert.ok(problem.message !== '' && problem.line >= 1);
      },
    ),
    { numRuns: 300 },
  ));
