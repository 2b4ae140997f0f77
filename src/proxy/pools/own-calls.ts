// Requests that the proxy itself makes: to authorizers, rate-limit services, collectors. To a service of the mesh they go
// as any request does; to another name as plain HTTP.

import { type Ip, parseIp } from '../../model/ip.ts';
import { ANYBODY, serviceNamed } from '../../model/lookup.ts';
import { DEFAULT_TRAFFIC_POLICY, type ServiceConfig } from '../../model/proxy/service-config.ts';
import { serviceKey } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { Fields } from '../../wire/http1/index.ts';
import type { ClientInfo } from '../contracts.ts';
import type { Engine } from '../engine.ts';
import { Attempt, type AttemptOwner } from '../exchange/attempt.ts';
import { failureReply } from '../exchange/local-reply.ts';
import type { HttpCall, HttpCallAnswer, HttpCaller } from '../security/http-caller.ts';
import type { ClientStream, ResponseStart, UpstreamFailure, UpstreamRequest } from '../streams/http-stream.ts';
import { CircuitBreaker } from '../upstream/breaker.ts';
import type { Names, UpstreamPick } from '../upstream/index.ts';
import type { ConnectOrder } from './connections.ts';

export interface OwnCallsParts {
  readonly engine: () => Engine;
  readonly world: World;
  readonly names: Names;
  /** The proxy as a client. */
  readonly client: ClientInfo;
}

const UNLIMITED = new CircuitBreaker(DEFAULT_TRAFFIC_POLICY);

export class OwnCalls implements HttpCaller {
  readonly #parts: OwnCallsParts;

  constructor(parts: OwnCallsParts) {
    this.#parts = parts;
  }

  async call(request: HttpCall): Promise<HttpCallAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpCallAnswer>();
    const engine = this.#parts.engine();
    let running: OwnCall | undefined;
    const timer = engine.clock.after(request.timeoutMs, () => {
      running?.cancel();
      reject(new Error(`no answer in ${request.timeoutMs} ms`));
    });
    this.#order(engine, request)
      .then((order) => {
        running = new OwnCall(engine, request, order, resolve, reject);
        running.begin();
      })
      .catch(reject);
    try {
      return await promise;
    } finally {
      timer.cancel();
    }
  }

  async #order(engine: Engine, { host, port, protocol }: HttpCall): Promise<ConnectOrder> {
    const { world, client } = this.#parts;
    const service = serviceNamed(world, host.toLowerCase(), ANYBODY);
    const config = service && engine.service(serviceKey(service));
    const common = { http2: protocol === 'http2', host: `${host}:${port}`, client, fresh: false };
    if (config === undefined) {
      const target = { service: `outside ${host}`, port, subset: undefined };
      return { ...common, target, service: outside(host, port), pick: await this.#outside(host, port) };
    }
    const target = { service: config.key, port, subset: undefined };
    const pick = await engine.choice.pick(target, client, undefined, []);
    if ('kind' in pick) throw new Error(`no endpoint of ${host}:${port} can be used`);
    return { ...common, target, service: config, pick };
  }

  async #outside(host: string, port: number): Promise<UpstreamPick> {
    const { names, world } = this.#parts;
    const literal = parseIp(host);
    let ip: Ip | undefined = literal.ok ? literal.value : undefined;
    if (ip === undefined) {
      await names.wait(host);
      ip = names.known(host)[0];
    }
    if (ip === undefined) throw new Error(`${host} is no service of the mesh and has no address`);
    const endpoint = { workload: world.workloadAt(world.network, ip), address: { ip, port }, tunnel: undefined };
    return { endpoint, policy: DEFAULT_TRAFFIC_POLICY, setCookie: undefined, breaker: UNLIMITED, done() {} };
  }
}

const outside = (host: string, port: number): ServiceConfig => ({
  key: `outside ${host}`,
  hostname: host,
  ports: [{ port, name: '', protocol: 'unknown' }],
  resolution: 'none',
  traffic: { policy: DEFAULT_TRAFFIC_POLICY, ports: {}, subsets: [] },
  bound: undefined,
  subjectAltNames: [],
});

class OwnCall implements AttemptOwner {
  readonly #engine: Engine;
  readonly #call: HttpCall;
  readonly #order: ConnectOrder;
  readonly #resolve: (answer: HttpCallAnswer) => void;
  readonly #reject: (error: Error) => void;
  #attempt: Attempt | undefined = undefined;
  #replayed = false;
  #status = 0;
  #fields: Fields = new Fields();
  readonly #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(
    engine: Engine,
    call: HttpCall,
    order: ConnectOrder,
    resolve: (answer: HttpCallAnswer) => void,
    reject: (error: Error) => void,
  ) {
    this.#engine = engine;
    this.#call = call;
    this.#order = order;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin(): void {
    const { pick } = this.#order;
    const { endpoint, policy, breaker } = pick;
    // The endpoint was counted once.
    const again = { endpoint, policy, breaker, setCookie: undefined, done() {} };
    const order = this.#replayed ? { ...this.#order, pick: again, fresh: true } : this.#order;
    this.#attempt = new Attempt(this.#engine, this, order);
    this.#attempt.begin();
  }

  cancel(): void {
    this.#attempt?.cancel({ kind: 'timeout' });
  }

  requestFor(): UpstreamRequest {
    const { method, path, headers, body, host, port } = this.#call;
    const fields = new Fields();
    let authority = port === 80 ? host : `${host}:${port}`;
    for (const { name, value } of headers)
      if (name === 'host') authority = value;
      else fields.append(name, value);
    const content = body.length === 0 && (method === 'GET' || method === 'HEAD') ? 'none' : body.length;
    return { method, scheme: 'http', authority, target: path, fields, content, upgrade: undefined };
  }

  opened(_attempt: Attempt, stream: ClientStream): void {
    if (this.#call.body.length === 0) return;
    stream.write(this.#call.body);
    stream.end(undefined);
  }

  interim(): void {}

  response(_attempt: Attempt, { status, fields }: ResponseStart, ends: boolean): void {
    this.#status = status;
    this.#fields = fields;
    if (ends) this.responseEnd(undefined);
  }

  responseData(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes <= this.#call.maxAnswerBytes) return;
    this.cancel();
    this.#reject(new Error(`the answer has more than ${this.#call.maxAnswerBytes} bytes`));
  }

  responseEnd(trailers: Fields | undefined): void {
    this.#resolve({ status: this.#status, fields: this.#fields, trailers, body: Buffer.concat(this.#pieces) });
  }

  requestWritable(): void {}

  failed(attempt: Attempt, failure: UpstreamFailure | 'overflow'): void {
    if (failure === 'overflow') {
      this.#reject(new Error('too many connections or requests'));
      return;
    }
    // A kept connection that was dead already. What is asked changes nothing, so it may be asked twice.
    if (!this.#replayed && !failure.answered && attempt.onUsedConnection && this.#status === 0) {
      this.#replayed = true;
      this.begin();
      return;
    }
    this.#reject(new Error(failureReply(failure, false).body));
  }
}
