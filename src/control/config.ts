// The control plane's settings: istiod's flags and environment as far as they make sense here, read once at the start.
// Pure; every problem is reported, not only the first.

import { looseBoolean } from '../derive/read.ts';
import { type Cidr, parseCidr } from '../model/ip.ts';
import { CONTROL_PLANE_METRICS_PORT, CONTROL_PLANE_PORT } from '../model/ports.ts';
import { fail, ok, type Result } from '../model/result.ts';

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export interface ControlConfig {
  readonly kubeconfig: string | undefined;
  readonly identity: {
    readonly podName: string;
    readonly namespace: string;
    readonly clusterId: string;
    readonly clusterDomain: string;
    readonly revision: string;
  };
  /** Image of the L7 proxy, for the pods of Gateways. */
  readonly proxyImage: string;
  readonly listen: { readonly grpc: Listen; readonly http: Listen; readonly metrics: Listen };
  readonly discovery: {
    readonly maxNewStreams: number;
    readonly checkIdentity: boolean;
    readonly autoAllowWaypoints: boolean;
    readonly dryRunPolicies: boolean;
    /** PILOT_JWT_PUB_KEY_REFRESH_INTERVAL: how often keys of tokens are fetched again. */
    readonly keyRefreshSeconds: number;
    /** BLOCKED_CIDRS_IN_JWKS_URIS: where keys of tokens are never fetched from. */
    readonly blockedKeyAddresses: readonly Cidr[];
  };
  readonly ca: {
    readonly audiences: readonly string[];
    /** `<namespace>/<account>` of the node proxies that may ask for others' certificates. */
    readonly trustedNodeAccounts: ReadonlySet<string>;
    readonly defaultTtlSeconds: number;
    readonly maxTtlSeconds: number;
    readonly rsaBits: number;
    /** Names of the server's certificate besides the usual. */
    readonly extraHosts: readonly string[];
  };
  readonly log: { readonly format: 'plain' | 'json'; readonly filter: string };
}

export interface Flags {
  readonly kubeconfig?: string | undefined;
  readonly secureGRPCAddr?: string | undefined;
  readonly httpAddr?: string | undefined;
  readonly monitoringAddr?: string | undefined;
  readonly domain?: string | undefined;
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** Go's durations: `24h`, `1h30m`, `10s`. @returns seconds; undefined when it is none */
export function durationSeconds(text: string): number | undefined {
  if (!/^([0-9]+(\.[0-9]+)?(h|ms|m|s))+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, number, unit] of text.matchAll(/([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)/g))
    seconds += Number(number) * (UNIT_SECONDS[unit as string] as number);
  return Math.floor(seconds);
}

class Reader {
  readonly problems: string[] = [];
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  text(key: string, fallback: string): string {
    return this.#env[key]?.trim() || fallback;
  }

  list(key: string, fallback: string): readonly string[] {
    const items = this.text(key, fallback).split(',');
    return items.map((item) => item.trim()).filter((item) => item !== '');
  }

  #read<T>(key: string, fallback: T, parse: (value: string) => T | undefined, wanted: string): T {
    const value = this.text(key, '');
    if (value === '') return fallback;
    const parsed = parse(value);
    if (parsed === undefined) this.problems.push(`${key}: \`${value}\` is not ${wanted}`);
    return parsed ?? fallback;
  }

  boolean(key: string, fallback: boolean): boolean {
    return this.#read(key, fallback, looseBoolean, 'true or false');
  }

  integer(key: string, fallback: number, min: number, max: number): number {
    const parse = (value: string): number | undefined => {
      const number = /^[0-9]{1,9}$/.test(value) ? Number(value) : -1;
      return number >= min && number <= max ? number : undefined;
    };
    return this.#read(key, fallback, parse, `a whole number from ${min} to ${max}`);
  }

  duration(key: string, fallback: number): number {
    const parse = (value: string): number | undefined => {
      const seconds = durationSeconds(value);
      return seconds !== undefined && seconds >= 1 ? seconds : undefined;
    };
    return this.#read(key, fallback, parse, 'a duration such as 24h or 90m');
  }

  /** Address ranges, comma-separated. */
  ranges(key: string): readonly Cidr[] {
    return this.list(key, '').flatMap((text) => {
      const range = parseCidr(text);
      if (range.ok) return [range.value];
      this.problems.push(`${key}: \`${text}\` is no address range such as 10.0.0.0/8`);
      return [];
    });
  }

  /** `:15012`, `127.0.0.1:15012`, `[::1]:15012`; port 0 takes a free one. */
  address(flag: string, value: string | undefined, port: number): Listen {
    if (value === undefined) return { host: '::', port };
    const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(value);
    const given = Number(match?.[3] ?? 65536);
    if (match !== null && given <= 65535) return { host: match[1] ?? (match[2] || '::'), port: given };
    this.problems.push(`--${flag}: \`${value}\` is not an address such as :${port} or 127.0.0.1:${port}`);
    return { host: '::', port };
  }
}

/** istiod: 15 new streams a second, and 5 for each core, at most 100. */
const defaultStreams = (cores: number): number => Math.min(15 + 5 * cores, 100);

/**
 * @param cores  CPUs that the process may use
 * @returns the configuration, or one sentence for each setting that cannot be used
 */
export function readConfig(
  flags: Flags,
  env: NodeJS.ProcessEnv,
  cores: number,
  hostname: string,
): Result<ControlConfig, readonly string[]> {
  const reader = new Reader(env);
  const namespace = reader.text('POD_NAMESPACE', 'istio-system');
  const rsaBits = reader.integer('CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE', 0, 0, 8192);
  if (rsaBits !== 0 && rsaBits < 2048)
    reader.problems.push('CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: a key of less than 2048 bits is not safe');
  const format = reader.text('LOG_FORMAT', 'plain');
  if (format !== 'plain' && format !== 'json') reader.problems.push(`LOG_FORMAT: \`${format}\` is not plain or json`);
  const config: ControlConfig = {
    kubeconfig: flags.kubeconfig,
    identity: {
      podName: reader.text('POD_NAME', hostname),
      namespace,
      clusterId: reader.text('CLUSTER_ID', 'Kubernetes'),
      clusterDomain: flags.domain ?? reader.text('CLUSTER_DOMAIN', 'cluster.local'),
      revision: reader.text('REVISION', 'default'),
    },
    proxyImage: reader.text('PROXY_IMAGE', 'ambit/proxy'),
    listen: {
      grpc: reader.address('secureGRPCAddr', flags.secureGRPCAddr, CONTROL_PLANE_PORT),
      http: reader.address('httpAddr', flags.httpAddr, 8080),
      metrics: reader.address('monitoringAddr', flags.monitoringAddr, CONTROL_PLANE_METRICS_PORT),
    },
    discovery: {
      maxNewStreams: reader.integer('PILOT_MAX_REQUESTS_PER_SECOND', defaultStreams(cores), 1, 1_000_000),
      checkIdentity: reader.boolean('PILOT_ENABLE_XDS_IDENTITY_CHECK', true),
      autoAllowWaypoints: reader.boolean('PILOT_AUTO_ALLOW_WAYPOINT_POLICY', false),
      dryRunPolicies: reader.boolean('AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY', false),
      keyRefreshSeconds: reader.duration('PILOT_JWT_PUB_KEY_REFRESH_INTERVAL', 20 * 60),
      blockedKeyAddresses: reader.ranges('BLOCKED_CIDRS_IN_JWKS_URIS'),
    },
    ca: {
      audiences: reader.list('TOKEN_AUDIENCES', 'istio-ca'),
      trustedNodeAccounts: new Set(reader.list('CA_TRUSTED_NODE_ACCOUNTS', `${namespace}/ztunnel`)),
      defaultTtlSeconds: reader.duration('DEFAULT_WORKLOAD_CERT_TTL', 24 * 3600),
      maxTtlSeconds: reader.duration('MAX_WORKLOAD_CERT_TTL', 90 * 24 * 3600),
      rsaBits,
      extraHosts: reader.list('ISTIOD_CUSTOM_HOST', ''),
    },
    log: {
      format: format === 'json' ? 'json' : 'plain',
      filter: reader.text('RUST_LOG', reader.text('LOG_LEVEL', 'info')),
    },
  };
  if (config.ca.defaultTtlSeconds > config.ca.maxTtlSeconds)
    reader.problems.push('DEFAULT_WORKLOAD_CERT_TTL is longer than MAX_WORKLOAD_CERT_TTL');
  return reader.problems.length === 0 ? ok(config) : fail(reader.problems);
}
