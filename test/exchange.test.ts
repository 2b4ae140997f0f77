// `--ztunnel PATH` and `--istiod PATH`: other programs in the place of the node proxy and the control plane. The programs
// here are scripts of the test's own that start our bundles, from paths with a blank in them, so that nothing but the flags
// can have put them there.

import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, ROOT, TestMesh } from './support/mesh.ts';

const POD = `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { istio.io/dataplane-mode: ambient } }
---
apiVersion: v1
kind: Pod
metadata: { name: only, namespace: shop }
spec: { containers: [{ name: c, image: ambit/echo }] }
`;
let folder: string;
let program: string;
let controlPlane: string;
let mesh: TestMesh;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ambit-exchange-'));
  chmodSync(folder, 0o755);
  program = join(folder, 'another ztunnel');
  writeFileSync(
    program,
    `#!/bin/sh\necho "another ztunnel, asked to: $*"\nexec '${process.execPath}' '${join(ROOT, 'dist/ztunnel.mjs')}' "$@"\n`,
    { mode: 0o755 },
  );
  controlPlane = join(folder, 'another istiod');
  writeFileSync(
    controlPlane,
    `#!/bin/sh\necho "another istiod, asked to: $*"\nexec '${process.execPath}' '${join(ROOT, 'dist/control.mjs')}'\n`,
    { mode: 0o755 },
  );
  mesh = await TestMesh.up({
    up: ['--nodes', '1', '--ztunnel', program, '--istiod', controlPlane, '-f', '-'],
    input: POD,
  });
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

test('the program runs as the node proxy, and pods are captured and served by it', async () => {
  const said = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=-1']);
  assert.match(said, /another ztunnel, asked to: proxy ztunnel\n/);
  await eventually('the pod is served', async () => {
    const at = '{.metadata.annotations.ambient\\.istio\\.io/redirection}';
    const state = await mesh.kubectlOk(['get', 'pod', 'only', '-n', 'shop', '-o', `jsonpath=${at}`]);
    return state === 'enabled' ? true : undefined;
  });
});

test('the program runs as the control plane, with the rights that one of Istio needs', async () => {
  const said = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=istiod', '--tail=-1']);
  assert.match(said, /another istiod, asked to: discovery\n/);
  const may = (resource: string, who: string) =>
    mesh.kubectl(['auth', 'can-i', 'list', resource, '--as', `system:serviceaccount:istio-system:${who}`]);
  assert.match((await may('customresourcedefinitions', 'istiod')).stdout, /^yes/);
  assert.match((await may('customresourcedefinitions', 'ztunnel')).stdout, /^no/);
});

test('without the flags ours are back, and so are their rights', async () => {
  assert.equal((await mesh.ambit(['down'])).code, 0);
  const up = await mesh.ambit(['up', '--detach', '--nodes', '1', '--empty']);
  assert.equal(up.code, 0, up.stderr);
  const bindings = await mesh.kubectlOk(['get', 'clusterrolebindings,rolebindings', '-A', '-o', 'name']);
  assert.match(bindings, /\/istiod-istio-system\n/);
  assert.equal(bindings.includes('other-istiod'), false);
});

test('a file that cannot be run is refused before anything starts', async () => {
  const refused = async (path: string, flag = '--ztunnel'): Promise<string> => {
    const other = TestMesh.create();
    try {
      const ran = await other.ambit(['up', '--detach', '--empty', flag, path]);
      assert.equal(ran.code, 2);
      return ran.stderr;
    } finally {
      await other[Symbol.asyncDispose]();
    }
  };
  assert.match(await refused(join(folder, 'nothing')), /no such file/);
  assert.match(await refused(folder), /it is no file/);
  assert.match(await refused(folder, '--istiod'), /`--istiod .*` cannot be run/);
  const plain = join(folder, 'plain');
  writeFileSync(plain, '', { mode: 0o644 });
  assert.match(await refused(plain), /chmod \+x/);
});
