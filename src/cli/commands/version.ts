// `ambit version`: of this program, of the control plane, and of the proxies.

import type { Command } from 'commander';
import packageJson from '../../../package.json' with { type: 'json' };
import { type Mesh, openMesh, podText } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { controlPlanePods, fetchSyncStatus } from '../sync-status.ts';
import { type Versions, versionJson, versionLines, versionOf } from '../versions.ts';

interface Options extends GlobalOptions {
  output?: string;
  short: string | boolean;
  remote: string | boolean;
}

const MONITORING_PORT = 15014;

export function version(program: Command): void {
  program
    .command('version')
    .description('versions of this program, of the control plane and of the proxies')
    .option('-s, --short [bool]', 'one line each; false: every pod', true)
    .option('--remote [bool]', 'ask the mesh, too', true)
    .option('-o, --output <format>', 'table, json or yaml')
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const mesh = isOn(options.remote) ? await meshVersions(options) : undefined;
      const versions: Versions = { client: packageJson.version, mesh };
      print(format, versionJson(versions), () => versionLines(versions, isOn(options.short)));
    });
}

const isOn = (value: string | boolean): boolean => value === true || value === 'true';

/** Without a mesh there is still a client: what is missing is a notice, not a failure. */
async function meshVersions(options: Options): Promise<Versions['mesh']> {
  const notice = (text: string): undefined => void process.stderr.write(text);
  let mesh: Mesh | undefined;
  try {
    mesh = await openMesh(options);
    const pods = await controlPlanePods(mesh);
    if (pods.length === 0) return notice(`no control plane runs in namespace \`${mesh.istioNamespace}\`\n`);
    const asked = mesh;
    const controlPlanes = await Promise.all(
      pods.map(async (pod) => ({
        component: pod.metadata?.name ?? '',
        version: versionOf(await podText(asked, pod, MONITORING_PORT, '/version')),
      })),
    );
    return { controlPlanes, proxies: await fetchSyncStatus(mesh, pods) };
  } catch (error) {
    return notice(`no mesh was asked: ${error instanceof Error ? error.message : String(error)}\n`);
  } finally {
    mesh?.client.close();
  }
}
