// The answers for every endpoint that a connection may come to: a service has several, and policies can judge each
// differently.

import { endpointDraws } from './balance.ts';
import { upstreamAt } from './lookup.ts';
import { explainConnection, type FarSide, type WhyAnswer } from './why.ts';
import type { Service, Workload } from './workload.ts';
import type { Dial, World } from './world.ts';

/**
 * One answer for each endpoint that the source's proxy (or the cluster's own rules) may choose, in the order of state;
 * at least one. Where traffic goes to a waypoint: one for each waypoint.
 * @param limit endpoints asked at most
 */
export function explainEndpoints(
  world: World,
  source: Workload,
  dial: Dial,
  limit: number,
  farSide?: FarSide,
): readonly WhyAnswer[] {
  const upstream = upstreamAt(world, source.network, dial.destination.ip, source);
  const draws = upstream?.kind === 'service' ? drawsFor(world, source, upstream.service, dial.destination.port) : [];
  return (draws.length === 0 ? [0] : draws.slice(0, limit)).map((draw) =>
    explainConnection(world, source, dial, () => draw, farSide),
  );
}

/** How many endpoints there are to ask about. */
export function countEndpoints(world: World, source: Workload, dial: Dial): number {
  const upstream = upstreamAt(world, source.network, dial.destination.ip, source);
  return upstream?.kind === 'service' ? drawsFor(world, source, upstream.service, dial.destination.port).length : 1;
}

/** Random numbers, one for each way that the proxy's lot can fall. */
function drawsFor(world: World, source: Workload, service: Service, port: number): readonly number[] {
  if (source.tunnelProtocol === 'hbone') {
    const total = service.weightedWaypoints.reduce((sum, { weight }) => sum + weight, 0);
    let before = 0;
    const draws = service.weightedWaypoints.flatMap(({ weight }) => {
      before += weight;
      return weight === 0 ? [] : [(before - weight / 2) / total];
    });
    if (draws.length > 0) return draws;
    if (service.waypoint !== undefined) return [0];
  }
  return endpointDraws(world, source, service, port).map(({ draw }) => draw);
}
