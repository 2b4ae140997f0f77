// The status that a Gateway should have. Pure: verdicts and addresses in, conditions out.
// Source: Gateway API, GatewayStatus; reasons as Istio uses them.

import type { Gateway, RouteGroupKind, WrittenAddress } from '../objects/gateway.ts';
import type { Wanted } from '../status/report.ts';
import type { Assigned } from './addresses.ts';
import type { ListenerVerdict } from './listeners.ts';

/** The part of a Gateway's status that is not its conditions. */
export interface GatewayStatusParts {
  readonly addresses: readonly WrittenAddress[];
  readonly listeners: readonly {
    readonly name: string;
    readonly attachedRoutes: number;
    readonly supportedKinds: readonly RouteGroupKind[];
    readonly conditions: readonly Wanted[];
  }[];
}

/** What stands in the way of a Gateway as a whole. */
export interface GatewayFault {
  readonly reason: 'InvalidParameters' | 'UnsupportedAddress' | 'DeprecatedField';
  readonly message: string;
}

export interface GatewayFacts {
  readonly verdicts: readonly ListenerVerdict[];
  readonly assigned: Assigned;
  /** Nothing is deployed or changed for it. */
  readonly fault: GatewayFault | undefined;
  /** The API refused a part of it. */
  readonly refusal: string | undefined;
  /** What is wrong with the certificate for backends. */
  readonly backendCertificate: Judged | undefined;
  /** Routes attached to a listener. */
  readonly attached: (listener: string) => number;
}

interface Judged {
  readonly reason: string;
  readonly message: string;
}

function accepted(facts: GatewayFacts): [boolean, Judged] {
  if (facts.fault !== undefined) return [false, facts.fault];
  const bad = facts.verdicts.filter(({ refused }) => refused !== undefined);
  return bad.length === 0
    ? [true, { reason: 'Accepted', message: 'accepted' }]
    : [true, { reason: 'ListenersNotValid', message: `not all listeners are valid: ${names(bad)}` }];
}

const names = (verdicts: readonly ListenerVerdict[]): string =>
  verdicts.map(({ listener }) => listener.name).join(', ');

function programmed({ fault, refusal, assigned, verdicts }: GatewayFacts): [boolean, Judged] {
  if (fault !== undefined)
    return [
      false,
      { reason: fault.reason === 'UnsupportedAddress' ? 'UnsupportedAddress' : 'Invalid', message: fault.message },
    ];
  if (refusal !== undefined) return [false, { reason: 'Invalid', message: refusal }];
  if (verdicts.length > 0 && verdicts.every(({ usable }) => !usable))
    return [false, { reason: 'Invalid', message: `no listener can be served: ${names(verdicts)}` }];
  const { missing } = assigned;
  if (missing !== undefined) {
    const so = assigned.assigned.length > 0 ? `; assigned to service(s) ${assigned.assigned.join(' and ')}` : '';
    return [false, { reason: missing.reason, message: `${missing.message}${so}` }];
  }
  return [
    true,
    { reason: 'Programmed', message: `programmed, assigned to service(s) ${assigned.assigned.join(' and ')}` },
  ];
}

const condition = (gateway: Gateway, type: string, status: boolean, { reason, message }: Judged): Wanted => ({
  type,
  status: status ? 'True' : 'False',
  reason,
  message,
  observedGeneration: gateway.generation,
});

function listenerConditions(gateway: Gateway, verdict: ListenerVerdict): readonly Wanted[] {
  const { refused, conflict, unresolved, usable } = verdict;
  const fine = (reason: string, message: string): Judged => ({ reason, message });
  return [
    condition(gateway, 'Accepted', refused === undefined, refused ?? fine('Accepted', 'accepted')),
    condition(
      gateway,
      'Conflicted',
      conflict !== undefined,
      conflict ?? fine('NoConflicts', 'no other listener is in its way'),
    ),
    condition(
      gateway,
      'Programmed',
      usable,
      usable
        ? fine('Programmed', 'programmed')
        : fine('Invalid', (refused ?? unresolved ?? { message: 'it is not valid' }).message),
    ),
    condition(
      gateway,
      'ResolvedRefs',
      unresolved === undefined,
      unresolved ?? fine('ResolvedRefs', 'all references are resolved'),
    ),
  ];
}

/** Types of the conditions that are ours to write and to take away. */
export const GATEWAY_CONDITIONS: ReadonlySet<string> = new Set([
  'Accepted',
  'Programmed',
  'ResolvedRefs',
  'InsecureFrontendValidationMode',
]);

/** A warning that stands as long as a listener lets clients in whose certificate does not hold. */
function insecure(gateway: Gateway): readonly Wanted[] {
  const open = gateway.listeners.filter(({ tls }) => tls?.admitsUnverified === true);
  if (open.length === 0) return [];
  const message = `clients without a valid certificate are let in: ${open.map(({ name }) => name).join(', ')}`;
  return [condition(gateway, 'InsecureFrontendValidationMode', true, { reason: 'ConfigurationChanged', message })];
}

/** @returns all conditions, and the rest of the status; addresses that were once written stay */
export function gatewayStatus(
  gateway: Gateway,
  facts: GatewayFacts,
): { readonly conditions: readonly Wanted[]; readonly parts: GatewayStatusParts } {
  const { assigned, verdicts } = facts;
  return {
    conditions: [
      condition(gateway, 'Accepted', ...accepted(facts)),
      condition(gateway, 'Programmed', ...programmed(facts)),
      condition(
        gateway,
        'ResolvedRefs',
        facts.backendCertificate === undefined,
        facts.backendCertificate ?? { reason: 'ResolvedRefs', message: 'all references are resolved' },
      ),
      ...insecure(gateway),
    ],
    parts: {
      addresses: assigned.addresses.length > 0 ? assigned.addresses : gateway.found.addresses,
      listeners: verdicts.map((verdict) => ({
        name: verdict.listener.name,
        attachedRoutes: facts.attached(verdict.listener.name),
        supportedKinds: verdict.supportedKinds,
        conditions: listenerConditions(gateway, verdict),
      })),
    },
  };
}

/** A Gateway that lives elsewhere: its addresses are those of its spec, its listeners are not ours. */
export const remoteStatus = (
  gateway: Gateway,
): { readonly conditions: readonly Wanted[]; readonly parts: GatewayStatusParts } => ({
  conditions: [
    condition(gateway, 'Accepted', true, { reason: 'Accepted', message: 'accepted; it runs elsewhere' }),
    condition(gateway, 'Programmed', true, { reason: 'Programmed', message: 'programmed; it runs elsewhere' }),
  ],
  parts: { addresses: gateway.requested, listeners: [] },
});
