// One endpoint of a service port as balancing knows it: what is dialled, and what is counted about it. Hosts outlive
// changes of the world as long as their address stays, and with them what was counted.

import type { Endpoint } from '../contracts.ts';
import { newOutlierRecord, type OutlierRecord } from './outlier.ts';

export interface Host {
  /** `ip:port`: its name in consistent hashing. */
  readonly name: string;
  endpoint: Endpoint;
  /** Positive. */
  weight: number;
  /** Requests, or plain connections, under way. */
  active: number;
  /** For slow start. */
  readonly addedAtMs: number;
  readonly record: OutlierRecord;
}

export const newHost = (name: string, endpoint: Endpoint, weight: number, nowMs: number): Host => ({
  name,
  endpoint,
  weight,
  active: 0,
  addedAtMs: nowMs,
  record: newOutlierRecord(),
});
