// The two ends of an accepted socket as values, and connecting with a deadline.

import type { Socket } from 'node:net';
import { type HostPort, type Ip, parseIp } from '../model/ip.ts';
import type { Netns } from '../platform/linux/netns.ts';
import { type ConnectOptions, connectTcp } from '../platform/linux/sockets.ts';
import type { Deadlines, Expiring } from './deadlines.ts';
import { CONNECT_TIMEOUT, type Failure, failureOf } from './failure.ts';

const MAPPED = '::ffff:';

function hostPort(address: string | undefined, port: number | undefined): HostPort | undefined {
  if (address === undefined || port === undefined) return undefined;
  // The kernel's IPv4 text is canonical. A dual-stack listener shows IPv4 peers v4-mapped, always in dotted form.
  if (!address.includes(':')) return { ip: address as Ip, port };
  if (address.startsWith(MAPPED) && address.includes('.')) return { ip: address.slice(MAPPED.length) as Ip, port };
  const ip = parseIp(address);
  return ip.ok ? { ip: ip.value, port } : undefined;
}

/** Undefined when the peer is gone already. */
export const remoteEnd = (socket: Socket): HostPort | undefined => hostPort(socket.remoteAddress, socket.remotePort);
export const localEnd = (socket: Socket): HostPort | undefined => hostPort(socket.localAddress, socket.localPort);

/** A socket that is being closed may still report an error that nobody needs. */
export const ignoreErrors = (): void => {};

/** One attempt to connect; exactly one of the two callbacks is called, unless `cancel` comes first. */
export class Connecting implements Expiring {
  readonly #socket: Socket;
  readonly #deadlines: Deadlines;
  readonly #connected: (socket: Socket) => void;
  readonly #failed: (failure: Failure) => void;
  readonly #timeout: Failure;
  #over = false;

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
    this.#deadlines = deadlines;
    this.#connected = connected;
    this.#failed = failed;
    this.#timeout = timeout;
    const socket = connectTcp(netns, options);
    this.#socket = socket;
    deadlines.add(this);
    socket.on('error', this.#onError);
    socket.on('connect', this.#onConnect);
  }

  expired(): void {
    this.#fail(this.#timeout);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadlines.delete(this);
    this.#socket.destroy();
  }

  readonly #onConnect = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#deadlines.delete(this);
    const socket = this.#socket;
    socket.off('connect', this.#onConnect);
    this.#connected(socket);
  };

  /** Stays attached after the connection is made: a socket always has somebody who hears its errors. */
  readonly #onError = (error: Error): void => this.#fail(failureOf(error));

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.cancel();
    this.#failed(failure);
  }
}
