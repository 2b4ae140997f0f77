// What policies found without deciding: dry-run policies, and AUDIT. Counted, and logged at debug: nothing else shows what a
// policy under trial would do.

import type { HttpCause, HttpVerdict } from '../../model/http/verdict.ts';
import { logger } from '../../telemetry/log.ts';
import type { Counter, Labelled, Registry } from '../../telemetry/registry.ts';
import type { Exchange } from '../contracts.ts';

const log = logger('rbac');

export class PolicyFindings {
  readonly #found: Labelled<Counter>;

  constructor(registry: Registry) {
    this.#found = registry.counters(
      'ambit_policy_findings',
      'Requests about which a dry-run or AUDIT policy had something to say',
      ['kind', 'would', 'policy'],
    );
  }

  note(exchange: Exchange, { dryRun, audit }: HttpVerdict): void {
    for (const { would, because } of dryRun) this.#note(exchange, 'dry-run', would, because);
    for (const because of audit) this.#note(exchange, 'audit', 'audit', because);
  }

  #note(exchange: Exchange, kind: 'dry-run' | 'audit', would: string, because: HttpCause | undefined): void {
    const policy = because?.policy ?? 'none';
    this.#found.labels(kind, would, policy).inc();
    if (log.enabled('debug'))
      log.debug('policy finding', { kind, would, policy, rule: because?.rule, request: exchange.id });
  }
}
