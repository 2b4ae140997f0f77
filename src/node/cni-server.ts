// Where the CNI plugin reports a pod that is being started: HTTP over a Unix socket, `POST /cmdadd`. The pod's containers
// wait for the answer, so none of them ever sends a packet past the mesh. 200: go on; anything else: try again later.

import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { hasCode } from '../platform/linux/errors.ts';
import { Netns } from '../platform/linux/netns.ts';
import type { Logger } from '../telemetry/log.ts';
import type { StartingPod } from './agent.ts';
import { CMD_ADD_PATH, parseCniAdd } from './cni-event.ts';
import { type Answer, httpServer, listen, type Question } from './http.ts';

export interface CniServerOptions {
  readonly path: string;
  /** Put before the paths of namespaces, where the node's files are mounted. */
  readonly hostPrefix: string;
  /** Where the runtime's folder of namespaces may be mounted otherwise. */
  readonly netnsFolders: readonly string[];
  readonly podStarting: (pod: StartingPod) => Promise<boolean>;
  readonly log: Logger;
}

/** Listens for the plugin; the socket is its owner's alone. @throws when the path cannot be listened at */
export async function startCniServer(options: CniServerOptions): Promise<Server> {
  mkdirSync(dirname(options.path), { recursive: true });
  if (lstatSync(options.path, { throwIfNoEntry: false })?.isSocket()) rmSync(options.path);
  const server = httpServer((question) => answer(question, options));
  await listen(server, { path: options.path });
  chmodSync(options.path, 0o600);
  return server;
}

async function answer(question: Question, options: CniServerOptions): Promise<Answer> {
  const { podStarting, log } = options;
  if (question.path !== CMD_ADD_PATH) return { status: 404, body: 'not found' };
  if (question.method !== 'POST') return { status: 405, body: 'only POST' };
  const event = parseCniAdd(question.body);
  if (!event.ok) return { status: 400, body: event.error };
  const { name, namespace, ips } = event.value;
  try {
    const netns = openNetns(event.value.netns, options);
    const enrolled = await podStarting({ name, namespace, ips, netns });
    return { status: 200, body: enrolled ? 'enrolled' : 'not in the mesh' };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.warn('a pod that is being started was not enrolled', { pod: name, namespace, error: reason });
    return { status: 500, body: reason };
  }
}

/** @throws SystemError of the first place that was tried, when it is in none */
function openNetns(path: string, { hostPrefix, netnsFolders }: CniServerOptions): Netns {
  const places = [`${hostPrefix}${path}`, path, ...netnsFolders.map((folder) => join(folder, basename(path)))];
  let missing: unknown;
  for (const place of places)
    try {
      return Netns.open(place);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      missing ??= error;
    }
  throw missing;
}
