// The control plane's own server certificate: for the names its Service has, from the same authority, its key in memory.

import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, Timer } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import type { ServerCredentials } from '../grpc/server.ts';
import { issueLeaf } from './authority.ts';
import { issuerChain, rootBundle, type Trust } from './trust.ts';
import { x509 } from './x509.ts';

const log = logger('ca');
const generate = promisify(generateKeyPair);

const TTL_SECONDS = 24 * 3600;
const RETRY_MS = 10_000;

/** The names that proxies look for, as istiod's certificate has them. */
export function servingNames(namespace: string, revision: string, extra: readonly string[]): readonly string[] {
  const names = [`istiod.${namespace}.svc`, `istiod-remote.${namespace}.svc`, `istio-pilot.${namespace}.svc`];
  if (revision !== 'default') names.push(`istiod-${revision}.${namespace}.svc`);
  return [...new Set([...names, ...extra])];
}

/** @returns a fresh key with its certificate */
export async function issueServing(trust: Trust, hosts: readonly string[], nowMs: number): Promise<ServerCredentials> {
  const { publicKey, privateKey } = await generate('ec', { namedCurve: 'prime256v1' });
  const spki = new x509.PublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const leaf = await issueLeaf(trust.bundle, spki, { hosts }, TTL_SECONDS, nowMs);
  return {
    key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    cert: [leaf, ...issuerChain(trust)].join(''),
    clientRoots: rootBundle(trust),
  };
}

/** Keeps a server's certificate fresh: at half its life, and whenever the authority or the roots change. */
export class ServingCertificate {
  readonly #hosts: readonly string[];
  readonly #trust: () => Trust;
  readonly #clock: Clock;
  readonly #use: (credentials: ServerCredentials) => void;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(
    hosts: readonly string[],
    trust: () => Trust,
    clock: Clock,
    use: (credentials: ServerCredentials) => void,
  ) {
    this.#hosts = hosts;
    this.#trust = trust;
    this.#clock = clock;
    this.#use = use;
    this.#plan((TTL_SECONDS * 1000) / 2);
  }

  async renew(): Promise<void> {
    try {
      this.#use(await issueServing(this.#trust(), this.#hosts, this.#clock.nowMs()));
      this.#plan((TTL_SECONDS * 1000) / 2);
    } catch (error) {
      log.error('own certificate not renewed; trying again', { error: error as Error });
      this.#plan(RETRY_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #plan(inMs: number): void {
    this.#timer?.cancel();
    if (!this.#stopped) this.#timer = this.#clock.after(inMs, () => void this.renew());
  }
}
