// One Envoy as an L7 hop: a route, an RBAC filter, jwt_authn if asked for, its statistics and an access log; one worker.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HTTP_PORT } from '../load/protocol.ts';
import { inside, type Pair } from '../network.ts';
import { start } from '../processes.ts';
import { envoyBinary } from './envoy.ts';
import { ISSUER, type L7Setting, LISTEN_PORT } from './l7-world.ts';
import type { Path } from './path.ts';

const TYPE = 'type.googleapis.com/envoy.extensions';
const at = (address: string, port: number): object => ({ socket_address: { address, port_value: port } });

function config(folder: string, { server, token }: L7Setting): object {
  const rbac = {
    '@type': `${TYPE}.filters.http.rbac.v3.RBAC`,
    rules: {
      action: 'ALLOW',
      policies: {
        allow: {
          permissions: [
            {
              and_rules: {
                rules: [
                  { header: { name: ':method', string_match: { exact: 'GET' } } },
                  { url_path: { path: { prefix: '/' } } },
                ],
              },
            },
          ],
          principals: [{ any: true }],
        },
      },
    },
  };
  const jwt = token && {
    '@type': `${TYPE}.filters.http.jwt_authn.v3.JwtAuthentication`,
    providers: { bench: { issuer: ISSUER, local_jwks: { inline_string: token.jwks }, forward: true } },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'bench' } }],
  };
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'l7',
    access_log: [
      {
        name: 'file',
        typed_config: {
          '@type': `${TYPE}.access_loggers.file.v3.FileAccessLog`,
          path: join(folder, 'access.log'),
        },
      },
    ],
    http_filters: [
      ...(jwt === undefined ? [] : [{ name: 'jwt', typed_config: jwt }]),
      { name: 'rbac', typed_config: rbac },
      { name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['bench.example'],
          routes: [
            { match: { path_separated_prefix: '/other' }, direct_response: { status: 404 } },
            { match: { prefix: '/' }, route: { cluster: 'app' } },
          ],
        },
      ],
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: 'http',
          address: at('0.0.0.0', LISTEN_PORT),
          filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
        },
      ],
      clusters: [
        {
          name: 'app',
          type: 'STATIC',
          connect_timeout: '5s',
          load_assignment: {
            cluster_name: 'app',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: at(server, HTTP_PORT) } }] }],
          },
        },
      ],
    },
  };
}

export async function envoyHop(folder: string, pair: Pair, setting: L7Setting): Promise<Path> {
  const own = join(folder, `envoy-l7-${pair.client.netns}`);
  mkdirSync(own, { recursive: true });
  const file = join(own, 'envoy.json');
  writeFileSync(file, JSON.stringify(config(own, setting)));
  const args = [
    '-c',
    file,
    '--concurrency',
    '1',
    '--disable-hot-restart',
    '--log-level',
    'warning',
    '--component-log-level',
    'main:info',
  ];
  const proxy = await start(inside(pair.client.netns, [await envoyBinary(), ...args]), {
    ready: /starting main dispatch loop/,
  });
  return {
    subject: 'envoy',
    pair,
    address: () => ({ host: '127.0.0.1', port: LISTEN_PORT }),
    pids: [proxy.pid],
    stop: () => proxy.stop(),
  };
}
