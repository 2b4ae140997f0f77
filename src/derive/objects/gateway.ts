// Gateway API objects, as far as waypoints need them.

import { type Ip, parseIp } from '../../model/ip.ts';
import { type LabelSelector, parseLabelSelector } from '../labels.ts';
import { ANNOTATION } from '../names.ts';
import { integer, type Json, list, optionalRecord, record, text } from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

/** Whose objects a listener admits. A selector that cannot be read admits nobody. */
export type AllowedNamespaces =
  | { readonly from: 'Same' }
  | { readonly from: 'All' }
  | { readonly from: 'Selector'; readonly selector: LabelSelector | undefined };

export interface Listener {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly allowed: AllowedNamespaces;
}

export type StatusAddress =
  | { readonly kind: 'hostname'; readonly hostname: string }
  | { readonly kind: 'ip'; readonly ip: Ip };

export interface Gateway extends Meta {
  readonly className: string;
  readonly listeners: readonly Listener[];
  readonly addresses: readonly StatusAddress[];
}

export interface GatewayClass extends Meta {
  readonly controllerName: string;
  readonly conditions: readonly Condition[];
}

function parseAllowed(listener: Json): AllowedNamespaces {
  const namespaces = record(record(listener.allowedRoutes).namespaces);
  if (namespaces.from === 'All') return { from: 'All' };
  if (namespaces.from !== 'Selector') return { from: 'Same' };
  const selector = optionalRecord(namespaces.selector);
  return { from: 'Selector', selector: selector && parseLabelSelector(selector) };
}

function parseStatusAddress(item: unknown): readonly StatusAddress[] {
  const address = record(item);
  const value = text(address.value);
  if (address.type === 'Hostname') return value === '' ? [] : [{ kind: 'hostname', hostname: value }];
  const ip = parseIp(value);
  return ip.ok ? [{ kind: 'ip', ip: ip.value }] : [];
}

export function parseGateway(object: Json): Gateway {
  const spec = record(object.spec);
  return {
    ...parseMeta(object, [ANNOTATION.inboundBinding]),
    className: text(spec.gatewayClassName),
    listeners: list(spec.listeners).map((item) => {
      const listener = record(item);
      return {
        name: text(listener.name),
        port: integer(listener.port) ?? 0,
        protocol: text(listener.protocol),
        allowed: parseAllowed(listener),
      };
    }),
    addresses: list(record(object.status).addresses).flatMap(parseStatusAddress),
  };
}

export function parseGatewayClass(object: Json): GatewayClass {
  return {
    ...parseMeta(object, [ANNOTATION.inboundBinding]),
    controllerName: text(record(object.spec).controllerName),
    conditions: parseConditions(object.status, new Set(['Accepted'])),
  };
}
