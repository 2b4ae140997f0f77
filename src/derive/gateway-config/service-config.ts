// A service as one proxy is told of it.

import type { BoundService, ServiceConfig, TrafficConfig } from '../../model/proxy/service-config.ts';
import { serviceKey } from '../../model/workload.ts';
import type { Resolution } from '../objects/entry.ts';
import type { ServiceInfo } from '../service.ts';

const RESOLUTIONS: Readonly<Record<Resolution, ServiceConfig['resolution']>> = {
  NONE: 'none',
  STATIC: 'endpoints',
  DNS: 'dns',
  DNS_ROUND_ROBIN: 'dnsRoundRobin',
  DYNAMIC_DNS: 'dynamicDns',
};

/** @param bound  set at the service's own waypoint */
export const toServiceConfig = (
  { service, source }: ServiceInfo,
  traffic: TrafficConfig,
  bound: BoundService | undefined,
): ServiceConfig => ({
  key: serviceKey(service),
  hostname: service.hostname,
  ports: source.ports.flatMap(({ port, name, proxied }) =>
    proxied === undefined ? [] : [{ port, name, protocol: proxied }],
  ),
  resolution: source.kind === 'Service' ? 'endpoints' : RESOLUTIONS[source.resolution],
  traffic,
  bound,
  subjectAltNames: source.kind === 'Service' ? [] : source.subjectAltNames,
});
