// The real thing: two `ambit ztunnel` processes, one a node, each with one captured pod. The pods' traffic is redirected
// by the node agent's own rules; certificates come over the certificate service; policy, metrics and access log are on.
// Only the control plane and the agent's process are played here: a state file, the descriptor hand-over, an authority.

import { readFileSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { TestAuthority } from '../../src/dataplane/testing/authority.ts';
import type { Ip } from '../../src/model/ip.ts';
import { Netns } from '../../src/platform/linux/netns.ts';
import { type SeqpacketConnection, SeqpacketListener } from '../../src/platform/linux/seqpacket.ts';
import { listenTcp } from '../../src/platform/linux/sockets.ts';
import {
  IstioCertificateResponseSchema,
  IstioCertificateService,
} from '../../src/wire/gen/istio/v1/auth/citadel_pb.ts';
import { decodeAck, decodeHello, encodeRequest } from '../../src/wire/zds/messages.ts';
import { inside, makeAlone, type Pair } from '../network.ts';
import { type Running, startLogging } from '../processes.ts';
import { capture } from './capture.ts';
import type { Path } from './path.ts';

const CA_PORT = 15_012;
const NAMESPACE = 'bench';
const ROLES = ['client', 'server'] as const;
type Role = (typeof ROLES)[number];

/** What the control plane would send: both pods, and a policy that lets the one reach the other. */
function state(pair: Pair): object {
  const workloads = ROLES.map((role) => ({
    uid: `Kubernetes//Pod/${NAMESPACE}/${role}`,
    name: role,
    namespace: NAMESPACE,
    serviceAccount: role,
    workloadIps: [pair[role].ip],
    protocol: 'HBONE',
    node: role,
    workloadName: role,
    canonicalName: role,
    canonicalRevision: 'latest',
    clusterId: 'Kubernetes',
  }));
  const principal = { Exact: `cluster.local/ns/${NAMESPACE}/sa/client` };
  const policies = [
    {
      name: 'client-only',
      namespace: NAMESPACE,
      scope: 'Namespace',
      action: 'Allow',
      rules: [[[{ principals: [principal], notPrincipals: [] }]]],
    },
  ];
  return { workloads, policies, services: [] };
}

function certificateService(
  authority: TestAuthority,
  netns: Netns,
  tls: { cert: string; key: string },
): Http2SecureServer {
  const routes = connectNodeAdapter({
    grpcWeb: false,
    connect: false,
    routes: (router) =>
      void router.service(IstioCertificateService, {
        createCertificate: async ({ csr, metadata }) => {
          const leaf = await authority.sign(csr, String(metadata?.ImpersonatedIdentity));
          return create(IstioCertificateResponseSchema, { certChain: [leaf, authority.rootPem] });
        },
      }),
  });
  const server = createSecureServer(tls, routes);
  server.listen({ fd: listenTcp(netns, { ip: '127.0.0.1' as Ip, port: CA_PORT }) });
  return server;
}

/** The agent's part: takes the hello, hands the pod's namespace over, says that this is all. */
async function handOver(listener: SeqpacketListener, role: Role, netns: Netns): Promise<SeqpacketConnection> {
  const connection = await listener.accept();
  const hello = await connection.receive(15_000);
  if (hello === undefined || !decodeHello(hello.data).ok) throw new Error(`ztunnel of the ${role} did not say hello`);
  const send = async (request: Parameters<typeof encodeRequest>[0], fd?: number): Promise<void> => {
    await connection.send(encodeRequest(request), fd === undefined ? {} : { fd });
    const answer = await connection.receive(15_000);
    const ack = answer && decodeAck(answer.data);
    if (!ack?.ok || ack.value.error !== undefined) throw new Error(`ztunnel of the ${role} refused ${request.kind}`);
  };
  await send(
    { kind: 'add', uid: `uid-${role}`, pod: { name: role, namespace: NAMESPACE, serviceAccount: role } },
    netns.fd,
  );
  await send({ kind: 'snapshotSent' });
  return connection;
}

/** Rejects when the proxy ends, with what it wrote. */
function ended(proxy: Running, logFile: string): Promise<never> {
  return new Promise((_, reject) => {
    proxy.child.once('exit', (code) => {
      reject(new Error(`ztunnel ended (${code}):\n${readFileSync(logFile, 'utf8').slice(-2000)}`));
    });
  });
}

export async function ztunnelPath(folder: string, pair: Pair): Promise<Path> {
  const authority = await TestAuthority.create();
  const issued = await authority.server('localhost');
  const tls = { cert: issued.certificatePem, key: issued.privateKeyPem };
  const stateFile = join(folder, 'state.json');
  writeFileSync(stateFile, JSON.stringify(state(pair)));
  writeFileSync(join(folder, 'token'), 'token');
  const running: Running[] = [];
  const closing: { close(): void }[] = [];
  for (const role of ROLES) {
    const node = `node-of-${role}`;
    makeAlone(node);
    const nodeNetns = Netns.open(`/run/netns/${node}`);
    closing.push(certificateService(authority, nodeNetns, tls));
    const socket = join(folder, `${role}.sock`);
    const listener = SeqpacketListener.listen(socket);
    closing.push(listener);
    const pod = await capture(pair[role]);
    const handedOver = handOver(listener, role, pod);
    const env = {
      XDS_ADDRESS: '',
      LOCAL_XDS_PATH: stateFile,
      CA_ADDRESS: `https://localhost:${CA_PORT}`,
      CA_ROOT_CA: authority.rootPem,
      AUTH_TOKEN: join(folder, 'token'),
      INPOD_UDS: socket,
      NODE_NAME: role,
      ISTIO_META_DNS_CAPTURE: 'false',
      IPV6_ENABLED: 'false',
    };
    const program = [process.execPath, join(import.meta.dirname, '../../dist/ztunnel.mjs')];
    const proxy = startLogging(inside(node, program), join(folder, `ztunnel-${role}.log`), env);
    running.push(proxy);
    closing.push(await Promise.race([handedOver, ended(proxy, join(folder, `ztunnel-${role}.log`))]));
  }
  return {
    subject: 'ambit',
    pair,
    address: (port) => ({ host: pair.server.ip, port }),
    pids: running.map(({ pid }) => pid),
    async stop() {
      for (const proxy of running) await proxy.stop();
      for (const one of closing) one.close();
    },
  };
}
