// `ambit node-agent`: the node's agent as a process. Everything is made here and handed down; nothing below reads the
// environment. SIGTERM ends it and leaves every pod captured and served: a successor takes over.

import { existsSync } from 'node:fs';
import type { Server } from 'node:http';
import { connectKube } from '../kube/client/client.ts';
import { startInformer } from '../kube/client/informer.ts';
import { NAMESPACES, PODS } from '../kube/client/resources.ts';
import { systemClock } from '../platform/clock.ts';
import { Netns } from '../platform/linux/netns.ts';
import { raiseDescriptorLimit } from '../platform/linux/process.ts';
import { kernelHasIpv6 } from '../platform/linux/sockets.ts';
import { configureLogging, flushLogs, logger } from '../telemetry/log.ts';
import { NodeAgent } from './agent.ts';
import { startCniServer } from './cni-server.ts';
import { AgentMetrics, answerHealth, Readiness } from './health.ts';
import { httpServer, listen } from './http.ts';
import { NetnsResolver } from './netns-resolver.ts';
import { PodReporter } from './pod-reporter.ts';
import { findKubeletUid, ProbeTargets } from './probes.ts';
import { redirector } from './redirection.ts';
import { type AgentSettings, readSettings } from './settings.ts';
import { ZdsServer } from './zds-server.ts';

const log = logger('agent');
const EXIT_CONFIGURATION = 2;

/** Runs until `signal` is aborted. @throws what makes the agent useless: no API, no rules, no sockets */
export async function runAgent(settings: AgentSettings, signal: AbortSignal): Promise<void> {
  const { nodeName, listen: ports } = settings;
  raiseDescriptorLimit();
  const readiness = new Readiness('pods', 'zds', 'cni');
  const servers: Server[] = [];
  const metrics = new AgentMetrics(() => agent?.counts ?? { enrolled: 0, pending: 0, failed: 0 });
  let agent: NodeAgent | undefined;
  using cleanup = new DisposableStack();
  cleanup.defer(() => {
    for (const server of servers) server.close().closeAllConnections();
  });
  for (const [port, handle] of [
    [ports.healthPort, (question) => answerHealth(question, readiness)],
    [ports.metricsPort, (question) => metrics.answer(question)],
  ] as const satisfies [number, Parameters<typeof httpServer>[0]][]) {
    const server = httpServer(handle);
    await listen(server, { port });
    servers.push(server);
  }
  const ended = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  if (!settings.enabled) {
    log.warn('AMBIENT_ENABLED is not true: no pod is captured');
    await ended;
    return;
  }

  const client = await connectKube({ userAgent: 'ambit-node-agent' });
  const onError = (error: unknown): void => log.warn('the Kubernetes API does not answer', { error: error as Error });
  const pods = startInformer(client, PODS, { fieldSelector: `spec.nodeName=${nodeName}`, signal, onError });
  const namespaces = startInformer(client, NAMESPACES, { signal, onError });
  const host = cleanup.use(
    settings.switchToHostNetns ? Netns.open(`${settings.paths.proc}/1/ns/net`) : Netns.current(),
  );
  const resolver = new NetnsResolver({
    folders: settings.paths.netnsFolders,
    proc: settings.paths.proc,
    host,
    clock: systemClock,
  });
  await Promise.race([Promise.all([pods.synced, namespaces.synced]), ended]);
  if (signal.aborted) return;

  const kubeletUid = findKubeletUid(settings.paths.proc);
  if (kubeletUid === undefined) log.info('no kubelet process found, probes are taken to come from uid 0');
  const probes = await ProbeTargets.install(host, kubeletUid ?? 0, settings.capture.probeSource);
  const zds = new ZdsServer({
    path: settings.paths.zdsSocket,
    snapshot: () => agent?.snapshot() ?? [],
    onRefused: (uid, error) => void agent?.proxyRefused(uid, error),
    onConnections: (count) => metrics.proxies.set(count),
    clock: systemClock,
    log: logger('zds'),
  });
  agent = new NodeAgent({
    client,
    nodeName,
    pods,
    namespaces,
    enrolment: settings.enrolment,
    capture: { ...settings.capture, ipv6: settings.capture.ipv6 && kernelHasIpv6() },
    proxies: zds,
    probes,
    redirector: redirector(['/proc', ...(settings.paths.proc === '/proc' ? [] : [settings.paths.proc])]),
    findNetns: (uid) => resolver.find(uid),
    reporter: new PodReporter(client, nodeName, systemClock, log),
    log,
  });
  cleanup.defer(() => agent?.stop());
  await agent.start();
  readiness.ready('pods');
  zds.listen();
  cleanup.defer(() => zds.close());
  readiness.ready('zds');
  const { cniSocket, hostPrefix, netnsFolders } = settings.paths;
  servers.push(
    await startCniServer({
      path: cniSocket,
      netnsFolders,
      hostPrefix,
      podStarting: agent.podStarting.bind(agent),
      log: logger('cni'),
    }),
  );
  readiness.ready('cni');
  log.info('ready', { node: nodeName, enrolled: agent.counts.enrolled, zds: settings.paths.zdsSocket });
  await ended;
  log.info('stopping; pods stay captured and served', { enrolled: agent.counts.enrolled });
}

async function main(): Promise<void> {
  const yaml = process.env.AMBIENT_ENABLEMENT_SELECTOR ? await import('yaml') : undefined;
  const settings = readSettings(process.env, (text) => yaml?.parse(text) as unknown, existsSync);
  if (!settings.ok) {
    for (const problem of settings.error) log.error('setting refused', { problem });
    process.exitCode = EXIT_CONFIGURATION;
    return;
  }
  const logging = configureLogging(settings.value.log);
  if (!logging.ok) log.warn('log filter ignored', { problem: logging.error });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop.abort());
  try {
    await runAgent(settings.value, stop.signal);
  } catch (error) {
    log.error('the node agent ends', { error: error as Error });
    process.exitCode = 1;
  }
  await flushLogs();
  process.exit();
}

if (import.meta.main) await main();
