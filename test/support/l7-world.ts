// A small world behind a waypoint: an echo service in two versions, a client, an outsider; and what tests do with it.

import { ClientPod } from './client-pod.ts';
import { eventually, TestMesh } from './mesh.ts';

export const NAMESPACE = 'web';

const deployment = (
  name: string,
  labels: Readonly<Record<string, string>>,
  account: string,
  container: string,
): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${account}, namespace: ${NAMESPACE} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  selector: { matchLabels: ${JSON.stringify(labels)} }
  template:
    metadata: { labels: ${JSON.stringify(labels)} }
    spec:
      serviceAccountName: ${account}
      terminationGracePeriodSeconds: 0
      containers: [${container}]
---`;

const echo = (version: string): string =>
  deployment(
    `echo-${version}`,
    { app: 'echo', version },
    'echo',
    '{ name: echo, image: ambit/echo, env: [{ name: PORT, value: "8080" }], readinessProbe: { tcpSocket: { port: 8080 } } }',
  );
const client = (name: string): string =>
  deployment(name, { app: name }, name, '{ name: client, image: "node:24", command: [sleep, infinity] }');

const service = (name: string, selector: Readonly<Record<string, string>>): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  selector: ${JSON.stringify(selector)}
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---`;

const WORLD = `
apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
  labels: { istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint }
---
${echo('v1')}${echo('v2')}${client('client')}${client('other')}
${service('echo', { app: 'echo' })}${service('echo-v1', { app: 'echo', version: 'v1' })}${service('echo-v2', { app: 'echo', version: 'v2' })}
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
  namespace: ${NAMESPACE}
  labels: { istio.io/waypoint-for: service }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`;

export class L7World implements AsyncDisposable {
  readonly mesh: TestMesh;
  readonly client: ClientPod;
  readonly other: ClientPod;

  private constructor(mesh: TestMesh) {
    this.mesh = mesh;
    this.client = new ClientPod(mesh, NAMESPACE, 'deploy/client');
    this.other = new ClientPod(mesh, NAMESPACE, 'deploy/other');
  }

  /** @param extra  further manifests, applied with the first ones */
  static async up(extra = ''): Promise<L7World> {
    const mesh = await TestMesh.up({ up: ['--wait', '90s', '-f', '-'], input: `${WORLD}---\n${extra}` });
    try {
      await mesh.kubectlOk([
        'wait',
        '-n',
        NAMESPACE,
        'gateway/waypoint',
        '--for=condition=Programmed',
        '--timeout=60s',
      ]);
      await eventually('the services are bound to the waypoint', async () => {
        const bound = await mesh.kubectlOk([
          'get',
          'services',
          '-n',
          NAMESPACE,
          '-o',
          `jsonpath={range .items[?(@.metadata.name=="echo")]}{.status.conditions[?(@.type=="istio.io/WaypointBound")].status}{end}`,
        ]);
        return bound === 'True' ? true : undefined;
      });
      return new L7World(mesh);
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Applies manifests for the time of a test. @returns takes them away again */
  async apply(manifests: string): Promise<AsyncDisposable> {
    await this.mesh.kubectlOk(['apply', '-f', '-'], { input: manifests });
    return {
      [Symbol.asyncDispose]: async () => {
        await this.mesh.kubectlOk(['delete', '--wait=true', '--ignore-not-found', '-f', '-'], { input: manifests });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.other.close();
    await this.mesh[Symbol.asyncDispose]();
  }
}
