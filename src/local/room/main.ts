// Role `room`: process 1 of the room. Makes its network, keeps its API, runs a kubelet a node. Everything in the room ends
// with this process, and this process with its supervisor.

import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { connectKube } from '../../kube/client/client.ts';
import { bindMount, mountTmpfs, shareMounts } from '../../platform/linux/mounts.ts';
import { raiseDescriptorLimit } from '../../platform/linux/process.ts';
import { logger } from '../../telemetry/log.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';
import { forgetOtherNodes } from '../kubelet/node-object.ts';
import { makeFabric, NodeNetwork } from '../network/node-network.ts';
import { ApiProcess, ROOM_KUBECONFIG } from './api-process.ts';
import { startClusterServices } from './cluster-services.ts';
import { openEgress } from './egress.ts';
import type { RoomSettings } from './messages.ts';
import { Publisher } from './published.ts';
import { Supervised } from './supervised.ts';

const log = logger('room');

async function main(): Promise<void> {
  const settings = JSON.parse(process.env.AMBIT_ROOM ?? '{}') as RoomSettings;
  const kubelets: Kubelet[] = [];
  const api = new ApiProcess(settings, (message) => log.warn(message));
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await Promise.all(kubelets.map((kubelet) => kubelet.stop()));
      await api.stop();
      process.exit(0);
    })();
    return stopping;
  };
  const supervised = new Supervised({ stop: () => void stop(), lost: () => process.exit(1) });
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => {}); // Ctrl-C is the command's to hear

  try {
    raiseDescriptorLimit();
    ownRun(settings.stateDir);
    makeFabric(); // the API listens on it
    const apiReady = api.start();
    const indexes = Array.from({ length: settings.nodes }, (_, i) => i + 1);
    const nodes = await Promise.all(indexes.map((index) => NodeNetwork.create(`node-${index}`, index)));
    NodeNetwork.connect(nodes);
    await Promise.all([apiReady, openEgress((ip, port) => supervised.dial(ip, port))]);
    supervised.tell({ kind: 'api' });
    const client = await connectKube({ kubeconfig: ROOM_KUBECONFIG });
    await forgetOtherNodes(
      client,
      nodes.map(({ name }) => name),
    );
    const services = startClusterServices(
      client,
      nodes,
      (query) => supervised.resolve(query),
      (message) => log.warn(message),
    );
    const started = nodes.map((node) =>
      startKubelet({
        node,
        client,
        stateDir: settings.stateDir,
        images: settings.images,
        packageRoot: settings.packageRoot,
        nodeExecutable: process.execPath,
      }),
    );
    kubelets.push(...(await Promise.all(started)));
    new Publisher({
      ...(await services),
      client,
      listen: (ports) => supervised.listen(ports),
      log: (message) => log.info(message),
    });
    supervised.tell({ kind: 'ready' });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    log.error(`the room could not be made: ${why}`);
    supervised.tell({
      kind: 'failed',
      what: 'the room could not be made',
      why,
      fix: '`ambit doctor` checks this machine',
    });
    setTimeout(() => process.exit(1), 200); // so that the message leaves first
  }
}

/** An empty /run of the room's own, with the state folder in it should that lie there on the host. */
function ownRun(stateDir: string): void {
  const inRun = stateDir.startsWith('/run/') || stateDir.startsWith('/var/run/');
  const state = inRun ? openSync(stateDir, 'r') : undefined;
  mountTmpfs('/run');
  if (state !== undefined) {
    mkdirSync(dirname(stateDir), { recursive: true });
    mkdirSync(stateDir);
    bindMount(`/proc/self/fd/${state}`, stateDir);
    closeSync(state);
  }
  mkdirSync('/run/netns', { recursive: true });
  shareMounts('/run/netns'); // the node agent sees the namespaces of pods that come later
  mkdirSync('/run/ambit/kubelet', { recursive: true, mode: 0o700 });
}

await main();
