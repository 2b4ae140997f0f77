// Where an API is and who we are to it: from a kubeconfig file (certificates, tokens, exec plugins), or from the
// service account inside a pod. Our own reader, since the official client's costs each process a quarter of a second.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, resolve } from 'node:path';
import { promisify } from 'node:util';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const TOKEN_REREAD_MS = 10_000;

/** One API server and one identity. */
export interface KubeConnection {
  /** `https://host:port`, without a path. */
  readonly server: string;
  /** Namespace of the context or of the pod. */
  readonly namespace: string;
  readonly caPem?: string | undefined;
  readonly tlsServerName?: string | undefined;
  readonly skipTlsVerify?: boolean | undefined;
  /** Asked before each request; answers from memory unless the credential may have changed. */
  readonly credential: () => Promise<KubeCredential>;
}

export interface KubeCredential {
  readonly token?: string | undefined;
  readonly certPem?: string | undefined;
  readonly keyPem?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** A kubeconfig or service account that cannot be used. */
export class KubeconfigError extends Error {}

export interface ConnectOptions {
  /** Path of a kubeconfig; otherwise `$KUBECONFIG`, else the pod's service account, else `~/.kube/config`. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * Finds the connection to use, in kubectl's order.
 * @throws KubeconfigError saying which file and field
 */
export async function findConnection(
  options: ConnectOptions = {},
  env: NodeJS.ProcessEnv = process.env,
): Promise<KubeConnection> {
  if (options.kubeconfig !== undefined) return loadKubeconfig([options.kubeconfig], options.context);
  const paths = (env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  if (paths.length > 0) return loadKubeconfig(paths, options.context);
  if (env.KUBERNETES_SERVICE_HOST !== undefined && options.context === undefined) return inCluster(env);
  return loadKubeconfig([resolve(homedir(), '.kube/config')], options.context);
}

/** The pod's own service account. The token file is read again, because the kubelet replaces it before it expires. */
export function inCluster(env: NodeJS.ProcessEnv = process.env, folder = SERVICE_ACCOUNT): KubeConnection {
  const host = env.KUBERNETES_SERVICE_HOST;
  if (host === undefined) throw new KubeconfigError('not in a pod: `KUBERNETES_SERVICE_HOST` is not set');
  const caPem = readText(`${folder}/ca.crt`);
  const token = rereading(`${folder}/token`);
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? '443'}`,
    namespace: readText(`${folder}/namespace`).trim(),
    caPem,
    credential: async () => ({ token: token() }),
  };
}

function rereading(path: string): () => string {
  let text = '';
  let readAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = performance.now();
    if (nowMs - readAtMs > TOKEN_REREAD_MS) {
      text = readText(path).trim();
      readAtMs = nowMs;
    }
    return text;
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KubeconfigError(`\`${path}\` cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

interface Named<T> {
  readonly name: string;
  readonly item: T | undefined;
  /** Relative paths in the item start here. */
  readonly folder: string;
}
interface Cluster {
  server?: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'insecure-skip-tls-verify'?: boolean;
  'tls-server-name'?: string;
}
interface ExecPlugin {
  command: string;
  args?: string[];
  env?: { name: string; value: string }[];
  apiVersion: string;
}
interface User {
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  exec?: ExecPlugin;
}
interface Context {
  cluster?: string;
  user?: string;
  namespace?: string;
}
interface Kubeconfig {
  clusters: Named<Cluster>[];
  users: Named<User>[];
  contexts: Named<Context>[];
  current: string | undefined;
}

/** Reads and merges kubeconfig files (the first to name something wins) and takes one context of them. */
export async function loadKubeconfig(paths: readonly string[], context?: string): Promise<KubeConnection> {
  const merged: Kubeconfig = { clusters: [], users: [], contexts: [], current: undefined };
  for (const path of paths) {
    const one = await readKubeconfig(path);
    merged.clusters.push(...one.clusters);
    merged.users.push(...one.users);
    merged.contexts.push(...one.contexts);
    merged.current ??= one.current;
  }
  const where = paths.join(delimiter);
  const contextName = context ?? merged.current ?? merged.contexts[0]?.name;
  const chosen = merged.contexts.find(({ name }) => name === contextName)?.item;
  if (chosen === undefined) throw new KubeconfigError(`\`${where}\` has no context \`${contextName ?? ''}\``);
  const cluster = merged.clusters.find(({ name }) => name === chosen.cluster);
  if (cluster?.item?.server === undefined)
    throw new KubeconfigError(`\`${where}\` has no server for the cluster \`${chosen.cluster ?? ''}\``);
  const user = merged.users.find(({ name }) => name === chosen.user);
  const { item } = cluster;
  return {
    server: cluster.item.server.replace(/\/+$/, ''),
    namespace: chosen.namespace ?? 'default',
    caPem: pemOf(item['certificate-authority-data'], item['certificate-authority'], cluster.folder),
    tlsServerName: item['tls-server-name'],
    skipTlsVerify: item['insecure-skip-tls-verify'],
    credential: credentialOf(user?.item ?? {}, user?.folder ?? '.'),
  };
}

async function readKubeconfig(path: string): Promise<Kubeconfig> {
  const text = readText(path);
  let document: unknown;
  try {
    document = text.trimStart().startsWith('{') ? JSON.parse(text) : (await import('yaml')).parse(text);
  } catch (error) {
    throw new KubeconfigError(`\`${path}\` does not parse: ${(error as Error).message}`, { cause: error });
  }
  if (typeof document !== 'object' || document === null) throw new KubeconfigError(`\`${path}\` is no kubeconfig`);
  const fields = document as Record<string, unknown>;
  const named = <T>(list: string, field: string): Named<T>[] =>
    (Array.isArray(fields[list]) ? fields[list] : []).map((entry: Record<string, unknown>) => ({
      name: String(entry?.name),
      item: (entry?.[field] ?? undefined) as T | undefined,
      folder: dirname(resolve(path)),
    }));
  const current = fields['current-context'];
  return {
    clusters: named('clusters', 'cluster'),
    users: named('users', 'user'),
    contexts: named('contexts', 'context'),
    current: typeof current === 'string' && current !== '' ? current : undefined,
  };
}

function pemOf(data: string | undefined, file: string | undefined, folder: string): string | undefined {
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  return file === undefined ? undefined : readText(resolve(folder, file));
}

function credentialOf(user: User, folder: string): () => Promise<KubeCredential> {
  if (user.exec !== undefined) return execCredential(user.exec);
  const fixed = {
    certPem: pemOf(user['client-certificate-data'], user['client-certificate'], folder),
    keyPem: pemOf(user['client-key-data'], user['client-key'], folder),
    username: user.username,
    password: user.password,
  };
  const token = user.tokenFile === undefined ? () => user.token : rereading(resolve(folder, user.tokenFile));
  return async () => ({ ...fixed, token: token() });
}

/** Runs a client-go credential plugin, and again when what it gave has expired. */
function execCredential(plugin: ExecPlugin): () => Promise<KubeCredential> {
  let held: { credential: KubeCredential; untilMs: number } | undefined;
  return async () => {
    if (held !== undefined && Date.now() < held.untilMs) return held.credential;
    const env = { ...process.env, ...Object.fromEntries((plugin.env ?? []).map(({ name, value }) => [name, value])) };
    env.KUBERNETES_EXEC_INFO = JSON.stringify({
      apiVersion: plugin.apiVersion,
      kind: 'ExecCredential',
      spec: { interactive: false },
    });
    try {
      const { stdout } = await promisify(execFile)(plugin.command, plugin.args ?? [], { env, timeout: 60_000 });
      const { status = {} } = JSON.parse(stdout) as { status?: Record<string, string | undefined> };
      const expiry = Date.parse(status.expirationTimestamp ?? '');
      held = {
        credential: { token: status.token, certPem: status.clientCertificateData, keyPem: status.clientKeyData },
        untilMs: Number.isNaN(expiry) ? Number.POSITIVE_INFINITY : expiry - 10_000,
      };
      return held.credential;
    } catch (error) {
      throw new KubeconfigError(`credential plugin \`${plugin.command}\` failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
}
