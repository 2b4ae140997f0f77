// Who a Gateway's pods are: their labels, by which selectors pick them, and the service accounts that they may have. What
// a Gateway is configured with goes to those accounts alone.

import { manualHosts } from '../gateway/addresses.ts';
import { type GatewayRole, partsName } from '../gateway/role.ts';
import type { GatewayParts } from '../gateways.ts';
import type { Gateway } from '../objects/gateway.ts';
import { type Json, type Labels, record, text, textRecord } from '../read.ts';

export interface ProxyIdentity {
  readonly namespace: string;
  /** Service accounts in that namespace. */
  readonly accounts: readonly string[];
  readonly podLabels: Labels;
}

const deploymentTemplate = (objects: readonly Json[]): Json =>
  record(record(objects.find(({ kind }) => kind === 'Deployment')?.spec).template);

/**
 * @param accountsBehind  of the pods in the Gateway's namespace behind a service, by the service's host name: a Gateway
 *                        that names its services itself is served by whoever stands behind them
 */
export function identityOf(
  gateway: Gateway,
  role: GatewayRole,
  parts: GatewayParts | undefined,
  clusterDomain: string,
  accountsBehind: (hostname: string) => readonly string[],
): ProxyIdentity {
  const { namespace } = gateway;
  if (parts?.kind === 'manual') {
    const accounts = manualHosts(gateway, clusterDomain).flatMap(accountsBehind);
    return { namespace, accounts: [...new Set(accounts)], podLabels: gateway.labels };
  }
  const usual = gateway.annotations['gateway.istio.io/service-account'] || partsName(gateway, role);
  if (parts?.kind !== 'managed') return { namespace, accounts: [usual], podLabels: gateway.labels };
  const template = deploymentTemplate(parts.rendered.objects);
  return {
    namespace,
    accounts: [text(record(template.spec).serviceAccountName) || usual],
    podLabels: textRecord(record(template.metadata).labels),
  };
}
