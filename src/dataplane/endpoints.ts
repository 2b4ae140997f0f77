// The two ends of an accepted socket as values, and connecting with a deadline.

import type { Socket } from 'node:net';
import type { HostPort } from '../model/ip.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { type ConnectOptions, connectTcp } from '../platform/linux/sockets.ts';
import { hostPortOf } from '../platform/tcp/names.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { type Dialling, dialStream } from '../platform/tcp/streams.ts';
import type { Deadlines, Expiring } from './deadlines.ts';
import { CONNECT_TIMEOUT, type Failure, failureOf } from './failure.ts';

/** Undefined when the peer is gone already. */
export const remoteEnd = (socket: Socket): HostPort | undefined => hostPortOf(socket.remoteAddress, socket.remotePort);
export const localEnd = (socket: Socket): HostPort | undefined => hostPortOf(socket.localAddress, socket.localPort);

/** A socket that is being closed may still report an error that nobody needs. */
export const ignoreErrors = (): void => {};

/** One attempt to connect; exactly one of the two callbacks is called, unless `cancel` comes first. */
abstract class Attempt<Connected> implements Expiring {
  readonly #deadlines: Deadlines;
  readonly #connected: (connection: Connected) => void;
  readonly #failed: (failure: Failure) => void;
  readonly #timeout: Failure;
  #over = false;

  constructor(
    deadlines: Deadlines,
    connected: (connection: Connected) => void,
    failed: (failure: Failure) => void,
    timeout: Failure,
  ) {
    this.#deadlines = deadlines;
    this.#connected = connected;
    this.#failed = failed;
    this.#timeout = timeout;
  }

  expired(): void {
    this.fail(this.#timeout);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadlines.delete(this);
    this.abandon();
  }

  protected abstract abandon(): void;

  protected begun(): void {
    this.#deadlines.add(this);
  }

  protected succeed(connection: Connected): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadlines.delete(this);
    this.#connected(connection);
  }

  protected fail(failure: Failure): void {
    if (this.#over) return;
    this.cancel();
    this.#failed(failure);
  }
}

/** Of a socket that Node's TLS can use. */
export class Connecting extends Attempt<Socket> {
  readonly #socket: Socket;

  /**
   * @param deadlines holds the time that the attempt may take
   * @throws SystemError for what fails before the first packet: descriptors, options, source address
   */
  constructor(
    netns: Netns,
    options: ConnectOptions,
    deadlines: Deadlines,
    connected: (socket: Socket) => void,
    failed: (failure: Failure) => void,
    timeout: Failure = CONNECT_TIMEOUT,
  ) {
    super(deadlines, connected, failed, timeout);
    const socket = connectTcp(netns, options);
    this.#socket = socket;
    this.begun();
    socket.on('error', this.#onError);
    socket.once('connect', () => this.succeed(socket));
  }

  protected abandon(): void {
    this.#socket.destroy();
  }

  /** Stays attached after the connection is made: a socket always has somebody who hears its errors. */
  readonly #onError = (error: Error): void => this.fail(failureOf(error));
}

/** Of a stream that bytes are only copied to and from. Errors as for `Connecting`. */
export class ConnectingStream extends Attempt<TcpStream> {
  readonly #dialling: Dialling;

  constructor(
    netns: Netns,
    options: ConnectOptions,
    deadlines: Deadlines,
    connected: (stream: TcpStream) => void,
    failed: (failure: Failure) => void,
  ) {
    super(deadlines, connected, failed, CONNECT_TIMEOUT);
    this.#dialling = dialStream(
      netns,
      options,
      (stream) => this.succeed(stream),
      (error) => this.fail(failureOf(error)),
    );
    this.begun();
  }

  protected abandon(): void {
    this.#dialling.cancel();
  }
}
