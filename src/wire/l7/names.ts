// Type URLs and names of the resources that L7 proxies are configured with.

/** A proxy itself; its name is `<namespace>/<gateway>`. */
export const PROXY_TYPE = 'type.googleapis.com/ambit.proxy.v1.Proxy';
/** One object that routes. */
export const ROUTE_TYPE = 'type.googleapis.com/ambit.proxy.v1.Route';
/** How to send to a service; its name is the service's key. */
export const SERVICE_TYPE = 'type.googleapis.com/ambit.proxy.v1.Service';
/** A certificate with its key; its name is `<namespace>/<secret>`. */
export const CERTIFICATE_TYPE = 'type.googleapis.com/ambit.proxy.v1.Certificate';

/**
 * `<kind>/<namespace>/<name>` of the object that a route came from.
 * @param part  tells apart several resources of one object; without slash
 */
export const routeName = (
  origin: { readonly kind: string; readonly namespace: string; readonly name: string },
  part = '',
): string => `${origin.kind}/${origin.namespace}/${origin.name}${part === '' ? '' : `/${part}`}`;
