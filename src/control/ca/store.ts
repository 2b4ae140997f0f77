// The authority in use: loaded from the cluster or made, exchanged when its Secret changes, remembered over restarts.

import { setTimeout as delay } from 'node:timers/promises';
import { startInformer } from '../../kube/client/informer.ts';
import { SECRETS } from '../../kube/client/resources.ts';
import { type KubeClient, KubeError } from '../../kube/client/types.ts';
import type { Result } from '../../model/result.ts';
import type { Clock } from '../../platform/clock.ts';
import { logger } from '../../telemetry/log.ts';
import { type CaBundle, readBundle } from './bundle.ts';
import {
  filesOf,
  PLUGGED_SECRET,
  recordOfSecret,
  recordSecret,
  SELF_SIGNED_SECRET,
  selfSignedSecret,
  TRUST_SECRET,
} from './secrets.ts';
import { createSelfSigned, isRenewalDue, renewSelfSigned } from './self-signed.ts';
import { expire, recordOf, resume, rootBundle, sameBundle, succeed, type Trust } from './trust.ts';

const log = logger('ca');

/** An authority that cannot be used; the message says which Secret and what to do. */
export class CaConfigurationError extends Error {}

export interface CaStoreOptions {
  readonly kube: KubeClient;
  readonly namespace: string;
  readonly clock: Clock;
  /** Name of a self-signed root. */
  readonly organization: string;
  /** 0: ECDSA P-256. */
  readonly rsaBits: number;
  /** How long earlier roots stay trusted. */
  readonly overlapMs: number;
  readonly signal: AbortSignal;
}

const CHECK_INTERVAL_MS = 3_600_000;

export class CaStore {
  readonly #options: CaStoreOptions;
  readonly #listeners: ((trust: Trust) => void)[] = [];
  #trust: Trust;
  #source: string;
  /** Changes of Secrets are taken one after the other. */
  #queue: Promise<void> = Promise.resolve();

  private constructor(options: CaStoreOptions, trust: Trust, source: string) {
    this.#options = options;
    this.#trust = trust;
    this.#source = source;
  }

  /**
   * Loads `cacerts`, else `istio-ca-secret`, else makes the latter.
   * @throws CaConfigurationError when a Secret is there and cannot be used; KubeError
   */
  static async open(options: CaStoreOptions): Promise<CaStore> {
    const { kube, namespace, clock, overlapMs } = options;
    const plugged = await kube.get(SECRETS, PLUGGED_SECRET, namespace);
    const secret = plugged ?? (await kube.get(SECRETS, SELF_SIGNED_SECRET, namespace)) ?? (await make(options));
    const source = secret.metadata?.name ?? '';
    const bundle = readBundle(filesOf(secret), clock.nowMs());
    if (!bundle.ok)
      throw new CaConfigurationError(
        `certificate authority not loaded: Secret ${namespace}/${source}: ${bundle.error}; correct or delete the Secret`,
      );
    const recorded = await kube.get(SECRETS, TRUST_SECRET, namespace);
    const trust = resume(bundle.value, recorded && recordOfSecret(recorded), clock.nowMs(), overlapMs);
    log.info('certificate authority loaded', { source, until: new Date(bundle.value.notAfterMs).toISOString() });
    const store = new CaStore(options, trust, source);
    store.#watch(PLUGGED_SECRET);
    store.#watch(SELF_SIGNED_SECRET);
    void store.#checkRegularly();
    return store;
  }

  get trust(): Trust {
    return this.#trust;
  }

  /** Called after each change of the authority or of the trusted roots. */
  onChange(listener: (trust: Trust) => void): void {
    this.#listeners.push(listener);
  }

  /** For the leader: writes down which roots are in use, and renews a self-signed root that grows old. */
  async maintain(): Promise<void> {
    const { kube, namespace, clock } = this.#options;
    const { bundle } = this.#trust;
    if (this.#source === SELF_SIGNED_SECRET && isRenewalDue(bundle, clock.nowMs())) {
      const secret = await kube.get(SECRETS, SELF_SIGNED_SECRET, namespace);
      const certificate = await renewSelfSigned(bundle, clock.nowMs());
      if (secret !== undefined) {
        const data = { ...secret.data, 'ca-cert.pem': Buffer.from(certificate).toString('base64') };
        await kube.update(SECRETS, { ...secret, data });
        log.info('self-signed root renewed with the same key');
      }
    }
    const wanted = recordSecret(namespace, recordOf(this.#trust));
    const found = await kube.get(SECRETS, TRUST_SECRET, namespace);
    if (found === undefined) await kube.create(SECRETS, wanted);
    else if (JSON.stringify(found.data) !== JSON.stringify(wanted.data))
      await kube.update(SECRETS, { ...found, data: wanted.data ?? {} });
  }

  #watch(name: string): void {
    const { kube, namespace, signal } = this.#options;
    const informer = startInformer(kube, SECRETS, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      signal,
      onError: (error) => log.warn('secret not watched; trying again', { name, error: error as Error }),
    });
    informer.onChange((_key, now) => {
      if (now === undefined)
        log.warn('secret of the certificate authority deleted; the authority stays in use', { name });
      else if (name === PLUGGED_SECRET || this.#source === SELF_SIGNED_SECRET)
        this.#enqueue(() => this.#take(name, readBundle(filesOf(now), this.#options.clock.nowMs())));
    });
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work).catch((error: unknown) => {
      log.error('certificate authority not changed', { error: error as Error });
    });
  }

  async #take(name: string, read: Result<CaBundle, string>): Promise<void> {
    if (!read.ok) {
      log.error('certificate authority not changed: the secret cannot be used; the previous one stays in use', {
        name,
        reason: read.error,
      });
      return;
    }
    if (sameBundle(read.value, this.#trust.bundle)) return;
    const { clock, overlapMs } = this.#options;
    this.#trust = await succeed(this.#trust, read.value, clock.nowMs(), overlapMs);
    this.#source = name;
    log.info('certificate authority changed', {
      source: name,
      roots: rootBundle(this.#trust).split('BEGIN CERTIFICATE').length - 1,
      bridged: (this.#trust.previous?.bridge.length ?? 0) > 0,
    });
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.#trust);
  }

  async #checkRegularly(): Promise<void> {
    const { signal, clock } = this.#options;
    while (!signal.aborted) {
      const aborted = await delay(CHECK_INTERVAL_MS, false, { signal, ref: false }).catch(() => true);
      if (aborted) return;
      this.#enqueue(async () => {
        const trust = expire(this.#trust, clock.nowMs());
        if (trust === this.#trust) return;
        this.#trust = trust;
        log.info('earlier roots are no longer trusted');
        this.#tell();
      });
    }
  }
}

/** Makes the self-signed Secret; when another replica was faster, takes that one's. */
async function make(options: CaStoreOptions): Promise<NonNullable<Awaited<ReturnType<typeof readSelfSigned>>>> {
  const { kube, namespace, clock, organization, rsaBits } = options;
  const files = await createSelfSigned(organization, rsaBits, clock.nowMs());
  try {
    const made = await kube.create(SECRETS, selfSignedSecret(namespace, files));
    log.info('self-signed certificate authority created', { secret: `${namespace}/${SELF_SIGNED_SECRET}` });
    return made;
  } catch (error) {
    const other = error instanceof KubeError && error.code === 409 ? await readSelfSigned(options) : undefined;
    if (other === undefined) throw error;
    return other;
  }
}

const readSelfSigned = ({ kube, namespace }: CaStoreOptions) => kube.get(SECRETS, SELF_SIGNED_SECRET, namespace);
