// Which HTTP an endpoint is spoken to in.

import type { ServiceConfig, TrafficPolicy } from '../../model/proxy/service-config.ts';

/**
 * By the port's protocol, unless a DestinationRule says otherwise. Where the port does not tell, as the client spoke; and
 * gRPC that came as HTTP/2 stays so on a port that is only called `http`: in HTTP/1 it could not work.
 */
export function speaksHttp2(
  service: ServiceConfig,
  port: number,
  { pool }: TrafficPolicy,
  clientSpokeIt: boolean,
  isGrpc: boolean,
): boolean {
  if (pool.http2 === 'always') return true;
  if (pool.usesClientProtocol) return clientSpokeIt;
  switch (service.ports.find((each) => each.port === port)?.protocol) {
    case 'http2':
    case 'grpc':
    case 'grpcWeb':
      return true;
    case 'http':
      return clientSpokeIt && isGrpc;
    default:
      return clientSpokeIt;
  }
}
