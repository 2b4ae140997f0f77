// The configuration dump of a gateway or waypoint, as far as requests are judged and routed by it.

import type { ProxyKnowledge } from '../../model/proxy/explain-request.ts';
import type { ProxyConfig } from '../../model/proxy/proxy-config.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';

/** @throws Error when it is no such dump: an Envoy's, or one before the first configuration */
export function readKnowledge(text: string): ProxyKnowledge {
  const dump = JSON.parse(text) as {
    readonly proxy?: ProxyConfig;
    readonly routes?: Readonly<Record<string, RouteResource>>;
    readonly services?: Readonly<Record<string, ServiceConfig>>;
  };
  if (dump.proxy === undefined || dump.routes === undefined || dump.services === undefined)
    throw new Error('its dump is not that of an Ambit proxy with a configuration');
  return { proxy: dump.proxy, routes: Object.values(dump.routes), services: Object.values(dump.services) };
}
