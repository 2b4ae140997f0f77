// What every pod of a node is given: the node's network, the API, images, the machine's files, places for files and logs.

import type { IPod } from 'kubernetes-models/v1/Pod';
import type { KubeClient } from '../../kube/client/types.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { ImageStore } from '../images/store.ts';
import type { Image } from '../images/types.ts';
import type { NodeNetwork, PodSandbox } from '../network/node-network.ts';
import type { EventRecorder } from './events.ts';
import type { ObjectCache } from './object-cache.ts';
import type { HostFiles, Mount } from './view.ts';
import type { NodeFolders } from './volumes.ts';

export interface NodeServices {
  readonly network: NodeNetwork;
  readonly netnsOfNode: Netns;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly images: ImageStore;
  readonly events: EventRecorder;
  readonly objects: ObjectCache;
  readonly hostFiles: HostFiles;
  readonly folders: NodeFolders;
  /** Paths of the machine that no container sees: the state of meshes. */
  readonly hidden: readonly string[];
  readonly allocatable: Readonly<Record<string, number>>;
  /** All images of the pod are parts of Ambit. */
  isSystem(pod: IPod): boolean;
  /** Whether containers can be other users than root. */
  readonly otherUsers: boolean;
  /** Brings the pod into the mesh if it belongs there. @throws Error when it belongs there and cannot be brought in now */
  enrol(pod: IPod, sandbox: PodSandbox, signal: AbortSignal): Promise<void>;
  imageEnvironment(image: Image, pod: IPod): Record<string, string>;
  imageMounts(image: Image): Mount[];
  logFolder(pod: IPod): string;
}
