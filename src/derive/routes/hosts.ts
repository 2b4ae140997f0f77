// Host names of listeners and routes: which of a route's a listener admits.
// Source: Gateway API, HTTPRoute hostnames ("intersection"); Istio compares by suffix, so a wildcard spans several labels.

export const ANY_HOST = '*';

const isWild = (host: string): boolean => host.startsWith('*');

/** Whether every name that `narrow` stands for is one of `wide`. */
export const covers = (wide: string, narrow: string): boolean =>
  wide === ANY_HOST ||
  wide === narrow ||
  (wide.startsWith('*.') && narrow !== ANY_HOST && narrow.replace(/^\*/, '').endsWith(wide.slice(1)));

/** @returns the narrower of both; undefined when they have no name in common */
export const intersectHost = (listener: string, route: string): string | undefined =>
  covers(listener, route) ? route : covers(route, listener) ? listener : undefined;

/**
 * The names by which a route is reached at a listener.
 * @param listener  empty: any
 * @param route     empty: those of the listener
 */
export function intersectHosts(listener: string, route: readonly string[]): readonly string[] {
  const own = listener === '' ? ANY_HOST : listener;
  if (route.length === 0) return [own];
  return [...new Set(route.flatMap((host) => intersectHost(own, host) ?? []))];
}

/**
 * Whether requests to all names of `host` go to another listener of the port: the most specific listener takes a request
 * alone (Gateway API: listener isolation).
 * @param others  host names of the other listeners of this port and protocol; empty: any
 */
export const isTakenBy = (host: string, listener: string, others: readonly string[]): boolean =>
  others.some((written) => {
    const other = written === '' ? ANY_HOST : written;
    const own = listener === '' ? ANY_HOST : listener;
    return other !== own && covers(other, host) && isMoreSpecific(other, own);
  });

const isMoreSpecific = (a: string, b: string): boolean => (isWild(a) === isWild(b) ? a.length > b.length : !isWild(a));
