import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findConnection, inCluster, KubeconfigError, loadKubeconfig } from './kubeconfig.ts';

function folderOf(t: TestContext, files: Record<string, string>): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return (name) => join(folder, name);
}

const yaml = `
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: certs, namespace: shop}}
- {name: two, context: {cluster: c, user: plugin}}
- {name: lost, context: {cluster: nowhere, user: certs}}
clusters:
- {name: c, cluster: {server: "https://127.0.0.1:6443/", certificate-authority: ca.pem}}
users:
- name: certs
  user: {client-certificate-data: ${btoa('CERT')}, client-key-data: ${btoa('KEY')}}
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: sh
      args: ["-c", "echo '{\\"status\\":{\\"token\\":\\"'$NAME'\\"}}'"]
      env: [{name: NAME, value: plugged}]
`;

test('a context names cluster, user and namespace; relative files start at the kubeconfig', async (t) => {
  const at = folderOf(t, { config: yaml, 'ca.pem': 'CA' });
  const connection = await loadKubeconfig([at('config')]);
  assert.equal(connection.server, 'https://127.0.0.1:6443');
  assert.equal(connection.namespace, 'shop');
  assert.equal(connection.caPem, 'CA');
  const { certPem, keyPem } = await connection.credential();
  assert.deepEqual([certPem, keyPem], ['CERT', 'KEY']);
});

test('a credential plugin is run with its environment', async (t) => {
  const at = folderOf(t, { config: yaml, 'ca.pem': 'CA' });
  const connection = await loadKubeconfig([at('config')], 'two');
  assert.equal((await connection.credential()).token, 'plugged');
});

test('what is missing is named', async (t) => {
  const at = folderOf(t, { config: yaml, 'ca.pem': 'CA', broken: ': : [' });
  await assert.rejects(loadKubeconfig([at('none')]), KubeconfigError);
  await assert.rejects(loadKubeconfig([at('broken')]), /does not parse/);
  await assert.rejects(loadKubeconfig([at('config')], 'three'), /no context `three`/);
  await assert.rejects(loadKubeconfig([at('config')], 'lost'), /no server for the cluster `nowhere`/);
});

test('in a pod the service account serves, unless a kubeconfig is named', async (t) => {
  const at = folderOf(t, { config: yaml, 'ca.pem': 'CA', 'ca.crt': 'POD-CA', token: 'abc\n', namespace: 'shop' });
  const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
  const pod = inCluster(env, at('.'));
  assert.deepEqual([pod.server, pod.caPem, pod.namespace], ['https://10.96.0.1:443', 'POD-CA', 'shop']);
  assert.equal((await pod.credential()).token, 'abc');
  assert.throws(() => inCluster({}), KubeconfigError);
  assert.equal((await findConnection({}, { ...env, KUBECONFIG: at('config') })).server, 'https://127.0.0.1:6443');
});
