// Manifests of a pod that runs a program of test/support, or a few lines given here, and of the Service in front of it.

import { join } from 'node:path';
import { NAMESPACE } from './l7-world.ts';
import { ROOT } from './mesh.ts';

export interface NodeServer {
  readonly name: string;
  readonly port: number;
  /** File of test/support, run with PORT set; or the text of a module. */
  readonly program: { readonly file: string } | { readonly text: string };
  readonly namespace?: string;
  /** The ports of the Service as YAML; default one port `http` like the container's. */
  readonly ports?: string;
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly serviceLabels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Secret mounted at /secret. */
  readonly secret?: string;
  readonly replicas?: number;
  /** Where it must run. */
  readonly node?: string;
}

/** Where a program of test/support is inside a pod: the host's files are there too. */
export const programPath = (file: string): string => join(ROOT, 'test', 'support', file);

export function nodeServer(server: NodeServer): string {
  const { name, port, program, namespace = NAMESPACE, secret, replicas = 1 } = server;
  const command =
    'file' in program ? ['node', programPath(program.file)] : ['node', '--input-type=module', '-e', program.text];
  const env = Object.entries({ PORT: String(port), ...server.env }).map(([key, value]) => ({ name: key, value }));
  const container = {
    name: 'main',
    image: 'node:24',
    command,
    env,
    readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
    ...(secret === undefined ? {} : { volumeMounts: [{ name: 'secret', mountPath: '/secret' }] }),
  };
  const pod = {
    terminationGracePeriodSeconds: 0,
    ...(server.node === undefined ? {} : { nodeName: server.node }),
    containers: [container],
    ...(secret === undefined ? {} : { volumes: [{ name: 'secret', secret: { secretName: secret } }] }),
  };
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: ${JSON.stringify({ app: name, ...server.podLabels })} }
    spec: ${JSON.stringify(pod)}
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace}, labels: ${JSON.stringify(server.serviceLabels ?? {})} }
spec:
  selector: { app: ${name} }
  ports: ${server.ports ?? `[{ name: http, port: ${port} }]`}
---`;
}
