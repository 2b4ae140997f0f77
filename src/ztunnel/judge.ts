// Asks the model about a new inbound connection and writes down what dry-run policies would have done.

import type { Connection } from '../model/connection.ts';
import { formatHostPort } from '../model/ip.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Workload } from '../model/workload.ts';
import { bare } from '../telemetry/log.ts';
import type { PodContext } from './context.ts';

export function judge(pod: PodContext, destination: Workload, connection: Connection): Verdict {
  const verdict = pod.authorizer.authorize(destination, connection);
  if (verdict.dryRun.length > 0 || verdict.effect === 'deny') report(pod, connection, verdict);
  return verdict;
}

function report(pod: PodContext, connection: Connection, verdict: Verdict): void {
  const write = pod.settings.policyDecisionsAtInfo ? pod.log.info : pod.log.debug;
  const ends = {
    'src.addr': bare(formatHostPort(connection.source)),
    'dst.addr': bare(formatHostPort(connection.destination)),
  };
  for (const { would, policy } of verdict.dryRun)
    write(`dry-run policy would ${would} the connection`, { policy: policy ?? 'none matched', ...ends });
  if (verdict.effect === 'deny') write('connection refused by policy', { reason: verdict.reason, ...ends });
}
