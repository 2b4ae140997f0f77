// logs, exec, attach and port-forward: the API finds the pod's node and hands the connection to that node's kubelet, whose
// paths are the real kubelet's. Bytes after an upgrade are passed on as they are.

import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { IPod } from 'kubernetes-models/v1/Pod';
import { KubeError } from '../../client/types.ts';
import { badRequest, conflict } from '../errors.ts';
import { getStored } from '../rest/read.ts';
import type { RestContext, Target } from '../rest/request.ts';
import { sendError } from './answer.ts';

/** The subresources of pods that are a kubelet's to answer. */
export const KUBELET_SUBRESOURCES: ReadonlySet<string> = new Set(['log', 'exec', 'attach', 'portforward']);

/** Where a node's kubelet listens. */
export type KubeletSocket = (node: string) => string;

interface KubeletTarget {
  readonly node: string;
  readonly path: string;
}

/** @throws KubeError 400 or 409 when the pod or container cannot be meant, with what kubectl's users know */
function kubeletTarget(context: RestContext, target: Target, query: URLSearchParams): KubeletTarget {
  const pod = getStored(context, target).object as IPod;
  const { name = '', namespace = '' } = pod.metadata ?? {};
  const node = pod.spec?.nodeName;
  if (!node) throw conflict(target.kind, name, `pod ${name} does not have a host assigned`);
  const rest = new URLSearchParams(query);
  if (target.subresource === 'portforward') return { node, path: `/portForward/${namespace}/${name}?${rest}` };
  const container = chooseContainer(pod, rest.get('container') ?? undefined);
  rest.delete('container');
  if (target.subresource === 'log') return { node, path: `/containerLogs/${namespace}/${name}/${container}?${rest}` };
  if (target.subresource === 'exec' && rest.getAll('command').length === 0)
    throw badRequest('you must specify at least 1 command for the container');
  return { node, path: `/${target.subresource}/${namespace}/${name}/${container}?${rest}` };
}

function chooseContainer({ metadata, spec }: IPod, asked: string | undefined): string {
  const name = metadata?.name ?? '';
  const main = (spec?.containers ?? []).map((container) => container.name);
  const init = (spec?.initContainers ?? []).map((container) => container.name);
  if (asked !== undefined) {
    const ephemeral = (spec?.ephemeralContainers ?? []).map((container) => container.name);
    if (main.includes(asked) || init.includes(asked) || ephemeral.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  const preferred = metadata?.annotations?.['kubectl.kubernetes.io/default-container'];
  if (preferred !== undefined && main.includes(preferred)) return preferred;
  if (main.length === 1) return main[0] ?? '';
  const others = init.length === 0 ? '' : ` or one of the init containers: [${init.join(' ')}]`;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]${others}`);
}

/** Passes a plain request on (logs), and the answer back as it comes. */
export function proxyToKubelet(
  context: RestContext,
  target: Target,
  query: URLSearchParams,
  socketOf: KubeletSocket,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { node, path } = kubeletTarget(context, target, query);
  const upstream = httpRequest({ socketPath: socketOf(node), path, method: request.method, headers: { host: node } });
  upstream.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, {
      'content-type': answer.headers['content-type'] ?? 'text/plain',
      'cache-control': 'no-cache, private',
    });
    response.flushHeaders();
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  });
  upstream.on('error', (error) => {
    if (response.headersSent) response.destroy();
    else sendError(response, unreachable(node, error));
  });
  response.on('close', () => upstream.destroy());
  upstream.end();
}

/** Passes an upgrade on and joins the two connections when the kubelet agrees. */
export function tunnelToKubelet(
  context: RestContext,
  target: Target,
  query: URLSearchParams,
  socketOf: KubeletSocket,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  const { node, path } = kubeletTarget(context, target, query);
  const { authorization: _, ...headers } = request.headers;
  const upstream = httpRequest({
    socketPath: socketOf(node),
    path,
    method: request.method,
    headers: { ...headers, host: node },
  });
  socket.on('error', () => upstream.destroy());
  socket.on('close', () => upstream.destroy());
  upstream.on('upgrade', (answer, kubelet, rest) => {
    socket.write(headOf(answer));
    if (rest.length > 0) socket.write(rest);
    if (head.length > 0) kubelet.write(head);
    kubelet.on('error', () => socket.destroy());
    kubelet.on('close', () => socket.destroy());
    socket.on('close', () => kubelet.destroy());
    socket.pipe(kubelet).pipe(socket);
  });
  upstream.on('response', (answer) => {
    socket.write(headOf(answer));
    answer.pipe(socket);
  });
  upstream.on('error', (error) => refuse(socket, unreachable(node, error)));
  upstream.end();
}

function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (!/^(connection|transfer-encoding)$/i.test(rawHeaders[i]!) || statusCode === 101)
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  if (statusCode !== 101) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function unreachable(node: string, error: Error): KubeError {
  return new KubeError(502, 'BadGateway', `the kubelet of node ${node} cannot be reached: ${error.message}`, {});
}

/** Answers an upgrade request with a Status. */
export function refuse(socket: Duplex, error: KubeError): void {
  const { code, reason, message, details } = error;
  const body = JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    details,
    code,
  });
  socket.end(
    `HTTP/1.1 ${code} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
