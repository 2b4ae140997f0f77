// The kubelet of one node: watches the pods that are bound to it, gives each a worker, and answers the API's questions
// about them (logs, exec, port-forward) on a Unix socket.

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname, join } from 'node:path';
import { startInformer } from '../../kube/client/informer.ts';
import { PODS } from '../../kube/client/resources.ts';
import { type Informer, type KubeClient, KubeError } from '../../kube/client/types.ts';
import { cniAdd } from '../../node/plugin.ts';
import { systemClock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { ImageStore } from '../images/store.ts';
import type { Image } from '../images/types.ts';
import type { NodeNetwork } from '../network/node-network.ts';
import { EventRecorder } from './events.ts';
import { keepFormerLogs } from './former-logs.ts';
import { allocatableOf, registerNode, renewLease } from './node-object.ts';
import type { NodeServices } from './node-services.ts';
import { ObjectCache } from './object-cache.ts';
import { PodWorker } from './pod-worker.ts';
import { startKubeletServer } from './server.ts';
import { type Pod, podName, podNamespace, podUid } from './types.ts';
import { type HostFiles, readHostFiles } from './view.ts';
import { nodeFolders } from './volumes.ts';

export interface KubeletOptions {
  readonly node: NodeNetwork;
  readonly client: KubeClient;
  /** `$AMBIT_HOME/<name>` */
  readonly stateDir: string;
  /** `NAME=COMMAND`; relative paths start in this process's working directory. */
  readonly images: readonly string[];
  readonly packageRoot: string;
  readonly nodeExecutable: string;
}

export interface Kubelet {
  /** Ends the node's pods with their grace, the mesh's own parts last; what the API knows of them stays. */
  stop(): Promise<void>;
}

/** Whoever ends the whole mesh waits for nobody longer than this. */
const STOP_GRACE_SECONDS = 5;
/** The mesh's own parts come last: whose connections they might finish is gone by then. */
const STOP_PARTS_GRACE_SECONDS = 1;
const FORCED_GRACE_SECONDS = 1;
const DELETE_RETRY_MS = 200;
const NODES_FOLDER = '/run/ambit/nodes';
const SOCKETS_FOLDER = '/run/ambit/kubelet';
/** Where the mesh's own parts find compiled code of their bundles, kept from one room to the next. */
const COMPILE_CACHE = '/run/ambit-compile-cache';

interface Shared {
  readonly objects: ObjectCache;
  readonly images: ImageStore;
  readonly hostFiles: HostFiles;
}

/** What all nodes of a room share, by the client that they have in common. */
/** Images of the mesh's own parts, and of programs in their place; not those that stand in for users' programs. */
const MESH_IMAGE = /^(docker\.io\/)?ambit\/(?!(echo|client)([:@]|$))/;

const shared = new WeakMap<KubeClient, Promise<Shared>>();

function sharedBy(options: KubeletOptions): Promise<Shared> {
  let all = shared.get(options.client);
  if (all === undefined) {
    all = share(options);
    shared.set(options.client, all);
  }
  return all;
}

async function share(options: KubeletOptions): Promise<Shared> {
  const hostFiles = readHostFiles(isRootless());
  const images = await ImageStore.open({
    packageRoot: options.packageRoot,
    nodeExecutable: options.nodeExecutable,
    options: options.images,
    directory: process.cwd(),
    folder: join(options.stateDir, 'images'),
  });
  return { objects: new ObjectCache(options.client), images, hostFiles };
}

/** In a user namespace of its own, where most of the machine's users do not exist. */
const isRootless = (): boolean => !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));

/** Registers the node and starts running its pods; resolves when the API knows the node and no pod shows an earlier life. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const kubelet = new NodeKubelet(options, await sharedBy(options));
  await kubelet.start();
  return kubelet;
}

class NodeKubelet implements Kubelet {
  readonly #services: NodeServices;
  readonly #stateDir: string;
  readonly #client: KubeClient;
  readonly #workers = new Map<string, PodWorker>();
  readonly #ending = new Map<string, Promise<void>>();
  #pods: Informer<Pod> | undefined;
  #stopLease: () => void = () => {};
  #server: Server | undefined;
  #stopped = false;

  constructor(options: KubeletOptions, { objects, images, hostFiles }: Shared) {
    const { node, client, stateDir } = options;
    this.#stateDir = stateDir;
    const compileCache = join(dirname(stateDir), '.compile-cache');
    mkdirSync(compileCache, { recursive: true, mode: 0o700 });
    const folder = join(NODES_FOLDER, node.name);
    for (const name of ['ztunnel', 'istio-cni', 'host']) mkdirSync(join(folder, name), { recursive: true });
    mkdirSync(SOCKETS_FOLDER, { recursive: true, mode: 0o700 });
    this.#client = client;
    this.#services = {
      network: node,
      netnsOfNode: node.netns,
      client,
      clock: systemClock,
      log: logger('kubelet', { node: node.name }),
      images,
      events: new EventRecorder(client, node.name),
      objects,
      hostFiles,
      folders: nodeFolders(folder),
      hidden: [dirname(stateDir)],
      allocatable: allocatableOf(),
      otherUsers: !isRootless(),
      isSystem: (pod) =>
        [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].every(({ image = '' }) =>
          MESH_IMAGE.test(image),
        ),
      enrol: async (pod, sandbox, signal) => {
        await cniAdd(
          { netns: sandbox.netnsPath, name: podName(pod), namespace: podNamespace(pod), ips: [sandbox.ip] },
          { client, socketPath: join(folder, 'istio-cni', 'pluginevent.sock'), pod, signal },
        );
      },
      imageEnvironment: (image, pod) => imageEnvironment(image, pod, node.name),
      imageMounts: (image) =>
        image.system ? [{ from: compileCache, at: COMPILE_CACHE, readOnly: false, kind: 'directory' }] : [],
      logFolder: (pod) => join(stateDir, 'logs', 'pods', `${podNamespace(pod)}_${podName(pod)}_${podUid(pod)}`),
    };
    objects.onChange((namespace) => {
      for (const worker of this.#workers.values()) if (podNamespace(worker.pod) === namespace) worker.refresh();
    });
  }

  async start(): Promise<void> {
    const { network, objects } = this.#services;
    await Promise.all([registerNode(this.#client, network), objects.synced]);
    this.#stopLease = renewLease(this.#client, network);
    const pods = startInformer(this.#client, PODS, { fieldSelector: `spec.nodeName=${network.name}` });
    this.#pods = pods;
    await pods.synced;
    this.#server = await startKubeletServer(join(SOCKETS_FOLDER, `${network.name}.sock`), {
      find: (namespace, name) => this.#find(namespace, name),
      logFolder: this.#services.logFolder,
    });
    pods.onChange((_key, now, before) => this.#changed(now, before));
    await Promise.all([...this.#workers.values()].map((worker) => worker.reported));
  }

  #find(namespace: string, name: string): { pod: Pod; worker: PodWorker | undefined } | undefined {
    const pod = this.#pods?.items.get(`${namespace}/${name}`);
    return pod === undefined ? undefined : { pod, worker: this.#workers.get(podUid(pod)) };
  }

  #changed(now: Pod | undefined, before: Pod | undefined): void {
    if (this.#stopped) return;
    // Another pod of the same name came while we were not looking: the former is gone.
    if (before !== undefined && podUid(before) !== (now === undefined ? '' : podUid(now))) this.#gone(before);
    if (now === undefined) return;
    const worker = this.#workers.get(podUid(now));
    if (worker !== undefined) worker.update(now);
    const phase = now.status?.phase;
    if (now.metadata?.deletionTimestamp !== undefined) void this.#delete(now);
    else if (worker === undefined && phase !== 'Succeeded' && phase !== 'Failed')
      this.#workers.set(podUid(now), new PodWorker(now, this.#services));
  }

  /** Asked to be deleted: ended with its grace, then taken out of the API. */
  async #delete(pod: Pod): Promise<void> {
    const uid = podUid(pod);
    const grace = pod.metadata?.deletionGracePeriodSeconds ?? pod.spec?.terminationGracePeriodSeconds ?? 30;
    const worker = this.#workers.get(uid);
    if (this.#ending.has(uid)) {
      void worker?.end(grace, 'deleted');
      return;
    }
    const ending = (async () => {
      await worker?.end(grace, 'deleted');
      this.#workers.delete(uid);
      await this.#deleteObject(pod);
    })();
    this.#ending.set(uid, ending);
    await ending;
    this.#ending.delete(uid);
  }

  async #deleteObject(pod: Pod): Promise<void> {
    while (!this.#stopped) {
      try {
        const there = await this.#client.get(PODS, podName(pod), podNamespace(pod));
        if (there === undefined || podUid(there) !== podUid(pod)) return;
        await this.#client.delete(PODS, podName(pod), podNamespace(pod), { gracePeriodSeconds: 0 });
        return;
      } catch (error) {
        if (error instanceof KubeError && error.code < 500 && error.code !== 429) return;
        await new Promise((resolve) => setTimeout(resolve, DELETE_RETRY_MS));
      }
    }
  }

  /** The object is gone, perhaps by force: what still runs of it has no time left. */
  #gone(pod: Pod): void {
    const uid = podUid(pod);
    const worker = this.#workers.get(uid);
    const ended = worker?.end(FORCED_GRACE_SECONDS, 'gone') ?? Promise.resolve();
    void ended.then(() => {
      this.#workers.delete(uid);
      const logs = this.#services.logFolder(pod);
      if (this.#services.isSystem(pod))
        keepFormerLogs(logs, pod, this.#stateDir, this.#services.network.name, this.#services.clock.nowMs());
      else rmSync(logs, { recursive: true, force: true });
    });
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stopLease();
    this.#pods?.stop();
    this.#server?.close();
    const workers = [...this.#workers.values()];
    const system = workers.filter((worker) => this.#services.isSystem(worker.pod));
    const end = (list: readonly PodWorker[], longest: number): Promise<unknown> =>
      Promise.all(
        list.map((worker) =>
          this.#endNow(worker, Math.min(longest, worker.pod.spec?.terminationGracePeriodSeconds ?? 30)),
        ),
      );
    await end(
      workers.filter((worker) => !system.includes(worker)),
      STOP_GRACE_SECONDS,
    );
    await end(system, STOP_PARTS_GRACE_SECONDS);
  }

  async #endNow(worker: PodWorker, graceSeconds: number): Promise<void> {
    const beganMs = performance.now();
    await worker.end(graceSeconds, 'roomEnds');
    const pod = `${podNamespace(worker.pod)}/${podName(worker.pod)}`;
    this.#services.log.info('pod ended with the room', { pod, ms: Math.round(performance.now() - beganMs) });
  }
}

function imageEnvironment(image: Image, pod: Pod, nodeName: string): Record<string, string> {
  return {
    ...(image.system && { NODE_COMPILE_CACHE: COMPILE_CACHE }),
    ...(image.describesPod && {
      POD_NAME: podName(pod),
      POD_NAMESPACE: podNamespace(pod),
      NODE_NAME: nodeName,
      SERVICE_ACCOUNT: pod.spec?.serviceAccountName ?? 'default',
    }),
  };
}
