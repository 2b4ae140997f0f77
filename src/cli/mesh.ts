// A command's way to a mesh: which API to talk to, and the pods of the mesh's own parts behind it.

import { existsSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { dirname, join, resolve } from 'node:path';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { connectKube, type HttpKubeClient } from '../kube/client/client.ts';
import { KubeconfigError } from '../kube/client/kubeconfig.ts';
import { connectPod } from '../kube/client/portforward.ts';
import { NODES, PODS } from '../kube/client/resources.ts';
import { Failure } from './failure.ts';
import { stateDirOf } from './home.ts';

export interface MeshOptions {
  readonly kubeconfig?: string | undefined;
  readonly name?: string | undefined;
  readonly istioNamespace?: string | undefined;
}

export interface Mesh {
  readonly client: HttpKubeClient;
  readonly istioNamespace: string;
  /** Of a mesh on this machine, its state folder. */
  readonly stateDir?: string | undefined;
}

const ANSWER_MS = 30_000;
const MAX_ANSWER_BYTES = 256 << 20; // a configuration dump of 10,000 workloads is some 10 MB

/** --kubeconfig, then the local mesh of --name, then $KUBECONFIG, then the local mesh `default`, then ~/.kube/config. */
export async function openMesh(options: MeshOptions): Promise<Mesh> {
  const local = join(stateDirOf(options.name ?? 'default'), 'kubeconfig');
  const wantsLocal = options.name !== undefined || !process.env.KUBECONFIG;
  if (options.kubeconfig === undefined && options.name !== undefined && !existsSync(local))
    throw new Failure({
      what: `there is no mesh \`${options.name}\``,
      why: `\`${local}\` does not exist`,
      fix: `ambit up --name ${options.name}`,
    });
  const kubeconfig = options.kubeconfig ?? (wantsLocal && existsSync(local) ? local : undefined);
  const client = await connectKube(kubeconfig === undefined ? {} : { kubeconfig }).catch((cause: unknown) => {
    if (!(cause instanceof KubeconfigError)) throw cause;
    throw new Failure({
      what: 'there is no mesh to talk to',
      why: cause.message,
      fix: 'start one with `ambit up`, or name an API with --kubeconfig',
      cause,
    });
  });
  const istioNamespace = options.istioNamespace ?? 'istio-system';
  return { client, istioNamespace, stateDir: localState(kubeconfig ?? process.env.KUBECONFIG) };
}

/** The folder of a kubeconfig that lies in a mesh's state, under whatever name it was given. */
function localState(kubeconfig: string | undefined): string | undefined {
  if (kubeconfig === undefined) return undefined;
  const folder = dirname(resolve(kubeconfig));
  return existsSync(join(folder, 'room.json')) ? folder : undefined;
}

export async function ztunnelPods(mesh: Mesh): Promise<IPod[]> {
  const { items } = await mesh.client.list(PODS, { namespace: mesh.istioNamespace, labelSelector: 'app=ztunnel' });
  return items
    .filter((pod) => pod.status?.phase === 'Running' && pod.metadata?.deletionTimestamp === undefined)
    .sort((a, b) => (a.spec?.nodeName ?? '').localeCompare(b.spec?.nodeName ?? ''));
}

/**
 * The ztunnel that a command means: the pod named (`name[.namespace]`, or any pod: then the ztunnel of its node), the one
 * on `node`, or the first.
 */
export async function chooseZtunnel(
  mesh: Mesh,
  wanted: { pod?: string | undefined; node?: string | undefined; namespace?: string | undefined },
): Promise<IPod> {
  const pods = await ztunnelPods(mesh);
  const running = pods.map((pod) => `${pod.metadata?.name} (${pod.spec?.nodeName})`).join(', ') || 'none';
  const none = (what: string, why: string): Failure => new Failure({ what, why, fix: `running ztunnels: ${running}` });
  if (wanted.node !== undefined) {
    const found = pods.find((pod) => pod.spec?.nodeName === wanted.node);
    if (found) return found;
    const node = await mesh.client.get(NODES, wanted.node);
    throw none(
      `no ztunnel on node \`${wanted.node}\``,
      node === undefined ? 'there is no such node' : 'none runs there now',
    );
  }
  if (wanted.pod === undefined) {
    if (pods[0]) return pods[0];
    throw none('no ztunnel runs', `no pod in \`${mesh.istioNamespace}\` has the label app=ztunnel and is running`);
  }
  const { name, namespace } = splitPodName(wanted.pod, wanted.namespace);
  const direct = pods.find((pod) => pod.metadata?.name === name);
  if (direct) return direct;
  const pod = await mesh.client.get(PODS, name, namespace);
  if (pod === undefined)
    throw none(`there is no pod \`${name}\` in namespace \`${namespace}\``, 'the API does not know it');
  return chooseZtunnel(mesh, { node: pod.spec?.nodeName ?? '' });
}

/** `name.namespace`, `name`, `pod/name`: as istioctl takes them. */
export function splitPodName(text: string, namespace = 'default'): { name: string; namespace: string } {
  const bare = text.replace(/^pods?\//, '');
  const dot = bare.indexOf('.');
  return dot < 0 ? { name: bare, namespace } : { name: bare.slice(0, dot), namespace: bare.slice(dot + 1) };
}

/** An HTTP request to a port inside a pod, its loopback included, through the API. */
export async function podRequest(
  mesh: Mesh,
  pod: IPod,
  port: number,
  path: string,
  method = 'GET',
): Promise<{ status: number; text: string }> {
  const { name = '', namespace = '' } = pod.metadata ?? {};
  const stream = await connectPod(mesh.client, namespace, name, port);
  const late = setTimeout(
    () => stream.destroy(new Error(`pod \`${name}\` did not answer on port ${port} in ${ANSWER_MS / 1000} s`)),
    ANSWER_MS,
  );
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(
        {
          method,
          path,
          headers: { host: `localhost:${port}`, connection: 'close' },
          createConnection: () => stream as never,
        },
        resolve,
      );
      call.on('error', reject);
      call.end();
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response) {
      size += (chunk as Buffer).length;
      if (size > MAX_ANSWER_BYTES)
        throw new Error(`the answer of pod \`${name}\` is larger than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk as Buffer);
    }
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
  } finally {
    clearTimeout(late);
    stream.destroy();
  }
}

export async function podText(mesh: Mesh, pod: IPod, port: number, path: string): Promise<string> {
  const { status, text } = await podRequest(mesh, pod, port, path);
  if (status === 200) return text;
  throw new Failure({
    what: `pod \`${pod.metadata?.name}\` answered ${status} to ${path}`,
    why: text.slice(0, 200).trim() || 'it gave no reason',
    fix: `kubectl logs -n ${pod.metadata?.namespace} ${pod.metadata?.name}`,
  });
}
