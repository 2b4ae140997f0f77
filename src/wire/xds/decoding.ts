// What the decoders of discovery resources share: how a resource is refused, and the small messages inside several.
// A resource that cannot be understood is refused as a whole, with its reason; the others of a response go on.

import { type Cidr, type Ip, ipFromBytes } from '../../model/ip.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import type { AppProtocol, GatewayAddress, PortMapping } from '../../model/workload.ts';
import type { GatewayAddress as WireGateway, Port as WirePort } from '../gen/istio/workload/workload_pb.ts';
import { AppProtocol as WireAppProtocol } from '../gen/istio/workload/workload_pb.ts';

/** A decoded resource, with what was passed over in it (one sentence each, for a log line at warning level). */
export interface Decoded<T> {
  readonly value: T;
  readonly warnings: readonly string[];
}

class Refusal extends Error {}

/** Stops decoding of the present resource; `decoding` turns it into a result. */
export function refuse(reason: string): never {
  throw new Refusal(reason);
}

/** Runs a decoder; a refusal, or bytes that are no such message, becomes the reason. */
export function decoding<T>(read: (warnings: string[]) => T): Result<Decoded<T>, string> {
  const warnings: string[] = [];
  try {
    return ok({ value: read(warnings), warnings });
  } catch (error) {
    if (error instanceof Refusal) return fail(error.message);
    throw error;
  }
}

/** Looks a protobuf enum number up in a table of names in number order. */
export function named<T extends string>(field: string, table: readonly T[], number: number): T {
  return table[number] ?? refuse(`${field} has unknown value ${number}`);
}

/** Ports travel as 32 bits, of which 16 count. */
export const port16 = (port: number): number => port & 0xffff;

export function readIp(field: string, bytes: Uint8Array): Ip {
  return ipFromBytes(bytes) ?? refuse(`${field} is an address of ${bytes.length} bytes; it must be 4 or 16`);
}

/**
 * A range from its bytes and prefix length. A v4-mapped range becomes the IPv4 range it stands for.
 * @returns undefined if the bytes or the length are no range
 */
export function rangeFromBytes(bytes: Uint8Array, length: number): Cidr | undefined {
  const ip = ipFromBytes(bytes);
  if (ip === undefined || length > bytes.length * 8) return undefined;
  const mapped = bytes.length === 16 && !ip.includes(':');
  if (!mapped) return { ip, length };
  return length < 96 ? undefined : { ip, length: length - 96 };
}

export function readGateway(field: string, gateway: WireGateway): GatewayAddress {
  const hbonePort = port16(gateway.hboneMtlsPort);
  const { destination } = gateway;
  switch (destination.case) {
    case 'hostname': {
      const { namespace, hostname } = destination.value;
      return { destination: { kind: 'hostname', namespace, hostname }, hbonePort };
    }
    case 'address': {
      const { network, address } = destination.value;
      return { destination: { kind: 'address', network, ip: readIp(`${field} address`, address) }, hbonePort };
    }
    default:
      return refuse(`${field} has no destination`);
  }
}

const APP_PROTOCOLS: ReadonlyMap<number, AppProtocol> = new Map([
  [WireAppProtocol.HTTP11, 'http11'],
  [WireAppProtocol.HTTP2, 'http2'],
  [WireAppProtocol.GRPC, 'grpc'],
  [WireAppProtocol.TCP, 'tcp'],
  [WireAppProtocol.TLS, 'tls'],
]);

/** Node proxies do not act on the application protocol, so that an unknown one is no reason to refuse. */
export const readPort = (port: WirePort): PortMapping => ({
  servicePort: port16(port.servicePort),
  targetPort: port16(port.targetPort),
  appProtocol: APP_PROTOCOLS.get(port.appProtocol) ?? 'unknown',
});
