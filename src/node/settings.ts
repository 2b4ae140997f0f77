// The agent's settings: the environment of Istio's node agent, read once at the start. Pure; every problem is reported.

import {
  DEFAULT_ENABLEMENT,
  type EnablementSelector,
  type EnrolmentRules,
  parseEnablement,
} from '../derive/enrolment.ts';
import { looseBoolean } from '../derive/read.ts';
import { type Ip, isV4, parseIp } from '../model/ip.ts';
import { fail, ok, type Result } from '../model/result.ts';
import type { ProbeSource } from './rules.ts';

export interface AgentSettings {
  /** AMBIENT_ENABLED: without it the agent answers health checks and captures nothing. */
  readonly enabled: boolean;
  readonly nodeName: string;
  readonly enrolment: EnrolmentRules;
  readonly capture: {
    readonly dns: boolean;
    /** Off leaves IPv6 traffic of pods uncaptured. */
    readonly ipv6: boolean;
    readonly probeSource: ProbeSource;
    /** Write the rules of pods that are enrolled already anew at the start. */
    readonly renewAtStart: boolean;
  };
  readonly paths: {
    readonly zdsSocket: string;
    readonly cniSocket: string;
    /** Where namespaces may lie under a name, in the order in which they are tried. */
    readonly netnsFolders: readonly string[];
    /** Put before paths that the node's container runtime names. */
    readonly hostPrefix: string;
    readonly proc: string;
  };
  /** Make the node's own rules in the node's namespace instead of the agent's. */
  readonly switchToHostNetns: boolean;
  readonly listen: { readonly healthPort: number; readonly metricsPort: number };
  readonly log: { readonly format: 'plain' | 'json'; readonly filter: string };
}

export const DEFAULT_PROBE_SOURCE: ProbeSource = {
  v4: '169.254.7.127' as Ip,
  v6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' as Ip,
};
export const DEFAULT_SYSTEM_NAMESPACE = 'istio-system';
export const DEFAULT_RUN_FOLDER = '/var/run/istio-cni';
export const CNI_SOCKET_NAME = 'pluginevent.sock';

/** What Istio's chart configures; the CNI plugin and the agent must agree on it. */
export const DEFAULT_ENROLMENT: EnrolmentRules = {
  excludedNamespaces: new Set(['kube-system']),
  systemNamespace: DEFAULT_SYSTEM_NAMESPACE,
  anySelector: DEFAULT_ENABLEMENT,
};

/**
 * @param env       the process's environment
 * @param parseYaml reads AMBIENT_ENABLEMENT_SELECTOR; may throw
 * @param exists    whether a path is there: the node's file system may be mounted at /host
 * @returns the settings, or one sentence for each variable that cannot be used
 */
export function readSettings(
  env: NodeJS.ProcessEnv,
  parseYaml: (text: string) => unknown,
  exists: (path: string) => boolean,
): Result<AgentSettings, readonly string[]> {
  const problems: string[] = [];
  const set = (key: string): string | undefined => (env[key]?.trim() ? env[key].trim() : undefined);
  const flag = (key: string, fallback: boolean): boolean => {
    const value = set(key);
    const parsed = value === undefined ? fallback : looseBoolean(value);
    if (parsed === undefined) problems.push(`${key}: \`${value}\` is not true or false`);
    return parsed ?? fallback;
  };
  const address = (key: string, v4: boolean, fallback: Ip): Ip => {
    const value = set(key);
    if (value === undefined) return fallback;
    const parsed = parseIp(value);
    if (parsed.ok && isV4(parsed.value) === v4) return parsed.value;
    problems.push(`${key}: \`${value}\` is not an IPv${v4 ? 4 : 6} address`);
    return fallback;
  };
  const port = (key: string, fallback: number): number => {
    const value = set(key);
    if (value === undefined) return fallback;
    if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value);
    problems.push(`${key}: \`${value}\` is not a port`);
    return fallback;
  };

  const nodeName = set('NODE_NAME');
  if (nodeName === undefined) problems.push('NODE_NAME is not set: the agent must know whose pods are its own');
  const format = set('LOG_FORMAT') ?? 'plain';
  if (format !== 'plain' && format !== 'json') problems.push(`LOG_FORMAT: \`${format}\` is not plain or json`);
  const hostPrefix = exists('/host') ? '/host' : '';
  const settings: AgentSettings = {
    enabled: flag('AMBIENT_ENABLED', false),
    nodeName: nodeName ?? '',
    enrolment: {
      excludedNamespaces: new Set((env.EXCLUDE_NAMESPACES ?? 'kube-system').split(',').map((name) => name.trim())),
      systemNamespace: set('SYSTEM_NAMESPACE') ?? set('POD_NAMESPACE') ?? DEFAULT_SYSTEM_NAMESPACE,
      anySelector: enablement(set('AMBIENT_ENABLEMENT_SELECTOR'), parseYaml, problems),
    },
    capture: {
      dns: flag('AMBIENT_DNS_CAPTURE', false),
      ipv6: flag('AMBIENT_IPV6', true),
      probeSource: {
        v4: address('HOST_PROBE_SNAT_IP', true, DEFAULT_PROBE_SOURCE.v4),
        v6: address('HOST_PROBE_SNAT_IPV6', false, DEFAULT_PROBE_SOURCE.v6),
      },
      renewAtStart: flag('AMBIENT_RECONCILE_POD_RULES_ON_STARTUP', false),
    },
    paths: {
      zdsSocket: set('ZTUNNEL_UDS_ADDRESS') ?? '/var/run/ztunnel/ztunnel.sock',
      cniSocket: `${set('CNI_AGENT_RUN_DIR') ?? DEFAULT_RUN_FOLDER}/${CNI_SOCKET_NAME}`,
      netnsFolders: netnsFolders(set('CNI_NETNS_DIR'), hostPrefix),
      hostPrefix,
      proc: exists('/host/proc') ? '/host/proc' : '/proc',
    },
    switchToHostNetns: flag('ALLOW_SWITCH_TO_HOST_NS', false),
    listen: { healthPort: port('HEALTH_PORT', 8000), metricsPort: port('MONITORING_PORT', 15_014) },
    log: { format: format === 'json' ? 'json' : 'plain', filter: set('RUST_LOG') ?? set('LOG_LEVEL') ?? 'info' },
  };
  return problems.length === 0 ? ok(settings) : fail(problems);
}

/** @param chosen CNI_NETNS_DIR: where the container runtime names the namespaces of pods */
function netnsFolders(chosen: string | undefined, hostPrefix: string): readonly string[] {
  const folders = chosen === undefined ? ['/var/run/netns', '/run/netns'] : [chosen];
  return hostPrefix === '' ? folders : [...folders.map((folder) => hostPrefix + folder), ...folders];
}

function enablement(
  text: string | undefined,
  parseYaml: (text: string) => unknown,
  problems: string[],
): readonly EnablementSelector[] {
  if (text === undefined) return DEFAULT_ENABLEMENT;
  const key = 'AMBIENT_ENABLEMENT_SELECTOR';
  try {
    const parsed = parseEnablement(parseYaml(text));
    if (parsed.ok) return parsed.value;
    problems.push(`${key}: ${parsed.error}`);
  } catch (error) {
    problems.push(`${key}: not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  return DEFAULT_ENABLEMENT;
}
