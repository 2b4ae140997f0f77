// Tracing for one configuration: the trace is taken over or begun before policies judge, its headers go upstream, and the
// span is reported when all is over. A waypoint is one server span; a gateway is a server span with a client span below.

import type { SpanTag, TracingConfig } from '../../model/proxy/telemetry-config.ts';
import type { Peer } from '../../model/traffic.ts';
import type { WorkloadType } from '../../model/workload.ts';
import type { Exchange } from '../contracts.ts';
import type { BatchSender } from './batch-sender.ts';
import { clusterName, destinationOf, flagsText, grpcStatusOf, type ReportingProxy, sourceOf } from './ends.ts';
import { templateText } from './log-format.ts';
import { variableOf } from './log-operators.ts';
import type { Span } from './records.ts';
import { fractionOfId, markTraced, tracedById } from './request-id.ts';
import { newSpanId, newTraceId, type Propagation, readContext, writeContext } from './trace-context.ts';

interface Trace {
  readonly traceId: string;
  readonly serverId: string;
  /** Undefined: one span only. */
  readonly clientId: string | undefined;
  readonly parentId: string | undefined;
  readonly traceState: string;
  readonly sampled: boolean;
}

/** Of one tag's value (Envoy: max_path_tag_length). */
const MOST_TAG_CHARACTERS = 256;

type TagValue = (exchange: Exchange) => string | undefined;

export class Tracing {
  readonly #proxy: ReportingProxy;
  readonly #config: TracingConfig;
  readonly #sender: BatchSender<Span>;
  readonly #random: () => number;
  readonly #format: Propagation;
  readonly #customTags: readonly { readonly name: string; readonly value: TagValue }[];
  readonly #traces = new WeakMap<object, Trace>();

  /** @param random  0 to below 1, for requests whose id decides nothing */
  constructor(
    proxy: ReportingProxy,
    config: TracingConfig,
    sender: BatchSender<Span>,
    warn: (problem: string) => void,
    random: () => number = Math.random,
  ) {
    this.#proxy = proxy;
    this.#config = config;
    this.#sender = sender;
    this.#random = random;
    this.#format = config.protocol === 'zipkin' ? 'b3' : 'w3c';
    this.#customTags = config.tags.map((tag) => ({ name: tag.name, value: tagValue(tag, proxy, warn) }));
  }

  begin(exchange: Exchange): void {
    const fields = exchange.requestFields;
    const { parent, decision } = readContext(fields, this.#format);
    const sampled = decision ?? this.#decide(exchange);
    const trace: Trace = {
      traceId: parent?.traceId ?? newTraceId(),
      serverId: newSpanId(),
      clientId: this.#proxy.reporter === 'source' ? newSpanId() : undefined,
      parentId: parent?.spanId,
      traceState: parent !== undefined && fields.has('traceparent') ? (fields.joined('tracestate') ?? '') : '',
      sampled,
    };
    if (sampled) markTraced(fields, exchange.id);
    this.#traces.set(exchange, trace);
    if (!this.#config.propagates) return;
    const { traceId, serverId, clientId } = trace;
    const spanId = clientId ?? serverId;
    writeContext(
      fields,
      { traceId, spanId, sampled },
      clientId === undefined ? parent?.spanId : serverId,
      this.#format,
      parent !== undefined,
    );
  }

  /** The trace of an exchange that is sampled, for log records. */
  idsOf(exchange: object): { readonly traceId: string; readonly spanId: string } | undefined {
    const trace = this.#traces.get(exchange);
    return trace?.sampled ? { traceId: trace.traceId, spanId: trace.serverId } : undefined;
  }

  finish(exchange: Exchange): void {
    const trace = this.#traces.get(exchange);
    if (trace === undefined || !trace.sampled || !this.#config.reportsSpans) return;
    const { traceId, serverId, clientId, parentId, traceState } = trace;
    const startMs = exchange.startedAtMs;
    const shared = {
      traceId,
      traceState,
      name: spanName(exchange),
      startMs,
      endMs: startMs + (exchange.endedAfterMs ?? 0),
      tags: this.#tags(exchange),
      failed: exchange.responseStatus === 0 || exchange.responseStatus >= 500,
    };
    this.#sender.add({ ...shared, kind: 'server', spanId: serverId, parentId });
    if (clientId !== undefined && exchange.upstream !== undefined)
      this.#sender.add({ ...shared, kind: 'client', spanId: clientId, parentId: serverId });
  }

  /** The same percentage holds for one id wherever it is asked (Envoy: stable over hops). */
  #decide(exchange: Exchange): boolean {
    const percent = this.#config.samplingPercent;
    if (this.#config.requestIdDecides) {
      if (tracedById(exchange.id) === true) return true;
      const fraction = fractionOfId(exchange.id);
      if (fraction !== undefined) return fraction < percent * 100;
    }
    return this.#random() * 100 < percent;
  }

  #tags(exchange: Exchange): [string, string][] {
    const { request, client } = exchange;
    const proxy = this.#proxy;
    const tags: [string, string][] = [];
    const add = (name: string, value: string | number | undefined): void => {
      if (value !== undefined && value !== '') tags.push([name, String(value).slice(0, MOST_TAG_CHARACTERS)]);
    };
    add('component', 'proxy');
    add('node_id', proxy.nodeId);
    // Without the query: it may hold a token.
    add('http.url', `${request.scheme}://${request.authority}${request.path}`);
    add('http.method', request.method);
    add('http.protocol', exchange.protocol);
    add('http.status_code', exchange.responseStatus);
    add('user_agent', exchange.requestFields.get('user-agent'));
    add('peer.address', request.remoteIp ?? client.source.ip);
    add('request_size', exchange.bytesReceived);
    add('response_size', exchange.bytesSent);
    add('response_flags', flagsText(exchange));
    add('guid:x-request-id', exchange.requestFields.get('x-request-id') ?? exchange.id);
    add('grpc.status_code', grpcStatusOf(exchange));
    add('upstream_cluster', clusterName(proxy, exchange));
    if (this.#config.istioTags) this.#istioTags(exchange, add);
    for (const { name, value } of this.#customTags) add(name, value(exchange));
    return tags;
  }

  #istioTags(exchange: Exchange, add: (name: string, value: string | undefined) => void): void {
    const { peer, meshId } = this.#proxy;
    add('istio.mesh_id', meshId);
    add('istio.namespace', peer.namespace);
    add('istio.cluster_id', peer.cluster);
    add('istio.canonical_service', peer.canonicalName);
    add('istio.canonical_revision', peer.canonicalRevision);
    peerTags('istio.source_', sourceOf(this.#proxy, exchange), undefined, add);
    peerTags('istio.destination_', destinationOf(exchange), exchange.upstream?.endpoint.workload?.workloadType, add);
  }
}

function peerTags(
  prefix: string,
  peer: Peer | undefined,
  type: WorkloadType | undefined,
  add: (name: string, value: string | undefined) => void,
): void {
  if (peer === undefined) return;
  add(`${prefix}workload`, peer.workload);
  add(`${prefix}namespace`, peer.namespace);
  add(`${prefix}cluster_id`, peer.cluster);
  add(`${prefix}canonical_service`, peer.canonicalName);
  add(`${prefix}canonical_revision`, peer.canonicalRevision);
  add(`${prefix}app`, peer.app);
  add(`${prefix}app_version`, peer.canonicalRevision);
  add(`${prefix}workload_type`, type);
  add(`${prefix}instance_name`, peer.name);
}

/** Istio's: the service and port that answer, `/*` for any path. */
function spanName({ upstream, service, request }: Exchange): string {
  const host = upstream?.service.hostname ?? service?.hostname;
  if (host === undefined) return request.authority === '' ? request.method : `${request.authority}/*`;
  return upstream === undefined ? `${host}/*` : `${host}:${upstream.port}/*`;
}

function tagValue(tag: SpanTag, proxy: ReportingProxy, warn: (problem: string) => void): TagValue {
  switch (tag.kind) {
    case 'literal': {
      const { value } = tag;
      return () => value;
    }
    case 'environment': {
      const value = variableOf(proxy, tag.variable) ?? tag.otherwise;
      return () => value;
    }
    case 'header': {
      const name = tag.header.toLowerCase();
      const { otherwise } = tag;
      return (exchange) => exchange.requestFields.joined(name) ?? otherwise;
    }
    case 'formatter':
      return templateText(tag.template, proxy, warn);
  }
}
