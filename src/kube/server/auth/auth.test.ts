import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  PODS,
  ROLE_BINDINGS,
  ROLES,
  SERVICE_ACCOUNTS,
} from '../../client/resources.ts';
import type { KubeClient } from '../../client/types.ts';
import { EmbeddedApi } from '../embedded.ts';
import { type ClusterIdentity, clusterIdentity } from './identity.ts';
import { type Attributes, authorize, refusalText } from './rbac.ts';
import { ISSUER, TokenAuthority } from './tokens.ts';
import { serviceAccountGroups, serviceAccountUser, type UserInfo } from './user.ts';

const DAY_MS = 86_400_000;
const START = new Date('2026-05-04T09:00:00Z');

let shared: ClusterIdentity | undefined;
async function identity(): Promise<ClusterIdentity> {
  shared ??= await clusterIdentity({ read: () => undefined, write: () => {} }, () => START);
  return shared;
}

async function cluster(t: TestContext) {
  const clock = { now: START };
  const api = new EmbeddedApi({ path: ':memory:', now: () => clock.now });
  t.after(() => api.close());
  const tokens = new TokenAuthority((await identity()).tokenKeyPem, api.context.store, () => clock.now);
  return { api, client: api.client(), tokens, clock };
}

test('keys: made once, read again, leaf certificates renewed in their last third', async () => {
  let kept: string | undefined;
  const storage = {
    read: () => kept,
    write: (text: string) => {
      kept = text;
    },
  };
  const first = await clusterIdentity(storage, () => START);
  assert.deepEqual(await clusterIdentity(storage, () => new Date(START.getTime() + 200 * DAY_MS)), first);
  const later = await clusterIdentity(storage, () => new Date(START.getTime() + 250 * DAY_MS));
  assert.equal(later.ca.certPem, first.ca.certPem);
  assert.equal(later.tokenKeyPem, first.tokenKeyPem);
  assert.notEqual(later.serving.certPem, first.serving.certPem);
});

test('certificates say what they are for', async () => {
  const { ca, serving, admin } = await identity();
  const [authority, server, client] = [ca, serving, admin].map(({ certPem }) => new X509Certificate(certPem)) as [
    X509Certificate,
    X509Certificate,
    X509Certificate,
  ];
  assert.ok(authority.ca && !server.ca);
  assert.ok(server.verify(authority.publicKey) && client.verify(authority.publicKey));
  for (const host of ['localhost', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'])
    assert.equal(server.checkHost(host), host);
  for (const ip of ['127.0.0.1', '10.96.0.1', '172.31.0.1']) assert.equal(server.checkIP(ip), ip);
  assert.equal(server.checkHost('example.com'), undefined);
  assert.equal(client.subject, 'O=system:masters\nCN=kubernetes-admin');
  assert.deepEqual([server.keyUsage, client.keyUsage], [['1.3.6.1.5.5.7.3.1'], ['1.3.6.1.5.5.7.3.2']]);
});

async function pod(client: KubeClient, name: string) {
  return client.create(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { containers: [{ name: 'a', image: 'i' }] },
  });
}

test('a token: audience, time, account and pod must all be right', async (t) => {
  const { client, tokens, clock } = await cluster(t);
  const made = await pod(client, 'p');
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'p', uid: made.metadata?.uid };
  const { status } = await tokens.request('default', 'default', {
    spec: { audiences: ['istio-ca'], expirationSeconds: 600, boundObjectRef },
  });
  const token = status?.token ?? '';
  assert.equal(status?.expirationTimestamp, '2026-05-04T09:10:00Z');
  const good = await tokens.review(token, ['other', 'istio-ca']);
  assert.ok(good.ok);
  assert.deepEqual(good.audiences, ['istio-ca']);
  assert.equal(good.user.username, 'system:serviceaccount:default:default');
  assert.deepEqual(good.user.extra?.['authentication.kubernetes.io/pod-name'], ['p']);
  const why = async (text: string, audiences?: string[]) => {
    const verdict = await tokens.review(text, audiences);
    return verdict.ok ? 'ok' : verdict.why;
  };
  assert.match(await why(token), /audiences/, 'it is not for the API itself');
  assert.match(await why(token.replace(/\.[^.]+$/, '.AAAA'), ['istio-ca']), /not signed by this cluster/);
  const [head = '', body = ''] = token.split('.');
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`;
  assert.match(await why(none, ['istio-ca']), /not signed/);
  assert.match(await why(`${head}.${body}`, ['istio-ca']), /not signed/);
  clock.now = new Date(START.getTime() + 601_000);
  assert.equal(await why(token, ['istio-ca']), 'the token has expired');
  clock.now = START;
  await client.delete(PODS, 'p', 'default');
  assert.equal(await why(token, ['istio-ca']), 'pod has been deleted');
  await pod(client, 'p');
  assert.equal(await why(token, ['istio-ca']), 'pod has been deleted', 'another pod of the name is another pod');
});

test('a token of an account that was made anew is not its token', async (t) => {
  const { client, tokens } = await cluster(t);
  const { status } = await tokens.request('default', 'default', {});
  assert.ok((await tokens.review(status?.token ?? '', [ISSUER])).ok);
  await client.delete(SERVICE_ACCOUNTS, 'default', 'default');
  assert.equal((await tokens.review(status?.token ?? '', undefined)).ok, false);
  await client.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: 'default' },
  });
  assert.equal((await tokens.review(status?.token ?? '', undefined)).ok, false);
});

test('token requests that may not be', async (t) => {
  const { client, tokens } = await cluster(t);
  await pod(client, 'p');
  await client.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'other', namespace: 'default' },
  });
  const ask = (name: string, spec: object) => tokens.request('default', name, { spec });
  await assert.rejects(ask('none', {}), { code: 404 });
  await assert.rejects(ask('default', { expirationSeconds: 60 }), { code: 422 });
  await assert.rejects(ask('default', { audiences: Array(17).fill('a') }), { code: 422 });
  await assert.rejects(ask('default', { boundObjectRef: { kind: 'Pod', name: 'q' } }), { code: 404 });
  await assert.rejects(ask('default', { boundObjectRef: { kind: 'Pod', name: 'p', uid: 'x' } }), { code: 409 });
  await assert.rejects(ask('other', { boundObjectRef: { kind: 'Pod', name: 'p' } }), /different serviceaccount/);
  await assert.rejects(ask('default', { boundObjectRef: { kind: 'Deployment', name: 'p' } }), { code: 422 });
});

const robot: UserInfo = { username: serviceAccountUser('shop', 'robot'), groups: serviceAccountGroups('shop') };
const may = (
  verb: string,
  resource: string,
  more: Partial<Extract<Attributes, { kind: 'resource' }>> = {},
): Attributes => ({ kind: 'resource', verb, group: '', resource, namespace: 'default', ...more });

test('nothing is allowed that no rule allows; discovery and questions about oneself are', async (t) => {
  const { api } = await cluster(t);
  const allowed = (attributes: Attributes, user = robot) => authorize(api.context.store, user, attributes).allowed;
  for (const verb of ['get', 'list', 'create', 'delete']) assert.equal(allowed(may(verb, 'pods')), false);
  assert.equal(allowed({ kind: 'path', verb: 'get', path: '/apis/apps/v1' }), true);
  assert.equal(allowed({ kind: 'path', verb: 'get', path: '/metrics' }), false);
  assert.equal(allowed({ kind: 'path', verb: 'post', path: '/api' }), false);
  assert.equal(
    allowed(may('create', 'selfsubjectaccessreviews', { group: 'authorization.k8s.io', namespace: undefined })),
    true,
  );
  assert.equal(allowed(may('create', 'tokenreviews', { group: 'authentication.k8s.io', namespace: undefined })), false);
  assert.equal(allowed(may('delete', 'secrets'), { username: 'anyone', groups: ['system:masters'] }), true);
  assert.equal(
    refusalText(robot, may('list', 'pods')),
    'User "system:serviceaccount:shop:robot" cannot list resource "pods" in API group "" in the namespace "default"',
  );
});

test('roles: namespace, names, subresources, groups, cluster-wide', async (t) => {
  const { api, client } = await cluster(t);
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const rules = [
    { verbs: ['get'], apiGroups: [''], resources: ['configmaps'], resourceNames: ['one'] },
    { verbs: ['list'], apiGroups: [''], resources: ['pods', 'pods/log'] },
    { verbs: ['patch'], apiGroups: ['apps'], resources: ['*/scale'] },
  ];
  await client.create(ROLES, { apiVersion, kind: 'Role', metadata: { name: 'r', namespace: 'default' }, rules });
  const subjects = [{ kind: 'ServiceAccount', name: 'robot', namespace: 'shop' }];
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'r' };
  await client.create(ROLE_BINDINGS, {
    apiVersion,
    kind: 'RoleBinding',
    metadata: { name: 'r', namespace: 'default' },
    roleRef,
    subjects,
  });
  const allowed = (attributes: Attributes, user = robot) => authorize(api.context.store, user, attributes).allowed;
  const cases: [Attributes, boolean][] = [
    [may('get', 'configmaps', { name: 'one' }), true],
    [may('get', 'configmaps', { name: 'two' }), false],
    [may('list', 'configmaps'), false],
    [may('list', 'pods'), true],
    [may('list', 'pods', { namespace: 'shop' }), false],
    [may('list', 'pods', { namespace: undefined }), false],
    [may('list', 'pods', { subresource: 'log' }), true],
    [may('list', 'pods', { subresource: 'exec' }), false],
    [may('patch', 'deployments', { group: 'apps', subresource: 'scale' }), true],
    [may('patch', 'deployments', { group: 'apps' }), false],
  ];
  for (const [attributes, want] of cases) assert.equal(allowed(attributes), want, JSON.stringify(attributes));
  assert.equal(allowed(may('list', 'pods'), { username: 'system:serviceaccount:shop:robot2', groups: [] }), false);
  await client.create(CLUSTER_ROLES, {
    apiVersion,
    kind: 'ClusterRole',
    metadata: { name: 'nodes' },
    rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['nodes'] }],
  });
  await client.create(CLUSTER_ROLE_BINDINGS, {
    apiVersion,
    kind: 'ClusterRoleBinding',
    metadata: { name: 'nodes' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'nodes' },
    subjects: [{ kind: 'Group', name: 'system:serviceaccounts:shop' }],
  });
  assert.equal(allowed(may('delete', 'nodes', { namespace: undefined })), true);
});
