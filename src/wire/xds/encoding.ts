// What the encoders of discovery resources share: small messages inside several, as plain initialisers.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { ipBytes } from '../../model/ip.ts';
import type { AppProtocol, GatewayAddress, PortMapping } from '../../model/workload.ts';
import {
  type GatewayAddressSchema,
  type PortSchema,
  AppProtocol as WireAppProtocol,
} from '../gen/istio/workload/workload_pb.ts';

/** Deterministic order of map keys: equal resources must be equal bytes on every replica, since versions hash them. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The protobuf number of a name: its place in a table of names in number order. */
export const numberOf = <Number extends number, Name extends string>(table: readonly Name[], name: Name): Number =>
  table.indexOf(name) as Number;

export function writeGateway(gateway: GatewayAddress): MessageInitShape<typeof GatewayAddressSchema> {
  const { destination, hbonePort } = gateway;
  if (destination.kind === 'hostname') {
    const { namespace, hostname } = destination;
    return { destination: { case: 'hostname', value: { namespace, hostname } }, hboneMtlsPort: hbonePort };
  }
  const address = { network: destination.network, address: ipBytes(destination.ip) };
  return { destination: { case: 'address', value: address }, hboneMtlsPort: hbonePort };
}

const APP_PROTOCOLS: Readonly<Record<AppProtocol, WireAppProtocol>> = {
  unknown: WireAppProtocol.UNKNOWN,
  http11: WireAppProtocol.HTTP11,
  http2: WireAppProtocol.HTTP2,
  grpc: WireAppProtocol.GRPC,
  tcp: WireAppProtocol.TCP,
  tls: WireAppProtocol.TLS,
};

export const writePort = (port: PortMapping): MessageInitShape<typeof PortSchema> => ({
  servicePort: port.servicePort,
  targetPort: port.targetPort,
  appProtocol: APP_PROTOCOLS[port.appProtocol],
});
