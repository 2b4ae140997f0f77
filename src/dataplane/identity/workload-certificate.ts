// A workload's certificate as the data path holds it, and who gives it one.

import type { SpiffeId } from '../../model/identity.ts';
import type { WorkloadCredential } from '../../platform/tls/types.ts';

export type Unsubscribe = () => void;

/** A workload's certificate and what it trusts, with its times. Never logged, never written. */
export interface WorkloadCertificate extends WorkloadCredential {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** `realTime`: a connection waits; `warmup`: prefetch; `background`: refresh. */
export type CertificatePriority = 'realTime' | 'warmup' | 'background';

/** Why there is no certificate; `message` is the text that goes in the access log. */
export class CertificateError extends Error {
  readonly identity: SpiffeId;
  constructor(identity: SpiffeId, message: string, options?: ErrorOptions) {
    super(message, options);
    this.identity = identity;
  }
}

export interface Certificates {
  /** The valid certificate of the cache, without waiting; undefined when `forIdentity` would have to fetch or fail. */
  current(id: SpiffeId): WorkloadCertificate | undefined;
  /** @throws CertificateError when the authority refused or cannot be reached and nothing valid is held */
  forIdentity(id: SpiffeId, priority: CertificatePriority): Promise<WorkloadCertificate>;
  /** Called after `current` gives the new one (also when only the roots changed). */
  onRotate(listener: (certificate: WorkloadCertificate) => void): Unsubscribe;
}
