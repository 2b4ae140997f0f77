// pods/NAME/proxy and services/NAME/proxy: an HTTP request passed on to a pod (Kubernetes: accessing services running on
// clusters). NAME may be `NAME:PORT` or `SCHEME:NAME:PORT`. A pod of the mesh sees a caller without an identity, as on a
// cluster: where mutual TLS is strict it refuses.

import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { BlockList, isIP } from 'node:net';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IService } from 'kubernetes-models/v1/Service';
import { KubeError } from '../../client/types.ts';
import { badRequest } from '../errors.ts';
import { getStored } from '../rest/read.ts';
import type { RestContext, Target } from '../rest/request.ts';
import { sendError } from './answer.ts';

const DIAL_MS = 10_000;
const SLICES = 'discovery.k8s.io/endpointslices';
const SERVICE_LABEL = 'kubernetes.io/service-name';
/** Between the caller and this API alone: how it proved who it is, and what concerns one connection (RFC 9110 section 7.6.1). */
const NOT_PASSED_ON = [
  'authorization',
  'connection',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

const OWN = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  OWN.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [
  ['::', 127],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  OWN.addSubnet(network, bits, 'ipv6');

interface Place {
  readonly scheme: 'http' | 'https';
  readonly name: string;
  readonly port: string | undefined;
}

function placeOf(text: string): Place {
  const parts = text.split(':');
  const [scheme, name, port] = parts.length === 3 ? parts : ['', ...parts];
  if (parts.length > 3 || !name || (scheme !== '' && scheme !== 'http' && scheme !== 'https'))
    throw badRequest(`invalid name "${text}": it is NAME, NAME:PORT or SCHEME:NAME:PORT`);
  return { scheme: scheme === 'https' ? 'https' : 'http', name, port: port || undefined };
}

const unavailable = (message: string): KubeError => new KubeError(503, 'ServiceUnavailable', message, {});

interface Backend {
  readonly host: string;
  readonly port: number;
}

function podBackend(pod: IPod, port: string | undefined): Backend {
  const host = pod.status?.podIP;
  if (!host) throw unavailable(`pod "${pod.metadata?.name}" has no address`);
  const declared = (pod.spec?.containers ?? []).flatMap(({ ports }) => ports ?? []);
  const number = port === undefined ? (declared[0]?.containerPort ?? 80) : Number(port);
  return { host, port: validPort(number, port) };
}

function validPort(number: number | undefined, text: string | undefined): number {
  if (number !== undefined && Number.isInteger(number) && number > 0 && number < 65536) return number;
  throw badRequest(`invalid port "${text}"`);
}

/** One of the ready endpoints. */
function serviceBackend(context: RestContext, service: IService, port: string | undefined): Backend {
  const { name = '', namespace = '' } = service.metadata ?? {};
  const ports = service.spec?.ports ?? [];
  const meant =
    port === undefined && ports.length === 1 ? ports[0] : ports.find((p) => p.name === port || String(p.port) === port);
  if (meant === undefined)
    throw unavailable(`no service port ${JSON.stringify(port ?? '')} found for service ${JSON.stringify(name)}`);
  const backends = context.store
    .list(SLICES, namespace)
    .map(({ object }) => object as IEndpointSlice)
    .filter(({ metadata }) => metadata?.labels?.[SERVICE_LABEL] === name)
    .flatMap(({ endpoints, ports: served }) => {
      const number = (served ?? []).find((each) => (each.name ?? '') === (meant.name ?? ''))?.port;
      const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
      return number === undefined
        ? []
        : ready.flatMap(({ addresses }) => addresses.map((host) => ({ host, port: number })));
    });
  const chosen = backends[Math.floor(context.random() * backends.length)];
  if (chosen === undefined) throw unavailable(`no endpoints available for service "${name}"`);
  return chosen;
}

/**
 * Passes the request on and the answer back, as they come.
 * @param rest path behind `proxy`, as it was sent
 * @throws KubeError 400, 404 or 503 when there is nobody to pass it to
 */
export function proxyToPod(
  context: RestContext,
  target: Target,
  rest: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const place = placeOf(target.name ?? '');
  const { object } = getStored(context, { ...target, name: place.name });
  const backend =
    target.kind.plural === 'services'
      ? serviceBackend(context, object as IService, place.port)
      : podBackend(object as IPod, place.port);
  // Objects are written by users: an address is dialled, no name is looked up, and nothing of this machine's own.
  const family = isIP(backend.host);
  if (family === 0 || OWN.check(backend.host, family === 6 ? 'ipv6' : 'ipv4'))
    throw badRequest(`address "${backend.host}" is not allowed`);
  const path = `${rest === '' ? '/' : rest}${/\?.*$/.exec(request.url ?? '')?.[0] ?? ''}`;
  const send = place.scheme === 'https' ? tlsRequest : httpRequest;
  const upstream = send({
    ...backend,
    method: request.method,
    path,
    headers: passedOn(request.headers),
    agent: false,
    // As Kubernetes does: what it reaches is a pod that the caller chose, behind an address.
    ...(place.scheme === 'https' && { rejectUnauthorized: false }),
  });
  const late = setTimeout(() => upstream.destroy(new Error(`no connection in ${DIAL_MS / 1000} s`)), DIAL_MS);
  upstream.on('socket', (socket) => socket.once('connect', () => clearTimeout(late)));
  upstream.on('response', (answer) => {
    clearTimeout(late);
    response.writeHead(
      answer.statusCode ?? 502,
      locatedIn(passedOn(answer.headers), (request.url ?? '').split('?')[0] ?? '', rest),
    );
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  });
  upstream.on('error', (error) => {
    clearTimeout(late);
    if (response.headersSent) response.destroy();
    else sendError(response, unavailable(`error trying to reach ${target.kind.singular}: ${error.message}`));
  });
  response.on('close', () => upstream.destroy());
  request.pipe(upstream);
}

function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = String(headers.connection ?? '')
    .toLowerCase()
    .split(/\s*,\s*/);
  return Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => !NOT_PASSED_ON.includes(name) && !named.includes(name) && !name.startsWith('impersonate-'),
    ),
  );
}

/** A redirection to a path of the pod becomes one to the same path behind this door. */
function locatedIn(headers: IncomingHttpHeaders, path: string, rest: string): IncomingHttpHeaders {
  const { location } = headers;
  if (location === undefined || !location.startsWith('/') || location.startsWith('//')) return headers;
  return { ...headers, location: `${path.slice(0, path.length - rest.length)}${location}` };
}
