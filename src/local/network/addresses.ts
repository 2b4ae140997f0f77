// The address plan of a room (ARCHITECTURE.md has the same table).

import type { Cidr, Ip } from '../../model/ip.ts';

const range = (ip: string, length: number): Cidr => ({ ip: ip as Ip, length });

export const FABRIC_RANGE = range('172.31.0.0', 16);
export const FABRIC_GATEWAY = '172.31.0.1' as Ip;
export const FABRIC_BRIDGE = 'fabric';
export const POD_RANGE = range('10.244.0.0', 16);
export const SERVICE_RANGE = range('10.96.0.0', 16);
export const API_PORT = 6443;
export const DNS_SERVICE_IP = '10.96.0.10' as Ip;
export const CLUSTER_DOMAIN = 'cluster.local';

/** @param index counted from 1 */
export const nodeIp = (index: number): Ip => `172.31.1.${index}` as Ip;
export const podRangeOf = (index: number): Cidr => range(`10.244.${index}.0`, 24);
export const podGatewayOf = (index: number): Ip => `10.244.${index}.1` as Ip;
export const formatRange = (cidr: Cidr): string => `${cidr.ip}/${cidr.length}`;
