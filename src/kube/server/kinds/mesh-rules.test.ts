// The API refuses what Istio's webhook and the Gateway API's own rules refuse, with the field; and takes the rest.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  GATEWAY_CLASSES,
  HTTP_ROUTES,
  NAMESPACES,
  VIRTUAL_SERVICES,
} from '../../client/resources.ts';
import type { KubeObject } from '../../client/types.ts';
import { EmbeddedApi } from '../embedded.ts';

async function shop(t: TestContext) {
  const api = new EmbeddedApi({ path: ':memory:' });
  t.after(() => api.close());
  const client = api.client('test');
  await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  return { api, client };
}

const meta = (name: string) => ({ name, namespace: 'shop' });
const refuses = (work: Promise<unknown>, field: string, message: RegExp) =>
  assert.rejects(work, (error: Error & { code: number; details: { causes: { field: string }[] } }) => {
    assert.equal(error.code, 422);
    assert.match(error.message, message);
    assert.deepEqual(
      error.details.causes.map((cause) => cause.field),
      [field],
    );
    return true;
  });

const virtualService = (http: object[], hosts = ['web']) =>
  ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: meta('web'),
    spec: { hosts, http },
  }) as never;
const TO_WEB = { destination: { host: 'web' } };

test('a VirtualService that Istio refuses is refused with its field', async (t) => {
  const { client } = await shop(t);
  await refuses(
    client.create(VIRTUAL_SERVICES, virtualService([{ route: [TO_WEB], redirect: { uri: '/x' } }])),
    'spec.http[0]',
    /only one of route, redirect/,
  );
  await refuses(
    client.create(VIRTUAL_SERVICES, virtualService([{ route: [TO_WEB] }], ['*'])),
    'spec.hosts[0]',
    /not allowed for the mesh/,
  );
  await client.create(VIRTUAL_SERVICES, virtualService([{ route: [TO_WEB] }]));
});

test('a change that makes an object invalid is refused', async (t) => {
  const { client } = await shop(t);
  await client.create(VIRTUAL_SERVICES, virtualService([{ route: [TO_WEB] }]));
  await refuses(
    client.patch(VIRTUAL_SERVICES, 'web', 'shop', 'merge', { spec: { http: [{ name: 'nothing' }] } }),
    'spec.http[0]',
    /one of route, redirect, directResponse, delegate must be set/,
  );
});

test('an object from before a rule was made is not refused for what a write leaves alone', async (t) => {
  const { api, client } = await shop(t);
  const old = {
    ...(virtualService([{ name: 'nothing' }]) as KubeObject),
    metadata: { ...meta('web'), uid: 'u', finalizers: ['a.b/c'] },
  };
  api.context.store.write({ collection: 'networking.istio.io/virtualservices', object: old });
  const patch = (body: object) => client.patch(VIRTUAL_SERVICES, 'web', 'shop', 'merge', body);
  await patch({ metadata: { finalizers: null } });
  await refuses(patch({ spec: { hosts: ['other'] } }), 'spec.http[0]', /one of route/);
  await patch({ spec: { http: [{ route: [TO_WEB] }] } });
});

test('the rules in CEL of an HTTPRoute hold', async (t) => {
  const { client } = await shop(t);
  const route = (rule: object) =>
    ({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: meta('web'),
      spec: { rules: [rule] },
    }) as never;
  const redirect = { type: 'RequestRedirect', requestRedirect: { scheme: 'https' } };
  const rewrite = { type: 'URLRewrite', urlRewrite: { hostname: 'x.example.com' } };
  await refuses(
    client.create(HTTP_ROUTES, route({ filters: [redirect, rewrite] })),
    'spec.rules[0].filters',
    /either RequestRedirect or URLRewrite, but not both/,
  );
  await client.create(HTTP_ROUTES, route({ filters: [redirect] }));
});

test('a policy with a mistyped key is refused; a warning refuses nothing', async (t) => {
  const { client } = await shop(t);
  const policy = (when: object) =>
    ({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: meta('web'),
      spec: { action: 'DENY', rules: [{ when: [when] }] },
    }) as never;
  await refuses(
    client.create(AUTHORIZATION_POLICIES, policy({ key: 'request.header[x]', values: ['a'] })),
    'spec.rules[0].when[0].key',
    /no attribute/,
  );
  await client.create(AUTHORIZATION_POLICIES, policy({ key: 'request.headers[x]', values: ['a'] }));
});

test('a GatewayClass keeps its controller', async (t) => {
  const { client } = await shop(t);
  const cls = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: 'own' },
    spec: { controllerName: 'example.com/one' },
  } as const;
  await client.create(GATEWAY_CLASSES, cls);
  await refuses(
    client.patch(GATEWAY_CLASSES, 'own', undefined, 'merge', { spec: { controllerName: 'example.com/two' } }),
    'spec.controllerName',
    /immutable/,
  );
});
