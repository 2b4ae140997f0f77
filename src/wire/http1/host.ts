// The host that a request is for: Host, or the authority of an absolute or authority-form target.

import { parseIp } from '../../model/ip.ts';

export interface RequestHost {
  /** Lower case, without port; IPv6 without brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

/** Registered names as DNS and Kubernetes know them; escapes, user information and lists are none. */
const SHAPE = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._~-]{1,255}))(?::([0-9]{1,5}))?$/;

/** @returns undefined for what is not `host[:port]` */
export function readHost(text: string): RequestHost | undefined {
  const match = SHAPE.exec(text);
  if (match === null) return undefined;
  const [, literal, name, portText] = match;
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  if (literal !== undefined && (!literal.includes(':') || !parseIp(literal).ok)) return undefined;
  return { host: (literal ?? name ?? '').toLowerCase(), port };
}
