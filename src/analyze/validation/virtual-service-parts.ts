// Rules that the layers of a VirtualService share.

import { Field } from '../field.ts';
import type { Faults } from './faults.ts';

/** `name` or `<namespace>/<name>`; `mesh` is every proxy in the mesh. */
export function checkGatewayName(gateway: Field, faults: Faults): void {
  const parts = gateway.text.split('/');
  if (parts.length > 2 || parts.some((part) => part === '')) {
    faults.invalid(gateway, 'must be the name of a gateway, or <namespace>/<name>');
    return;
  }
  faults.host(new Field(parts.at(-1), gateway.path), { wildcard: false });
}

/** Several destinations share the traffic by weight, so that one at least must have some. */
export function checkWeights(at: Field, destinations: readonly Field[], faults: Faults): void {
  if (destinations.length < 2) return;
  const total = destinations.reduce((sum, destination) => sum + Math.max(0, destination.at('weight').number ?? 0), 0);
  if (total === 0) faults.invalid(at, 'the weights of the destinations add up to 0');
}

/** Whether a host pattern takes every name that another one takes. */
export function covers(pattern: string, name: string): boolean {
  const [wide, narrow] = [pattern.toLowerCase(), name.toLowerCase()];
  if (wide === '*' || wide === narrow) return true;
  if (!wide.startsWith('*')) return false;
  return (narrow.startsWith('*') ? narrow.slice(1) : narrow).endsWith(wide.slice(1));
}
