// A waypoint and a gateway that report, and exchanges of them, for tests.

import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import { DEFAULT_TRAFFIC_POLICY } from '../../model/proxy/service-config.ts';
import { ip, workload } from '../../model/testing/builders.ts';
import { type Peer, peerOf } from '../../model/traffic.ts';
import type { Exchange } from '../contracts.ts';
import { client, exchange, fieldsOf } from '../security/testing.ts';
import type { ReportingProxy } from './ends.ts';

const pod = (name: string) =>
  workload(`${name}-1`, {
    uid: `Kubernetes//Pod/shop/${name}-1`,
    namespace: 'shop',
    workloadName: name,
    canonicalName: name,
    canonicalRevision: 'v1',
    serviceAccount: name,
    trustDomain: 'cluster.local',
    clusterId: 'c1',
  });
export const payment = pod('payment');
export const order: Peer = peerOf(pod('order'));

export const service: ServiceConfig = {
  key: 'shop/payment.shop.svc.cluster.local',
  hostname: 'payment.shop.svc.cluster.local',
  ports: [{ port: 80, name: 'http', protocol: 'http' }],
  resolution: 'endpoints',
  traffic: { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] },
  bound: undefined,
  subjectAltNames: [],
};

export const proxy = (reporter: ReportingProxy['reporter'] = 'waypoint'): ReportingProxy => ({
  reporter,
  edge: reporter === 'source',
  peer: peerOf(pod('edge')),
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'edge' },
  nodeId: `${reporter}~10.0.0.9~edge-1.shop~shop.svc.cluster.local`,
  meshId: 'cluster.local',
  hostname: 'edge-1',
  environment: { REGION: 'north' },
});

/** `GET /pay?x=1` from order to payment, answered with 200 in 12.7 ms. */
export const answered = (
  change: Partial<Exchange> = {},
  headers: Readonly<Record<string, string | readonly string[]>> = {},
): Exchange =>
  exchange(
    { 'User-Agent': 'curl/8', 'X-Forwarded-For': '203.0.113.5', ...headers },
    { path: '/pay', query: '?x=1', authority: 'payment' },
    {
      client: client({ peer: order }),
      service,
      upstream: {
        service,
        port: 80,
        subset: undefined,
        endpoint: { workload: payment, address: { ip: ip('10.0.0.7'), port: 8080 }, tunnel: undefined },
        localAddress: { ip: ip('10.0.0.9'), port: 33000 },
        meshed: true,
      },
      tries: 1,
      responseStatus: 200,
      responseFields: fieldsOf({ 'Content-Type': 'text/plain' }),
      details: 'via_upstream',
      bytesReceived: 3,
      bytesSent: 1500,
      responseStartedAfterMs: 11.2,
      endedAfterMs: 12.7,
      ...change,
    },
  );
