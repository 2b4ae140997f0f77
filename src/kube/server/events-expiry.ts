// Events are kept for an hour, as in Kubernetes, and never more than a bound: they tell what happened, not what is.

import type { IEvent } from 'kubernetes-models/v1/Event';
import type { Store } from './store/store.ts';

const COLLECTION = '/events';
const KEEP_MS = 3_600_000;
const MAX_EVENTS = 20_000;

/** Deletes what is old, oldest first. @returns how many */
export function expireEvents(store: Store, nowMs: number): number {
  const dated = store
    .list(COLLECTION)
    .map(({ object }) => ({ object, atMs: lastSeen(object as IEvent) }))
    .toSorted((a, b) => a.atMs - b.atMs);
  const surplus = Math.max(0, dated.length - MAX_EVENTS);
  const old = dated.filter(({ atMs }, i) => i < surplus || nowMs - atMs > KEEP_MS);
  if (old.length > 0) store.writeAll(old.map(({ object }) => ({ collection: COLLECTION, object, remove: true })));
  return old.length;
}

function lastSeen({ series, lastTimestamp, eventTime, metadata }: IEvent): number {
  const text = series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata?.creationTimestamp;
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? 0 : ms;
}
