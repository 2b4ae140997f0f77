// What a data path tells telemetry about one connection: plain data and one interface, no behaviour. The metrics
// registry and the access log implement `ConnectionTelemetry`; ztunnel (and later the L7 engine) calls it.
// Per connection, never per chunk: bytes are counted in a `ByteMeter` that the implementation reads when it likes.

import type { SpiffeId } from '../model/identity.ts';
import type { HostPort } from '../model/ip.ts';
import type { Peer } from '../model/traffic.ts';

export type Direction = 'outbound' | 'inbound';
/** `source` = outbound, `destination` = inbound (the metrics' label). */
export type Reporter = 'source' | 'destination';

/** Label `response_flags`; `-` is success. */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED';

/** One object is made per workload version and shared by its connections, so that caches may go by object identity. */
export type { Peer } from '../model/traffic.ts';

export interface DestinationService {
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
}

/** Everything known when a connection has been decided; never changes afterwards. */
export interface ConnectionInfo {
  readonly direction: Direction;
  readonly sourceAddress: HostPort;
  readonly source: Peer | undefined;
  /** Proved (inbound) or presented (outbound) by mutual TLS; undefined for plaintext. */
  readonly sourceIdentity: SpiffeId | undefined;
  /** The next hop: `:15008` on both sides for HBONE. */
  readonly destinationAddress: HostPort;
  /** CONNECT authority; undefined for plaintext. */
  readonly hboneAuthority: string | undefined;
  readonly destination: Peer | undefined;
  /** Mutual TLS only; the label `destination_principal` uses `destination.identity` instead, also for plaintext. */
  readonly destinationIdentity: SpiffeId | undefined;
  readonly destinationService: DestinationService | undefined;
  /** What the application dialled, for the connection table of the config dump. */
  readonly originalDestination: HostPort;
}

/** Payload bytes so far, both directions; the data path adds, telemetry reads. */
export interface ByteMeter {
  /** From client to server: `received` in metrics; `bytes_sent` of an outbound, `bytes_recv` of an inbound log line. */
  toServer: number;
  /** From server to client. */
  toClient: number;
}

export interface Outcome {
  readonly flag: ResponseFlag;
  /** The access log's `error` text; undefined on success. */
  readonly error: string | undefined;
}

/** A connection that was counted as opened. `finish` is called exactly once. */
export interface OpenConnection {
  /** Counts closed (and failed when the flag is not `-`), takes the meter's rest, writes the access-log line. */
  finish(outcome: Outcome): void;
}

export interface EarlyDenial {
  readonly direction: Direction;
  readonly sourceAddress: HostPort;
  readonly destinationAddress: HostPort;
  readonly error: string;
}

export interface ConnectionTelemetry {
  /** Counts opened (flag `-`), starts the duration, logs `connection opened` at debug; includes `meter` in scrapes. */
  open(info: ConnectionInfo, meter: ByteMeter): OpenConnection;
  /** Refused before it was decided where to go: a warning `connection failed`, no metrics. */
  denied(denial: EarlyDenial): void;
  /** Gauge `istio_tcp_sockets_open`: +1 or -1 per accepted TCP socket. */
  sockets(reporter: Reporter, change: 1 | -1): void;
  /** A workload hostname was resolved for a connection (`istio_on_demand_dns_total`). */
  onDemandDns(source: Peer, hostname: string): void;
}
