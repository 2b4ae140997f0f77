// `ambit control`: the control plane as a process.

import { readFileSync } from 'node:fs';
import module from 'node:module';
import { availableParallelism, hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { connectKube } from '../kube/client/client.ts';
import { systemClock } from '../platform/clock.ts';
import { configureLogging, flushLogs, logger } from '../telemetry/log.ts';
import { readConfig } from './config.ts';
import { startControl } from './control.ts';

module.enableCompileCache();
// Taking in a large cluster makes much short-lived garbage. Without this V8 gives it ever more room and keeps that:
// 335 MB instead of 205 MB with 10,000 pods and 1,000 services.
setFlagsFromString('--semi-space-growth-factor=1');

const log = logger('control');
const EXIT_FAILURE = 1;
const EXIT_CONFIGURATION = 2;

const HELP = `Usage: ambit control [options]

The control plane of the mesh, against any Kubernetes API.

  --kubeconfig FILE        default: $KUBECONFIG, the pod's service account, ~/.kube/config
  --secureGRPCAddr ADDR    discovery and certificates over TLS (default :15012)
  --httpAddr ADDR          /ready, and /debug/syncz for callers on this host (default :8080)
  --monitoringAddr ADDR    /metrics (default :15014)
  --domain NAME            DNS domain of the cluster (default cluster.local)
  --help

Environment, as istiod's: POD_NAME, POD_NAMESPACE, CLUSTER_ID, REVISION, CA_TRUSTED_NODE_ACCOUNTS, TOKEN_AUDIENCES,
DEFAULT_WORKLOAD_CERT_TTL, MAX_WORKLOAD_CERT_TTL, CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE, ISTIOD_CUSTOM_HOST,
PILOT_MAX_REQUESTS_PER_SECOND, PILOT_ENABLE_XDS_IDENTITY_CHECK, PILOT_AUTO_ALLOW_WAYPOINT_POLICY,
AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY, RUST_LOG, LOG_FORMAT; PROXY_IMAGE: what waypoints and gateways run
`;

/** The package's version; the bundle lies one folder below package.json, the source two. */
function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json'])
    try {
      return String(
        (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version?: unknown }).version,
      );
    } catch {
      // The other place.
    }
  return 'unknown';
}

function usage(message: string): never {
  process.stderr.write(`ambit control: ${message}\n(see \`ambit control --help\`)\n`);
  process.exit(EXIT_CONFIGURATION);
}

function readFlags() {
  const option = { type: 'string' } as const;
  try {
    return parseArgs({
      options: {
        kubeconfig: option,
        secureGRPCAddr: option,
        httpAddr: option,
        monitoringAddr: option,
        domain: option,
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}

const flags = readFlags();
if (flags.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const config = readConfig(flags, process.env, availableParallelism(), hostname());
if (!config.ok) usage(config.error.join('\n  '));
const logging = configureLogging(config.value.log);
if (!logging.ok) usage(`RUST_LOG: ${logging.error}`);

const version = packageVersion();
log.info('starting', { version, revision: config.value.identity.revision, cluster: config.value.identity.clusterId });

async function finish(code: number): Promise<never> {
  await flushLogs();
  process.exit(code);
}

process.on('unhandledRejection', (error) => {
  log.error('unexpected error', { error: error as Error });
  void finish(EXIT_FAILURE);
});

try {
  const kube = await connectKube({ kubeconfig: config.value.kubeconfig, userAgent: `ambit-control/${version}` });
  const early = (): void => void finish(0);
  process.once('SIGTERM', early).once('SIGINT', early);
  const control = await startControl({ config: config.value, kube, clock: systemClock, version });
  process.off('SIGTERM', early).off('SIGINT', early);
  const end = (signal: NodeJS.Signals): void => {
    log.info('stopping', { signal });
    void control.stop().then(
      () => finish(0),
      (error: unknown) => {
        log.error('not stopped in order', { error: error as Error });
        return finish(EXIT_FAILURE);
      },
    );
  };
  process.once('SIGTERM', end).once('SIGINT', end);
} catch (error) {
  log.error('control plane not started', { error: error as Error });
  await finish(EXIT_FAILURE);
}
