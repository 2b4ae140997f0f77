// Connections that are passed on as they are: judged by the policies that need no request, routed by server name and
// address, joined to an endpoint. One access-log line and one count for each.

import { cidrContains, formatHostPort, type HostPort } from '../../model/ip.ts';
import type { RouteAttachment, TcpMatch, WeightedTarget } from '../../model/proxy/route-resource.ts';
import { peerOf } from '../../model/traffic.ts';
import { identityOf } from '../../model/workload.ts';
import type { ConnectionTelemetry, Outcome } from '../../telemetry/connection.ts';
import { Fields } from '../../wire/http1/index.ts';
import type { Place } from '../config/places.ts';
import { listenerKey, serviceRoutesKey } from '../config/state.ts';
import type { ClientInfo, PickFailure } from '../contracts.ts';
import type { Engine, Target } from '../engine.ts';
import type { Visitor } from '../exchange/received.ts';
import { RequestView } from '../exchange/request-view.ts';
import type { ByteSink, ByteStream, StreamError } from '../streams/byte-stream.ts';
import type { UpstreamPick } from '../upstream/index.ts';
import { StreamPair } from './stream-pair.ts';

export interface TcpService {
  readonly stream: ByteStream;
  readonly visitor: Visitor;
  readonly place: Place;
  /** Of a ClientHello that is passed on. */
  readonly serverName: string | undefined;
  readonly telemetry: ConnectionTelemetry;
  readonly closed: () => void;
}

/** A connection that is passed on; `cut` ends it. */
export interface TcpConnection {
  cut(): void;
}

export function proxyTcp(engine: Engine, service: TcpService): TcpConnection {
  const connection = new Passing(engine, service);
  connection.begin();
  return connection;
}

/** Bytes that a client sends before the endpoint answers wait in its own stream. */
class Passing implements TcpConnection {
  readonly #engine: Engine;
  readonly #service: TcpService;
  readonly #meter = { toServer: 0, toClient: 0 };
  #pair: StreamPair | undefined = undefined;
  #cancel: (() => void) | undefined = undefined;
  #finish: ((outcome: Outcome) => void) | undefined = undefined;
  #pick: UpstreamPick | undefined = undefined;
  #over = false;

  constructor(engine: Engine, service: TcpService) {
    this.#engine = engine;
    this.#service = service;
  }

  begin(): void {
    const { stream, visitor, place } = this.#service;
    stream.pause();
    stream.attach(new Waiting(this));
    const verdict = place.scope.connectionAuthorizer?.authorize(connectionView(visitor));
    if (verdict !== undefined && verdict.effect !== 'allow') {
      this.#deny(`connection closed due to policy rejection: ${verdict.reason}`);
      return;
    }
    const target = this.#route();
    if (target === undefined) this.#deny('no route for the connection');
    else this.#forward(target);
  }

  #route(): Target | undefined {
    const { place, visitor, serverName } = this.#service;
    const { tcp, tls } = place.connections;
    const { destination } = visitor.client;
    if (serverName !== undefined)
      for (const { rules, attachments } of tls)
        for (const rule of rules) {
          const names = rule.serverNames.length > 0 ? rule.serverNames : hostsOf(attachments, place);
          if (names.some((name) => fitsName(name, serverName)) && fitsAny(rule.anyMatch, destination))
            return chooseTarget(rule.backends, this.#engine.random());
        }
    for (const { rules } of tcp)
      for (const rule of rules)
        if (fitsAny(rule.anyMatch, destination)) return chooseTarget(rule.backends, this.#engine.random());
    // A service at its waypoint has a way without any route, unless routes there are and none fits.
    return tcp.length > 0 ? undefined : place.target;
  }

  #forward(target: Target): void {
    const picked = this.#engine.choice.pick(target, this.#service.visitor.client, undefined, []);
    if (picked instanceof Promise)
      picked.then(
        (late) => this.#picked(target, late),
        (error: unknown) => this.#deny(String(error)),
      );
    else this.#picked(target, picked);
  }

  #picked(target: Target, pick: UpstreamPick | PickFailure): void {
    const service = this.#engine.service(target.service);
    if ('kind' in pick || service === undefined) {
      if (!('kind' in pick)) pick.done({ kind: 'cancelled' });
      this.#deny('kind' in pick && pick.kind === 'overflow' ? 'too many connections' : 'no healthy upstream');
      return;
    }
    if (this.#over) {
      pick.done({ kind: 'cancelled' });
      return;
    }
    this.#pick = pick;
    const { visitor, telemetry } = this.#service;
    const { client } = visitor;
    const { endpoint } = pick;
    const { workload, tunnel, address } = endpoint;
    const [namespace = '', hostname = ''] = target.service.split('/');
    const open = telemetry.open(
      {
        direction: 'inbound',
        sourceAddress: client.source,
        source: client.peer,
        sourceIdentity: client.identity,
        destinationAddress: tunnel?.hop ?? address,
        hboneAuthority: tunnel === undefined ? undefined : formatHostPort(address),
        destination: workload && peerOf(workload),
        destinationIdentity: workload === undefined || tunnel === undefined ? undefined : identityOf(workload),
        destinationService: { hostname, namespace, name: hostname.split('.')[0] ?? hostname },
        originalDestination: client.destination,
      },
      this.#meter,
    );
    this.#finish = (outcome) => open.finish(outcome);
    this.#cancel = this.#engine.connections.dial(
      { endpoint, policy: pick.policy, hostname: service.hostname, host: this.#service.serverName, alpn: [], client },
      {
        opened: (upstream) => this.#join(upstream, pick),
        failed: ({ text }) => this.#fail({ kind: 'failure', text }, 'connectFailure'),
      },
    );
  }

  #join(upstream: ByteStream, pick: UpstreamPick): void {
    this.#cancel = undefined;
    if (this.#over) {
      upstream.reset();
      return;
    }
    const { stream } = this.#service;
    this.#pair = new StreamPair(
      stream,
      upstream,
      this.#meter,
      this.#engine.sweeper,
      pick.policy.pool.tcpIdleMs,
      (error) => this.#end(error),
    );
    stream.resume();
  }

  /** Refused before it was decided where to go. */
  #deny(error: string): void {
    if (this.#over) return;
    const { telemetry, visitor } = this.#service;
    const { source, destination } = visitor.client;
    telemetry.denied({ direction: 'inbound', sourceAddress: source, destinationAddress: destination, error });
    this.#service.stream.reset();
    this.#end(undefined);
  }

  #fail(error: StreamError, how: 'connectFailure' | 'cancelled'): void {
    if (this.#over) return;
    this.#pick?.done({ kind: how });
    this.#pick = undefined;
    this.#service.stream.reset();
    this.#end(error);
  }

  /** The client left while nobody had answered. */
  left(): void {
    if (this.#pair === undefined) this.#fail({ kind: 'reset', text: 'the client left' }, 'cancelled');
  }

  #end(error: StreamError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancel?.();
    this.#pick?.done(error?.kind === 'failure' ? { kind: 'reset' } : { kind: 'status', status: 200 });
    this.#finish?.(
      error?.kind === 'failure' ? { flag: 'CONNECT', error: error.text } : { flag: '-', error: undefined },
    );
    this.#service.closed();
  }

  cut(): void {
    if (this.#pair !== undefined) this.#pair.cut();
    else this.#fail({ kind: 'reset', text: 'the proxy ends' }, 'cancelled');
  }
}

class Waiting implements ByteSink {
  readonly #passing: Passing;
  constructor(passing: Passing) {
    this.#passing = passing;
  }
  data(): void {}
  end(): void {}
  drained(): void {}
  closed(): void {
    this.#passing.left();
  }
}

/** A connection in the shape that compiled policies read; what is of requests is empty, and not asked for. */
const connectionView = ({
  client,
  connection,
}: {
  client: ClientInfo;
  connection: Visitor['connection'];
}): RequestView =>
  new RequestView(connection, '', '', '', { path: '', query: '' }, NO_FIELDS, undefined, client.serverName);

const NO_FIELDS = new Fields();

const fitsAny = (matches: readonly TcpMatch[], { ip, port }: HostPort): boolean =>
  matches.length === 0 ||
  matches.some(
    (match) =>
      (match.port === undefined || match.port === port) &&
      (match.destinations.length === 0 || match.destinations.some((range) => cidrContains(range, ip))),
  );

export const fitsName = (pattern: string, name: string): boolean =>
  pattern === '*' ||
  pattern === name ||
  (pattern.startsWith('*.') && name.endsWith(pattern.slice(1)) && name.length >= pattern.length);

const hostsOf = (attachments: readonly RouteAttachment[], place: Place): readonly string[] =>
  attachments.flatMap((each) =>
    each.kind === 'listener'
      ? listenerKey(each.listener) === place.attachment
        ? each.hosts
        : []
      : serviceRoutesKey(each.service) === place.attachment
        ? ['*']
        : [],
  );

/** Undefined: the share of a backend that leads nowhere; its connections are closed. */
function chooseTarget(backends: readonly WeightedTarget[], random: number): Target | undefined {
  let total = 0;
  for (const { weight } of backends) total += weight;
  let left = random * total;
  let last: WeightedTarget | undefined;
  for (const backend of backends) {
    if (backend.weight <= 0) continue;
    last = backend;
    if (left < backend.weight) break;
    left -= backend.weight;
  }
  return last === undefined || last.target.kind === 'invalid' ? undefined : last.target;
}
