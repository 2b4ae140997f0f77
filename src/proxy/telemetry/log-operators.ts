// Envoy's command operators (`%REQ(X?Y):Z%`), each compiled once to a function of the exchange. Undefined is what Envoy
// shows as `-`. Values are headers of peers: they hold no line ends (the parser refuses them), and JSON is escaped.

import { firstOfQuery } from '../../model/http/request.ts';
import type { SpiffeId } from '../../model/identity.ts';
import { formatHostPort, type HostPort } from '../../model/ip.ts';
import { STATUS_NAMES } from '../../wire/grpc/status.ts';
import type { Fields } from '../../wire/http1/index.ts';
import {
  clusterName,
  destinationIdentityOf,
  downstreamRemote,
  FLAG_NAMES,
  flagsOf,
  flagsText,
  grpcStatusOf,
  type Reported,
  type ReportingProxy,
  spiffeText,
} from './ends.ts';
import { startTime } from './log-time.ts';

export type LogValue = string | number | undefined;
export type Operator = (exchange: Reported) => LogValue;

const text = (value: string | undefined): string | undefined => (value === '' ? undefined : value);
/** Headers are bytes: those that are UTF-8 are shown as that; what could end a line for some reader is not shown. */
function shown(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (!/[\x80-\xff]/.test(value)) return value;
  const decoded = Buffer.from(value, 'latin1').toString('utf8');
  return decoded.replace(/[\x80-\x9f\u2028\u2029]/g, '?');
}
/** RFC 6750 §5.3: bearer tokens in a query must not get into logs. */
const withoutToken = (path: string): string | undefined =>
  path.includes('access_token=') ? path.replace(/([?&]access_token=)[^&#]*/g, '$1***') : text(path);
const hostPort = (at: HostPort | undefined): string | undefined => at && formatHostPort(at);
const identityText = (identity: SpiffeId | undefined): string | undefined => identity && spiffeText(identity);
const milliseconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : Math.floor(ms));
const remoteIp = ({ request, client }: Reported): string => request.remoteIp ?? client.source.ip;
const absent: Operator = () => undefined;

const longFlags = (reported: Reported): string | undefined =>
  text(
    flagsOf(reported)
      .map((flag) => FLAG_NAMES[flag])
      .join(','),
  );

/** Those without arguments. */
const PLAIN: Readonly<Record<string, (exchange: Reported, proxy: ReportingProxy) => LogValue>> = {
  PROTOCOL: (e) => e.protocol,
  RESPONSE_CODE: (e) => e.responseStatus,
  RESPONSE_CODE_DETAILS: (e) => text(e.details),
  RESPONSE_FLAGS: flagsText,
  RESPONSE_FLAGS_LONG: longFlags,
  CONNECTION_TERMINATION_DETAILS: absent,
  DURATION: (e) => milliseconds(e.endedAfterMs),
  RESPONSE_DURATION: (e) => milliseconds(e.responseStartedAfterMs),
  RESPONSE_TX_DURATION: (e) =>
    e.endedAfterMs === undefined || e.responseStartedAfterMs === undefined
      ? undefined
      : Math.floor(e.endedAfterMs - e.responseStartedAfterMs),
  BYTES_RECEIVED: (e) => e.bytesReceived,
  BYTES_SENT: (e) => e.bytesSent,
  UPSTREAM_HOST: (e) => hostPort(e.upstream?.endpoint.address),
  UPSTREAM_HOST_NAME: (e) => e.upstream?.endpoint.workload?.name ?? hostPort(e.upstream?.endpoint.address),
  UPSTREAM_REMOTE_ADDRESS: (e) => hostPort(e.upstream?.endpoint.address),
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (e) => e.upstream?.endpoint.address.ip,
  UPSTREAM_REMOTE_PORT: (e) => e.upstream?.endpoint.address.port,
  UPSTREAM_LOCAL_ADDRESS: (e) => hostPort(e.upstream?.localAddress),
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (e) => e.upstream?.localAddress?.ip,
  UPSTREAM_LOCAL_PORT: (e) => e.upstream?.localAddress?.port,
  UPSTREAM_CLUSTER: (e, proxy) => clusterName(proxy, e),
  UPSTREAM_CLUSTER_RAW: (e, proxy) => clusterName(proxy, e),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (e) => e.tries,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (e) => text(e.upstreamFailure),
  UPSTREAM_PEER_URI_SAN: (e) => identityText(destinationIdentityOf(e.upstream)),
  UPSTREAM_LOCAL_URI_SAN: (e, proxy) => (e.upstream?.meshed ? identityText(proxy.identity) : undefined),
  DOWNSTREAM_REMOTE_ADDRESS: downstreamRemote,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: remoteIp,
  DOWNSTREAM_REMOTE_PORT: (e) => (remoteIp(e) === e.client.source.ip ? e.client.source.port : 0),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (e) => formatHostPort(e.client.source),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (e) => e.client.source.ip,
  DOWNSTREAM_DIRECT_REMOTE_PORT: (e) => e.client.source.port,
  DOWNSTREAM_LOCAL_ADDRESS: (e) => formatHostPort(e.client.destination),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (e) => e.client.destination.ip,
  DOWNSTREAM_LOCAL_PORT: (e) => e.client.destination.port,
  DOWNSTREAM_PEER_URI_SAN: (e) => identityText(e.client.identity) ?? text(e.client.clientCertificate?.uris.join(',')),
  DOWNSTREAM_PEER_DNS_SAN: (e) => text(e.client.clientCertificate?.dnsNames.join(',')),
  DOWNSTREAM_PEER_SUBJECT: (e) => e.client.clientCertificate?.subject,
  DOWNSTREAM_PEER_FINGERPRINT_256: (e) => e.client.clientCertificate?.sha256,
  DOWNSTREAM_LOCAL_URI_SAN: (e, proxy) => (e.client.identity === undefined ? undefined : identityText(proxy.identity)),
  DOWNSTREAM_TRANSPORT_FAILURE_REASON: absent,
  REQUESTED_SERVER_NAME: (e) => text(e.client.serverName),
  ROUTE_NAME: (e) => text(e.route?.rule.name),
  VIRTUAL_CLUSTER_NAME: absent,
  GRPC_STATUS: (e) => grpcName(e),
  GRPC_STATUS_NUMBER: grpcStatusOf,
  STREAM_ID: (e) => text(e.id),
  TRACE_ID: (e) => traceId(e.requestFields),
  HOSTNAME: (_, proxy) => text(proxy.hostname),
};

export const PLAIN_OPERATORS: readonly string[] = Object.keys(PLAIN);

/** Those that name something this engine does not have: empty, as in an Envoy without the filter. */
const EMPTY = new Set([
  'DYNAMIC_METADATA',
  'CLUSTER_METADATA',
  'UPSTREAM_METADATA',
  'METADATA',
  'FILTER_STATE',
  'UPSTREAM_FILTER_STATE',
  'LOCAL_REPLY_BODY',
]);

/**
 * @param name       `REQ`
 * @param parameter  what stood in parentheses, or empty
 * @returns undefined: there is no such operator
 */
export function operatorOf(name: string, parameter: string, proxy: ReportingProxy): Operator | undefined {
  switch (name) {
    case 'REQ':
      return firstHeader(parameter, requestHeader);
    case 'RESP':
      return firstHeader(parameter, responseHeader);
    case 'TRAILER':
      return firstHeader(parameter, (key) => (e) => shown(e.responseTrailers?.joined(key)));
    case 'QUERY_PARAM':
      return parameter === '' ? undefined : (e) => text(firstOfQuery(e.request.query, parameter));
    case 'START_TIME':
      return startTime(parameter);
    case 'ENVIRONMENT': {
      const value = text(variableOf(proxy, parameter));
      return () => value;
    }
  }
  if (EMPTY.has(name)) return absent;
  const plain = Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined;
  return plain && ((exchange) => plain(exchange, proxy));
}

/** Only what the environment itself holds, not what every object has. */
export const variableOf = ({ environment }: ReportingProxy, name: string): string | undefined =>
  Object.hasOwn(environment, name) ? environment[name] : undefined;

/** `A?B`: the second where the first is absent. */
function firstHeader(parameter: string, read: (key: string) => Operator): Operator | undefined {
  const [main = '', other, ...more] = parameter.toLowerCase().split('?');
  if (main === '' || more.length > 0) return undefined;
  const first = read(main);
  if (other === undefined || other === '') return first;
  const second = read(other);
  return (exchange) => first(exchange) ?? second(exchange);
}

function requestHeader(key: string): Operator {
  switch (key) {
    case ':method':
      return (e) => text(e.request.method);
    case ':path':
      return (e) => withoutToken(e.request.path + e.request.query);
    case 'x-envoy-original-path':
      return (e) => withoutToken(e.originalPath);
    case ':authority':
    case 'host':
      return (e) => text(e.request.authority);
    case ':scheme':
      return (e) => text(e.request.scheme);
    case 'x-request-id':
      return (e) => shown(e.requestFields.get(key) ?? e.id);
    default:
      return (e) => shown(e.requestFields.joined(key));
  }
}

function responseHeader(key: string): Operator {
  switch (key) {
    case ':status':
      return (e) => e.responseStatus;
    case 'x-envoy-upstream-service-time':
      return (e) =>
        e.responseFields?.get(key) ??
        (e.upstream !== undefined && e.details === 'via_upstream' ? milliseconds(e.responseStartedAfterMs) : undefined);
    default:
      return (e) => shown(e.responseFields?.joined(key));
  }
}

const traceId = (fields: Fields): string | undefined =>
  fields.get('traceparent')?.split('-')[1] ?? fields.get('x-b3-traceid') ?? fields.get('b3')?.split('-')[0];

function grpcName(exchange: Reported): string | undefined {
  const number = grpcStatusOf(exchange);
  return number === undefined ? undefined : STATUS_NAMES[number];
}
