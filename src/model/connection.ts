// A connection as policy sees it at its destination, and the concrete answers about it.

import type { Facts, Field, Predicate } from './facts.ts';
import { principalOf, type SpiffeId } from './identity.ts';
import { cidrContains, type HostPort, type Ip } from './ip.ts';
import { unreachable } from './result.ts';

export interface Connection {
  /** The TCP peer as the proxy sees it. */
  readonly source: HostPort;
  /** From the peer's certificate; undefined for plaintext. */
  readonly identity: SpiffeId | undefined;
  /** The pod's address, and the port really dialled in it. */
  readonly destination: HostPort;
}

/** The answers about one known connection. */
export const concreteFacts = (connection: Connection): Facts => ({
  test: (field, predicate) => holds(predicate, valueIn(connection, field)),
});

type Value = string | number | undefined;

function valueIn({ source, identity, destination }: Connection, field: Field): Value {
  switch (field) {
    case 'source.principal':
      return identity && principalOf(identity);
    case 'source.namespace':
      return identity?.namespace ?? '';
    case 'source.serviceAccount':
      return identity && `${identity.namespace}/${identity.serviceAccount}`;
    case 'source.ip':
      return source.ip;
    case 'destination.ip':
      return destination.ip;
    case 'destination.port':
      return destination.port;
    default:
      return unreachable(field);
  }
}

/** Whether a value satisfies a predicate; an absent value satisfies none. */
export function holds(predicate: Predicate, value: Value): boolean {
  if (value === undefined) return false;
  if (predicate.kind === 'port') return value === predicate.port;
  if (typeof value === 'number') return predicate.kind === 'present';
  switch (predicate.kind) {
    case 'exact':
      return value === predicate.value;
    case 'prefix':
      return value.startsWith(predicate.value);
    case 'suffix':
      return value.endsWith(predicate.value);
    case 'present':
      return value !== '';
    case 'cidr':
      return cidrContains(predicate.range, value as Ip);
    default:
      return unreachable(predicate);
  }
}
