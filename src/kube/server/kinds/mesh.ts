// Gateway API and Istio kinds, built in: they behave as the CustomResourceDefinitions that a cluster has for them, in all
// versions that those serve, and their values are checked by the validators made from those definitions.

import { compileRoot } from '../crd/schema.ts';
import { immutable } from '../errors.ts';
import { valueAt } from '../json.ts';
import { deepValidatorOf } from '../schema/deep.ts';
import { schemaNamed } from '../schema/node.ts';
import * as tables from '../table/columns.ts';
import { ALL_VERBS, type Column, type Kind, type KindRules } from './kind.ts';
import { meshRules } from './mesh-rules.ts';

interface Definition {
  readonly plural: string;
  readonly short?: readonly string[];
  readonly categories?: readonly string[];
  readonly cluster?: true;
  readonly columns?: readonly Column[];
  /** The version that has the package's schema, when that is not the preferred one. */
  readonly schemaVersion?: string;
  readonly storage?: string;
  readonly rules?: KindRules;
}

const CONTROLLER = 'spec.controllerName';
const gatewayClassRules: KindRules = {
  validateUpdate: (object, before) =>
    valueAt(object, CONTROLLER) === valueAt(before, CONTROLLER)
      ? []
      : [immutable(CONTROLLER, valueAt(object, CONTROLLER))],
};

function define(group: string, versions: readonly [string, ...string[]], kind: string, more: Definition): Kind {
  const schemaVersion = more.schemaVersion ?? versions[0];
  const columns = more.columns ?? tables.NAME_AND_AGE;
  const checks = meshRules({ group, kind, plural: more.plural }, deepValidatorOf(group, schemaVersion, kind));
  return {
    group,
    plural: more.plural,
    singular: kind.toLowerCase(),
    kind,
    namespaced: more.cluster !== true,
    versions,
    storageVersion: more.storage ?? versions[0],
    shortNames: more.short ?? [],
    categories: more.categories ?? [],
    verbs: ALL_VERBS,
    status: true,
    scale: undefined,
    subresources: {},
    generation: true,
    custom: true,
    selectableFields: [],
    schema: () => schemaNamed(`${group}.${schemaVersion}.${kind}`),
    columns: () => columns,
    ...checks,
    rules: { ...checks.rules, ...more.rules },
    nameRule: 'subdomain',
  };
}

/** Groups whose kinds a cluster has by CustomResourceDefinitions. */
export function isMeshGroup(group: string): boolean {
  return group === GATEWAY_API || group.endsWith('.istio.io');
}

const OPEN_KIND = compileRoot('extensions.istio.io.v1alpha1.TrafficExtension', undefined);
const GATEWAY_API = 'gateway.networking.k8s.io';
const gatewayApi = (versions: readonly [string, ...string[]], kind: string, more: Definition) =>
  define(GATEWAY_API, versions, kind, { ...more, categories: ['gateway-api'] });

const NETWORKING = 'networking.istio.io';
const SECURITY = 'security.istio.io';
const networking = (kind: string, plural: string, short: readonly string[], columns?: readonly Column[]) =>
  istio(NETWORKING, ['v1', 'v1beta1', 'v1alpha3'], kind, { plural, short, ...(columns && { columns }) });
const security = (kind: string, plural: string, short: string, columns: readonly Column[]) =>
  istio(SECURITY, ['v1', 'v1beta1'], kind, { plural, short: [short], columns });

function istio(group: string, versions: readonly [string, ...string[]], kind: string, more: Definition): Kind {
  return define(group, versions, kind, { ...more, categories: ['istio-io', group.replaceAll('.', '-')] });
}

export const MESH_KINDS: readonly Kind[] = [
  gatewayApi(['v1', 'v1beta1'], 'GatewayClass', {
    plural: 'gatewayclasses',
    short: ['gc'],
    cluster: true,
    columns: tables.GATEWAY_CLASS,
    rules: gatewayClassRules,
  }),
  gatewayApi(['v1', 'v1beta1'], 'Gateway', { plural: 'gateways', short: ['gtw'], columns: tables.GATEWAY }),
  gatewayApi(['v1', 'v1beta1'], 'HTTPRoute', { plural: 'httproutes', columns: tables.ROUTE }),
  gatewayApi(['v1'], 'GRPCRoute', { plural: 'grpcroutes', columns: tables.ROUTE }),
  gatewayApi(['v1', 'v1alpha3', 'v1alpha2'], 'TLSRoute', { plural: 'tlsroutes', columns: tables.ROUTE }),
  gatewayApi(['v1alpha2'], 'TCPRoute', { plural: 'tcproutes' }),
  gatewayApi(['v1alpha2'], 'UDPRoute', { plural: 'udproutes' }),
  gatewayApi(['v1', 'v1beta1'], 'ReferenceGrant', {
    plural: 'referencegrants',
    short: ['refgrant'],
    storage: 'v1beta1',
  }),
  gatewayApi(['v1', 'v1alpha3'], 'BackendTLSPolicy', { plural: 'backendtlspolicies', short: ['btlspolicy'] }),
  gatewayApi(['v1'], 'ListenerSet', { plural: 'listenersets', short: ['lset'] }),
  networking('VirtualService', 'virtualservices', ['vs'], tables.VIRTUAL_SERVICE),
  networking('DestinationRule', 'destinationrules', ['dr'], tables.DESTINATION_RULE),
  networking('ServiceEntry', 'serviceentries', ['se'], tables.SERVICE_ENTRY),
  networking('Gateway', 'gateways', ['gw']),
  networking('Sidecar', 'sidecars', []),
  networking('WorkloadEntry', 'workloadentries', ['we'], tables.WORKLOAD_ENTRY),
  networking('WorkloadGroup', 'workloadgroups', ['wg']),
  istio(NETWORKING, ['v1alpha3'], 'EnvoyFilter', { plural: 'envoyfilters' }),
  istio(NETWORKING, ['v1beta1'], 'ProxyConfig', { plural: 'proxyconfigs' }),
  security('AuthorizationPolicy', 'authorizationpolicies', 'ap', tables.AUTHORIZATION_POLICY),
  security('PeerAuthentication', 'peerauthentications', 'pa', tables.PEER_AUTHENTICATION),
  security('RequestAuthentication', 'requestauthentications', 'ra', tables.NAME_AND_AGE),
  istio('telemetry.istio.io', ['v1', 'v1alpha1'], 'Telemetry', {
    plural: 'telemetries',
    short: ['telemetry'],
    storage: 'v1alpha1',
  }),
  istio('extensions.istio.io', ['v1alpha1'], 'WasmPlugin', { plural: 'wasmplugins' }),
  // Younger than the package of schemas: any spec is taken.
  {
    ...istio('extensions.istio.io', ['v1alpha1'], 'TrafficExtension', { plural: 'trafficextensions' }),
    schema: () => OPEN_KIND,
    rules: {},
    deepValidator: undefined,
  },
];
