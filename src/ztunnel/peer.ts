// Who is at an end of a connection, in telemetry's terms: from XDS state, or filled in from baggage.

import { identityOf, type Workload } from '../model/workload.ts';
import type { Peer } from '../telemetry/connection.ts';
import { type Baggage, encodeBaggage } from '../wire/baggage.ts';

interface Derived {
  readonly peer: Peer;
  /** The `baggage` header that describes the workload. */
  baggage: string | undefined;
}

/** Pure functions of an immutable workload, remembered as long as it lives. */
const derived = new WeakMap<Workload, Derived>();

function derive(workload: Workload): Derived {
  let found = derived.get(workload);
  if (found === undefined) {
    const peer: Peer = {
      name: workload.name,
      workload: workload.workloadName,
      canonicalName: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      namespace: workload.namespace,
      cluster: workload.clusterId,
      region: workload.locality.region,
      zone: workload.locality.zone,
      app: workload.canonicalName,
      identity: identityOf(workload),
    };
    found = { peer, baggage: undefined };
    derived.set(workload, found);
  }
  return found;
}

export const peerOf = (workload: Workload): Peer => derive(workload).peer;

export function baggageOf(workload: Workload): string {
  const found = derive(workload);
  found.baggage ??= encodeBaggage(workload);
  return found.baggage;
}

/**
 * The source of an inbound connection: what state says of it; without that, what its baggage claims (never trusted for
 * more than telemetry). Undefined when neither says anything.
 */
export function sourcePeer(workload: Workload | undefined, baggage: Baggage | undefined): Peer | undefined {
  if (workload !== undefined) return peerOf(workload);
  if (baggage === undefined) return undefined;
  const { workloadName, canonicalName, namespace, clusterId } = baggage;
  if (workloadName === undefined && canonicalName === undefined && namespace === undefined) return undefined;
  return {
    name: '',
    workload: workloadName ?? '',
    canonicalName: canonicalName ?? '',
    canonicalRevision: baggage.canonicalRevision ?? '',
    namespace: namespace ?? '',
    cluster: clusterId ?? '',
    region: baggage.region ?? '',
    zone: baggage.zone ?? '',
    app: workloadName ?? '',
    identity: undefined,
  };
}
