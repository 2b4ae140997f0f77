// `ambit status`: the whole mesh at a glance.

import { join } from 'node:path';
import type { Command } from 'commander';
import { gatewayTable } from '../gateways.ts';
import { stateDirOf } from '../home.ts';
import { openMesh } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { age, colours, outputFormat, print, table } from '../output.ts';
import { type Overview, overviewOf, serviceLines } from '../overview.ts';
import { readRecord } from '../room-process.ts';

interface Options extends GlobalOptions {
  output?: string;
}

export function status(program: Command): void {
  program
    .command('status')
    .description('the whole mesh at a glance')
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const name = options.name ?? 'default';
      const stateDir = stateDirOf(name);
      const record = readRecord(stateDir);
      const local = options.kubeconfig === undefined && (options.name !== undefined || !process.env.KUBECONFIG);
      if (local && record === undefined) {
        print(
          format,
          { name, running: false },
          () =>
            `mesh \`${name}\` is not running; start it with \`ambit up${name === 'default' ? '' : ` --name ${name}`}\`\n`,
        );
        process.exitCode = 1;
        return;
      }
      const mesh = await openMesh(options);
      const overview = await overviewOf(mesh.client, mesh.istioNamespace);
      mesh.client.close();
      const kubeconfig = options.kubeconfig ?? (local ? join(stateDir, 'kubeconfig') : process.env.KUBECONFIG);
      const value = {
        name,
        running: true,
        kubeconfig,
        ...(record && local
          ? { pid: record.pid, startedAt: record.startedAt, apiPort: record.apiPort, logs: join(stateDir, 'logs') }
          : {}),
        ...overview,
      };
      print(format, value, () => inWords(name, local ? record?.startedAt : undefined, kubeconfig ?? '', overview));
    });
}

function inWords(name: string, startedAt: string | undefined, kubeconfig: string, overview: Overview): string {
  const yes = (good: boolean): string => (good ? colours.green('yes') : colours.red('no'));
  const troubles = [
    ...overview.gateways
      .filter(({ programmed }) => !programmed)
      .map(({ namespace, name, message }) => `gateway ${namespace}/${name}: ${message}`),
    ...overview.troubles.map(({ pod, why }) => `${pod}: ${why}`),
  ];
  const parts = [
    `mesh \`${name}\`${startedAt ? `, up for ${age(startedAt)}` : ''}   KUBECONFIG=${kubeconfig}`,
    table(
      ['NODE', 'READY', 'PODS', 'ZTUNNEL'],
      overview.nodes.map((n) => [n.name, yes(n.ready), String(n.pods), n.ztunnel || colours.red('none')]),
      2,
    ),
    table(
      ['PART', 'NODE', 'READY', 'RESTARTS', 'AGE'],
      overview.parts.map((p) => [p.name, p.node, yes(p.ready), String(p.restarts), p.age]),
      2,
    ),
    table(
      ['NAMESPACE', 'MODE', 'MTLS', 'POLICIES'],
      overview.namespaces.map((n) => [n.name, n.mode, n.mtls, String(n.policies)]),
      2,
    ),
    ...(overview.services.length > 0 ? [serviceLines(overview.services)] : []),
    ...(overview.gateways.length > 0 ? [gatewayTable(overview.gateways)] : []),
    ...(troubles.length > 0 ? [`${troubles.map((line) => `${colours.red('!')} ${line}`).join('\n')}\n`] : []),
  ];
  return parts.join('\n');
}
