// Gateways and GatewayClasses: what was asked for, and what their status says now.

import { type Ip, parseIp } from '../../model/ip.ts';
import { type LabelSelector, parseLabelSelector } from '../labels.ts';
import { ANNOTATION } from '../names.ts';
import {
  integer,
  type Json,
  type Labels,
  list,
  optionalRecord,
  optionalText,
  record,
  text,
  textRecord,
} from '../read.ts';
import { type Condition, type Meta, parseConditions, parseMeta } from './meta.ts';

/** Whose objects a listener admits. A selector that cannot be read admits nobody. */
export type AllowedNamespaces =
  | { readonly from: 'Same' }
  | { readonly from: 'All' }
  | { readonly from: 'Selector'; readonly selector: LabelSelector | undefined };

export interface RouteGroupKind {
  readonly group: string;
  readonly kind: string;
}

/** A reference to a Secret or ConfigMap; what was left out is filled in. */
export interface ObjectRef extends RouteGroupKind {
  readonly namespace: string;
  readonly name: string;
}

export interface ListenerTls {
  readonly mode: 'Terminate' | 'Passthrough';
  readonly certificates: readonly ObjectRef[];
  readonly options: Labels;
  /** Who signs the certificates that clients must show; empty: clients need none. */
  readonly clientAuthorities: readonly ObjectRef[];
  /** Clients whose certificate does not hold are let in as if they had shown none. */
  readonly admitsUnverified: boolean;
}

export interface Listener {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  /** Empty: any. Lower case. */
  readonly hostname: string;
  readonly allowed: AllowedNamespaces;
  /** As written; empty: whatever fits the protocol. */
  readonly kinds: readonly RouteGroupKind[];
  readonly tls: ListenerTls | undefined;
}

export type StatusAddress =
  | { readonly kind: 'hostname'; readonly hostname: string }
  | { readonly kind: 'ip'; readonly ip: Ip };

/** An address that the spec asks for, or that the status names, as written. */
export interface WrittenAddress {
  readonly type: string;
  readonly value: string;
}

/** What the status says of one listener. */
export interface ListenerFound {
  readonly name: string;
  readonly attachedRoutes: number;
  readonly supportedKinds: readonly RouteGroupKind[];
  readonly conditions: readonly Condition[];
}

/** The status as it stands on the object. */
export interface GatewayFound {
  readonly conditions: readonly Condition[];
  readonly addresses: readonly WrittenAddress[];
  readonly listeners: readonly ListenerFound[];
}

/** `spec.infrastructure`. */
export interface Infrastructure {
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly parameters: RouteGroupKind & { readonly name: string };
}

export interface Gateway extends Meta {
  readonly uid: string;
  readonly className: string;
  readonly listeners: readonly Listener[];
  /** Of the status. */
  readonly addresses: readonly StatusAddress[];
  /** Of the spec. */
  readonly requested: readonly WrittenAddress[];
  readonly infrastructure: Infrastructure | undefined;
  /** What the gateway shows to backends that ask for a certificate. */
  readonly backendCertificate: ObjectRef | undefined;
  readonly found: GatewayFound;
}

export interface GatewayClass extends Meta {
  readonly controllerName: string;
  readonly conditions: readonly Condition[];
  /** Names of the supported features, as the status lists them. */
  readonly features: readonly string[];
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

const GATEWAY_GROUP = 'gateway.networking.k8s.io';

const parseKinds = (items: unknown): readonly RouteGroupKind[] =>
  list(items).map((item) => ({
    group: optionalText(record(item).group) ?? GATEWAY_GROUP,
    kind: text(record(item).kind),
  }));

const parseRefs = (items: unknown, namespace: string, kind: string): readonly ObjectRef[] =>
  list(items).map((item) => {
    const ref = record(item);
    return {
      group: text(ref.group),
      kind: text(ref.kind) || kind,
      namespace: text(ref.namespace) || namespace,
      name: text(ref.name),
    };
  });

/** Client validation as its own object. It stands on the listener in older releases of the Gateway API, on the Gateway by port in newer ones. */
function clientValidation(listener: Json, port: number, gatewayTls: Json): Json {
  const own = optionalRecord(record(listener.tls).frontendValidation);
  if (own !== undefined) return own;
  const frontend = record(gatewayTls.frontend);
  const byPort = list(frontend.perPort).map(record);
  const chosen = byPort.find((each) => integer(each.port) === port)?.tls ?? frontend.default;
  return record(record(chosen).validation);
}

function parseTls(listener: Json, port: number, gatewayTls: Json, namespace: string): ListenerTls | undefined {
  const tls = optionalRecord(listener.tls);
  if (tls === undefined) return undefined;
  const validation = clientValidation(listener, port, gatewayTls);
  return {
    mode: tls.mode === 'Passthrough' ? 'Passthrough' : 'Terminate',
    certificates: parseRefs(tls.certificateRefs, namespace, 'Secret'),
    options: textRecord(tls.options),
    clientAuthorities: parseRefs(validation.caCertificateRefs, namespace, 'ConfigMap'),
    admitsUnverified: validation.mode === 'AllowInsecureFallback',
  };
}

const parseWritten = (items: unknown): readonly WrittenAddress[] =>
  list(items).map((item) => ({ type: text(record(item).type) || 'IPAddress', value: text(record(item).value) }));

function parseInfrastructure(value: unknown): Infrastructure | undefined {
  const source = optionalRecord(value);
  if (source === undefined) return undefined;
  const ref = record(source.parametersRef);
  return {
    labels: textRecord(source.labels),
    annotations: textRecord(source.annotations),
    parameters: { group: text(ref.group), kind: text(ref.kind), name: text(ref.name) },
  };
}

function parseFound(status: Json): GatewayFound {
  return {
    conditions: parseConditions(status),
    addresses: parseWritten(status.addresses),
    listeners: list(status.listeners).map((item) => {
      const listener = record(item);
      return {
        name: text(listener.name),
        attachedRoutes: integer(listener.attachedRoutes) ?? 0,
        supportedKinds: parseKinds(listener.supportedKinds),
        conditions: parseConditions(listener),
      };
    }),
  };
}

export function parseGateway(object: Json): Gateway {
  const spec = record(object.spec);
  const status = record(object.status);
  const annotations = textRecord(record(object.metadata).annotations);
  const meta = parseMeta(object, Object.keys(annotations)); // all of them: its parts inherit them
  return {
    ...meta,
    uid: text(record(object.metadata).uid),
    className: text(spec.gatewayClassName),
    listeners: list(spec.listeners).map((item) => {
      const listener = record(item);
      const port = integer(listener.port) ?? 0;
      return {
        name: text(listener.name),
        port,
        protocol: text(listener.protocol),
        hostname: text(listener.hostname).toLowerCase(),
        allowed: parseAllowed(listener),
        kinds: parseKinds(record(listener.allowedRoutes).kinds),
        tls: parseTls(listener, port, record(spec.tls), meta.namespace),
      };
    }),
    addresses: list(status.addresses).flatMap(parseStatusAddress),
    requested: parseWritten(spec.addresses),
    infrastructure: parseInfrastructure(spec.infrastructure),
    backendCertificate: parseRefs(
      [record(record(spec.tls).backend).clientCertificateRef].filter((ref) => ref !== undefined),
      meta.namespace,
      'Secret',
    )[0],
    found: parseFound(status),
  };
}

export function parseGatewayClass(object: Json): GatewayClass {
  return {
    ...parseMeta(object, [ANNOTATION.inboundBinding, ANNOTATION.clientIdentity]),
    controllerName: text(record(object.spec).controllerName),
    conditions: parseConditions(object.status, new Set(['Accepted'])),
    features: list(record(object.status).supportedFeatures).map((item) => text(record(item).name)),
  };
}
