// `ambit proxy-status`: which proxies are connected to the control plane, and how far each is. istioctl's columns.

import type { Command } from 'commander';
import { Failure } from '../failure.ts';
import { openMesh, splitPodName } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { age, outputFormat, print, table } from '../output.ts';
import { controlPlanePods, fetchSyncStatus, type ProxySync, type TypeSync } from '../sync-status.ts';

interface Options extends GlobalOptions {
  output?: string;
  verbosity: string;
}

export function proxyStatus(program: Command): void {
  program
    .command('proxy-status [pod]')
    .alias('ps')
    .description('which proxies are connected to the control plane, and whether they have its latest state')
    .option('-o, --output <format>', 'table, json or yaml')
    .option('--verbosity <level>', '1: a column for each type, with its state', '0')
    .action(async (pod: string | undefined, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const mesh = await openMesh(options);
      try {
        const pods = await controlPlanePods(mesh);
        if (pods.length === 0)
          throw new Failure({
            what: 'no control plane runs',
            why: `no pod in \`${mesh.istioNamespace}\` has the label app=istiod and is running`,
            fix: 'name its namespace with -i, or see `ambit status`',
          });
        const all = await fetchSyncStatus(mesh, pods);
        const proxies = pod === undefined ? all : only(all, pod, options.namespace);
        print(format, proxies, () => (Number(options.verbosity) > 0 ? verboseTable(proxies) : shortTable(proxies)));
      } finally {
        mesh.client.close();
      }
    });
}

function only(proxies: readonly ProxySync[], pod: string, defaultNamespace: string | undefined): readonly ProxySync[] {
  const { name, namespace } = splitPodName(pod, defaultNamespace);
  // A pod's name alone is enough where it is the only one.
  const exact = proxies.filter((proxy) => proxy.name === `${name}.${namespace}`);
  const found = exact.length > 0 ? exact : proxies.filter((proxy) => proxy.name.startsWith(`${name}.`));
  if (found.length > 0) return found;
  throw new Failure({
    what: `\`${pod}\` is not connected to the control plane`,
    why: `connected are ${proxies.map((proxy) => proxy.name).join(', ') || 'none'}`,
    fix: 'see its log: kubectl logs; a pod without a proxy of its own is served by the ztunnel of its node',
  });
}

export const shortTable = (proxies: readonly ProxySync[]): string =>
  table(
    ['NAME', 'CLUSTER', 'ISTIOD', 'VERSION', 'SUBSCRIBED TYPES'],
    proxies.map((proxy) => [
      ...heading(proxy),
      `${proxy.types.length} (${proxy.types.map(({ type }) => type).join(',')})`,
    ]),
    5,
  );

export function verboseTable(proxies: readonly ProxySync[], now = Date.now()): string {
  const types = [...new Set(proxies.flatMap((proxy) => proxy.types.map(({ type }) => type)))].sort();
  const state = (sync: TypeSync | undefined): string => {
    if (sync === undefined) return 'IGNORED';
    return sync.ackedAt === undefined ? sync.state : `${sync.state} (${age(sync.ackedAt, now)})`;
  };
  return table(
    ['NAME', 'CLUSTER', 'ISTIOD', 'VERSION', ...types],
    proxies.map((proxy) => [
      ...heading(proxy),
      ...types.map((type) => state(proxy.types.find((sync) => sync.type === type))),
    ]),
    5,
  );
}

const heading = ({ name, cluster, istiod, version }: ProxySync): string[] => [name, cluster, istiod, version];
