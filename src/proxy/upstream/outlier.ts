// Outlier detection: which endpoints are left out for a while because of how they answered (Istio: outlierDetection;
// Envoy: its rules of ejection). Pure: outcomes and times come in. A record a request; a look at all once an interval,
// and only while there is something to look at.
//
//   counted ──too many in a row, and few enough are out──> ejected ──base × times ejected, at an interval──> counted

import type { OutlierDetection } from '../../model/proxy/service-config.ts';
import type { TryOutcome } from '../contracts.ts';

/** An ejection lasts no longer than this, or than the base time if that is longer (Envoy: max_ejection_time). */
const MAX_EJECTION_MS = 300_000;

/** What is kept of one endpoint. */
export interface OutlierRecord {
  serverErrors: number;
  gatewayErrors: number;
  localFailures: number;
  ejected: boolean;
  ejectedAtMs: number;
  /** Times ejected of late: how much longer each next one lasts. */
  times: number;
}

export const newOutlierRecord = (): OutlierRecord => ({
  serverErrors: 0,
  gatewayErrors: 0,
  localFailures: 0,
  ejected: false,
  ejectedAtMs: 0,
  times: 0,
});

export class OutlierDetector {
  /** May be replaced: what was recorded stays. */
  rules: OutlierDetection;
  private records: readonly OutlierRecord[] = [];
  private ejectedCount = 0;
  private nextLookMs = Number.POSITIVE_INFINITY;

  constructor(rules: OutlierDetection) {
    this.rules = rules;
  }

  /** The endpoints that there are now; what was recorded of them stays. */
  watch(records: readonly OutlierRecord[], nowMs: number): void {
    this.records = records;
    this.ejectedCount = 0;
    let remembered = false;
    for (const record of records) {
      if (record.ejected) this.ejectedCount++;
      if (record.times > 0) remembered = true;
    }
    // No later than before: endpoints that come and go all the time must not put it off for ever.
    this.nextLookMs = remembered ? Math.min(this.nextLookMs, nowMs + this.rules.intervalMs) : Number.POSITIVE_INFINITY;
  }

  /** @returns true if the endpoint is out from now on */
  record(record: OutlierRecord, outcome: TryOutcome, nowMs: number): boolean {
    const { rules } = this;
    switch (outcome.kind) {
      case 'cancelled':
        return false;
      case 'status':
        record.localFailures = 0;
        return this.count(record, outcome.status, nowMs);
      default:
        if (!rules.splitsLocalOrigin) return this.count(record, outcome.kind === 'timeout' ? 504 : 503, nowMs);
        record.localFailures++;
        if (rules.consecutiveLocalOriginFailures === 0 || record.localFailures < rules.consecutiveLocalOriginFailures)
          return false;
        record.localFailures = 0;
        return this.eject(record, nowMs);
    }
  }

  /** Lets those back in whose time is over. @returns true if there were any */
  look(nowMs: number): boolean {
    if (nowMs < this.nextLookMs) return false;
    let returned = false;
    let remembered = false;
    for (const record of this.records) {
      if (record.ejected) {
        const { baseEjectionMs } = this.rules;
        const lastsMs = Math.min(baseEjectionMs * record.times, Math.max(baseEjectionMs, MAX_EJECTION_MS));
        if (record.ejectedAtMs + lastsMs <= nowMs) {
          record.ejected = false;
          this.ejectedCount--;
          returned = true;
        }
      } else if (record.times > 0) record.times--;
      if (record.ejected || record.times > 0) remembered = true;
    }
    this.nextLookMs = remembered ? nowMs + this.rules.intervalMs : Number.POSITIVE_INFINITY;
    return returned;
  }

  private count(record: OutlierRecord, status: number, nowMs: number): boolean {
    const { rules } = this;
    if (status < 500) {
      record.serverErrors = 0;
      record.gatewayErrors = 0;
      return false;
    }
    record.serverErrors++;
    record.gatewayErrors = status >= 502 && status <= 504 ? record.gatewayErrors + 1 : 0;
    const gateway = rules.consecutiveGatewayErrors > 0 && record.gatewayErrors >= rules.consecutiveGatewayErrors;
    const server = rules.consecutive5xx > 0 && record.serverErrors >= rules.consecutive5xx;
    if (gateway) record.gatewayErrors = 0;
    if (server) record.serverErrors = 0;
    return (gateway || server) && this.eject(record, nowMs);
  }

  private eject(record: OutlierRecord, nowMs: number): boolean {
    if (record.ejected) return false; // requests of before its ejection still end
    if (100 * this.ejectedCount >= this.rules.maxEjectionPercent * this.records.length) return false;
    record.ejected = true;
    record.ejectedAtMs = nowMs;
    record.times++;
    this.ejectedCount++;
    this.nextLookMs = Math.min(this.nextLookMs, nowMs + this.rules.intervalMs);
    return true;
  }
}
