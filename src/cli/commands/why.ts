// `ambit why`: how a connection would fare, or did: the path, the identity on each side, and the policy and rule that
// let it through or refused it.

import { lookup } from 'node:dns/promises';
import type { Command } from 'commander';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { PODS, resourcePath } from '../../kube/client/resources.ts';
import { KubeError } from '../../kube/client/types.ts';
import { formerLogLines } from '../../local/kubelet/former-logs.ts';
import { ZTUNNEL_ADMIN_PORT } from '../../model/ports.ts';
import { Failure } from '../failure.ts';
import { type Mesh, openMesh, podText, ztunnelPods } from '../mesh.ts';
import type { GlobalOptions } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { readKnowledge } from '../why/knowledge.ts';
import { findRequest, isRequestId, pastInWords } from '../why/past-requests.ts';
import { Proxies, type ProxyAccess } from '../why/proxies.ts';
import { explain } from '../why/report.ts';
import { readAsked, type Waypoints } from '../why/request.ts';
import { inWords } from '../why/words.ts';

interface Options extends GlobalOptions {
  output?: string;
  method: string;
  path: string;
  header: string[];
  expect?: string;
  proxyAdminPort: string;
}

const LOG_LINES = 2000;
const LOG_BYTES = 4 << 20;
const ZTUNNEL_CONTAINER = 'istio-proxy';

export function why(program: Command): void {
  program
    .command('why <source> [destination]')
    .description('why a connection or request is, or was, allowed or refused')
    .option('-o, --output <format>', 'table, json or yaml')
    .option('-X, --method <method>', 'of the request, where a waypoint is on the way', 'GET')
    .option('--path <path>', 'of the request, with its query', '/')
    .option('-H, --header <header>', "of the request, as often as wanted: 'x-tier: gold'", collect, [])
    .option('--expect <outcome>', 'allowed or refused: fail (exit code 1) when it is not so')
    .option('--proxy-admin-port <port>', 'admin port inside the ztunnel pod', String(ZTUNNEL_ADMIN_PORT))
    .addHelpText('after', HELP)
    .action(async (source: string, destination: string | undefined, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const format = outputFormat(options.output);
      const expected = expectation(options.expect);
      const mesh = await openMesh(options);
      try {
        if (destination === undefined) {
          if (!isRequestId(source)) throw NO_DESTINATION;
          const past = await findRequest(source, mesh.client);
          print(format, past, () => pastInWords(past));
          if (past.hops.length === 0) process.exitCode = 1;
          return;
        }
        const proxies = new Proxies(access(mesh, Number(options.proxyAdminPort)));
        const report = await explain(
          {
            source,
            destination,
            namespace: options.namespace ?? 'default',
            request: readAsked(options.method, options.path, options.header),
          },
          { client: mesh.client, proxies, waypoints: waypoints(mesh, Number(options.proxyAdminPort)), resolveHost },
        );
        print(format, report, () => inWords(report));
        if (expected !== undefined && report.outcome !== expected) {
          process.stderr.write(`expected ${expected}, but it is: ${report.outcome}\n`);
          process.exitCode = 1;
        }
      } finally {
        mesh.client.close();
      }
    });
}

const NO_DESTINATION = new Failure({
  what: 'no destination is named',
  why: 'one name alone is taken for the id of a request, and this is none',
  fix: 'ambit why SOURCE DESTINATION, or ambit why REQUEST-ID with the id out of an access log',
  exitCode: 2,
});

const HELP = `
SOURCE       deploy/NAME, pod/NAME, NAME (of a pod, deployment, service account or service), NAMESPACE/NAME, or an address
DESTINATION  a service (payment, payment.bank, bank/payment, its full name), pod/NAME, deploy/NAME, or an address; with
             :PORT (a number, or the name of a service's port) unless it has only one

Examples:
  ambit why deploy/shopper payment-service -n ecommerce
  ambit why 10.244.1.7 bank/vault:https --expect refused
  ambit why deploy/shopper product-service -X DELETE --path /products/1 -H 'x-tier: gold'
  ambit why 0b7f0c5e-8a0c-4d5f-9f35-0f6a0a6a7d11        a request that was, by its x-request-id`;

const collect = (value: string, before: string[]): string[] => [...before, value];

function expectation(text: string | undefined): 'allowed' | 'refused' | undefined {
  if (text === undefined || text === 'allowed' || text === 'refused') return text;
  throw new Failure({
    what: `\`--expect ${text}\` is not understood`,
    why: 'a connection is allowed or refused',
    fix: '--expect allowed, or --expect refused',
    exitCode: 2,
  });
}

const resolveHost = async (name: string): Promise<readonly string[]> =>
  (await lookup(name, { all: true, order: 'ipv4first' })).map(({ address }) => address);

/** Gateways and waypoints through the API's port-forward. */
const waypoints = (mesh: Mesh, adminPort: number): Waypoints => ({
  async knowledge(namespace, name) {
    const pod = await mesh.client.get(PODS, name, namespace);
    if (pod === undefined) throw new Error('the API does not know its pod');
    return readKnowledge(await podText(mesh, pod, adminPort, '/config_dump'));
  },
});

/** Node proxies through the API's port-forward, so on any cluster and whatever program the proxy is. */
function access(mesh: Mesh, adminPort: number): ProxyAccess {
  const pods = new Map<string, IPod>();
  return {
    async list() {
      for (const pod of await ztunnelPods(mesh)) pods.set(pod.metadata?.name ?? '', pod);
      return [...pods].map(([name, { spec }]) => ({ node: spec?.nodeName ?? '', pod: name }));
    },
    async dump(name) {
      const pod = pods.get(name);
      if (pod === undefined) throw new Error('it is not listed');
      return podText(mesh, pod, adminPort, '/config_dump');
    },
    async log(name) {
      const node = pods.get(name)?.spec?.nodeName ?? '';
      // One that was replaced finishes its connections for a while, and has told of others.
      const { items } = await mesh.client.list(PODS, { namespace: mesh.istioNamespace, labelSelector: 'app=ztunnel' });
      const leaving = items.filter(
        ({ metadata, spec }) => spec?.nodeName === node && metadata?.deletionTimestamp !== undefined,
      );
      // What its predecessors on the node told, in a mesh of this machine; a cluster forgets it.
      const replaced =
        mesh.stateDir === undefined ? [] : formerLogLines(mesh.stateDir, node, 'ztunnel', ZTUNNEL_CONTAINER, LOG_LINES);
      const before = await Promise.all(
        leaving.map(({ metadata }) => linesOf(mesh, metadata?.name ?? '').catch(() => [])),
      );
      return [...replaced, ...before.flat(), ...(await linesOf(mesh, name))];
    },
  };
}

/** The last lines of a node proxy's log, and of its container's life before this one. */
async function linesOf(mesh: Mesh, pod: string): Promise<readonly string[]> {
  const path = resourcePath(PODS, mesh.istioNamespace, pod, 'log');
  const asked = { tailLines: LOG_LINES, limitBytes: LOG_BYTES };
  const [now, before] = await Promise.all([
    mesh.client.text(path, asked),
    // There is none of a container that was never started again.
    mesh.client.text(path, { ...asked, previous: true }).catch((error: unknown) => {
      if (error instanceof KubeError && error.code === 400) return '';
      throw error;
    }),
  ]);
  return [...before.split('\n'), ...now.split('\n')];
}
