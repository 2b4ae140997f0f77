// Starts every workload controller of the embedded API.

import type { ControllerContext } from './context.ts';
import { startDaemonSets } from './daemonset.ts';
import { startDeployments } from './deployment.ts';
import { startEndpointSlices } from './endpointslice.ts';
import { startGarbageCollector } from './garbage.ts';
import { startNamespaces } from './namespaces.ts';
import { startReplicaSets } from './replicaset.ts';
import { startScheduler } from './scheduler.ts';

export type { ControllerContext } from './context.ts';

export function startControllers(context: ControllerContext): void {
  startNamespaces(context);
  startScheduler(context);
  startDeployments(context);
  startReplicaSets(context);
  startDaemonSets(context);
  startEndpointSlices(context);
  startGarbageCollector(context);
}
