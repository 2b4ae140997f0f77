// `ambit ztunnel-config`: what a node proxy holds, with istioctl's words.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ZTUNNEL_ADMIN_PORT } from '../../model/ports.ts';
import { type ConfigDump, parseConfigDump } from '../config-dump.ts';
import {
  certificateTable,
  connectionTable,
  type DumpFilter,
  policiesOf,
  policyTable,
  servicesOf,
  serviceTable,
  workloadsOf,
  workloadTable,
} from '../config-tables.ts';
import { Failure } from '../failure.ts';
import { chooseZtunnel, openMesh, podRequest, podText, ztunnelPods } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { outputFormat, print } from '../output.ts';

interface Options extends GlobalOptions, DumpFilter {
  node?: string;
  file?: string;
  output?: string;
  proxyAdminPort?: string;
  namespace?: string;
}

interface View {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly about: string;
  readonly value: (dump: ConfigDump, filter: DumpFilter) => unknown;
  readonly table: (dump: ConfigDump, filter: DumpFilter) => string;
}

const VIEWS: readonly View[] = [
  {
    name: 'workload',
    aliases: ['workloads', 'w'],
    about: 'workloads and how each is reached',
    value: workloadsOf,
    table: workloadTable,
  },
  {
    name: 'service',
    aliases: ['services', 's', 'svc'],
    about: 'services, their addresses and endpoints',
    value: servicesOf,
    table: serviceTable,
  },
  {
    name: 'policy',
    aliases: ['policies', 'p', 'pol'],
    about: 'authorization policies',
    value: policiesOf,
    table: policyTable,
  },
  {
    name: 'certificate',
    aliases: ['certificates', 'certs', 'cert'],
    about: 'certificates of the workloads on the node',
    value: (dump) => dump.certificates,
    table: (dump) => certificateTable(dump),
  },
  {
    name: 'connections',
    aliases: ['connection', 'cons'],
    about: 'live connections of the pods on the node',
    value: (dump) => dump.workloadState,
    table: connectionTable,
  },
  {
    name: 'all',
    aliases: [],
    about: 'everything above',
    value: (dump) => dump,
    table: (dump, filter) =>
      `\n${[workloadTable(dump, filter), serviceTable(dump, filter), policyTable(dump, filter), certificateTable(dump), connectionTable(dump, filter)].join('\n')}`,
  },
];

export function ztunnelConfig(program: Command): void {
  const group = program.command('ztunnel-config').alias('zc').description('shows what a node proxy (ztunnel) holds');
  for (const view of VIEWS)
    group
      .command(`${view.name} [pod]`)
      .aliases([...view.aliases])
      .description(view.about)
      .option('--node <node>', 'the ztunnel of this node')
      .option('-f, --file <file>', 'read a saved configuration dump instead')
      .option('-o, --output <format>', 'table, json or yaml')
      .option('--proxy-admin-port <port>', 'admin port inside the ztunnel pod', String(ZTUNNEL_ADMIN_PORT))
      .option('--workload-namespace <namespace>')
      .option('--workload-node <node>')
      .option('--address <ip>')
      .option('--service-namespace <namespace>')
      .option('--policy-namespace <namespace>')
      .option('--direction <inbound|outbound>')
      .action(async (pod: string | undefined, _options: unknown, command: Command) => {
        const options = command.optsWithGlobals<Options>();
        const format = outputFormat(options.output);
        const dump = await readDump(pod, options);
        print(format, view.value(dump, options), () => view.table(dump, options));
      });
  group
    .command('log [pod]')
    .description('reads or changes the log level of ztunnels')
    .option('--node <node>', 'the ztunnel of this node')
    .option('--level <levels>', 'level, or scope:level, comma-separated')
    .option('-r, --reset', 'back to the default levels')
    .action(async (pod: string | undefined, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options & { level?: string; reset?: boolean }>();
      const mesh = await openMesh(options);
      const pods =
        pod === undefined && options.node === undefined
          ? await ztunnelPods(mesh)
          : [await chooseZtunnel(mesh, { pod, node: options.node, namespace: options.namespace })];
      const query = [
        options.reset ? 'reset' : '',
        options.level ? `level=${encodeURIComponent(options.level.replaceAll(':', '='))}` : '',
      ]
        .filter(Boolean)
        .join('&');
      for (const each of pods) {
        const answer = await podRequest(
          mesh,
          each,
          Number(options.proxyAdminPort ?? ZTUNNEL_ADMIN_PORT),
          `/logging${query ? `?${query}` : ''}`,
          'POST',
        );
        if (answer.status !== 200)
          throw new Failure({
            what: `\`${each.metadata?.name}\` did not take the level`,
            why: answer.text.trim(),
            fix: 'levels: error, warn, info, debug, trace, off',
          });
        process.stdout.write(`${each.metadata?.name}.${each.metadata?.namespace}:\n${answer.text.trim()}\n`);
      }
    });
}

async function readDump(pod: string | undefined, options: Options): Promise<ConfigDump> {
  if (options.file !== undefined)
    return parseConfigDump(readFileSync(options.file === '-' ? 0 : options.file, 'utf8'), `\`${options.file}\``);
  const mesh = await openMesh(options);
  const chosen = await chooseZtunnel(mesh, { pod, node: options.node, namespace: options.namespace });
  const port = Number(options.proxyAdminPort ?? ZTUNNEL_ADMIN_PORT);
  return parseConfigDump(
    await podText(mesh, chosen, port, '/config_dump'),
    `the answer of \`${chosen.metadata?.name}\``,
  );
}
