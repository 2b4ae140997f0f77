// Finding what is written for a host without looking at everything: objects are filed under the host that they name, and
// a host asks under its own name and every wildcard that covers it.

import { resolveHost } from './host.ts';

/** `<namespace> <host>` of each host that an object of the namespace names. */
export const hostKeys = (namespace: string, hosts: readonly string[], clusterDomain: string): readonly string[] => [
  ...new Set(hosts.map((host) => `${namespace} ${resolveHost(host, namespace, clusterDomain)}`)),
];

/** The keys under which objects of these namespaces that cover a host are filed. */
export function keysCovering(namespaces: Iterable<string>, hostname: string): readonly string[] {
  const patterns = [hostname, '*'];
  for (let dot = hostname.indexOf('.'); dot >= 0; dot = hostname.indexOf('.', dot + 1))
    patterns.push(`*${hostname.slice(dot)}`);
  return [...new Set(namespaces)].flatMap((namespace) => patterns.map((pattern) => `${namespace} ${pattern}`));
}
