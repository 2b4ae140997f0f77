import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { findConnection } from '../../client/kubeconfig.ts';
import { KubeError } from '../../client/types.ts';
import { startApi } from '../server.ts';
import { answerForm, wantsAggregatedDiscovery } from './accept.ts';
import { parseRequest } from './request-info.ts';

const parse = (method: string, path: string) => parseRequest(method, new URL(path, 'http://api'));

const urls: [method: string, path: string, want: string][] = [
  ['GET', '/api/v1/pods', 'list  v1 pods'],
  ['GET', '/api/v1/pods?watch=1', 'watch  v1 pods'],
  ['GET', '/api/v1/namespaces/shop/pods/p', 'get  v1 pods shop p'],
  ['PUT', '/api/v1/namespaces/shop/pods/p/status', 'update  v1 pods shop p status'],
  ['GET', '/api/v1/namespaces', 'list  v1 namespaces'],
  ['GET', '/api/v1/namespaces/shop', 'get  v1 namespaces  shop'],
  ['PUT', '/api/v1/namespaces/shop/finalize', 'update  v1 namespaces  shop finalize'],
  ['PATCH', '/apis/apps/v1/namespaces/shop/deployments/d/scale', 'patch apps v1 deployments shop d scale'],
  ['DELETE', '/apis/apps/v1/namespaces/shop/deployments', 'deletecollection apps v1 deployments shop'],
  ['POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', 'create rbac.authorization.k8s.io v1 clusterroles'],
  [
    'GET',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery',
    'get rbac.authorization.k8s.io v1 clusterroles  system:discovery',
  ],
  ['GET', '/api/v1/namespaces/a%2Fb/pods', 'list  v1 pods a/b'],
  ['POST', '/api/v1/namespaces/shop/services/web:80/proxy/a/b', 'create  v1 services shop web:80 proxy'],
  ['OPTIONS', '/api/v1/namespaces/shop/pods/p/proxy', 'get  v1 pods shop p proxy'],
];
for (const [method, path, want] of urls)
  test(`${method} ${path}`, () => {
    const asked = parse(method, path);
    assert.ok(asked.kind === 'resource');
    const { verb, group, version, plural, namespace = '', name = '', subresource = '' } = asked;
    assert.equal([verb, group, version, plural, namespace, name, subresource].join(' ').trimEnd(), want);
  });

test('what is no resource is a path; any URL is one or the other, or a KubeError', () => {
  for (const path of [
    '/',
    '/api',
    '/api/v1',
    '/apis',
    '/apis/apps',
    '/apis/apps/v1',
    '/healthz',
    '/api/v1/namespaces/a/pods/b/log/more',
    '/api/v1//pods',
  ])
    assert.equal(parse('GET', path).kind, 'path', path);
  fc.assert(
    fc.property(fc.constantFrom('GET', 'POST', 'TRACE'), fc.webPath(), (method, path) => {
      try {
        parse(method, `/apis${path}`);
      } catch (error) {
        assert.ok(error instanceof KubeError);
      }
    }),
  );
});

test('the form of an answer is the first that is served here', () => {
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  assert.equal(answerForm(`${table},application/json`), 'table');
  assert.equal(answerForm(`application/json;as=Table;v=v9;g=meta.k8s.io,application/json`), 'object');
  assert.equal(
    answerForm(
      'application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    ),
    'metadata',
  );
  assert.equal(answerForm('application/vnd.kubernetes.protobuf,application/json'), 'object');
  assert.equal(answerForm(undefined), 'object');
  assert.equal(
    wantsAggregatedDiscovery('application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'),
    true,
  );
  assert.equal(
    wantsAggregatedDiscovery('application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList'),
    false,
  );
});

interface Answer {
  readonly code: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly json: any;
}

interface Ask {
  readonly body?: string | undefined;
  readonly type?: string;
  readonly accept?: string;
  /** Ends the request after this many lines. */
  readonly lines?: number;
}

/** An API on loopback and a way to ask it anything with the admin's certificate. */
async function api(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'api-http-'));
  const running = await startApi(
    {
      stateDir: folder,
      meshName: 'default',
      listenFd: undefined,
      hostPort: undefined,
      listen: { host: '127.0.0.1', port: 0 },
      roomKubeconfig: undefined,
      kubeletDir: folder,
      database: join(folder, 'state.db'),
    },
    { controllers: false },
  );
  t.after(async () => {
    await running.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const connection = await findConnection({ kubeconfig: join(folder, 'kubeconfig') });
  const { certPem, keyPem } = await connection.credential();
  return (
    method: string,
    path: string,
    { body, type = 'application/json', accept = 'application/json', lines }: Ask = {},
  ) =>
    new Promise<Answer>((resolve, reject) => {
      const headers = {
        accept,
        ...(body === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
      };
      const request = httpsRequest(new URL(path, connection.server), {
        method,
        headers,
        ca: connection.caPem,
        cert: certPem,
        key: keyPem,
      });
      request.on('error', reject);
      request.on('response', (response) => {
        let text = '';
        const finish = () => {
          const json = text.startsWith('{') && lines === undefined ? JSON.parse(text) : undefined;
          resolve({ code: response.statusCode ?? 0, headers: response.headers, text, json });
        };
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (lines === undefined || text.split('\n').length <= lines) return;
          finish();
          request.destroy();
        });
        response.on('end', finish);
        response.on('error', () => {});
      });
      request.end(body);
    });
}

const MAPS = '/api/v1/namespaces/default/configmaps';
const map = (name: string, more: object = {}) => JSON.stringify({ metadata: { name, ...more }, data: { a: 'b' } });

test('the path behind a proxy subresource is kept as it was sent', () => {
  const rest = (path: string): unknown => {
    const asked = parse('GET', `/api/v1/namespaces/shop/pods/p:8080/proxy${path}`);
    return asked.kind === 'resource' && asked.rest;
  };
  for (const path of ['', '/', '/a/b', '/a//b/', '/a%2Fb%20c']) assert.equal(rest(path), path);
});

test('whom a proxy subresource does not reach', async (t) => {
  const call = await api(t);
  const base = '/api/v1/namespaces/default';
  const make = async (plural: string, object: object): Promise<void> => {
    const made = await call('POST', `${base}/${plural}`, { body: JSON.stringify(object) });
    assert.equal(made.code, 201, made.text);
  };
  await make('pods', { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'x' }] } });
  await make('services', { metadata: { name: 's' }, spec: { ports: [{ port: 80 }] } });
  const give = (podIP: string) =>
    call('PATCH', `${base}/pods/p/status`, {
      body: JSON.stringify({ status: { podIP } }),
      type: 'application/merge-patch+json',
    });
  const cases: [path: string, code: number, message: RegExp, ip?: string][] = [
    ['pods/nobody/proxy/', 404, /pods "nobody" not found/],
    ['pods/p/proxy/', 503, /has no address/],
    ['pods/p:x/proxy/', 400, /invalid port "x"/, '10.0.0.1'],
    ['pods/ftp:p:80/proxy/', 400, /invalid name/],
    ['pods/p:80/proxy/', 400, /"127\.0\.0\.1" is not allowed/, '127.0.0.1'],
    ['pods/p:80/proxy/', 400, /"::1" is not allowed/, '::1'],
    ['pods/p:80/proxy/', 400, /"169\.254\.169\.254" is not allowed/, '169.254.169.254'],
    ['services/s:81/proxy/', 503, /no service port "81" found/],
    ['services/s/proxy/', 503, /no endpoints available for service "s"/],
  ];
  for (const [path, code, message, ip] of cases) {
    if (ip !== undefined) assert.equal((await give(ip)).code, 200);
    const answer = await call('GET', `${base}/${path}`);
    assert.equal(answer.code, code, `${path}: ${answer.text}`);
    assert.match(answer.json.message, message);
  }
});

test('bodies that are refused, each with its code', async (t) => {
  const call = await api(t);
  const cases: [name: string, ask: Ask, code: number, message: RegExp][] = [
    ['no JSON', { body: '{' }, 400, /is not JSON/],
    ['no object', { body: '[]' }, 400, /must be a ConfigMap/],
    ['a prototype', { body: '{"__proto__":{"a":1}}' }, 400, /__proto__/],
    ['another format', { body: 'a', type: 'application/cbor' }, 415, /unknown format/],
    ['too large', { body: map('a', { annotations: { x: 'y'.repeat(3 << 20) } }) }, 413, /too large/],
    [
      'YAML with a bomb',
      {
        body: `a: &a [1,1]\n${Array.from({ length: 200 }, (_, i) => `b${i}: [*a,*a]`).join('\n')}`,
        type: 'application/yaml',
      },
      400,
      /not YAML/,
    ],
    ['another kind', { body: '{"kind":"Pod"}' }, 400, /its kind is Pod/],
  ];
  for (const [name, ask, code, message] of cases) {
    const answer = await call('POST', MAPS, ask);
    assert.equal(answer.code, code, `${name}: ${answer.text}`);
    assert.match(answer.json.message, message);
    assert.equal(answer.json.kind, 'Status');
  }
  const yaml = await call('POST', MAPS, { body: 'metadata: {name: y}\ndata: {a: b}', type: 'application/yaml' });
  assert.equal(yaml.code, 201);
});

test('queries and methods that are refused', async (t) => {
  const call = await api(t);
  const cases: [method: string, path: string, code: number][] = [
    ['GET', `${MAPS}?labelSelector=%3D`, 400],
    ['GET', `${MAPS}?fieldSelector=data.a%3Db`, 400],
    ['GET', `${MAPS}?limit=many`, 400],
    ['GET', `${MAPS}?continue=xyz`, 400],
    ['GET', `${MAPS}?resourceVersion=999999`, 504],
    ['GET', `${MAPS}?watch=1&sendInitialEvents=true`, 400],
    ['POST', `${MAPS}?dryRun=Some`, 400],
    ['POST', `${MAPS}?fieldValidation=Maybe`, 400],
    ['POST', `${MAPS}/a`, 405],
    ['PUT', '/api/v1/namespaces/default/pods/p/log', 405],
    ['GET', '/api/v1/namespaces/default/pods/p/exec', 400],
    ['GET', '/api/v1/namespaces/default/widgets', 404],
    ['GET', '/api/v2/pods', 404],
    ['GET', `${MAPS}/a/status`, 404],
    ['GET', '/api/v1/namespaces/default/nodes', 404],
    ['DELETE', '/api/v1/namespaces', 405],
    ['GET', '/apis/authentication.k8s.io/v1/tokenreviews', 405],
    ['GET', '/nothing', 404],
    ['TRACE', MAPS, 400],
  ];
  for (const [method, path, code] of cases) {
    const answer = await call(method, path, method === 'POST' || method === 'PUT' ? { body: map('a') } : {});
    assert.equal(answer.code, code, `${method} ${path}: ${answer.text}`);
  }
});

test('pages: each continues where the last ended, a watch from the first is told what changed between', async (t) => {
  const call = await api(t);
  for (const name of ['a', 'b', 'c', 'd', 'e']) await call('POST', MAPS, { body: map(name) });
  const names: string[] = [];
  let next = '';
  let resourceVersion = '';
  do {
    const { json } = await call('GET', `${MAPS}?limit=2&continue=${next}`);
    names.push(...json.items.map((item: { metadata: { name: string } }) => item.metadata.name));
    if (next === '') {
      resourceVersion = json.metadata.resourceVersion;
      assert.equal(json.metadata.remainingItemCount, 3);
      await call('POST', MAPS, { body: map('between') });
    } else assert.equal(json.metadata.resourceVersion, resourceVersion);
    next = json.metadata.continue ?? '';
  } while (next !== '');
  assert.deepEqual(names, ['a', 'b', 'between', 'c', 'd', 'e']);
  const { text } = await call('GET', `${MAPS}?watch=1&resourceVersion=${resourceVersion}`, { lines: 1 });
  assert.match(text, /^\{"type":"ADDED","object":\{"apiVersion":"v1","kind":"ConfigMap","metadata":\{"name":"between"/);
});

test('a watch that starts with the state ends it with a marked bookmark', async (t) => {
  const call = await api(t);
  await call('POST', MAPS, { body: map('a') });
  const query = 'watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan';
  const { text } = await call('GET', `${MAPS}?${query}`, { lines: 2 });
  const [added, bookmark] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([added.type, added.object.metadata.name], ['ADDED', 'a']);
  assert.deepEqual(
    [bookmark.type, bookmark.object.kind, bookmark.object.metadata.annotations],
    ['BOOKMARK', 'ConfigMap', { 'k8s.io/initial-events-end': 'true' }],
  );
  assert.ok(Number(bookmark.object.metadata.resourceVersion) >= Number(added.object.metadata.resourceVersion));
});

test('forms: metadata alone, tables with columns once in a watch, warnings in a header', async (t) => {
  const call = await api(t);
  const unknown = await call('POST', MAPS, { body: JSON.stringify({ metadata: { name: 'a' }, date: {} }) });
  assert.equal(unknown.code, 201);
  assert.equal(unknown.headers.warning, '299 - "unknown field \\"date\\""');
  const metadata = await call('GET', MAPS, {
    accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
  });
  assert.equal(metadata.json.kind, 'PartialObjectMetadataList');
  assert.deepEqual(Object.keys(metadata.json.items[0]), ['kind', 'apiVersion', 'metadata']);
  await call('POST', MAPS, { body: map('b') });
  const table = 'application/json;as=Table;g=meta.k8s.io;v=v1';
  const { text } = await call('GET', `${MAPS}?watch=1`, { accept: table, lines: 2 });
  const [first, second] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).object);
  assert.equal(first.columnDefinitions[0].name, 'Name');
  assert.equal(second.columnDefinitions, null);
  assert.equal(second.rows[0].object.kind, 'PartialObjectMetadata');
  const whole = await call('GET', `${MAPS}/a?includeObject=Object`, { accept: table });
  assert.equal(whole.json.rows[0].object.kind, 'ConfigMap');
});

test('a collection is deleted by selection; preconditions hold', async (t) => {
  const call = await api(t);
  await call('POST', MAPS, { body: map('a', { labels: { go: 'yes' } }) });
  const kept = await call('POST', MAPS, { body: map('b') });
  assert.equal((await call('DELETE', `${MAPS}?labelSelector=go%3Dyes`)).code, 200);
  assert.deepEqual(
    (await call('GET', MAPS)).json.items.map((item: { metadata: { name: string } }) => item.metadata.name),
    ['b'],
  );
  const wrong = await call('DELETE', `${MAPS}/b`, { body: JSON.stringify({ preconditions: { uid: 'other' } }) });
  assert.equal(wrong.code, 409);
  const gone = await call('DELETE', `${MAPS}/b`, {
    body: JSON.stringify({ preconditions: { uid: kept.json.metadata.uid } }),
  });
  assert.deepEqual([gone.code, gone.json.status, gone.json.details.name], [200, 'Success', 'b']);
});

test('reviews are answered', async (t) => {
  const call = await api(t);
  const token = (
    await call('POST', '/api/v1/namespaces/default/serviceaccounts/default/token', {
      body: '{"spec":{"audiences":["istio-ca"]}}',
    })
  ).json.status.token;
  const review = async (audiences: string[]) =>
    (
      await call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        body: JSON.stringify({ spec: { token, audiences } }),
      })
    ).json.status;
  assert.deepEqual((await review(['istio-ca', 'x'])).audiences, ['istio-ca']);
  assert.equal((await review(['x'])).authenticated, false);
  const access = async (user: string) =>
    (
      await call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        body: JSON.stringify({ spec: { user, groups: [], resourceAttributes: { verb: 'get', resource: 'pods' } } }),
      })
    ).json.status.allowed;
  assert.equal(await access('somebody'), false);
  const bad = await call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    body: '{"spec":{"user":"a"}}',
  });
  assert.equal(bad.code, 422);
});

test('discovery says the same in both forms, and each document of OpenAPI can be had', async (t) => {
  const call = await api(t);
  const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  for (const root of ['/api', '/apis']) {
    const { json } = await call('GET', root, { accept: aggregated });
    for (const { metadata, versions } of json.items)
      for (const { version, resources } of versions) {
        const path =
          metadata.name === '' || metadata.name === undefined ? `/api/${version}` : `/apis/${metadata.name}/${version}`;
        const legacy = (await call('GET', path)).json.resources.map(({ name }: { name: string }) => name);
        const names = resources.flatMap(
          ({ resource, subresources = [] }: { resource: string; subresources: { subresource: string }[] }) => [
            resource,
            ...subresources.map(({ subresource }) => `${resource}/${subresource}`),
          ],
        );
        assert.deepEqual(legacy, names, path);
      }
  }
  const { json } = await call('GET', '/openapi/v3');
  for (const { serverRelativeURL } of Object.values(json.paths) as { serverRelativeURL: string }[]) {
    const document = (await call('GET', serverRelativeURL)).json;
    assert.equal(document.openapi, '3.0.0', serverRelativeURL);
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
      ([, name]) => name,
    );
    for (const name of references) assert.ok(document.components.schemas[name!], `${serverRelativeURL}: ${name}`);
  }
});
