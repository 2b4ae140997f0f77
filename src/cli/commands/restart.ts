// `ambit restart`: replaces a part of the mesh. A node proxy is replaced by a new one beside it, which takes over the
// listeners while the old one finishes its connections.

import type { Command } from 'commander';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { DAEMON_SETS, DEPLOYMENTS, PODS } from '../../kube/client/resources.ts';
import { Failure } from '../failure.ts';
import { chooseZtunnel, type Mesh, openMesh, ztunnelPods } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { parseDuration, Stages } from '../output.ts';
import { waitForRollout } from '../rollout.ts';

interface Options extends GlobalOptions {
  node?: string;
  timeout?: string;
}

const PARTS = {
  ztunnel: { resource: DAEMON_SETS, name: 'ztunnel' },
  cni: { resource: DAEMON_SETS, name: 'istio-cni-node' },
  istiod: { resource: DEPLOYMENTS, name: 'istiod' },
} as const;

export function restart(program: Command): void {
  program
    .command('restart <part>')
    .description('replaces a part of the mesh: ztunnel, cni or istiod')
    .option('--node <node>', 'only the ztunnel of this node')
    .option('--timeout <duration>', 'how long to wait for the new one', '60s')
    .action(async (part: string, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const known = PARTS[part as keyof typeof PARTS];
      if (known === undefined || (options.node !== undefined && part !== 'ztunnel'))
        throw new Failure({
          what: `\`${part}\`${options.node ? ' of one node' : ''} cannot be restarted`,
          why: 'parts are ztunnel (also of one node), cni and istiod',
          fix: 'ambit restart ztunnel',
          exitCode: 2,
        });
      const mesh = await openMesh(options);
      const timeoutMs = parseDuration(options.timeout ?? '60s');
      const stages = new Stages();
      stages.begin(`replacing ${part}`);
      if (options.node !== undefined) await replaceOnNode(mesh, options.node, timeoutMs);
      else {
        const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
        const body = { spec: { template: { metadata: { annotations } } } };
        if (known.resource === DEPLOYMENTS)
          await mesh.client.patch(DEPLOYMENTS, known.name, mesh.istioNamespace, 'merge', body);
        else await mesh.client.patch(DAEMON_SETS, known.name, mesh.istioNamespace, 'merge', body);
        const rollout = await waitForRollout(mesh.client, { namespaces: new Set([mesh.istioNamespace]), timeoutMs });
        if (!rollout.complete) throw late(part, rollout.waiting.map((w) => `${w.pod}: ${w.reason}`).join('; '));
      }
      stages.end();
      mesh.client.close();
      process.stdout.write(`${part}${options.node ? ` of ${options.node}` : ''} replaced\n`);
    });
}

const late = (part: string, why: string): Failure =>
  new Failure({
    what: `the new ${part} is not ready in time`,
    why: why || 'it is still starting',
    fix: 'ambit status, kubectl describe pod; the old one serves until the new one is ready',
  });

async function replaceOnNode(mesh: Mesh, node: string, timeoutMs: number): Promise<void> {
  const version = JSON.parse(await mesh.client.text('/version')) as { gitVersion?: string };
  if (!version.gitVersion?.includes('ambit'))
    throw new Failure({
      what: 'one node alone cannot be restarted here',
      why: 'only the local mesh replaces a single pod of a DaemonSet without a gap',
      fix: 'ambit restart ztunnel replaces them all, one after another',
    });
  const old = await chooseZtunnel(mesh, { node });
  const { name = '', namespace } = old.metadata ?? {};
  await mesh.client.patch(PODS, name, namespace, 'merge', {
    metadata: { annotations: { 'ambit.dev/replace': new Date().toISOString() } },
  });
  const end = Date.now() + timeoutMs;
  const ready = (pod: IPod): boolean =>
    pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
  for (;;) {
    const there = (await ztunnelPods(mesh)).filter((pod) => pod.spec?.nodeName === node);
    if (
      there.some((pod) => pod.metadata?.name !== name && ready(pod)) &&
      !there.some((pod) => pod.metadata?.name === name)
    )
      return;
    if (Date.now() > end) throw late('ztunnel', `on \`${node}\`: ${there.map((pod) => pod.metadata?.name).join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
