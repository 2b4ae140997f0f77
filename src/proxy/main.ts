// `ambit proxy waypoint|router`: reads the environment once and runs until a signal ends it.
// Exit status: 0 after an orderly end, 1 when it could not start or go on, 2 for a command line that is none.

import './heap.ts';
import { existsSync } from 'node:fs';
import packageJson from '../../package.json' with { type: 'json' };
import { raiseDescriptorLimit } from '../platform/linux/process.ts';
import { configureLogging, flushLogs, logger } from '../telemetry/log.ts';
import { fdSink } from '../telemetry/log-sink.ts';
import { L7Proxy } from './l7-proxy.ts';
import { parseSettings } from './settings.ts';

const log = logger('app');

const HELP = `Usage: ambit proxy waypoint | router

The L7 proxy: a waypoint takes tunnels on 15008, a router is a gateway at the edge. What it does comes from the control
plane, who it is from the environment:

  POD_NAME, POD_NAMESPACE, INSTANCE_IP, SERVICE_ACCOUNT, NODE_NAME, GATEWAY_NAME
  XDS_ADDRESS, CA_ADDRESS        control plane, https://host:port
  XDS_ROOT_CA, CA_ROOT_CA        file, PEM text or SYSTEM (default ./var/run/secrets/istio/root-cert.pem)
  AUTH_TOKEN                     file or token (default ./var/run/secrets/tokens/istio-token)
  CLUSTER_ID, NETWORK, TRUST_DOMAIN, ISTIO_META_*
  TERMINATION_GRACE_PERIOD_SECONDS, MINIMUM_DRAIN_DURATION
  RUST_LOG, LOG_FORMAT           info, access=debug,xds=trace; plain or json
`;

async function exit(status: 0 | 1): Promise<never> {
  await flushLogs();
  process.exit(status);
}

async function main(command: 'waypoint' | 'router'): Promise<void> {
  const env = { ISTIO_META_ISTIO_VERSION: packageJson.version, ...process.env };
  const settings = parseSettings({ command, env, exists: existsSync });
  if (!settings.ok) {
    for (const problem of settings.error) log.error('the proxy cannot run', { error: problem });
    await exit(1);
    return;
  }
  // One for logs and access logs: two would write into each other's lines.
  const sink = fdSink(1, (lines) => `${lines} log lines dropped: the reader is too slow\n`);
  configureLogging({ ...settings.value.log, sink });
  const maxDescriptors = Number(raiseDescriptorLimit());
  const proxy = new L7Proxy({ settings: settings.value, version: packageJson.version, maxDescriptors, sink });
  let interrupted = false;
  process.on('SIGTERM', () => proxy.shutDown());
  process.on('SIGINT', () => {
    if (interrupted) process.exit(1);
    interrupted = true;
    proxy.shutDown();
  });
  const { role, namespace, gatewayName } = settings.value;
  log.info('starting', { version: packageJson.version, role, gateway: `${namespace}/${gatewayName}`, maxDescriptors });
  await proxy.start();
  await proxy.ended;
}

process.on('uncaughtException', (error) => {
  log.error('the proxy has a fault and ends', { error, stack: error.stack });
  void exit(1);
});

const [, , first, second] = process.argv;
// Istio's images are started as `proxy waypoint`; what follows says nothing here.
const word = first === 'proxy' ? second : first;
if (word === 'waypoint' || word === 'router')
  main(word).then(
    () => exit(0),
    (error: unknown) => {
      log.error('the proxy cannot run', { error: error instanceof Error ? error : String(error) });
      return exit(1);
    },
  );
else if (word === undefined || word === 'help' || word === '--help' || word === '-h') {
  process.stdout.write(HELP);
  process.exit(0);
} else if (word === 'version' || word === '--version') {
  process.stdout.write(`${packageJson.version}\n`);
  process.exit(0);
} else {
  process.stderr.write(`ambit proxy: unknown role \`${word}\`\n${HELP}`);
  process.exit(2);
}
