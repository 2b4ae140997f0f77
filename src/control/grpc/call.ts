// What a method of the gRPC server is: the contract between the transport and the services.

import type { IncomingHttpHeaders } from 'node:http2';
import type { StatusName } from '../../wire/grpc/status.ts';

/** One RPC as it came in. */
export interface Call {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** `address:port` of the client. */
  readonly peer: string;
  /** DER of the client's certificate, verified against our roots; undefined when it showed none. */
  readonly clientCertificate: Uint8Array | undefined;
  /** Aborted when the RPC is over, however that came. */
  readonly signal: AbortSignal;
}

/** The server's side of a stream. */
export interface Sender {
  /**
   * Sends one message, given in pieces that are not copied and must not change.
   * @returns a promise that settles when the bytes have left for the peer's window, or the stream is over
   */
  send(pieces: readonly Uint8Array[]): Promise<void>;
  /** Ends the stream; later calls do nothing. */
  end(status: StatusName, message: string): void;
}

/** The service's side of a stream. */
export interface Receiver {
  /** One message of the client. What it throws ends the stream. */
  message(bytes: Uint8Array): void;
  /** The client sends no more, or the stream is over: called once. */
  closed(): void;
}

export type Method =
  | {
      readonly kind: 'unary';
      /** @throws GrpcFailure */
      answer(call: Call, request: Uint8Array): Promise<Uint8Array>;
    }
  | {
      readonly kind: 'stream';
      /** Decides whether the stream may begin. Messages wait meanwhile. @throws GrpcFailure */
      open(call: Call, sender: Sender): Promise<Receiver>;
    };
