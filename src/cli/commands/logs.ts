// `ambit logs`: what the mesh's own parts say, each line with the pod that said it.

import type { Command } from 'commander';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { PODS, resourcePath } from '../../kube/client/resources.ts';
import { Failure } from '../failure.ts';
import { type Mesh, openMesh } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { colours } from '../output.ts';

interface Options extends GlobalOptions {
  follow?: boolean;
  tail?: string;
  node?: string;
}

const SELECTORS: Record<string, string> = {
  ztunnel: 'app=ztunnel',
  istiod: 'app=istiod',
  cni: 'k8s-app=istio-cni-node',
};

export function logs(program: Command): void {
  program
    .command('logs [part]')
    .description('logs of the mesh: ztunnel, istiod, cni, or all of them')
    .option('-f, --follow', 'go on as more comes')
    .option('--tail <lines>', 'last lines of each', '50')
    .option('--node <node>', 'only of this node')
    .action(async (part: string | undefined, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      if (part !== undefined && SELECTORS[part] === undefined)
        throw new Failure({
          what: `\`${part}\` is no part of the mesh`,
          why: `parts are ${Object.keys(SELECTORS).join(', ')}`,
          fix: 'kubectl logs for other pods',
          exitCode: 2,
        });
      const mesh = await openMesh(options);
      const selectors = part === undefined ? Object.values(SELECTORS) : [SELECTORS[part] as string];
      const lists = await Promise.all(
        selectors.map((labelSelector) => mesh.client.list(PODS, { namespace: mesh.istioNamespace, labelSelector })),
      );
      const pods = lists
        .flatMap((list) => list.items)
        .filter((pod) => options.node === undefined || pod.spec?.nodeName === options.node);
      if (pods.length === 0)
        throw new Failure({
          what: 'there is nothing to show',
          why: `no such pod runs in \`${mesh.istioNamespace}\``,
          fix: 'ambit status',
        });
      await Promise.all(pods.map((pod) => show(mesh, pod, options, pods.length > 1)));
      mesh.client.close();
    });
}

async function show(mesh: Mesh, pod: IPod, options: Options, named: boolean): Promise<void> {
  const name = pod.metadata?.name ?? '';
  const prefix = named ? colours.dim(`[${name}] `) : '';
  const path = resourcePath(PODS, pod.metadata?.namespace, name, 'log');
  for await (const line of mesh.client.lines(path, {
    tailLines: options.tail ?? '50',
    follow: options.follow === true ? true : undefined,
  }))
    process.stdout.write(`${prefix}${line}\n`);
}
