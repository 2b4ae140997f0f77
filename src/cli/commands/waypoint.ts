// `ambit waypoint`: layer-7 proxies of namespaces, with istioctl's verbs and flags.

import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { KubeClient } from '../../kube/client/types.ts';
import { Failure } from '../failure.ts';
import { openMesh } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { outputFormat, parseDuration, print, table } from '../output.ts';
import {
  applyWaypoint,
  deleteWaypoints,
  listWaypoints,
  TRAFFIC_TYPES,
  type WaypointLine,
  waitProgrammed,
  waypointGateway,
  waypointLine,
} from '../waypoints.ts';

/** As everywhere else `--name` would be the mesh, which here is `--mesh`: `--name` is the waypoint's, as in istioctl. */
interface Options extends GlobalOptions {
  mesh?: string;
  for?: string;
  revision?: string;
  enrollNamespace?: boolean;
  overwrite?: boolean;
  wait?: boolean | string;
  waypointTimeout?: string;
  allNamespaces?: boolean;
  all?: boolean;
  output?: string;
}

const DEFAULT_NAME = 'waypoint';
const DEFAULT_TIMEOUT = '90s';
const FOR = `traffic that it takes: ${TRAFFIC_TYPES.join(', ')}`;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const meshOf = ({ mesh, name: _waypoint, ...options }: Options) =>
  openMesh(mesh === undefined ? options : { ...options, name: mesh });

/** Lines of the waypoints meant: of a namespace or all, and of one name where `--name` gives it. */
async function linesOf(client: KubeClient, options: Options): Promise<WaypointLine[]> {
  const namespace = options.allNamespaces === true ? undefined : (options.namespace ?? 'default');
  const lines = (await listWaypoints(client, namespace)).map(waypointLine);
  return lines.filter(({ name }) => options.name === undefined || name === options.name);
}

const wishOf = (options: Options, namespace: string | undefined) =>
  waypointGateway({
    name: options.name ?? DEFAULT_NAME,
    namespace,
    traffic: options.for,
    revision: options.revision,
  });

export function waypoint(program: Command): void {
  const group = program
    .command('waypoint')
    .description('makes, shows and deletes waypoints, the layer-7 proxies of namespaces')
    .option('--mesh <mesh>', 'local mesh to talk to; --name is the name of the waypoint here (default: waypoint)');

  group
    .command('generate')
    .description('prints the Gateway of a waypoint')
    .option('--for <traffic>', FOR)
    .option('-r, --revision <revision>', 'revision of the control plane')
    .action((_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      process.stdout.write(stringify(wishOf(options, options.namespace), { lineWidth: 0, indentSeq: false }));
    });

  group
    .command('apply')
    .description('makes a waypoint')
    .option('--for <traffic>', FOR)
    .option('--enroll-namespace', 'label the namespace so that its services use the waypoint')
    .option('--overwrite', 'enrol though the namespace uses another waypoint')
    .option('-r, --revision <revision>', 'revision of the control plane')
    .option('-w, --wait', 'wait until it is programmed')
    .option('--waypoint-timeout <duration>', 'how long to wait', DEFAULT_TIMEOUT)
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const gateway = wishOf(options, options.namespace ?? 'default');
      const timeoutMs = parseDuration(options.waypointTimeout ?? DEFAULT_TIMEOUT);
      const mesh = await meshOf(options);
      const wish = {
        enroll: options.enrollNamespace === true,
        overwrite: options.overwrite === true,
        waitMs: options.wait === true ? timeoutMs : undefined,
      };
      await applyWaypoint(mesh.client, gateway, wish, say).finally(() => mesh.client.close());
    });

  group
    .command('list')
    .description('lists waypoints')
    .option('-A, --all-namespaces', 'of every namespace')
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const all = options.allNamespaces === true;
      const mesh = await meshOf(options);
      const lines = await linesOf(mesh.client, options);
      mesh.client.close();
      print(format, lines, () =>
        lines.length === 0
          ? 'No waypoints found.\n'
          : columns(all, ['NAME', 'REVISION', 'TRAFFIC TYPE', 'PROGRAMMED'], lines, (line) => [
              line.name,
              line.revision,
              line.traffic,
              line.programmed,
            ]),
      );
    });

  group
    .command('status')
    .description('shows whether waypoints are programmed, and waits for it')
    .option('-A, --all-namespaces', 'of every namespace')
    .option('-w, --wait [boolean]', 'wait until they are', true)
    .option('--waypoint-timeout <duration>', 'how long to wait', DEFAULT_TIMEOUT)
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const all = options.allNamespaces === true;
      const timeoutMs = parseDuration(options.waypointTimeout ?? DEFAULT_TIMEOUT);
      const mesh = await meshOf(options);
      const named = await linesOf(mesh.client, options);
      const late =
        options.wait === 'false' || named.length === 0
          ? undefined
          : await waitProgrammed(mesh.client, named, timeoutMs).catch((error: unknown) => error);
      const lines = await linesOf(mesh.client, options);
      mesh.client.close();
      print(format, lines, () =>
        lines.length === 0
          ? 'No waypoints found.\n'
          : columns(all, ['NAME', 'STATUS', 'TYPE', 'REASON', 'MESSAGE'], lines, (line) => [
              line.name,
              line.programmed,
              'Programmed',
              line.reason,
              line.message,
            ]),
      );
      if (late !== undefined) throw late;
    });

  group
    .command('delete [waypoints...]')
    .description('deletes waypoints')
    .option('--all', 'all waypoints of the namespace')
    .option('-r, --revision <revision>', 'with --all: only those of this revision')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      if (options.all === true && names.length > 0)
        throw new Failure({
          what: '--all and names exclude each other',
          why: '--all deletes every waypoint of the namespace',
          fix: 'give one of them',
          exitCode: 2,
        });
      const namespace = options.namespace ?? 'default';
      const mesh = await meshOf(options);
      const chosen =
        options.all === true
          ? (await listWaypoints(mesh.client, namespace))
              .map(waypointLine)
              .filter(({ revision }) => options.revision === undefined || revision === options.revision)
              .map(({ name }) => name)
          : names.length > 0
            ? names
            : [options.name ?? DEFAULT_NAME];
      if (chosen.length === 0) say('No waypoints found.');
      await deleteWaypoints(mesh.client, namespace, chosen, say).finally(() => mesh.client.close());
    });
}

function columns<Line extends { readonly namespace: string }>(
  all: boolean,
  head: readonly string[],
  lines: readonly Line[],
  cells: (line: Line) => readonly string[],
): string {
  return table(
    all ? ['NAMESPACE', ...head] : head,
    lines.map((line) => (all ? [line.namespace, ...cells(line)] : cells(line))),
    4,
  );
}
