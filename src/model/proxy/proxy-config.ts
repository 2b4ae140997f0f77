// What the control plane tells one L7 proxy about itself: who it is, where it listens, and what holds for all that
// passes. One resource a proxy; routes, services and certificates come as resources of their own, so that a change of one
// is one small message.

import type { TrafficFilters } from './filters.ts';
import type { AuthorizationProviderConfig, SecurityConfig } from './security.ts';
import type { TelemetryConfig } from './telemetry-config.ts';

/**
 * waypoint  stands before services: takes HBONE on 15008 only
 * gateway   stands at the edge: takes what its listeners say
 */
export type ProxyRole = 'waypoint' | 'gateway';

export interface ProxyConfig {
  readonly role: ProxyRole;
  readonly namespace: string;
  /** Name of the Gateway object. */
  readonly name: string;
  /** Of gateways; a waypoint's list is empty. */
  readonly listeners: readonly ProxyListener[];
  /** Policies and tokens of the proxy itself: targetRefs to its Gateway or GatewayClass, or a gateway's selector. */
  readonly security: SecurityConfig;
  readonly filters: TrafficFilters;
  readonly telemetry: TelemetryConfig;
  /** Every provider of the mesh that CUSTOM policies may name. */
  readonly authorizationProviders: readonly AuthorizationProviderConfig[];
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  /** MeshConfig `pathNormalization`. */
  readonly pathNormalization: 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
  /** `numTrustedProxies`: how many addresses at the end of x-forwarded-for are believed. */
  readonly trustedProxies: number;
  /** Annotation `ambient.istio.io/xfcc-include-client-identity`: x-forwarded-client-cert names the client. */
  readonly writesClientIdentity: boolean;
  /** A hop to a tunnel port that nothing uses is closed after this. */
  readonly hboneIdleMs: number;
  /** MeshConfig `connectTimeout`, where no DestinationRule says another. */
  readonly connectTimeoutMs: number;
}

export interface ProxyListener {
  /** Name of the listener, unique in its Gateway. Routes are attached by it. */
  readonly name: string;
  /** Where the proxy's pod listens. */
  readonly port: number;
  /** HTTP and HTTPS carry requests; TLS is passed by server name, or ended and passed as TCP; TCP as it is. */
  readonly protocol: 'HTTP' | 'HTTPS' | 'TLS' | 'TCP';
  /** In lower case, `*.example.com` or exact; `*`: any. */
  readonly hostname: string;
  readonly tls: ListenerTls | undefined;
  /** Every request is answered with 301 to https. */
  readonly redirectsToHttps: boolean;
}

export type ListenerTls =
  | { readonly mode: 'passthrough' }
  | {
      readonly mode: 'terminate';
      /** Names of certificate resources, `<namespace>/<secret>`, the first that fits the server name is shown. */
      readonly certificates: readonly string[];
      /** Undefined: clients show no certificate. */
      readonly client: ClientValidation | undefined;
      readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
      readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
      /** OpenSSL names of TLS 1.2 suites; empty: the library's. */
      readonly cipherSuites: readonly string[];
    };

export interface ClientValidation {
  /** PEM, one or more. */
  readonly rootsPem: string;
  /** `optional`: one that is shown and does not hold is let in as if none were shown. */
  readonly mode: 'required' | 'optional';
  /** Names of which the certificate must have one; empty: any. */
  readonly subjectAltNames: readonly string[];
}

/** A resource of its own, `<namespace>/<secret>`, sent only to proxies that refer to it. */
export interface ProxyCertificate {
  /** PEM, leaf first. */
  readonly chainPem: string;
  /** PEM. Never logged. */
  readonly keyPem: string;
  /** PEM; empty where the Secret has none. */
  readonly rootsPem: string;
}
