// TCP and UDP sockets inside a chosen network namespace, with the options that a transparent proxy needs. Only making the
// socket needs the namespace: bind, connect and every option afterwards act on the socket's own one.
// Descriptors returned here are non-blocking, close-on-exec, and the caller's to close (or to hand to net / dgram).
// Runs once per connection: an option costs about 0.3 microseconds, entering the namespace and back about 6.

import type { SocketType, Socket as UdpSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { closeSync } from 'node:fs';
import type { Server } from 'node:net';
import { Socket } from 'node:net';
import { formatHostPort, type HostPort, type Ip, isV4 } from '../../model/ip.ts';
import { hasCode } from './errors.ts';
import { check, libc } from './libc.ts';
import type { Netns } from './netns.ts';
import { AF_INET, AF_INET6, decodeInet, encodeInet } from './sockaddr.ts';

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

const SOL_IP = 0;
const SOL_SOCKET = 1;
const IPPROTO_TCP = 6;
const SOL_IPV6 = 41;

const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const SO_MARK = 36;
const IP_FREEBIND = 15;
const IP_TRANSPARENT = 19;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IPV6_V6ONLY = 26;
const IPV6_TRANSPARENT = 75;
const IPV6_FREEBIND = 78;
const SO_ORIGINAL_DST = 80;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;

export interface Keepalive {
  readonly idleSeconds: number;
  readonly intervalSeconds: number;
  readonly retries: number;
  /** Also TCP_USER_TIMEOUT = idle + retries × interval, so that unacknowledged data ends the connection as well. */
  readonly userTimeout?: boolean;
}

/** `try`: wanted, but without the right to it the socket is made all the same. */
export type Transparency = 'try' | 'require' | 'never';

export interface ListenOptions {
  /** `::` serves IPv4 as well; any other address only its own family. */
  readonly ip: Ip;
  /** 0 lets the kernel choose; `localAddress` tells. */
  readonly port: number;
  readonly backlog?: number;
  /** SO_REUSEPORT: several processes accept on the same address, as at the hand-over from an old proxy to a new one. */
  readonly reusePort?: boolean;
  readonly transparent?: Transparency;
  /** SO_MARK; accepted sockets inherit it. */
  readonly mark?: number | undefined;
}

export interface ConnectOptions {
  readonly destination: HostPort;
  /** Bound before connecting, also when it belongs to somebody else (IP_TRANSPARENT + IP_FREEBIND). Port 0: any. */
  readonly source?: HostPort | undefined;
  readonly mark?: number | undefined;
  readonly keepalive?: Keepalive | undefined;
  /** As for `net.Socket`; a proxy wants true, so that one side's FIN ends only one direction. */
  readonly allowHalfOpen?: boolean;
}

export interface UdpOptions {
  readonly ip: Ip;
  readonly port: number;
  readonly reusePort?: boolean;
  readonly transparent?: Transparency;
  readonly mark?: number | undefined;
}

const optionValue = Buffer.alloc(4);

function setOption(fd: number, level: number, name: number, value: number, what: string | (() => string)): void {
  optionValue.writeInt32LE(value, 0);
  if (libc.setsockopt(fd, level, name, optionValue, 4) === -1)
    check(-1, 'setsockopt', typeof what === 'string' ? () => what : what);
}

/** Both spellings on an IPv6 socket: it may carry IPv4 too. */
function setTransparent(fd: number, family: number, transparency: Transparency): void {
  if (transparency === 'never') return;
  try {
    setOption(fd, SOL_IP, IP_TRANSPARENT, 1, 'client addresses cannot be kept (IP_TRANSPARENT)');
    if (family === AF_INET6)
      setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, 'client addresses cannot be kept (IPV6_TRANSPARENT)');
  } catch (error) {
    if (transparency === 'require' || !hasCode(error, 'EPERM')) throw error;
  }
}

/** Makes a socket in the namespace and prepares it; closes it when that fails. */
function makeSocket(
  netns: Netns,
  family: number,
  type: number,
  what: () => string,
  prepare: (fd: number) => void,
): number {
  const fd = netns.run(() => check(libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', what));
  try {
    prepare(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function bindTo(fd: number, at: HostPort, family: number, what: () => string): void {
  const address = encodeInet(at, family);
  check(libc.bind(fd, address, address.length), 'bind', what);
}

/**
 * A listening TCP socket, for `net.Server.listen({ fd, backlog })` or `serve`.
 * @throws SystemError EADDRINUSE, EADDRNOTAVAIL, EPERM (mark, or transparency that is required), EAFNOSUPPORT
 */
export function listenTcp(netns: Netns, options: ListenOptions): number {
  const what = (): string => `not listening on TCP ${formatHostPort(options)}`;
  const family = isV4(options.ip) ? AF_INET : AF_INET6;
  return makeSocket(netns, family, SOCK_STREAM, what, (fd) => {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, what());
    if (options.reusePort) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, what());
    if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark, what());
    if (family === AF_INET6) setOption(fd, SOL_IPV6, IPV6_V6ONLY, options.ip === '::' ? 0 : 1, what());
    setTransparent(fd, family, options.transparent ?? 'never');
    bindTo(fd, options, family, what);
    check(libc.listen(fd, options.backlog ?? 128), 'listen', what);
  });
}

/** Lets `server` accept on a descriptor of `listenTcp`; it owns the descriptor from now on, also when this rejects. */
export function serve(server: Server, fd: number, backlog = 128): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd, backlog }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Starts connecting; the socket emits `connect` or `error` as one of `net.connect` does. TCP_NODELAY is on.
 * @throws SystemError for what fails before the first packet: socket, options, source address
 */
export function connectTcp(netns: Netns, options: ConnectOptions): Socket {
  const { destination } = options;
  const socket = new Socket({ fd: dialSocket(netns, options), allowHalfOpen: options.allowHalfOpen ?? false });
  return socket.connect({ host: destination.ip, port: destination.port });
}

/** A socket that is ready to connect. Errors as `connectTcp`. */
export function dialSocket(netns: Netns, options: ConnectOptions): number {
  const { destination, source } = options;
  const what = (): string => `TCP connection to ${formatHostPort(destination)} not opened`;
  const family = isV4(destination.ip) ? AF_INET : AF_INET6;
  return makeSocket(netns, family, SOCK_STREAM, what, (fd) => {
    if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark, what);
    setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, what);
    if (options.keepalive !== undefined) setKeepalive(fd, options.keepalive);
    if (source === undefined) return;
    setTransparent(fd, family, 'require');
    if (family === AF_INET) setOption(fd, SOL_IP, IP_FREEBIND, 1, what);
    else setOption(fd, SOL_IPV6, IPV6_FREEBIND, 1, what);
    // The port is chosen at connect, unique per destination: else every client address has only 28,000 connections.
    if (source.port === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, what);
    bindTo(fd, source, family, () => `${what()} from ${formatHostPort(source)}`);
  });
}

/** A bound UDP socket, for `dgram.Socket.bind({ fd })` or `openUdp`. `::` serves IPv4 as well. Errors as `listenTcp`. */
export function bindUdp(netns: Netns, options: UdpOptions): number {
  const what = (): string => `UDP ${formatHostPort(options)} not bound`;
  const family = isV4(options.ip) ? AF_INET : AF_INET6;
  return makeSocket(netns, family, SOCK_DGRAM, what, (fd) => {
    if (options.reusePort) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, what());
    if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark, what());
    if (family === AF_INET6) setOption(fd, SOL_IPV6, IPV6_V6ONLY, options.ip === '::' ? 0 : 1, what());
    setTransparent(fd, family, options.transparent ?? 'never');
    bindTo(fd, options, family, what);
  });
}

/** As `bindUdp`, opened: resolves once messages can be received and sent. */
export function openUdp(netns: Netns, options: UdpOptions): Promise<UdpSocket> {
  const fd = bindUdp(netns, options);
  const type: SocketType = isV4(options.ip) ? 'udp4' : 'udp6';
  return adoptUdp(type, fd);
}

/**
 * A marked UDP socket that talks to one peer only (answers from elsewhere are dropped by the kernel).
 * Rejects with SystemError, or with Node's error when the peer has no route.
 */
export async function connectUdp(
  netns: Netns,
  options: { readonly destination: HostPort; readonly mark?: number | undefined },
): Promise<UdpSocket> {
  const { destination, mark } = options;
  const any = (isV4(destination.ip) ? '0.0.0.0' : '::') as Ip;
  const socket = await openUdp(netns, { ip: any, port: 0, mark });
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    // Not as the callback: Node gives that the error too.
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(socket);
    });
    socket.connect(destination.port, destination.ip);
  });
}

function adoptUdp(type: SocketType, fd: number): Promise<UdpSocket> {
  const socket = createSocket(type);
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    socket.bind({ fd }, () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

export const setNoDelay = (fd: number): void => setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, 'TCP_NODELAY not set');

/** SO_KEEPALIVE with its three numbers; Node's `setKeepAlive` can set only the first. */
export function setKeepalive(socket: Socket | number, keepalive: Keepalive): void {
  const fd = descriptorOf(socket);
  if (fd === undefined) return;
  const what = 'TCP keepalive not set';
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, what);
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive.idleSeconds, what);
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive.intervalSeconds, what);
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive.retries, what);
  if (keepalive.userTimeout) {
    const timeoutMs = (keepalive.idleSeconds + keepalive.retries * keepalive.intervalSeconds) * 1000;
    setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeoutMs, what);
  }
}

/**
 * What the application dialled before a redirect rule turned the connection to us (ztunnel: the IPv4 option, then the
 * IPv6 one). Undefined when the connection was not redirected and not tracked; the caller then takes the local address.
 */
export function originalDestination(socket: Socket | number | undefined): HostPort | undefined {
  const fd = socket === undefined ? undefined : descriptorOf(socket);
  if (fd === undefined) return undefined;
  return readAddress(fd, SOL_IP, 16) ?? readAddress(fd, SOL_IPV6, 28);
}

/** For the answers below, each read before the next is asked for. */
const answer = Buffer.alloc(28);
const answerLength = Buffer.alloc(4);

function readAddress(fd: number, level: number, size: number): HostPort | undefined {
  answerLength.writeUInt32LE(size, 0);
  return libc.getsockopt(fd, level, SO_ORIGINAL_DST, answer, answerLength) === 0 ? decodeInet(answer) : undefined;
}

/** Where the socket is bound, IPv4 unfolded from its v4-mapped form. @throws SystemError EBADF */
export function localAddress(socket: Socket | number): HostPort | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  answerLength.writeUInt32LE(answer.length, 0);
  check(libc.getsockname(fd, answer, answerLength), 'getsockname', () => 'local address not read');
  return decodeInet(answer);
}

/** Who is at the other end, as `localAddress`; undefined when it is gone already. */
export function peerAddress(fd: number): HostPort | undefined {
  answerLength.writeUInt32LE(answer.length, 0);
  return libc.getpeername(fd, answer, answerLength) === 0 ? decodeInet(answer) : undefined;
}

const LINGER_NOTHING = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/**
 * Ends a connection with a TCP reset, now: what waits to be sent is dropped. Node's own `resetAndDestroy` first sends it,
 * for as long as the peer likes, and after `end` it may lose the descriptor without closing it. Twice is harmless.
 */
export function resetSocket(socket: Socket): void {
  const fd = descriptorOf(socket);
  // A socket that cannot be told so any more is closed without.
  if (fd !== undefined) setResetOnClose(fd);
  socket.destroy();
}

/** Closing the descriptor drops what waits and sends a reset. */
export function setResetOnClose(fd: number): void {
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, LINGER_NOTHING, LINGER_NOTHING.length);
}

/** Whether `::1` exists in the namespace: a kernel, or a namespace, may be without IPv6. */
export function hasIpv6Loopback(netns: Netns): boolean {
  try {
    closeSync(bindUdp(netns, { ip: '::1' as Ip, port: 0 }));
    return true;
  } catch (error) {
    if (['EADDRNOTAVAIL', 'EAFNOSUPPORT'].some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

/** Whether the kernel knows IPv6 at all; without it no namespace can have any. */
export function kernelHasIpv6(): boolean {
  const fd = libc.socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  closeSync(fd);
  return true;
}

/** Node keeps it on the handle; undefined once the socket is closed. */
function descriptorOf(socket: Socket | number): number | undefined {
  if (typeof socket === 'number') return socket;
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}
