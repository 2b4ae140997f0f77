// The embedded API under the clients that users have: kubectl 1.35, @kubernetes/client-node, and our own.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as k8s from '@kubernetes/client-node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { connectKube, HttpKubeClient } from '../src/kube/client/client.ts';
import { startInformer } from '../src/kube/client/informer.ts';
import { connectPod } from '../src/kube/client/portforward.ts';
import { CONFIG_MAPS, NODES, PODS } from '../src/kube/client/resources.ts';
import { startFakeKubelet, startTestApi, type TestApi } from './support/api.ts';

const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "echo:1", ports: [{containerPort: 80, name: http}], env: [{name: A, value: "1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
`;

const lines = (text: string): string[] => text.trim().split('\n');
const columns = (line: string | undefined): string[] => (line ?? '').trim().split(/\s{2,}/);

/** Plays the kubelet of node-1: pods that are bound run at once, pods that are deleted end at once. */
async function playKubelet(t: TestContext, api: TestApi): Promise<void> {
  const client = await connectKube({ kubeconfig: api.kubeconfig });
  await client.create(NODES, {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-1', labels: { 'kubernetes.io/hostname': 'node-1' } },
  });
  let addresses = 0;
  const play = async (name: string, namespace: string, pod: IPod): Promise<void> => {
    if (pod.metadata?.deletionTimestamp !== undefined)
      return client.delete(PODS, name, namespace, { gracePeriodSeconds: 0 });
    if (pod.spec?.nodeName === undefined || pod.status?.phase === 'Running') return;
    addresses++;
    const time = new Date().toISOString().replace(/\.\d+Z/, 'Z');
    const podIP = `10.244.1.${addresses + 1}`;
    const types = ['Ready', 'ContainersReady', 'Initialized', 'PodScheduled'];
    const status = {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      startTime: time,
      conditions: types.map((type) => ({ type, status: 'True', lastTransitionTime: time })),
      containerStatuses: pod.spec.containers.map(({ name: container, image }) => ({
        name: container,
        ready: true,
        started: true,
        restartCount: 0,
        image,
        imageID: image,
        state: { running: { startedAt: time } },
      })),
    };
    await client.patch(PODS, name, namespace, 'merge', { status }, { subresource: 'status' });
  };
  const pods = startInformer(client, PODS);
  pods.onChange((_key, pod) => {
    // A pod that changed or went meanwhile comes again, or not at all.
    if (pod !== undefined) play(pod.metadata?.name ?? '', pod.metadata?.namespace ?? '', pod).catch(() => {});
  });
  t.after(() => {
    pods.stop();
    client.close();
  });
}

test('kubectl: from apply to rollout', { timeout: 120_000 }, async (t) => {
  const api = await startTestApi(t);
  await playKubelet(t, api);

  await t.test('version, api-resources and explain', async () => {
    assert.match(await api.ok(['version']), /Server Version: v1\.35\.0\+ambit/);
    const resources = await api.ok(['api-resources', '--no-headers']);
    for (const wanted of [
      /^deployments +deploy +apps\/v1 +true +Deployment$/m,
      /^peerauthentications +pa +security\.istio\.io\/v1 +true/m,
      /^gateways +gtw +gateway/m,
    ])
      assert.match(resources, wanted);
    assert.match(
      await api.ok(['explain', 'deployment.spec.template.spec.containers.ports']),
      /containerPort\s+<integer> -required-/,
    );
    assert.match(await api.ok(['explain', 'authorizationpolicy.spec.rules.from.source']), /principals\s+<\[\]string>/);
  });

  await t.test('apply is repeatable and says what it did', async () => {
    assert.deepEqual(lines(await api.ok(['apply', '-f', '-'], { input: SHOP })), [
      'namespace/shop created',
      'deployment.apps/web created',
      'service/web created',
    ]);
    const again = await api.ok(['apply', '-f', '-'], { input: SHOP });
    assert.deepEqual(lines(again), [
      'namespace/shop unchanged',
      'deployment.apps/web unchanged',
      'service/web unchanged',
    ]);
    const changed = SHOP.replace('value: "1"', 'value: "2"').replace('replicas: 2', 'replicas: 3');
    assert.match(await api.ok(['apply', '-f', '-'], { input: changed }), /deployment\.apps\/web configured/);
    assert.equal(
      await api.ok([
        '-n',
        'shop',
        'get',
        'deploy',
        'web',
        '-o',
        'jsonpath={.spec.replicas}{.spec.template.spec.containers[0].env[0].value}',
      ]),
      '32',
    );
    const dropped = SHOP.replace(', env: [{name: A, value: "1"}]', '');
    await api.ok(['apply', '-f', '-'], { input: dropped });
    assert.equal(
      await api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].env}']),
      '',
    );
  });

  await t.test('rollout status ends when the pods are ready, get shows it', async () => {
    const rollout = await api.ok(['-n', 'shop', 'rollout', 'status', 'deploy/web', '--timeout=60s']);
    assert.match(rollout, /deployment "web" successfully rolled out/);
    const [header, row] = lines(await api.ok(['-n', 'shop', 'get', 'deploy', '-o', 'wide']));
    assert.deepEqual(columns(header), [
      'NAME',
      'READY',
      'UP-TO-DATE',
      'AVAILABLE',
      'AGE',
      'CONTAINERS',
      'IMAGES',
      'SELECTOR',
    ]);
    assert.match(row ?? '', /^web +2\/2 +2 +2 +\d+s +app +echo:1 +app=web$/);
    assert.deepEqual(columns(lines(await api.ok(['-n', 'shop', 'get', 'pods', '-o', 'wide']))[0]), [
      'NAME',
      'READY',
      'STATUS',
      'RESTARTS',
      'AGE',
      'IP',
      'NODE',
      'NOMINATED NODE',
      'READINESS GATES',
    ]);
    assert.match(
      await api.ok([
        '-n',
        'shop',
        'get',
        'pods',
        '--no-headers',
        '-l',
        'app=web',
        '--field-selector',
        'status.phase=Running',
      ]),
      /^web-\S+ +1\/1 +Running +0 +/,
    );
    assert.match(
      await api.ok(['get', 'pods', '-A', '-o', 'custom-columns=N:.metadata.name,NODE:.spec.nodeName']),
      /^web-\S+ +node-1$/m,
    );
    assert.match(await api.ok(['-n', 'shop', 'get', 'all']), /deployment\.apps\/web[\s\S]*replicaset\.apps\/web/);
  });

  await t.test('describe of each everyday kind', async () => {
    const deployment = await api.ok(['-n', 'shop', 'describe', 'deploy', 'web']);
    assert.match(deployment, /Replicas: +2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable/);
    const pod = await api.ok(['-n', 'shop', 'describe', 'pods']);
    assert.match(pod, /Mounts:\s+\/var\/run\/secrets\/kubernetes\.io\/serviceaccount from kube-api-access-/);
    assert.match(
      await api.ok(['-n', 'shop', 'describe', 'svc', 'web']),
      /Endpoints: +10\.244\.1\.\d+:80,10\.244\.1\.\d+:80/,
    );
    assert.match(
      await api.ok(['describe', 'ns', 'shop']),
      /Labels: +kubernetes\.io\/metadata\.name=shop\n[\s\S]*Status: +Active/,
    );
    assert.match(await api.ok(['describe', 'node', 'node-1']), /Name: +node-1/);
    assert.match(await api.ok(['-n', 'shop', 'describe', 'rs']), /Controlled By: +Deployment\/web/);
  });

  await t.test('label, annotate, patch of each type, set image, edit, scale, restart, undo', async () => {
    const get = (path: string) => api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', `jsonpath={${path}}`]);
    await api.ok(['-n', 'shop', 'label', 'deploy/web', 'tier=front']);
    await api.ok(['-n', 'shop', 'annotate', 'deploy/web', 'note=x']);
    assert.equal(await get('.metadata.labels.tier}{.metadata.annotations.note'), 'frontx');
    await api.ok(['-n', 'shop', 'label', 'deploy/web', 'tier-']);
    await api.ok([
      '-n',
      'shop',
      'patch',
      'deploy',
      'web',
      '-p',
      '{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"B","value":"2"}]}]}}}}',
    ]);
    assert.equal(
      await get('.spec.template.spec.containers[*].env[*].name}{.spec.template.spec.containers[0].image'),
      'Becho:1',
    );
    await api.ok(['-n', 'shop', 'patch', 'deploy', 'web', '--type=merge', '-p', '{"spec":{"minReadySeconds":1}}']);
    await api.ok([
      '-n',
      'shop',
      'patch',
      'deploy',
      'web',
      '--type=json',
      '-p',
      '[{"op":"remove","path":"/spec/minReadySeconds"}]',
    ]);
    await api.ok(['-n', 'shop', 'set', 'image', 'deploy/web', 'app=echo:2']);
    assert.equal(
      await get('.spec.template.spec.containers[0].image}{.metadata.labels.tier}{.spec.minReadySeconds'),
      'echo:2',
    );
    await api.ok(['-n', 'shop', 'edit', 'deploy', 'web'], { env: { EDITOR: 'sed -i s/echo:2/echo:3/' } });
    assert.equal(await get('.spec.template.spec.containers[0].image'), 'echo:3');
    assert.match(await api.ok(['-n', 'shop', 'scale', 'deploy/web', '--replicas=5', '--current-replicas=2']), /scaled/);
    assert.equal(await get('.spec.replicas'), '5');
    await api.ok(['-n', 'shop', 'scale', 'deploy/web', '--replicas=2']);
    await api.ok(['-n', 'shop', 'rollout', 'restart', 'deploy/web']);
    assert.match(await get('.spec.template.metadata.annotations'), /restartedAt/);
    await api.ok(['-n', 'shop', 'rollout', 'undo', 'deploy/web', '--to-revision=1']);
    assert.equal(await get('.spec.template.spec.containers[0].image'), 'echo:1');
  });

  await t.test('delete waits for what it deletes; the namespace takes all along', async () => {
    await api.ok(['-n', 'shop', 'delete', 'pod', '-l', 'app=web', '--grace-period=0', '--force']);
    const deleted = await api.ok(['delete', 'ns', 'shop', '--timeout=60s']);
    assert.match(deleted, /namespace "shop" deleted/);
    assert.match((await api.kubectl(['get', 'ns', 'shop'])).stderr, /namespaces "shop" not found/);
    assert.equal((await api.kubectl(['get', 'pods', '-A'])).stderr.trim(), 'No resources found');
  });
});

test('kubectl: server-side apply, ownership, conflicts', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  await api.ok(['apply', '-f', '-'], { input: SHOP });
  const apply = (input: string, ...more: string[]) =>
    api.kubectl(['apply', '--server-side', ...more, '-f', '-'], { input });
  assert.match(
    (await apply(SHOP)).stdout,
    /deployment\.apps\/web serverside-applied/,
    'takes over from client-side apply',
  );
  await api.ok(['-n', 'shop', 'scale', 'deploy/web', '--replicas=4']);
  const refused = await apply(SHOP);
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /Apply failed with 1 conflict: conflict with "kubectl" using apps\/v1: \.spec\.replicas/,
  );
  const without = SHOP.replace('  replicas: 2\n', '');
  assert.equal((await apply(without)).code, 0);
  assert.equal(
    await api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}']),
    '4',
    'what another owns stays',
  );
  assert.equal((await apply(SHOP, '--force-conflicts')).code, 0);
  assert.equal(await api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}']), '2');
  const noEnv = SHOP.replace(', env: [{name: A, value: "1"}]', '');
  await apply(noEnv, '--force-conflicts');
  assert.equal(
    await api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].env}']),
    '',
    'what was mine alone goes',
  );
  const managers = await api.ok([
    '-n',
    'shop',
    'get',
    'deploy',
    'web',
    '--show-managed-fields',
    '-o',
    'jsonpath={.metadata.managedFields[*].manager}',
  ]);
  assert.equal(managers, 'kubectl kubectl-last-applied');
});

test('kubectl: what users get wrong is refused with the field, and nothing is lost', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  await api.ok(['apply', '-f', '-'], { input: SHOP });
  const refused = async (input: string, message: RegExp) => {
    const ran = await api.kubectl(['apply', '-f', '-'], { input });
    assert.equal(ran.code, 1, ran.stdout);
    assert.match(ran.stderr, message);
  };
  await refused(SHOP.replace('replicas: 2', 'replica: 2'), /strict decoding error: unknown field "spec\.replica"/);
  await refused(SHOP.replace('replicas: 2', 'replicas: two'), /spec\.replicas: must be an integer/);
  await refused(
    SHOP.replace('selector: {matchLabels: {app: web}}', 'selector: {matchLabels: {app: other}}'),
    /spec\.selector: Invalid value.*field is immutable|selector` does not match template `labels`/,
  );
  await refused(SHOP.replace('kind: Service', 'kind: Servise'), /no matches for kind "Servise" in version "v1"/);
  await refused(
    'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: {mtls: {mode: SOMETIMES}}',
    /spec\.mtls\.mode: Unsupported value: "SOMETIMES": supported values: "UNSET", "DISABLE", "PERMISSIVE", "STRICT"/,
  );
  await refused(
    'apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: none}\nspec: {containers: [{name: a, image: b}]}',
    /namespaces "none" not found/,
  );
  assert.equal(await api.ok(['-n', 'shop', 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}']), '2');
  const warned = await api.kubectl(['apply', '--validate=warn', '-f', '-'], {
    input: SHOP.replace('replicas: 2', 'replicas: 2\n  colour: red'),
  });
  assert.equal(warned.code, 0);
  assert.match(warned.stderr, /Warning: unknown field "spec\.colour"/);
});

test('kubectl: get -w, wait, diff, dry runs, create of each kind', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  await api.ok(['create', 'namespace', 'shop']);
  const watching = api.spawnKubectl(['-n', 'shop', 'get', 'cm', '-w', '--no-headers', '--output-watch-events']);
  t.after(() => watching.kill());
  let seen = '';
  const saw = (pattern: RegExp) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!pattern.test(seen)) return;
        watching.stdout.off('data', look);
        resolve();
      };
      watching.stdout.on('data', look);
      look();
    });
  watching.stdout.on('data', (chunk) => {
    seen += chunk;
  });
  await api.ok(['-n', 'shop', 'create', 'configmap', 'first', '--from-literal=a=b']);
  await saw(/ADDED +first +1 /);
  await api.ok(['-n', 'shop', 'patch', 'cm', 'first', '-p', '{"data":{"c":"d"}}']);
  await saw(/MODIFIED +first +2 /);
  const waited = api.ok(['-n', 'shop', 'wait', '--for=delete', 'cm/first', '--timeout=30s']);
  await api.ok(['-n', 'shop', 'delete', 'cm', 'first']);
  await saw(/DELETED +first +2 /);
  await waited;

  await api.ok(['-n', 'shop', 'create', 'deployment', 'web', '--image=echo:1', '--replicas=3', '--port=80']);
  assert.equal(
    await api.ok([
      '-n',
      'shop',
      'get',
      'deploy',
      'web',
      '-o',
      'jsonpath={.spec.replicas}{.spec.template.spec.containers[0].ports[0].containerPort}',
    ]),
    '380',
  );
  await api.ok(['-n', 'shop', 'create', 'secret', 'generic', 's', '--from-literal=user=me']);
  assert.equal(
    await api.ok(['-n', 'shop', 'get', 'secret', 's', '-o', 'jsonpath={.data.user}']),
    Buffer.from('me').toString('base64'),
  );
  await api.ok(['-n', 'shop', 'create', 'service', 'clusterip', 'web', '--tcp=80:8080']);
  await api.ok(['-n', 'shop', 'expose', 'deploy', 'web', '--name=web2', '--port=80']);
  await api.ok(['-n', 'shop', 'run', 'one', '--image=echo:1', '--restart=Never', '--', 'sleep', '1']);
  await api.ok(['-n', 'shop', 'create', 'sa', 'robot']);
  assert.match(await api.ok(['-n', 'shop', 'create', 'token', 'robot']), /^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+$/m);
  assert.match(await api.ok(['auth', 'whoami']), /kubernetes-admin[\s\S]*system:masters/);
  assert.match(
    (await api.kubectl(['auth', 'can-i', 'list', 'pods', '--as=system:serviceaccount:shop:robot'])).stdout,
    /^no/,
  );
  await api.ok(['-n', 'shop', 'create', 'role', 'reader', '--verb=list', '--resource=pods']);
  await api.ok(['-n', 'shop', 'create', 'rolebinding', 'reader', '--role=reader', '--serviceaccount=shop:robot']);
  assert.match(
    await api.ok(['-n', 'shop', 'auth', 'can-i', 'list', 'pods', '--as=system:serviceaccount:shop:robot']),
    /^yes/,
  );
  const diff = await api.kubectl(['diff', '-f', '-'], {
    input: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new, namespace: shop}\ndata: {a: b}',
  });
  assert.equal(diff.code, 1);
  assert.match(diff.stdout, /\+ {2}a: b/);
  assert.match(await api.ok(['-n', 'shop', 'create', 'cm', 'dry', '--dry-run=server', '-o', 'name']), /configmap\/dry/);
  assert.equal((await api.kubectl(['-n', 'shop', 'get', 'cm', 'dry'])).code, 1);
  for (let i = 0; i < 7; i++) await api.ok(['-n', 'shop', 'create', 'cm', `page-${i}`]);
  assert.equal(lines(await api.ok(['-n', 'shop', 'get', 'cm', '-o', 'name', '--chunk-size=3'])).length, 7);
});

const WIDGETS = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              colour: {type: string, enum: [red, blue], default: red}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`;
const widget = (spec: string) =>
  `apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: default}\nspec: ${spec}\n`;

test('kubectl: a CustomResourceDefinition is served at once, checked, printed, scaled, and goes with its objects', {
  timeout: 60_000,
}, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  await api.ok(['apply', '-f', '-'], { input: WIDGETS });
  await api.ok(['wait', '--for=condition=Established', 'crd/widgets.example.com', '--timeout=10s']);
  await api.ok(['apply', '-f', '-'], { input: widget('{size: 2}') });
  assert.equal(await api.ok(['get', 'wd', 'w', '-o', 'jsonpath={.spec.colour}']), 'red');
  await api.ok([
    'patch',
    'wd',
    'w',
    '--subresource=status',
    '--type=merge',
    '-p',
    '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}',
  ]);
  assert.match(await api.ok(['get', 'widgets', '--no-headers']), /^w +2 +True$/m);
  await api.ok(['scale', 'wd/w', '--replicas=5']);
  assert.equal(await api.ok(['get', 'wd', 'w', '-o', 'jsonpath={.spec.size}']), '5');
  for (const [spec, message] of [
    ['{size: 0}', /spec\.size: Invalid value: 0: should be greater than or equal to 1/],
    ['{size: 1, colour: green}', /spec\.colour: Unsupported value: "green"/],
    ['{}', /spec\.size: Required value/],
    ['{size: 1, shape: round}', /unknown field "spec\.shape"/],
    ['{size: big}', /spec\.size: must be an integer/],
  ] as const) {
    const ran = await api.kubectl(['apply', '-f', '-'], { input: widget(spec) });
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, message);
  }
  assert.match(await api.ok(['explain', 'widget.spec']), /colour\s+<string>[\s\S]*enum: red, blue/);
  await api.ok(['delete', 'crd', 'widgets.example.com']);
  const fresh = { env: { KUBECACHEDIR: join(api.folder, 'fresh') } };
  assert.match(
    (await api.kubectl(['get', 'widgets'], fresh)).stderr,
    /the server doesn't have a resource type "widgets"/,
  );
  await api.ok(['apply', '-f', '-'], { input: WIDGETS });
  assert.match((await api.kubectl(['get', 'widgets'])).stderr, /No resources found/);
});

test('kubectl: logs, exec and port-forward reach the kubelet of the pod', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  const kubelet = await startFakeKubelet(t, api, 'node-1');
  const pod =
    'apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec: {nodeName: node-1, containers: [{name: app, image: i}]}';
  await api.ok(['apply', '-f', '-'], { input: pod });
  await api.ok(['patch', 'pod', 'p', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Running"}}']);

  assert.equal(
    await api.ok(['logs', 'p', '--tail=5', '--timestamps']),
    'log of /containerLogs/default/p/app?tailLines=5&timestamps=true\n',
  );
  assert.match(await api.ok(['logs', '-l', 'a=b', '--prefix']), /^\[pod\/p\/app\] log of/);
  const wrong = await api.kubectl(['logs', 'p', '-c', 'other']);
  assert.match(wrong.stderr, /container other is not valid for pod p/);

  assert.equal(await api.ok(['exec', 'p', '--', 'echo', 'hello']), 'hello\n');
  assert.equal(await api.ok(['exec', '-i', 'p', '--', 'tr', 'a-z', 'A-Z'], { input: 'shout\n' }), 'SHOUT\n');
  const failed = await api.kubectl(['exec', 'p', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
  assert.deepEqual([failed.code, failed.stdout], [7, 'out\n']);
  assert.match(failed.stderr, /^err\ncommand terminated with exit code 7/);
  assert.ok(
    kubelet.asked.some((path) => path.startsWith('/exec/default/p/app?command=')),
    kubelet.asked.join('\n'),
  );

  const web = createServer((request, response) => void response.end(`you asked for ${request.url}`));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  t.after(() => web.close());
  const { port } = web.address() as AddressInfo;
  const forward = api.spawnKubectl(['port-forward', 'pod/p', `:${port}`, '--address', '127.0.0.1']);
  t.after(() => forward.kill());
  const local = await new Promise<string>((resolve, reject) => {
    forward.stdout.on('data', (chunk) => {
      const match = /127\.0\.0\.1:(\d+) ->/.exec(String(chunk));
      if (match) resolve(match[1]!);
    });
    forward.stderr.on('data', (chunk) => reject(new Error(String(chunk))));
  });
  const answers = await Promise.all(
    ['/a', '/b', '/c'].map(async (path) => (await fetch(`http://127.0.0.1:${local}${path}`)).text()),
  );
  assert.deepEqual(answers, ['you asked for /a', 'you asked for /b', 'you asked for /c']);

  const client = await connectKube({ kubeconfig: api.kubeconfig });
  t.after(() => client.close());
  const stream = await connectPod(client, 'default', 'p', port);
  stream.write('GET /own HTTP/1.0\r\n\r\n');
  let text = '';
  for await (const chunk of stream) text += chunk;
  assert.match(text, /you asked for \/own$/);
  const closed = await connectPod(client, 'default', 'p', 1);
  await assert.rejects(async () => {
    for await (const _ of closed);
  }, /ECONNREFUSED/);
});

test('@kubernetes/client-node: list, create, watch as an informer, patch, exec', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  await startFakeKubelet(t, api, 'node-1');
  const config = new k8s.KubeConfig();
  config.loadFromFile(api.kubeconfig);
  const core = config.makeApiClient(k8s.CoreV1Api);
  const informer = k8s.makeInformer(config, '/api/v1/namespaces/default/configmaps', () =>
    core.listNamespacedConfigMap({ namespace: 'default' }),
  );
  const seen: string[] = [];
  for (const event of ['add', 'update', 'delete'] as const)
    informer.on(event, (object) => void seen.push(`${event} ${object.metadata?.name}`));
  await informer.start();
  t.after(() => informer.stop());
  await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name: 'one' }, data: { a: 'b' } } });
  await core.patchNamespacedConfigMap({
    namespace: 'default',
    name: 'one',
    body: [{ op: 'add', path: '/data/c', value: 'd' }],
  });
  await core.deleteNamespacedConfigMap({ namespace: 'default', name: 'one' });
  for (const end = Date.now() + 10_000; seen.length < 3 && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(seen, ['add one', 'update one', 'delete one']);
  await assert.rejects(core.readNamespacedConfigMap({ namespace: 'default', name: 'one' }), { code: 404 });
  await core.createNamespacedPod({
    namespace: 'default',
    body: { metadata: { name: 'p' }, spec: { nodeName: 'node-1', containers: [{ name: 'app', image: 'i' }] } },
  });
  const { PassThrough } = await import('node:stream');
  const out = new PassThrough();
  const status = await new Promise<k8s.V1Status>((resolve, reject) => {
    new k8s.Exec(config)
      .exec('default', 'p', 'app', ['echo', 'from client-node'], out, null, null, false, resolve)
      .catch(reject);
  });
  assert.equal(status.status, 'Success');
  assert.equal(String(out.read()), 'from client-node\n');
});

test('our own client and informer over HTTP come through a restart of the API', { timeout: 60_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  const client = await connectKube({ kubeconfig: api.kubeconfig });
  t.after(() => client.close());
  const errors: unknown[] = [];
  const informer = startInformer(client, CONFIG_MAPS, { namespace: 'default', onError: (error) => errors.push(error) });
  t.after(() => informer.stop());
  await informer.synced;
  const put = (name: string) =>
    client.create(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } });
  await put('before');
  await api.stop();
  const { startApi } = await import('../src/kube/server/server.ts');
  const again = await startApi(
    {
      stateDir: api.folder,
      meshName: 'default',
      listenFd: undefined,
      hostPort: api.port,
      listen: { host: '127.0.0.1', port: api.port },
      roomKubeconfig: undefined,
      kubeletDir: join(api.folder, 'kubelet'),
      database: join(api.folder, 'state.db'),
    },
    { controllers: false },
  );
  t.after(() => again.stop());
  const later = await connectKube({ kubeconfig: api.kubeconfig }); // a write on a connection that just died is the caller's to repeat
  t.after(() => later.close());
  await later.create(CONFIG_MAPS, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'after', namespace: 'default' },
  });
  for (const end = Date.now() + 20_000; informer.items.size < 2 && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([...informer.items.keys()].sort(), ['default/after', 'default/before']);
  assert.ok(errors.length > 0, 'the restart was noticed');
});

test('nothing answers without a credential', { timeout: 30_000 }, async (t) => {
  const api = await startTestApi(t, { controllers: false });
  const bare = join(api.folder, 'bare');
  writeFileSync(bare, (await api.ok(['config', 'view', '--raw'])).replace(/client-(certificate|key)-data: .*/g, ''));
  const { connection } = await connectKube({ kubeconfig: bare });
  const nobody = new HttpKubeClient({ ...connection, credential: async () => ({}) });
  t.after(() => nobody.close());
  for (const path of ['/api', '/api/v1/namespaces', '/apis', '/openapi/v3', '/nothing'])
    await assert.rejects(nobody.text(path), { code: 401, message: 'Unauthorized' });
  assert.equal(await nobody.text('/readyz'), 'ok');
  const forged = await api.kubectl(['--kubeconfig', bare, '--token', 'eyJhbGciOiJub25lIn0.e30.', 'get', 'ns']);
  assert.match(forged.stderr, /Unauthorized|must be logged in|provide credentials/);
  const token = (await api.ok(['create', 'token', 'default'])).trim();
  const robot = await api.kubectl(['--kubeconfig', bare, '--token', token, 'get', 'secrets']);
  assert.match(
    robot.stderr,
    /secrets is forbidden: User "system:serviceaccount:default:default" cannot list resource "secrets" in API group "" in the namespace "default"/,
  );
});
