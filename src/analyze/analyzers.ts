// Every analyzer, in the order in which they run and are listed.

import { envoyFilterAnalyzer, selectorKindAnalyzer, sidecarResourceAnalyzer } from './ambient/attached.ts';
import { destinationRuleWaypointAnalyzer } from './ambient/destination-rules.ts';
import { leftoverAnalyzer, waypointLabelAnalyzer } from './ambient/enrolment.ts';
import { mtlsAnalyzer } from './ambient/mtls.ts';
import { networkPolicyAnalyzer, uncapturedAnalyzer } from './ambient/network.ts';
import { ztunnelPolicyAnalyzer } from './ambient/policies.ts';
import { routeReferenceAnalyzer } from './ambient/references.ts';
import { clientMatchAnalyzer, retryAnnotationAnalyzer, routeAnalyzer } from './ambient/routes.ts';
import { translationAnalyzer } from './ambient/translation.ts';
import {
  bypassAnalyzer,
  portMeaningAnalyzer,
  selectorBehindWaypointAnalyzer,
  targetAnalyzer,
} from './ambient/waypoint-policies.ts';
import type { Analyzer } from './analyzer.ts';
import { annotationAnalyzer } from './istio/annotations.ts';
import { deprecationAnalyzer } from './istio/deprecation.ts';
import { caCertificateAnalyzer, subsetAnalyzer } from './istio/destination-rule.ts';
import { envoyPatchAnalyzer } from './istio/envoy-filter.ts';
import {
  conflictingGatewayAnalyzer,
  gatewayCertificateAnalyzer,
  gatewayPortAnalyzer,
  gatewaySecretAnalyzer,
} from './istio/gateway.ts';
import { imageAutoAnalyzer, injectionAnalyzer } from './istio/injection.ts';
import { conditionAnalyzer, definitionVersionAnalyzer, webhookAnalyzer } from './istio/live.ts';
import { sidecarAnalyzer, telemetryAnalyzer } from './istio/per-workload.ts';
import { authorizationPolicyAnalyzer, gatewaySelectorAnalyzer, jwksUriAnalyzer } from './istio/policies.ts';
import { schemaAnalyzer } from './istio/schema.ts';
import {
  applicationUidAnalyzer,
  portNameAnalyzer,
  serviceAssociationAnalyzer,
  serviceEntryAnalyzer,
} from './istio/services.ts';
import { gatewayAnalyzer, ingressSubsetAnalyzer, jwtClaimAnalyzer } from './istio/virtual-service-gateways.ts';
import { destinationHostAnalyzer, destinationRuleAnalyzer } from './istio/virtual-service-hosts.ts';
import { conflictingHostsAnalyzer, ruleOrderAnalyzer } from './istio/virtual-service-rules.ts';

export const ANALYZERS: readonly Analyzer[] = [
  annotationAnalyzer,
  authorizationPolicyAnalyzer,
  conditionAnalyzer,
  applicationUidAnalyzer,
  serviceAssociationAnalyzer,
  deprecationAnalyzer,
  caCertificateAnalyzer,
  subsetAnalyzer,
  envoyPatchAnalyzer,
  gatewayCertificateAnalyzer,
  conflictingGatewayAnalyzer,
  gatewayPortAnalyzer,
  gatewaySecretAnalyzer,
  definitionVersionAnalyzer,
  injectionAnalyzer,
  imageAutoAnalyzer,
  gatewaySelectorAnalyzer,
  jwksUriAnalyzer,
  schemaAnalyzer,
  portNameAnalyzer,
  serviceEntryAnalyzer,
  sidecarAnalyzer,
  telemetryAnalyzer,
  conflictingHostsAnalyzer,
  destinationHostAnalyzer,
  destinationRuleAnalyzer,
  gatewayAnalyzer,
  ingressSubsetAnalyzer,
  jwtClaimAnalyzer,
  ruleOrderAnalyzer,
  webhookAnalyzer,
  clientMatchAnalyzer,
  destinationRuleWaypointAnalyzer,
  envoyFilterAnalyzer,
  mtlsAnalyzer,
  networkPolicyAnalyzer,
  portMeaningAnalyzer,
  retryAnnotationAnalyzer,
  routeAnalyzer,
  routeReferenceAnalyzer,
  selectorBehindWaypointAnalyzer,
  selectorKindAnalyzer,
  sidecarResourceAnalyzer,
  leftoverAnalyzer,
  targetAnalyzer,
  translationAnalyzer,
  uncapturedAnalyzer,
  bypassAnalyzer,
  waypointLabelAnalyzer,
  ztunnelPolicyAnalyzer,
];
