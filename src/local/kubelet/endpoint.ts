// Talking to a container from its node, for probes and hooks: sockets are made in the node's namespace, so that what the
// node agent grants to the kubelet's address holds for them.

import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { parseIp } from '../../model/ip.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { connectTcp } from '../../platform/linux/sockets.ts';
import type { ContainerSpec } from './types.ts';

export interface Place {
  readonly nodeNetns: Netns;
  readonly podIp: string;
  readonly ports: NonNullable<ContainerSpec['ports']>;
}

/** An attempt that did not work out; the message is what the kubelet of a cluster would write. */
export class EndpointError extends Error {}

const USER_AGENT = 'kube-probe/1.35';
const MAX_BODY_BYTES = 10_240;

/** A port's number, or the name of one of the container's ports. @throws EndpointError */
export function portNumber(port: number | string, place: Place): number {
  const number =
    typeof port === 'number' ? port : (place.ports.find(({ name }) => name === port)?.containerPort ?? Number(port));
  if (Number.isInteger(number) && number > 0 && number < 65536) return number;
  throw new EndpointError(`couldn't find port: ${port}`);
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  ECONNRESET: 'read: connection reset by peer',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'i/o timeout',
};

const wordsOf = (error: NodeJS.ErrnoException): string =>
  WORDS[error.code ?? ''] ?? (error.message === 'socket hang up' ? 'EOF' : error.message);

/** Opens a connection; resolves when it stands. @throws EndpointError */
export function dial(host: string, port: number, place: Place, timeoutMs: number): Promise<Socket> {
  const ip = parseIp(host === 'localhost' ? '127.0.0.1' : host);
  const failed = (why: string): EndpointError => new EndpointError(`dial tcp ${host}:${port}: ${why}`);
  if (!ip.ok) return Promise.reject(failed('no such host'));
  return new Promise((resolve, reject) => {
    let socket: Socket;
    try {
      socket = connectTcp(place.nodeNetns, { destination: { ip: ip.value, port } });
    } catch (error) {
      reject(failed(wordsOf(error as NodeJS.ErrnoException)));
      return;
    }
    const late = setTimeout(
      () => socket.destroy(Object.assign(new Error('i/o timeout'), { code: 'ETIMEDOUT' })),
      timeoutMs,
    );
    const refuse = (error: NodeJS.ErrnoException): void => {
      clearTimeout(late);
      reject(failed(wordsOf(error)));
    };
    socket.once('error', refuse);
    socket.once('connect', () => {
      clearTimeout(late);
      socket.off('error', refuse);
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

export interface HttpAction {
  readonly port: number | string;
  readonly path?: string;
  readonly host?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
}

/** The status code of a GET. @throws EndpointError when there was none in time */
export async function httpGet(
  action: HttpAction,
  place: Place,
  timeoutMs: number,
): Promise<{ code: number; body: string }> {
  const host = action.host || place.podIp;
  const port = portNumber(action.port, place);
  const scheme = (action.scheme ?? 'HTTP').toLowerCase();
  const path = action.path?.startsWith('/') === true ? action.path : `/${action.path ?? ''}`;
  const url = `${scheme}://${host}:${port}${path}`;
  const failed = (why: string): EndpointError => new EndpointError(`Get "${url}": ${why}`);
  const deadline = failed('context deadline exceeded (Client.Timeout exceeded while awaiting headers)');
  const began = performance.now();
  let socket: Socket;
  try {
    socket = await dial(host, port, place, timeoutMs);
  } catch (error) {
    throw (error as Error).message.endsWith('i/o timeout') ? deadline : failed((error as Error).message);
  }
  const headers: Record<string, string> = {
    host: `${host}:${port}`,
    'user-agent': USER_AGENT,
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  // The certificate is not checked: it is the pod's own, and its name is an address (as the kubelet has it).
  const stream =
    scheme === 'https' ? (await import('node:tls')).connect({ socket, rejectUnauthorized: false }) : socket;
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => end(() => reject(deadline)), Math.max(1, timeoutMs - (performance.now() - began)));
    const end = (action: () => void): void => {
      clearTimeout(late);
      socket.destroy();
      action();
    };
    stream.on('error', (error) => end(() => reject(failed(wordsOf(error)))));
    const request = httpRequest({ method: 'GET', path, headers, createConnection: () => stream }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        if (body.length < MAX_BODY_BYTES) body += part;
      });
      const done = (): void => end(() => resolve({ code: response.statusCode ?? 0, body }));
      response.on('end', done);
      response.on('error', done);
    });
    request.on('error', (error) => end(() => reject(failed(wordsOf(error)))));
    request.end();
  });
}

const SERVING = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

/** grpc.health.v1.Health/Check: one string in, one enumeration out, so that no protobuf library is needed. @throws EndpointError */
export async function grpcHealth(
  action: { readonly port: number; readonly service?: string },
  place: Place,
  timeoutMs: number,
): Promise<string> {
  const name = Buffer.from(action.service ?? '');
  if (name.length > 127) throw new EndpointError('the name of the gRPC service is longer than 127 bytes');
  const began = performance.now();
  const socket = await dial(place.podIp, action.port, place, timeoutMs).catch((error: Error) => {
    throw new EndpointError(
      `timeout: failed to connect service "${place.podIp}:${action.port}" within ${timeoutMs / 1000}s: ${error.message}`,
    );
  });
  const { connect: connectHttp2, constants: http2 } = await import('node:http2'); // seldom needed, and slow to load
  const session = connectHttp2(`http://${place.podIp}:${action.port}`, { createConnection: () => socket });
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => end(() => reject(new EndpointError(`timeout: health rpc did not complete within ${timeoutMs / 1000}s`))),
      Math.max(1, timeoutMs - (performance.now() - began)),
    );
    const end = (action: () => void): void => {
      clearTimeout(late);
      session.destroy();
      action();
    };
    session.on('error', (error) => end(() => reject(new EndpointError(wordsOf(error)))));
    const stream = session.request({
      [http2.HTTP2_HEADER_METHOD]: 'POST',
      [http2.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      [http2.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      te: 'trailers',
    });
    const parts: Buffer[] = [];
    let status = '0';
    const note = (headers: NodeJS.Dict<string | string[]>): void => {
      status = String(headers['grpc-status'] ?? status);
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (part: Buffer) => parts.length < 16 && parts.push(part));
    stream.on('error', (error: Error) => end(() => reject(new EndpointError(wordsOf(error)))));
    stream.on('end', () =>
      end(() => {
        if (status === '12')
          return reject(
            new EndpointError('this server does not implement the grpc health protocol (grpc.health.v1.Health)'),
          );
        if (status !== '0') return reject(new EndpointError(`rpc error: code = ${status}`));
        const message = Buffer.concat(parts).subarray(5);
        resolve(SERVING[message[0] === 0x08 ? (message[1] ?? 0) : 0] ?? 'UNKNOWN');
      }),
    );
    const body = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]));
  });
}
