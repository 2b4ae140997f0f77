// What people write for the two ends of a connection: `deploy/shopper`, `payment-service`, `order.bank`, `bank/order`,
// `10.244.1.7`, the destination with a port. Pure; what is meant by a name is found out elsewhere.

import { type Ip, parseIp } from '../../model/ip.ts';
import { Failure } from '../failure.ts';

export type ReferenceKind = 'pod' | 'deployment' | 'daemonset' | 'service' | 'serviceaccount' | 'any';

export type Reference =
  | { readonly kind: 'ip'; readonly ip: Ip }
  | {
      readonly kind: ReferenceKind;
      /** For `any`: as written, dots included; it may be a host name. */
      readonly name: string;
      /** From `namespace/name`, or from `kind/name.namespace`. */
      readonly namespace: string | undefined;
    };

export interface Target {
  readonly reference: Reference;
  readonly port: number | string | undefined;
}

/** kubectl's names and short names. */
const KINDS: Readonly<Record<string, ReferenceKind>> = Object.fromEntries(
  Object.entries({
    pod: ['po', 'pod', 'pods'],
    deployment: ['deploy', 'deployment', 'deployments'],
    daemonset: ['ds', 'daemonset', 'daemonsets'],
    service: ['svc', 'service', 'services'],
    serviceaccount: ['sa', 'serviceaccount', 'serviceaccounts'],
  } as const).flatMap(([kind, words]) => words.map((word) => [word, kind as ReferenceKind])),
);
const NAME = /^[a-z0-9*]([-a-z0-9.]*[a-z0-9])?\.?$/;
const PORT_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

const notUnderstood = (text: string, why: string): Failure =>
  new Failure({
    what: `\`${text}\` is not understood`,
    why,
    fix: 'for example: ambit why deploy/shopper payment-service:80 -n ecommerce',
    exitCode: 2,
  });

export function parseReference(text: string): Reference {
  const ip = parseIp(text.replace(/^\[(.*)\]$/, '$1'));
  if (ip.ok) return { kind: 'ip', ip: ip.value };
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0 || second === '' || first === '')
    throw notUnderstood(text, 'a name is NAME, KIND/NAME or NAMESPACE/NAME');
  const name = second ?? first;
  if (!NAME.test(name)) throw notUnderstood(text, `\`${name}\` cannot be the name of anything in Kubernetes`);
  if (second === undefined) return { kind: 'any', name, namespace: undefined };
  const kind = KINDS[first];
  if (kind === undefined) return { kind: 'any', name, namespace: first };
  const dot = name.indexOf('.');
  return dot < 0
    ? { kind, name, namespace: undefined }
    : { kind, name: name.slice(0, dot), namespace: name.slice(dot + 1) };
}

/** A reference and a port behind a colon: a number, or the name of a service's port. */
export function parseTarget(text: string): Target {
  const colon = text.lastIndexOf(':');
  // The last colon of a bare IPv6 address is no port's.
  if (colon < 0 || parseIp(text).ok || text.endsWith(']')) return { reference: parseReference(text), port: undefined };
  const portText = text.slice(colon + 1);
  const port = Number(portText);
  const isNumber = /^[0-9]+$/.test(portText);
  if (isNumber ? port < 1 || port > 65535 : !PORT_NAME.test(portText))
    throw notUnderstood(text, `\`${portText}\` is neither a port from 1 to 65535 nor the name of one`);
  return { reference: parseReference(text.slice(0, colon)), port: isNumber ? port : portText };
}

/** The namespace and name that an undotted or dotted name of an object may stand for. */
export function splitName(name: string, namespace: string): { name: string; namespace: string } {
  const dot = name.indexOf('.');
  return dot < 0 ? { name, namespace } : { name: name.slice(0, dot), namespace: name.slice(dot + 1) };
}
