// `ambit up`: a whole mesh, and the user's manifests in it.

import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { BUILT_IN_CLASSES } from '../../derive/names.ts';
import { type Applied, applyManifests, removeManifests } from '../../kube/apply.ts';
import { connectKube, type HttpKubeClient } from '../../kube/client/client.ts';
import { CONFIG_MAPS, GATEWAYS } from '../../kube/client/resources.ts';
import { type Manifest, readManifests } from '../../kube/manifests.ts';
import { diagnose, refusal } from '../doctor.ts';
import { Failure } from '../failure.ts';
import { gatewayTable, waitForGateways } from '../gateways.ts';
import { stateDirOf } from '../home.ts';
import { type ImageFlags, imageMappings } from '../images.ts';
import type { GlobalOptions } from '../options.ts';
import { colours, outputFormat, parseDuration, print, Stages } from '../output.ts';
import { overviewOf, serviceLines } from '../overview.ts';
import { type Progress, waitForRollout } from '../rollout.ts';
import { attachRoom, type RoomHandle, startRoomProcess } from '../room-process.ts';

interface Options extends GlobalOptions, ImageFlags {
  file?: string[];
  nodes?: string;
  detach?: boolean;
  wait?: string;
  empty?: boolean;
  output?: string;
}

const SYSTEM_NAMESPACE = 'istio-system';
const SHOP_GATEWAYS = '40-gateways.yaml';
const root = process.env.AMBIT_ROOT ?? join(import.meta.dirname, '..');
const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function up(program: Command): void {
  program
    .command('up')
    .description('starts a mesh on this machine and applies manifests to it (without -f: the shop)')
    .option('-f, --file <path>', 'file, folder or - (repeatable)', collect)
    .option('--empty', 'apply nothing')
    .option('--nodes <n>', 'number of nodes (new mesh: 2)')
    .option('-d, --detach', 'leave the mesh running in the background')
    .option('--wait <duration>', 'how long to wait for every pod to be ready', '60s')
    .option('--image <name=command>', 'what to run for an image (repeatable)', collect)
    .option('--ztunnel <path>', 'another program as the node proxy (speaks ZDS, ADS and the certificate service)')
    .option('--istiod <path>', "another program as the control plane, such as Istio's pilot-discovery")
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => run(command.optsWithGlobals<Options>()));
}

async function run(options: Options): Promise<void> {
  const name = options.name ?? 'default';
  const stateDir = stateDirOf(name);
  const format = outputFormat(options.output);
  const waitMs = parseDuration(options.wait ?? '60s');
  const nodes = numberOfNodes(options.nodes);
  const images = imageMappings(options);
  // Everything that can be wrong in the manifests is found before anything is started or changed.
  const manifests = userManifests(options);
  const stages = new Stages();

  stages.begin('the room: namespaces, network, Kubernetes API');
  const before = await attachRoom(stateDir);
  if (before !== undefined) refuseOtherRoom(before, nodes, images, name);
  const wanted = { name, stateDir, nodes: nodes ?? 2, images, detach: options.detach === true };
  const starting = before ?? startRoomProcess(wanted).catch(explain);
  // While it starts: our own manifests, which have no mistakes to stop for.
  const ours = parsed([join(root, 'deploy', 'local')]);
  const rights = parsed([join(root, 'deploy', 'other-istiod')]);
  // Its rights first: it tries again only after a while what it was refused.
  const system = options.istiod === undefined ? ours : [...rights, ...ours];
  const room = await starting;
  const running = room.attached ? room : undefined;
  if (running !== undefined) refuseOtherRoom(running, nodes, images, name);
  stages.end(running ? 'was running already' : '');
  const client = await connectKube({ kubeconfig: join(stateDir, 'kubeconfig') });
  const interrupted = new AbortController();
  const stop = (): void => interrupted.abort();
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  void room.ended.then(stop);

  try {
    stages.begin('manifests');
    // Another control plane may have been here before.
    if (running === undefined && options.istiod === undefined) await removeManifests(client, rights);
    // Objects are written while nodes are still being made.
    const [applied] = await Promise.all([applyAll(client, system, manifests), room.ready.catch(explain)]);
    stages.end(`${applied.length} objects`);
    const namespaces = new Set(
      applied.flatMap(({ object, resource }) => (resource.namespaced ? [object.metadata?.namespace ?? 'default'] : [])),
    );
    const until = performance.now() + waitMs;
    await waitReady(client, namespaces, waitMs, stages, interrupted.signal);
    if (options.istiod === undefined) await gatewaysReady(client, applied, until, stages, interrupted.signal);
    const overview = await overviewOf(client);
    const took = stages.totalMs;
    print(
      format,
      { name, kubeconfig: join(stateDir, 'kubeconfig'), tookMs: took, stages: stages.done, ...overview },
      () =>
        summary(
          name,
          join(stateDir, 'kubeconfig'),
          took,
          [
            ...(overview.services.length > 0 ? [serviceLines(overview.services)] : []),
            ...(overview.gateways.length > 0 ? [gatewayTable(overview.gateways)] : []),
          ].join('\n'),
          options,
        ),
    );
    if (running !== undefined || options.detach) {
      room.release();
      return;
    }
    if (process.stderr.isTTY)
      process.stderr.write(colours.dim('\nCtrl-C ends the mesh; its objects stay for the next `ambit up`.\n'));
    if (!interrupted.signal.aborted)
      await new Promise<void>((resolve) => interrupted.signal.addEventListener('abort', () => resolve()));
  } catch (error) {
    await room.ready.catch(() => {}); // only a whole room can be ended in order, or left to `ambit down`
    // What was started in the foreground ends with the command; a mesh that was there before, or was detached, stays.
    if (running === undefined && !options.detach) await room.stop();
    else room.release();
    throw error;
  } finally {
    client.close();
  }
  await endForeground(room, stateDir);
}

/** A room that could not be made: what the machine lacks says more than where it failed. */
async function explain(failure: unknown): Promise<never> {
  throw refusal('this machine cannot hold a mesh', await diagnose(), failure) ?? failure;
}

async function endForeground(room: RoomHandle, stateDir: string): Promise<void> {
  const failed = await room.failure();
  if (failed !== undefined)
    throw new Failure({
      what: 'the room ended by itself',
      why: failed,
      fix: `see \`${join(stateDir, 'logs')}\`; \`ambit up\` brings it back with every object`,
    });
  if (process.stderr.isTTY) process.stderr.write('\nending the mesh …\n');
  await room.stop();
}

function numberOfNodes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const nodes = Number(text);
  if (Number.isInteger(nodes) && nodes >= 1 && nodes <= 32) return nodes;
  throw new Failure({
    what: `\`--nodes ${text}\` is not possible`,
    why: 'a mesh has 1 to 32 nodes',
    fix: 'for example --nodes 3',
    exitCode: 2,
  });
}

function userManifests(options: Options): Manifest[] {
  if (options.empty && options.file)
    throw new Failure({
      what: '--empty and -f exclude each other',
      why: '--empty applies nothing',
      fix: 'give one of them',
      exitCode: 2,
    });
  if (options.empty) return [];
  if (options.file !== undefined) return parsed(options.file);
  const shop = parsed([join(root, 'examples', 'shop')]);
  // Another control plane makes gateways of images that a room does not have.
  return options.istiod === undefined ? shop : shop.filter(({ file }) => basename(file) !== SHOP_GATEWAYS);
}

function parsed(paths: readonly string[]): Manifest[] {
  const { manifests, problems } = readManifests(paths);
  if (problems.length === 0) return manifests;
  const where = problems.map((p) => `${p.file}${p.line > 0 ? `:${p.line}` : ''}: ${p.message}`);
  throw new Failure({
    what: `${problems.length === 1 ? 'a manifest' : `${problems.length} manifests`} cannot be read; nothing was changed`,
    why: where.join('\n      '),
    fix: 'mend them and run again',
    exitCode: 2,
  });
}

function refuseOtherRoom(
  running: RoomHandle,
  nodes: number | undefined,
  images: readonly string[],
  name: string,
): void {
  const differs =
    nodes !== undefined && nodes !== running.nodes
      ? `it runs with ${running.nodes} nodes`
      : images.length > 0 && images.some((image) => !running.images.includes(image))
        ? 'images are mapped when the room is made'
        : undefined;
  if (differs === undefined) return;
  throw new Failure({
    what: `mesh \`${name}\` runs already`,
    why: differs,
    fix: `ambit down --name ${name}, then up again; or choose another --name`,
  });
}

const identity = ({ object }: Manifest): string =>
  [object.apiVersion, object.kind, object.metadata?.namespace ?? '', object.metadata?.name].join('/');

async function applyAll(
  client: HttpKubeClient,
  system: readonly Manifest[],
  user: readonly Manifest[],
): Promise<Applied[]> {
  // Both go at once; what the user writes himself (the mesh's ConfigMap) is not also written by us, in whichever order.
  const written = new Set(user.map(identity));
  for (const manifest of system) if (await isKept(client, manifest)) written.add(identity(manifest));
  const [first, second] = await Promise.all([
    applyManifests(
      client,
      system.filter((manifest) => !written.has(identity(manifest))),
    ),
    applyManifests(client, user),
  ]);
  const refused = [...first.refused, ...second.refused];
  if (refused.length > 0) {
    const lines = refused.map(
      ({ manifest, error }) =>
        `${manifest.file}:${manifest.line}: ${manifest.object.kind} \`${manifest.object.metadata?.name}\`: ${error}`,
    );
    throw new Failure({
      what: `${refused.length} of ${system.length + user.length} objects were refused; the others are applied`,
      why: lines.join('\n      '),
      fix: 'mend them and run `ambit up` again: what is there already stays',
    });
  }
  return [...first.applied, ...second.applied];
}

/** The mesh's settings are its users' once they are there. */
async function isKept(client: HttpKubeClient, { object }: Manifest): Promise<boolean> {
  const { name = '', namespace = '' } = object.metadata ?? {};
  return object.kind === 'ConfigMap' && (await client.get(CONFIG_MAPS, name, namespace)) !== undefined;
}

async function waitReady(
  client: HttpKubeClient,
  namespaces: ReadonlySet<string>,
  timeoutMs: number,
  stages: Stages,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now();
  const left = (): number => Math.max(0, timeoutMs - (performance.now() - began));
  const show = (what: string) => (progress: Progress) => stages.begin(`${what} (${progress.ready}/${progress.wanted})`);
  const system = new Set([SYSTEM_NAMESPACE]);
  const others = new Set([...namespaces].filter((namespace) => namespace !== SYSTEM_NAMESPACE));
  stages.begin('the mesh: control plane, node agents, node proxies');
  const mesh = await waitForRollout(client, {
    namespaces: system,
    timeoutMs: left(),
    signal,
    onProgress: show('the mesh'),
  });
  stages.begin('the mesh: control plane, node agents, node proxies');
  stages.end(`${mesh.progress.ready}/${mesh.progress.wanted} pods`);
  if (others.size > 0 && !signal.aborted) {
    stages.begin('your pods');
    const rollout = await waitForRollout(client, {
      namespaces: others,
      timeoutMs: left(),
      signal,
      onProgress: show('your pods'),
    });
    stages.begin('your pods');
    stages.end(`${rollout.progress.ready}/${rollout.progress.wanted} ready`);
    if (!rollout.complete && !signal.aborted) throw notReady(rollout.waiting, timeoutMs);
  }
  if (!mesh.complete && !signal.aborted) throw notReady(mesh.waiting, timeoutMs);
}

/** Gateways get their pods from the control plane, after everything else: they are waited for by their own status. */
async function gatewaysReady(
  client: HttpKubeClient,
  applied: readonly Applied[],
  until: number,
  stages: Stages,
  signal: AbortSignal,
): Promise<void> {
  const keys = applied.flatMap(({ object, resource }) => {
    const { gatewayClassName = '' } = (object as { spec?: { gatewayClassName?: string } }).spec ?? {};
    const isOurs =
      resource.group === GATEWAYS.group && resource.kind === GATEWAYS.kind && gatewayClassName in BUILT_IN_CLASSES;
    return isOurs ? [`${object.metadata?.namespace}/${object.metadata?.name}`] : [];
  });
  if (keys.length === 0 || signal.aborted) return;
  stages.begin('gateways');
  const waiting = await waitForGateways(client, keys, Math.max(0, until - performance.now()), signal);
  stages.end(`${keys.length - waiting.length}/${keys.length} programmed`);
  if (waiting.length > 0 && !signal.aborted)
    throw notReady(
      waiting.map(({ gateway, reason }) => ({ pod: `gateway ${gateway}`, reason })),
      0,
    );
}

const notReady = (waiting: readonly { pod: string; reason: string }[], timeoutMs: number): Failure =>
  new Failure({
    what: `not everything is ready${waiting.length > 0 ? `: ${waiting.length} ${waiting.length === 1 ? 'waits' : 'wait'}` : ''}`,
    why: waiting.map(({ pod, reason }) => `${pod}: ${reason}`).join('\n      ') || `not within ${timeoutMs} ms`,
    fix: 'kubectl describe pod, kubectl logs; a longer --wait when it only takes its time',
    exitCode: 3,
  });

function summary(name: string, kubeconfig: string, tookMs: number, listed: string, options: Options): string {
  const flag = name === 'default' ? '' : ` --name ${name}`;
  const ambit = process.env.AMBIT_COMMAND ?? 'ambit';
  const shop = options.file === undefined && options.empty !== true;
  return [
    `${colours.bold(`mesh \`${name}\` is up`)} ${colours.dim(`(${(tookMs / 1000).toFixed(1)} s)`)}`,
    '',
    ...(listed === '' ? [] : [listed]),
    `  export KUBECONFIG=${kubeconfig}`,
    ...(shop
      ? [
          '',
          `  ${colours.green('allowed')}  kubectl exec -n ecommerce deploy/shopper -- node /shop/shop.mjs get http://order-service/orders`,
          `  ${colours.red('refused')}  kubectl exec -n ecommerce deploy/shopper -- node /shop/shop.mjs get http://payment-service/payments`,
          `  ${colours.cyan('why')}      ${ambit} why${flag} -n ecommerce deploy/shopper payment-service:80`,
        ]
      : []),
    '',
    `  ${ambit} status${flag}   ${ambit} logs${flag}   ${ambit} down${flag}`,
    '',
  ].join('\n');
}
