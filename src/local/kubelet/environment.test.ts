import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IService } from 'kubernetes-models/v1/Service';
import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import { buildEnvironment, commandLine, type EnvironmentInput, serviceVariables } from './environment.ts';
import { expand } from './expand.ts';
import { dividedQuantity, parseQuantity } from './quantity.ts';
import type { ContainerSpec, Pod } from './types.ts';

const known = (name: string): string | undefined => ({ A: 'one', B: '$(A)' })[name];
for (const [text, wanted] of [
  ['$(A)', 'one'],
  ['x$(A)y$(A)', 'xoneyone'],
  ['$(B)', '$(A)'],
  ['$(C)', '$(C)'],
  ['$$(A)', '$(A)'],
  ['$$$(A)', '$one'],
  ['$A $ $(', '$A $ $('],
  ['$()', '$()'],
] as const)
  test(`\`${text}\` expands to \`${wanted}\``, () => assert.equal(expand(text, known), wanted));
test('text without dollars is never changed', () =>
  fc.assert(
    fc.property(
      fc.string().filter((s) => !s.includes('$')),
      (text) => assert.equal(expand(text, known), text),
    ),
  ));

for (const [text, wanted] of [
  ['500m', 0.5],
  ['1.5', 1.5],
  ['64Mi', 67_108_864],
  ['1G', 1e9],
  ['1e3', 1000],
  ['2E', 2e18],
  ['', undefined],
  ['x', undefined],
  ['1Xi', undefined],
] as const)
  test(`quantity \`${text}\``, () => assert.equal(parseQuantity(text), wanted));
test('a quantity is divided and rounded up', () => {
  assert.equal(dividedQuantity(0.5, '1'), '1');
  assert.equal(dividedQuantity(0.3, '1m'), '300');
  assert.equal(dividedQuantity(67_108_864, '1Mi'), '64');
  assert.equal(dividedQuantity(3, undefined), '3');
});

const container = (more: Partial<ContainerSpec> = {}): ContainerSpec => ({ name: 'app', image: 'x', ...more });
const pod = (more: Partial<NonNullable<Pod['spec']>> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'web-0',
    namespace: 'shop',
    uid: 'u-1',
    labels: { app: 'web', tier: 'front' },
    annotations: { note: 'a "b"' },
  },
  spec: { containers: [container()], serviceAccountName: 'web', ...more },
});
const place: PodPlace = {
  nodeName: 'node-1',
  hostIp: '172.31.1.1',
  podIp: '10.244.1.9',
  allocatable: { cpu: 2, memory: 1024 },
};

for (const [path, wanted] of [
  ['metadata.name', 'web-0'],
  ['metadata.namespace', 'shop'],
  ['metadata.uid', 'u-1'],
  ["metadata.labels['tier']", 'front'],
  ["metadata.labels['none']", ''],
  ["metadata.annotations['note']", 'a "b"'],
  ['metadata.labels', 'app="web"\ntier="front"'],
  ['spec.nodeName', 'node-1'],
  ['spec.serviceAccountName', 'web'],
  ['status.podIP', '10.244.1.9'],
  ['status.hostIP', '172.31.1.1'],
] as const)
  test(`field ${path}`, () => assert.deepEqual(fieldValue(path, pod(), place), { ok: true, value: wanted }));
test('a field that does not exist is refused', () => assert.equal(fieldValue('spec.color', pod(), place).ok, false));

test('a limit that is not set is what the node has; a request falls back to its limit', () => {
  const spec = container({ resources: { limits: { cpu: '250m' } } });
  assert.deepEqual(resourceValue({ resource: 'limits.cpu', divisor: '1m' }, spec, place), { ok: true, value: '250' });
  assert.deepEqual(resourceValue({ resource: 'requests.cpu', divisor: '1m' }, spec, place), { ok: true, value: '250' });
  assert.deepEqual(resourceValue({ resource: 'limits.memory' }, spec, place), { ok: true, value: '1024' });
  assert.deepEqual(resourceValue({ resource: 'requests.memory' }, spec, place), { ok: true, value: '0' });
  assert.equal(resourceValue({ resource: 'cpu' }, spec, place).ok, false);
});

const service = (
  name: string,
  namespace: string,
  clusterIP: string,
  ports: { name?: string; port: number }[],
): IService => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec: { clusterIP, ports },
});
const services = [
  service('kubernetes', 'default', '10.96.0.1', [{ name: 'https', port: 443 }]),
  service('redis-primary', 'shop', '10.96.0.11', [{ name: 'main-port', port: 6379 }]),
  service('headless', 'shop', 'None', [{ port: 1 }]),
  service('other', 'elsewhere', '10.96.0.12', [{ port: 1 }]),
];

test('services are told in variables, headless ones are not', () => {
  const variables = serviceVariables(services);
  assert.equal(variables.get('REDIS_PRIMARY_SERVICE_HOST'), '10.96.0.11');
  assert.equal(variables.get('REDIS_PRIMARY_SERVICE_PORT_MAIN_PORT'), '6379');
  assert.equal(variables.get('REDIS_PRIMARY_PORT_6379_TCP'), 'tcp://10.96.0.11:6379');
  assert.equal(
    [...variables.keys()].some((key) => key.startsWith('HEADLESS')),
    false,
  );
});

const input = (spec: Partial<ContainerSpec>, more: Partial<EnvironmentInput> = {}): EnvironmentInput => ({
  pod: pod(),
  container: container(spec),
  place,
  hostname: 'web-0',
  imageEnv: { FROM: 'image', PORT: '80' },
  objects: {
    configMap: (name) =>
      name === 'settings'
        ? { apiVersion: 'v1', kind: 'ConfigMap', data: { COLOR: 'red', 'bad=name': 'x', SIZE: 'big' } }
        : undefined,
    secret: (name) =>
      name === 'keys'
        ? { apiVersion: 'v1', kind: 'Secret', data: { TOKEN: Buffer.from('hush').toString('base64') } }
        : undefined,
  },
  services,
  ...more,
});

test("a container's variables: image, services of its namespace, envFrom, env, later before earlier", () => {
  const env = buildEnvironment(
    input({
      envFrom: [
        { configMapRef: { name: 'settings' } },
        { prefix: 'KEY_', secretRef: { name: 'keys' } },
        { configMapRef: { name: 'none', optional: true } },
      ],
      env: [
        { name: 'COLOR', value: 'blue' },
        { name: 'BOTH', value: '$(COLOR) $(SIZE) $(REDIS_PRIMARY_SERVICE_HOST) $(LATER)' },
        { name: 'LATER', value: '1' },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
        { name: 'SIZE_AGAIN', valueFrom: { configMapKeyRef: { name: 'settings', key: 'SIZE' } } },
        { name: 'SECRET', valueFrom: { secretKeyRef: { name: 'keys', key: 'TOKEN' } } },
        { name: 'ABSENT', valueFrom: { secretKeyRef: { name: 'keys', key: 'NOPE', optional: true } } },
      ],
    }),
  );
  const { COLOR, BOTH, NODE, CPU, SIZE_AGAIN, SECRET, KEY_TOKEN, FROM, PORT, HOSTNAME, KUBERNETES_SERVICE_HOST } = env;
  assert.deepEqual(
    { COLOR, BOTH, NODE, CPU, SIZE_AGAIN, SECRET, KEY_TOKEN, FROM, PORT, HOSTNAME, KUBERNETES_SERVICE_HOST },
    {
      COLOR: 'blue',
      BOTH: 'blue big 10.96.0.11 $(LATER)',
      NODE: 'node-1',
      CPU: '2',
      SIZE_AGAIN: 'big',
      SECRET: 'hush',
      KEY_TOKEN: 'hush',
      FROM: 'image',
      PORT: '80',
      HOSTNAME: 'web-0',
      KUBERNETES_SERVICE_HOST: '10.96.0.1',
    },
  );
  assert.equal('ABSENT' in env || 'bad=name' in env || 'OTHER_SERVICE_HOST' in env, false);
});

test('without service links only the API is told', () => {
  const env = buildEnvironment(input({}, { pod: pod({ enableServiceLinks: false }) }));
  assert.equal(env.REDIS_PRIMARY_SERVICE_HOST, undefined);
  assert.equal(env.KUBERNETES_SERVICE_HOST, '10.96.0.1');
});

for (const [name, spec, words] of [
  ['a missing ConfigMap', { envFrom: [{ configMapRef: { name: 'none' } }] }, 'configmap "none" not found'],
  ['a missing Secret', { envFrom: [{ secretRef: { name: 'none' } }] }, 'secret "none" not found'],
  [
    'a missing key',
    { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'NOPE' } } }] },
    "couldn't find key NOPE in ConfigMap shop/settings",
  ],
  [
    'an unknown field',
    { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.x' } } }] },
    'field `spec.x` cannot be referred to',
  ],
] as [string, Partial<ContainerSpec>, string][])
  test(`${name} is a configuration error that names it`, () =>
    assert.throws(() => buildEnvironment(input(spec)), { reason: 'CreateContainerConfigError', message: words }));

const image = { entrypoint: ['/entry'], command: ['serve'] };
for (const [name, spec, wanted] of [
  ['neither: the image decides', {}, ['/entry', 'serve']],
  ['args only: the image keeps its entrypoint', { args: ['$(A)'] }, ['/entry', 'one']],
  ['command only: nothing of the image', { command: ['run'] }, ['run']],
  ['both', { command: ['run', '$$(A)'], args: ['$(NONE)'] }, ['run', '$(A)', '$(NONE)']],
] as [string, Partial<ContainerSpec>, string[]][])
  test(`command and args, ${name}`, () => assert.deepEqual(commandLine(container(spec), image, { A: 'one' }), wanted));
