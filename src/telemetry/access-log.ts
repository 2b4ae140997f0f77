// The access log: one line per finished connection, `connection complete`, in Istio's field order; missing values are
// left out. Success is level info, failure error; the opening of a connection is shown at debug.

import { formatSpiffeId } from '../model/identity.ts';
import { formatHostPort } from '../model/ip.ts';
import type { ByteMeter, ConnectionInfo, EarlyDenial, Outcome, Peer } from './connection.ts';
import { type Bare, bare, type Fields, type FieldValue, type Logger } from './log.ts';

const text = (value: string | undefined): string | undefined => (value === '' ? undefined : value);
const podName = (peer: Peer | undefined): string | undefined => text(peer?.name) ?? text(peer?.canonicalName);

function connectionFields(info: ConnectionInfo): Record<string, FieldValue> {
  const { source, destination, sourceIdentity, destinationIdentity } = info;
  return {
    'src.addr': bare(formatHostPort(info.sourceAddress)),
    'src.workload': podName(source),
    'src.namespace': text(source?.namespace),
    'src.identity': sourceIdentity && formatSpiffeId(sourceIdentity),
    'src.cluster': text(source?.cluster),
    'dst.addr': bare(formatHostPort(info.destinationAddress)),
    'dst.hbone_addr': info.hboneAuthority === undefined ? undefined : bare(info.hboneAuthority),
    'dst.service': text(info.destinationService?.hostname),
    'dst.workload': podName(destination),
    'dst.namespace': text(destination?.namespace),
    'dst.identity': destinationIdentity && formatSpiffeId(destinationIdentity),
    'dst.cluster': text(destination?.cluster),
    direction: info.direction,
  };
}

export const logOpened = (log: Logger, info: ConnectionInfo): void => {
  if (log.enabled('debug')) log.debug('connection opened', connectionFields(info));
};

/** @param durationMs  of the whole connection; fractions are cut off */
export function logFinished(
  log: Logger,
  info: ConnectionInfo,
  meter: ByteMeter,
  durationMs: number,
  outcome: Outcome,
): void {
  const failed = outcome.error !== undefined;
  if (!log.enabled(failed ? 'error' : 'info')) return;
  const fields = connectionFields(info);
  // From the reporter's own side: what an outbound proxy sends goes to the server, what an inbound one sends to the client.
  const outbound = info.direction === 'outbound';
  fields.bytes_sent = outbound ? meter.toServer : meter.toClient;
  fields.bytes_recv = outbound ? meter.toClient : meter.toServer;
  fields.duration = `${Math.floor(durationMs)}ms`;
  fields.error = outcome.error;
  if (failed) log.error('connection complete', fields);
  else log.info('connection complete', fields);
}

export function logDenied(log: Logger, denial: EarlyDenial): void {
  const fields: Fields & { 'src.addr': Bare } = {
    'src.addr': bare(formatHostPort(denial.sourceAddress)),
    'dst.addr': bare(formatHostPort(denial.destinationAddress)),
    direction: denial.direction,
    error: denial.error,
  };
  log.warn('connection failed', fields);
}
