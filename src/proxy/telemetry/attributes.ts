// The attributes of Envoy and Istio that expressions may name, answered from an exchange. What an exchange does not have
// is a fault, as in Envoy: a filter on it does not hold, a tag of it reads `unknown`.

import { formatSpiffeId } from '../../model/identity.ts';
import { formatHostPort, type HostPort } from '../../model/ip.ts';
import type { Peer } from '../../model/traffic.ts';
import type { Fields } from '../../wire/http1/index.ts';
import { type CelExpression, type CelMap, type CelNames, type CelOutcome, FAULT } from './cel/compile.ts';
import {
  clusterName,
  destinationIdentityOf,
  destinationOf,
  downstreamRemote,
  grpcStatusOf,
  type Reported,
  type ReportingProxy,
  sourceOf,
} from './ends.ts';

type Attribute = (exchange: Reported, proxy: ReportingProxy) => CelOutcome;

const given = (value: string | number | undefined): CelOutcome => value ?? FAULT;
const NOTHING: CelMap = { kind: 'map', get: () => undefined };
const headerMap = (fields: Fields | undefined): CelMap =>
  fields === undefined ? NOTHING : { kind: 'map', get: (name) => fields.joined(name.toLowerCase()) };
const address = (at: HostPort | undefined): CelOutcome => (at === undefined ? FAULT : formatHostPort(at));

/** What Istio's expressions read of a peer. */
const PEER_PARTS: ReadonlyMap<string, (peer: Peer) => string> = new Map<string, (peer: Peer) => string>([
  ['name', (peer) => peer.name],
  ['namespace', (peer) => peer.namespace],
  ['workload', (peer) => peer.workload],
  ['cluster', (peer) => peer.cluster],
  ['service', (peer) => peer.canonicalName],
  ['revision', (peer) => peer.canonicalRevision],
  ['app', (peer) => peer.app],
  ['version', (peer) => peer.canonicalRevision],
]);
const peerMap = (peer: Peer | undefined): CelOutcome =>
  peer === undefined ? FAULT : { kind: 'map', get: (part) => PEER_PARTS.get(part)?.(peer) };

const upstreamAddress: Attribute = (e) => address(e.upstream?.endpoint.address);
const pathOf = (e: Reported): string => {
  const question = e.originalPath.indexOf('?');
  return question < 0 ? e.originalPath : e.originalPath.slice(0, question);
};

const ATTRIBUTES: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['request.path', (e) => e.originalPath],
  ['request.url_path', pathOf],
  ['request.query', (e) => e.request.query.slice(1)],
  ['request.host', (e) => e.request.authority],
  ['request.scheme', (e) => e.request.scheme],
  ['request.method', (e) => (e.request.method === '' ? FAULT : e.request.method)],
  ['request.headers', (e) => headerMap(e.requestFields)],
  ['request.referer', (e) => given(e.requestFields.get('referer'))],
  ['request.useragent', (e) => given(e.requestFields.get('user-agent'))],
  ['request.time', (e) => ({ kind: 'timestamp', ms: e.startedAtMs })],
  ['request.id', (e) => (e.id === '' ? FAULT : e.id)],
  ['request.protocol', (e) => given(e.protocol)],
  ['request.duration', (e) => (e.endedAfterMs === undefined ? FAULT : { kind: 'duration', ms: e.endedAfterMs })],
  ['request.size', (e) => e.bytesReceived],
  ['request.total_size', (e) => e.bytesReceived],
  ['response.code', (e) => (e.responseStatus === 0 ? FAULT : e.responseStatus)],
  ['response.code_details', (e) => (e.details === '' ? FAULT : e.details)],
  ['response.grpc_status', (e) => given(grpcStatusOf(e))],
  ['response.headers', (e) => headerMap(e.responseFields)],
  ['response.trailers', (e) => headerMap(e.responseTrailers)],
  ['response.size', (e) => e.bytesSent],
  ['response.total_size', (e) => e.bytesSent],
  ['source.address', (e) => downstreamRemote(e)],
  ['source.port', (e) => e.client.source.port],
  ['destination.address', (e) => address(e.client.destination)],
  ['destination.port', (e) => e.client.destination.port],
  ['connection.mtls', (e) => e.client.identity !== undefined || e.client.clientCertificate !== undefined],
  ['connection.requested_server_name', (e) => given(e.client.serverName)],
  ['connection.subject_peer_certificate', (e) => given(e.client.clientCertificate?.subject)],
  [
    'connection.uri_san_peer_certificate',
    (e) =>
      given(e.client.identity === undefined ? e.client.clientCertificate?.uris[0] : formatSpiffeId(e.client.identity)),
  ],
  ['connection.uri_san_local_certificate', (_, proxy) => given(proxy.identity && formatSpiffeId(proxy.identity))],
  ['connection.termination_details', () => FAULT],
  ['upstream.address', upstreamAddress],
  ['upstream.port', (e) => given(e.upstream?.endpoint.address.port)],
  ['upstream.local_address', (e) => address(e.upstream?.localAddress)],
  ['upstream.transport_failure_reason', (e) => given(e.upstreamFailure)],
  ['upstream.request_attempt_count', (e) => e.tries],
  [
    'upstream.uri_san_peer_certificate',
    (e) => {
      const identity = destinationIdentityOf(e.upstream);
      return given(identity && formatSpiffeId(identity));
    },
  ],
  ['xds.cluster_name', (e, proxy) => given(clusterName(proxy, e))],
  ['xds.route_name', (e) => given(e.route?.rule.name)],
  ['metadata', () => NOTHING],
  ['filter_state', () => NOTHING],
  ['downstream_peer', (e, proxy) => peerMap(sourceOf(proxy, e))],
  ['upstream_peer', (e) => peerMap(destinationOf(e))],
  ['filter_state.downstream_peer', (e, proxy) => peerMap(sourceOf(proxy, e))],
  ['filter_state.upstream_peer', (e) => peerMap(destinationOf(e))],
]);

const prefixes = new Set(
  [...ATTRIBUTES.keys()].filter((name) => name.includes('.')).map((name) => name.slice(0, name.indexOf('.'))),
);

/** The names that expressions at this proxy know. */
export const exchangeNames = (proxy: ReportingProxy): CelNames<Reported> => ({
  resolve(path): CelExpression<Reported> | 'prefix' | undefined {
    const [first = ''] = path;
    const attribute = ATTRIBUTES.get(path.join('.'));
    if (attribute !== undefined) return (exchange) => attribute(exchange, proxy);
    return path.length === 1 && prefixes.has(first) ? 'prefix' : undefined;
  },
});
