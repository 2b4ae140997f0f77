// Routes as they travel to a proxy: one resource an object of the user's, with where it is attached. Its name is
// `<kind>/<namespace>/<name>`.

import type { BackendTarget, HttpRouteRule, RouteOrigin } from '../http/route.ts';
import type { Cidr } from '../ip.ts';
import type { ServiceKey } from '../workload.ts';

export type RouteResource = HttpRouteResource | TcpRouteResource | TlsRouteResource;

/** Where routes act: a gateway's listener, or a service that this waypoint stands before. */
export type RouteAttachment =
  | {
      readonly kind: 'listener';
      /** Name of the listener. */
      readonly listener: string;
      /** `a.example.com`, `*.example.com` or `*`, already intersected with the listener's. */
      readonly hosts: readonly string[];
    }
  /** `port`: the service's port; undefined: every one. */
  | { readonly kind: 'service'; readonly service: ServiceKey; readonly port: number | undefined };

interface AttachedRoute {
  readonly attachments: readonly RouteAttachment[];
  /** Lower comes first where routes of one place are concatenated (a waypoint: private, exported, public). */
  readonly order: number;
}

export interface HttpRouteResource extends AttachedRoute {
  readonly kind: 'http';
  readonly origin: RouteOrigin;
  readonly rules: readonly HttpRouteRule[];
}

export interface ConnectionOrigin {
  readonly kind: 'TCPRoute' | 'TLSRoute' | 'VirtualService';
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
}

export interface TcpRouteResource extends AttachedRoute {
  readonly kind: 'tcp';
  readonly origin: ConnectionOrigin;
  /** The first that matches is taken; none: the connection is closed. */
  readonly rules: readonly TcpRouteRule[];
}

export interface TcpRouteRule {
  /** Any of them; none: every connection. */
  readonly anyMatch: readonly TcpMatch[];
  readonly backends: readonly WeightedTarget[];
}

export interface TcpMatch {
  /** Any range holds the destination address; none: any address. */
  readonly destinations: readonly Cidr[];
  /** Undefined: any. */
  readonly port: number | undefined;
}

export interface TlsRouteResource extends AttachedRoute {
  readonly kind: 'tls';
  readonly origin: ConnectionOrigin;
  readonly rules: readonly TlsRouteRule[];
}

export interface TlsRouteRule {
  /** Server names, in lower case, with wildcards; none: the attachment's hosts. */
  readonly serverNames: readonly string[];
  readonly anyMatch: readonly TcpMatch[];
  readonly backends: readonly WeightedTarget[];
}

export interface WeightedTarget {
  readonly target: BackendTarget;
  /** Not negative; relative to the others. */
  readonly weight: number;
}
