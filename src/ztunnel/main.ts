// `ambit ztunnel`: reads the environment once, checks what the kernel must allow, runs until a signal ends it.
// Exit status: 0 after an orderly end, 1 when it could not start or go on.

import '../dataplane/heap.ts';
import { closeSync, existsSync, readFileSync } from 'node:fs';
import packageJson from '../../package.json' with { type: 'json' };
import type { Ip } from '../model/ip.ts';
import { giveBackMemory } from '../platform/garbage.ts';
import { Netns } from '../platform/linux/netns.ts';
import { raiseDescriptorLimit } from '../platform/linux/process.ts';
import { bindUdp } from '../platform/linux/sockets.ts';
import { configureLogging, flushLogs, logger } from '../telemetry/log.ts';
import { type Config, parseConfig } from './config.ts';
import { type LocalState, parseLocalState } from './local-state.ts';
import { NodeProxy } from './node-proxy.ts';

const MESH_CONFIG = './etc/istio/config/mesh';
/** By then the first state and certificates are in, or take longer than is worth waiting for. */
const SETTLED_AFTER_MS = 1_000;
const log = logger('app');

const HELP = `Usage: ambit ztunnel [proxy | version | help]

The node proxy. Settings come from the environment, as Istio's ztunnel's; \`proxy\`, the default, runs it.

  XDS_ADDRESS, CA_ADDRESS        control plane, https://host:port; an empty XDS_ADDRESS: local state alone
  XDS_ROOT_CA, CA_ROOT_CA        file, PEM text or SYSTEM (default ./var/run/secrets/istio/root-cert.pem)
  AUTH_TOKEN                     file or token (default ./var/run/secrets/tokens/istio-token)
  NODE_NAME, POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT, INSTANCE_IP, CLUSTER_ID, NETWORK
  INPOD_UDS                      socket of the node agent (default /var/run/ztunnel/ztunnel.sock)
  LOCAL_XDS_PATH, LOCAL_XDS      workloads, services and policies from YAML
  RUST_LOG, LOG_FORMAT           info, access=debug,state=trace; plain or json

In a mesh it runs as a pod: see deploy/local/20-ztunnel.yaml for all of its surroundings.
`;

/** What stops the start, one line each. */
class StartError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** The parser costs 3 MB, and few set-ups give it anything to do. */
async function parseYaml(text: string, what: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text);
  } catch (error) {
    throw new StartError([`${what} is not YAML: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

async function readConfig(): Promise<Config> {
  // What the control plane is told of our version, unless the pod says another.
  const env: NodeJS.ProcessEnv = { ISTIO_META_ISTIO_VERSION: packageJson.version, ...process.env };
  const mesh: unknown = existsSync(MESH_CONFIG)
    ? await parseYaml(readFileSync(MESH_CONFIG, 'utf8'), MESH_CONFIG)
    : undefined;
  const meshDefaults =
    typeof mesh === 'object' && mesh !== null && 'defaultConfig' in mesh ? mesh.defaultConfig : undefined;
  const proxyConfig = env.PROXY_CONFIG === undefined ? undefined : await parseYaml(env.PROXY_CONFIG, 'PROXY_CONFIG');
  const config = parseConfig({ env, meshDefaults, proxyConfig, exists: existsSync });
  if (!config.ok) throw new StartError(config.error);
  if (config.value.dataPath.listen.socks5)
    throw new StartError(['UNSTABLE_ENABLE_SOCKS5=true is not supported: leave it out, or use redirection']);
  return config.value;
}

async function readLocalState({
  localState,
}: Config): Promise<{ state: LocalState | undefined; written: Record<string, unknown> }> {
  if (localState === undefined) return { state: undefined, written: { workloads: [], policies: [], services: [] } };
  let yaml: string;
  let what = 'LOCAL_XDS';
  if (localState.kind === 'inline') yaml = localState.yaml;
  else {
    what = `LOCAL_XDS_PATH \`${localState.path}\``;
    try {
      yaml = readFileSync(localState.path, 'utf8');
    } catch (error) {
      throw new StartError([`${what} not read: ${error instanceof Error ? error.message : String(error)}`]);
    }
  }
  const written = await parseYaml(yaml, what);
  const parsed = parseLocalState(written);
  if (!parsed.ok) throw new StartError(parsed.error.map((problem) => `${what}: ${problem}`));
  return { state: parsed.value, written: (written ?? {}) as Record<string, unknown> };
}

/** Fails at once, and clearly, where later every pod would. @throws SystemError */
function checkKernel(config: Config): void {
  using netns = Netns.current();
  netns.run(() => {});
  closeSync(bindUdp(netns, { ip: '127.0.0.1' as Ip, port: 0, mark: config.dataPath.listen.packetMark }));
}

async function exit(status: 0 | 1): Promise<never> {
  await flushLogs();
  process.exit(status);
}

async function main(): Promise<void> {
  const config = await readConfig();
  configureLogging({ filter: config.log.filter, format: config.log.format });
  const { state: localState, written } = await readLocalState(config);
  const maxDescriptors = Number(raiseDescriptorLimit());
  checkKernel(config);
  const { version } = packageJson;
  const proxy = new NodeProxy({ config, localState, staticConfig: written, version, maxDescriptors });
  let interrupted = false;
  process.on('SIGTERM', () => proxy.shutDown());
  process.on('SIGINT', () => {
    if (interrupted) process.exit(1);
    interrupted = true;
    proxy.shutDown();
  });
  log.info('starting', { version, node: config.dataPath.nodeName, maxDescriptors });
  await proxy.start();
  setTimeout(giveBackMemory, SETTLED_AFTER_MS).unref();
  await proxy.ended;
}

process.on('uncaughtException', (error) => {
  log.error('the proxy has a fault and ends', { error, stack: error.stack });
  void exit(1);
});

/** The original's command line: one word, or none; what follows `proxy` says nothing. */
function runCommand(word: string | undefined): void {
  if (word === undefined || word === 'proxy') return;
  if (word === 'help' || word === '--help' || word === '-h') process.stdout.write(HELP);
  else if (word === 'version' || word === '--version') process.stdout.write(`${packageJson.version}\n`);
  else {
    process.stderr.write(`ambit ztunnel: unknown command \`${word}\`\n${HELP}`);
    process.exit(1);
  }
  process.exit(0);
}

runCommand(process.argv[2]);
main().then(
  () => exit(0),
  (error: unknown) => {
    const problems =
      error instanceof StartError ? error.problems : [error instanceof Error ? error.message : String(error)];
    for (const problem of problems) log.error('ztunnel cannot run', { error: problem });
    return exit(1);
  },
);
