// Host names as VirtualServices and DestinationRules write them, and who may see such an object.

/** A name without a dot is a service of the object's own namespace; anything else is whole already. */
export const resolveHost = (host: string, namespace: string, clusterDomain: string): string =>
  host.includes('.') || host === '*' || host === '' ? host : `${host}.${namespace}.svc.${clusterDomain}`;

/** `*.example.com` covers `a.example.com` and `a.b.example.com`; `*` everything. */
export const hostCovers = (pattern: string, host: string): boolean =>
  pattern === host || pattern === '*' || (pattern.startsWith('*.') && host.endsWith(pattern.slice(1)));

/**
 * How an object is offered to a namespace, from closest to widest.
 * private   to its own namespace alone
 * named     to namespaces that it lists, this one among them
 * public    to all
 */
export type Exposure = 'private' | 'named' | 'public';

/**
 * @param exportTo  empty: `fallback`
 * @returns undefined where the namespace does not see it
 */
export function exposure(
  exportTo: readonly string[],
  from: string,
  to: string,
  fallback: readonly string[] = ['*'],
): Exposure | undefined {
  const effective = exportTo.length === 0 ? fallback : exportTo;
  if (effective.includes('*')) return 'public';
  const named = effective.some((entry) => entry !== '.' && entry !== '~' && entry === to);
  if (effective.includes('.') && from === to) return named || effective.length > 1 ? 'named' : 'private';
  return named ? 'named' : undefined;
}
