// `ambit analyze` as people run it: the real command on real files, on a live API, and on both; and kubectl, which the same
// rules refuse.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Ran, startTestApi } from './support/api.ts';

const MAIN = join(import.meta.dirname, '../src/cli/main.ts');
const EXAMPLE = join(import.meta.dirname, '../examples/shop');

const SHOP = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: web}]}}
`;
const ROUTE = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  namespace: shop
spec:
  parentRefs:
  - group: ""
    kind: Service
    name: web
    port: 80
  rules:
  - backendRefs:
    - name: web
      port: 80
`;
const WAYPOINT = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

interface Printed {
  readonly code: string;
  readonly level: string;
  readonly message: string;
  readonly origin: string;
  readonly reference?: string;
  readonly field?: string;
  readonly fix: string;
}

async function ambit(args: readonly string[], input = ''): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, 'analyze', ...args], { env: { ...process.env, NO_COLOR: '1' } });
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise<number>((resolve) => child.once('close', (exit) => resolve(exit ?? -1)));
  return { code, stdout, stderr };
}

function folder(t: TestContext, files: Readonly<Record<string, string>>): string {
  const made = mkdtempSync(join(tmpdir(), 'ambit-analyze-'));
  t.after(() => rmSync(made, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(made, name, '..'), { recursive: true });
    writeFileSync(join(made, name), content);
  }
  return made;
}

const FILES_ONLY = '--use-kube=false';

test('files without a mistake: the line of success, exit code 0', async (t) => {
  const ran = await ambit([FILES_ONLY, EXAMPLE]);
  assert.deepEqual([ran.code, ran.stdout], [0, '']);
  assert.match(ran.stderr, /^✔ No validation issues found when analyzing .*examples\/shop\.\n$/);
  const good = folder(t, {
    'a.yaml': SHOP.replace('ambient}', 'ambient, istio.io/use-waypoint: waypoint}'),
    'b.yaml': `${WAYPOINT}---\n${ROUTE}`,
  });
  assert.equal((await ambit([FILES_ONLY, good])).code, 0);
});

test('a route that no waypoint serves: object, file, line, field and what to do; exit code 79', async (t) => {
  const files = folder(t, { 'shop.yaml': SHOP, 'deep/route.yaml': ROUTE });
  const route = join(files, 'deep/route.yaml');
  const ran = await ambit([FILES_ONLY, '-f', files, '--recursive']);
  assert.equal(ran.code, 79);
  assert.ok(
    ran.stdout.startsWith(`Error [AMB0009] (HTTPRoute shop/web ${route}:8) spec.parentRefs[0]: no waypoint serves`),
    ran.stdout,
  );
  assert.match(ran.stdout, /\n {2}fix: deploy a waypoint/);
  assert.match(ran.stderr, /^Error: Analyzers found issues when analyzing /);
  const [only] = JSON.parse((await ambit([FILES_ONLY, files, '-R', '-o', 'json'])).stdout) as Printed[];
  assert.deepEqual(
    [only?.code, only?.level, only?.origin, only?.reference, only?.field],
    ['AMB0009', 'Error', 'HTTPRoute shop/web', `${route}:8`, 'spec.parentRefs[0]'],
  );
  assert.equal((await ambit([FILES_ONLY, files])).code, 0, 'without --recursive the folder below is not read');
});

test('standard input, thresholds, suppression and a choice of analyzers', async () => {
  const all = `${SHOP}---\n${ROUTE}`;
  assert.equal((await ambit([FILES_ONLY, '-'], all)).code, 79);
  const suppressed = await ambit([FILES_ONLY, '-S', 'AMB0009=HTTPRoute *.shop', '-'], all);
  assert.deepEqual([suppressed.code, suppressed.stdout], [0, '']);
  const warning = all.replace(
    'name: web\n  namespace',
    'name: web\n  annotations: {retry.istio.io/attempts: "3"}\n  namespace',
  );
  const chosen = ['--analyzer', 'ambient.RetryAnnotationAnalyzer'];
  assert.equal((await ambit([FILES_ONLY, ...chosen, '-'], warning)).code, 0);
  assert.equal((await ambit([FILES_ONLY, ...chosen, '--failure-threshold', 'Warning', '-'], warning)).code, 79);
  assert.equal((await ambit([FILES_ONLY, ...chosen, '--output-threshold', 'Error', '-'], warning)).stdout, '');
});

test('what the schema refuses is told as the API would tell it', async () => {
  const wrong = ROUTE.replace('port: 80\n  rules', 'port: many\n    prot: 80\n  rules');
  const { code, stdout } = await ambit([FILES_ONLY, '-o', 'json', '-'], wrong);
  assert.equal(code, 79);
  const found = (JSON.parse(stdout) as Printed[]).filter((message) => message.code === 'IST0106');
  assert.deepEqual(found.map(({ field, reference }) => [field, reference]).sort(), [
    ['spec.parentRefs[0].port', 'stdin:11'],
    ['spec.parentRefs[0].prot', 'stdin:12'],
  ]);
});

test('a file that is no YAML: exit code 65, and the others are analysed; flags that mean nothing: 2', async (t) => {
  const files = folder(t, { 'bad.yaml': 'a: [\n', 'shop.yaml': SHOP });
  const ran = await ambit([FILES_ONLY, files]);
  assert.equal(ran.code, 65);
  assert.match(ran.stdout, /bad\.yaml:\d+\)/);
  assert.equal((await ambit([FILES_ONLY, '--ignore-unknown', files])).code, 0);
  assert.equal((await ambit([FILES_ONLY])).code, 2);
  assert.match((await ambit(['-L'])).stdout, /\* ambient\.RouteAnalyzer:\n {4}routes that no waypoint serves/);
});

test('the live mesh, alone and with files over it; kubectl is refused by the same rules', async (t) => {
  const api = await startTestApi(t, { controllers: false });
  const at = ['-c', api.kubeconfig];
  await api.ok(['apply', '-f', '-'], { input: `${SHOP}---\n${ROUTE}` });

  const live = await ambit([...at, '-n', 'shop']);
  assert.equal(live.code, 79, live.stderr);
  assert.match(live.stdout, /^Error \[AMB0009\] \(HTTPRoute shop\/web\) spec\.parentRefs\[0\]: no waypoint/m);
  assert.match(live.stderr, /when analyzing namespace: shop\./);
  assert.doesNotMatch((await ambit([...at, '-n', 'default'])).stdout, /AMB0009/);
  assert.match((await ambit([...at, '-A'])).stdout, /AMB0009/);

  const fix = folder(t, {
    'fix.yaml': `${WAYPOINT}---\n${SHOP.slice(0, SHOP.indexOf('---')).replace('ambient}', 'ambient, istio.io/use-waypoint: waypoint}')}`,
  });
  const both = await ambit([...at, '-n', 'shop', fix]);
  assert.doesNotMatch(both.stdout, /AMB0009/, 'files stand over what the API holds');

  const doubtful = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: all}]}
`;
  const warned = await api.kubectl(['apply', '-f', '-'], { input: doubtful });
  assert.equal(warned.code, 0);
  assert.match(warned.stderr, /^Warning: spec\.subsets\[0\]: a subset without labels/m);

  const redirectAndRewrite = ROUTE.replace(
    '  - backendRefs:\n    - name: web\n      port: 80\n',
    '  - filters:\n    - {type: RequestRedirect, requestRedirect: {port: 81}}\n    - {type: URLRewrite, urlRewrite: {hostname: a.b}}\n',
  );
  const refused = await api.kubectl(['apply', '-f', '-'], { input: redirectAndRewrite });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /spec\.rules\[0\]\.filters: .*either RequestRedirect or URLRewrite, but not both/);
});
