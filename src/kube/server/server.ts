// The whole API in one object: database, keys, controllers, sockets, kubeconfig files. main.ts runs it as a process.

import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { logger } from '../../telemetry/log.ts';
import { startInformer } from '../client/informer.ts';
import type { Informer, KubeObject, Resource } from '../client/types.ts';
import { type ControllerContext, startControllers } from '../controllers/index.ts';
import { clusterIdentity } from './auth/identity.ts';
import { TokenAuthority } from './auth/tokens.ts';
import type { ApiConfig } from './config.ts';
import { EmbeddedApi } from './embedded.ts';
import { expireEvents } from './events-expiry.ts';
import { ApiServer } from './http/api-server.ts';
import { kubeconfigJson, kubeconfigText, writePrivateFile } from './kubeconfig-file.ts';
import { closed, createTlsServer, listening } from './listeners.ts';

const log = logger('api');
const EVENT_EXPIRY_MS = 60_000;

export interface RunningApi {
  /** Of the sockets that were opened, in the order of the configuration. */
  readonly ports: readonly number[];
  stop(): Promise<void>;
}

export interface ServerParts {
  /** Starts what runs over the in-process client; left out in tests of the API alone. */
  readonly controllers?: boolean;
}

/** @throws DatabaseError, or the system's error for a socket that cannot be opened */
export async function startApi(config: ApiConfig, parts: ServerParts = {}): Promise<RunningApi> {
  const embedded = new EmbeddedApi({ path: config.database });
  const { context } = embedded;
  const { store, now } = context;
  const identity = await clusterIdentity(
    { read: () => store.meta('identity'), write: (text) => store.setMeta('identity', text) },
    now,
  );
  const tokens = new TokenAuthority(identity.tokenKeyPem, store, now);
  const kubeletSocket = (node: string) => join(config.kubeletDir, `${node}.sock`);
  const api = new ApiServer({ context, tokens, kubeletSocket });
  const servers: Server[] = [];
  for (const where of [config.listenFd === undefined ? undefined : { fd: config.listenFd }, config.listen]) {
    if (where === undefined) continue;
    const server = createTlsServer(api, identity);
    await listening(server, where);
    servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  const hostPort = config.hostPort ?? ports[0];
  const name = config.meshName === 'default' ? 'ambit' : `ambit-${config.meshName}`;
  const kubeconfig = kubeconfigText(`https://127.0.0.1:${hostPort}`, name, identity);
  writePrivateFile(join(config.stateDir, 'kubeconfig'), kubeconfig);
  if (config.roomKubeconfig !== undefined && config.listen !== undefined) {
    const { host } = config.listen;
    writePrivateFile(config.roomKubeconfig, kubeconfigJson(`https://${host}:${ports.at(-1)}`, name, identity));
  }
  const stopControllers = parts.controllers === false ? () => {} : runControllers(embedded, identity.ca.certPem);
  const expiry = setInterval(() => expireEvents(store, now().getTime()), EVENT_EXPIRY_MS);
  log.info('serving', { ports: ports.join(','), objects: config.database });
  return {
    ports,
    async stop() {
      clearInterval(expiry);
      stopControllers();
      await Promise.all(servers.map(closed));
      embedded.close();
    },
  };
}

/** @returns ends their informers */
function runControllers(embedded: EmbeddedApi, clusterCaPem: string): () => void {
  const client = embedded.client('kube-controller-manager');
  const stop = new AbortController();
  const informers = new Map<string, Informer<KubeObject>>();
  const scoped = logger('controllers');
  const controllers: ControllerContext = {
    client,
    informer<T extends KubeObject>(resource: Resource<T>): Informer<T> {
      const id = `${resource.group}/${resource.version}/${resource.plural}`;
      let informer = informers.get(id) as unknown as Informer<T> | undefined;
      if (informer === undefined) {
        informer = startInformer(client, resource, {
          signal: stop.signal,
          onError: (error) => scoped.warn('watch failed', { resource: id, error: String(error) }),
        });
        informers.set(id, informer as unknown as Informer<KubeObject>);
      }
      return informer;
    },
    resources: () => embedded.resources(),
    onResourcesChange: (handler) => embedded.onResourcesChange(handler),
    clusterCaPem,
    now: () => new Date(),
    log: (level, message, fields) =>
      scoped[level](
        message,
        Object.fromEntries(Object.entries(fields ?? {}).map(([key, value]) => [key, String(value)])),
      ),
  };
  startControllers(controllers);
  return () => stop.abort();
}
