// Validation of one object beyond its schema: what Istio's webhook and the Gateway API's rules refuse. Pure; the API
// server, the analyzer and an admission webhook all ask here.

import { Field } from '../field.ts';
import { validatePeerAuthentication, validateRequestAuthentication } from './authentication.ts';
import { validateAuthorizationPolicy } from './authorization-policy.ts';
import { validateDestinationRule } from './destination-rule.ts';
import { validateEnvoyFilter } from './envoy-filter.ts';
import { type Fault, Faults } from './faults.ts';
import {
  validateBackendTlsPolicy,
  validateGateway,
  validateL4Route,
  validateListenerSet,
  validateTlsRoute,
} from './gateway-api.ts';
import { validateGrpcRoute, validateHttpRoute } from './http-route.ts';
import { validateIstioGateway } from './istio-gateway.ts';
import { validateServiceEntry, validateWorkloadEntry, validateWorkloadGroup } from './service-entry.ts';
import { validateSidecar } from './sidecar.ts';
import { validateProxyConfig, validateTelemetry, validateWasmPlugin } from './telemetry.ts';
import { validateVirtualService } from './virtual-service.ts';

type Validator = (object: Field, faults: Faults) => void;

/** By `<group>/<kind>`: all versions of a kind have one shape. */
const VALIDATORS: ReadonlyMap<string, Validator> = new Map([
  ['networking.istio.io/VirtualService', validateVirtualService],
  ['networking.istio.io/DestinationRule', validateDestinationRule],
  ['networking.istio.io/Gateway', validateIstioGateway],
  ['networking.istio.io/ServiceEntry', validateServiceEntry],
  ['networking.istio.io/WorkloadEntry', validateWorkloadEntry],
  ['networking.istio.io/WorkloadGroup', validateWorkloadGroup],
  ['networking.istio.io/Sidecar', validateSidecar],
  ['networking.istio.io/EnvoyFilter', validateEnvoyFilter],
  ['networking.istio.io/ProxyConfig', validateProxyConfig],
  ['security.istio.io/AuthorizationPolicy', validateAuthorizationPolicy],
  ['security.istio.io/PeerAuthentication', validatePeerAuthentication],
  ['security.istio.io/RequestAuthentication', validateRequestAuthentication],
  ['telemetry.istio.io/Telemetry', validateTelemetry],
  ['extensions.istio.io/WasmPlugin', validateWasmPlugin],
  ['gateway.networking.k8s.io/Gateway', validateGateway],
  ['gateway.networking.k8s.io/ListenerSet', validateListenerSet],
  ['gateway.networking.k8s.io/HTTPRoute', validateHttpRoute],
  ['gateway.networking.k8s.io/GRPCRoute', validateGrpcRoute],
  ['gateway.networking.k8s.io/TLSRoute', validateTlsRoute],
  ['gateway.networking.k8s.io/TCPRoute', validateL4Route],
  ['gateway.networking.k8s.io/UDPRoute', validateL4Route],
  ['gateway.networking.k8s.io/BackendTLSPolicy', validateBackendTlsPolicy],
]);

/**
 * Checks one object. Total for any JSON: what the schema says about types is not repeated here, and what has a wrong type
 * reads as absent.
 * @param group  API group, `networking.istio.io`
 * @returns the faults, warnings among them; none for kinds without rules
 */
export function validateObject(group: string, kind: string, object: unknown): readonly Fault[] {
  const faults = new Faults();
  VALIDATORS.get(`${group}/${kind}`)?.(new Field(object), faults);
  return faults.found;
}
