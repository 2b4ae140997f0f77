// External authorizers of CUSTOM policies: asked over HTTP or gRPC whether a request may pass. On doubt it may not: an
// authorizer that is down, slow or answers rubbish refuses, unless the provider is said to fail open.

import { formatSpiffeId, type SpiffeId } from '../../../model/identity.ts';
import type { AuthorizationProviderConfig } from '../../../model/proxy/security.ts';
import { logger } from '../../../telemetry/log.ts';
import { type Fields, isFieldValue, isToken, listMembers } from '../../../wire/http1/index.ts';
import type { AuthorizationProviders, Exchange, LocalReply, ProviderAnswer } from '../../contracts.ts';
import { callGrpc, type HttpCallAnswer, type HttpCaller } from '../http-caller.ts';
import { Seldom } from '../seldom.ts';
import { type CheckAnswer, type CheckRequest, decodeCheck, encodeCheck, type HeaderChange } from './check-bytes.ts';
import { headerNames, isFraming } from './header-names.ts';

const log = logger('ext_authz');

const CHECK = '/envoy.service.auth.v3.Authorization/Check';
const MOST_ANSWER_BYTES = 256 * 1024;
/** An HTTP authorizer's list of headers that the upstream shall not see. */
const TO_REMOVE = 'x-envoy-auth-headers-to-remove';
const NO_BODY = new Uint8Array(0);

export interface ExternalAuthorizersOptions {
  readonly caller: HttpCaller;
  /** This proxy. */
  readonly own: SpiffeId | undefined;
}

type Headers = readonly { readonly name: string; readonly value: string }[];

interface HeaderTests {
  readonly toAuthorizer: (name: string) => boolean;
  readonly toUpstream: (name: string) => boolean;
  readonly toDownstreamOnAllow: (name: string) => boolean;
  readonly toDownstreamOnDeny: (name: string) => boolean;
}

export class ExternalAuthorizers implements AuthorizationProviders {
  readonly #options: ExternalAuthorizersOptions;
  readonly #seldom = new Seldom();
  readonly #tests = new WeakMap<AuthorizationProviderConfig, HeaderTests>();

  constructor(options: ExternalAuthorizersOptions) {
    this.#options = options;
  }

  async ask(
    provider: AuthorizationProviderConfig,
    exchange: Exchange,
    body: Uint8Array | undefined,
  ): Promise<ProviderAnswer> {
    const sent = provider.body === undefined ? undefined : body?.subarray(0, provider.body.maxBytes);
    const partial = sent !== undefined && exchange.bytesReceived > sent.length;
    if (partial && provider.body?.allowsPartial === false) return { kind: 'refuse', reply: TOO_LARGE };
    try {
      return provider.protocol === 'http'
        ? await this.#askHttp(provider, exchange, sent, partial)
        : await this.#askGrpc(provider, exchange, sent, partial);
    } catch (error) {
      this.#seldom.warn(provider.name, (unsaid) =>
        log.warn('authorizer cannot be asked', { provider: provider.name, error: error as Error, before: unsaid }),
      );
      if (provider.failOpen) return { kind: 'allow', toDownstream: [] };
      return { kind: 'refuse', reply: refusal(provider.statusOnError, [], '', 'ext_authz_error') };
    }
  }

  async #askHttp(
    provider: AuthorizationProviderConfig,
    exchange: Exchange,
    body: Uint8Array | undefined,
    partial: boolean,
  ): Promise<ProviderAnswer> {
    const { request } = exchange;
    const tests = this.#testsOf(provider);
    const answer = await this.#options.caller.call({
      host: provider.host,
      port: provider.port,
      protocol: 'http1',
      method: request.method,
      path: originForm(`${provider.pathPrefix}${request.path}${request.query}`),
      headers: headersForHttp(provider, exchange, tests, body, partial),
      body: body ?? NO_BODY,
      timeoutMs: provider.timeoutMs,
      maxAnswerBytes: MOST_ANSWER_BYTES,
    });
    if (answer.status >= 500) throw new Error(`the authorizer answered ${answer.status}`);
    if (answer.status !== 200) return { kind: 'refuse', reply: httpRefusal(provider, answer, tests) };
    for (const name of listMembers(answer.fields.joined(TO_REMOVE) ?? ''))
      if (!isFraming(name)) exchange.requestFields.delete(name);
    for (const { name, value } of chosen(answer.fields, tests.toUpstream)) exchange.requestFields.set(name, value);
    return { kind: 'allow', toDownstream: chosen(answer.fields, tests.toDownstreamOnAllow) };
  }

  async #askGrpc(
    provider: AuthorizationProviderConfig,
    exchange: Exchange,
    body: Uint8Array | undefined,
    partial: boolean,
  ): Promise<ProviderAnswer> {
    const message = await callGrpc(this.#options.caller, {
      host: provider.host,
      port: provider.port,
      method: CHECK,
      headers: [],
      message: encodeCheck(this.#checkOf(provider, exchange, body, partial)),
      timeoutMs: provider.timeoutMs,
      maxAnswerBytes: MOST_ANSWER_BYTES,
    });
    return applyCheck(decodeCheck(message), exchange.requestFields);
  }

  #checkOf(
    provider: AuthorizationProviderConfig,
    exchange: Exchange,
    body: Uint8Array | undefined,
    partial: boolean,
  ): CheckRequest {
    const { request, client, requestFields } = exchange;
    const { own } = this.#options;
    const path = request.path + request.query;
    const headers: [string, string][] = [
      [':method', request.method],
      [':path', path],
      [':scheme', request.scheme],
      [':authority', request.authority],
    ];
    const seen = new Set<string>(['host']);
    for (let i = 0; i < requestFields.count; i++) {
      const key = requestFields.keyAt(i);
      if (seen.has(key)) continue;
      seen.add(key);
      headers.push([key, asText(requestFields.joined(key) ?? '')]);
    }
    if (body !== undefined) headers.push(['x-envoy-auth-partial-body', String(partial)]);
    return {
      source: { ...client.source, principal: client.identity === undefined ? '' : formatSpiffeId(client.identity) },
      destination: { ...client.destination, principal: own === undefined ? '' : formatSpiffeId(own) },
      startedAtMs: exchange.startedAtMs,
      id: exchange.id,
      method: request.method,
      headers,
      path,
      host: request.authority,
      scheme: request.scheme,
      protocol: exchange.protocol === 'HTTP/2' ? 'HTTP/2' : exchange.protocol,
      size: sizeOf(requestFields),
      body,
      bodyAsBytes: provider.body?.asBytes ?? false,
      serverName: client.serverName ?? '',
    };
  }

  #testsOf(provider: AuthorizationProviderConfig): HeaderTests {
    let tests = this.#tests.get(provider);
    if (tests === undefined) {
      tests = {
        toAuthorizer: headerNames(provider.requestHeaders),
        toUpstream: headerNames(provider.toUpstreamOnAllow),
        toDownstreamOnAllow: headerNames(provider.toDownstreamOnAllow),
        toDownstreamOnDeny: headerNames(provider.toDownstreamOnDeny),
      };
      this.#tests.set(provider, tests);
    }
    return tests;
  }
}

/** `CONNECT` and `OPTIONS *` have no path of their own. */
const originForm = (path: string): string => (path.startsWith('/') ? path : '/');

/** Header bytes that are UTF-8 are told as that; protobuf texts can be nothing else. */
const asText = (value: string): string =>
  /[\x80-\xff]/.test(value) ? Buffer.from(value, 'latin1').toString('utf8') : value;

function sizeOf(fields: Fields): number {
  const length = fields.get('content-length');
  return length !== undefined && /^[0-9]{1,15}$/.test(length) ? Number(length) : -1;
}

/** The authorization header goes always, others where they are listed; those of the configuration replace them. */
function headersForHttp(
  provider: AuthorizationProviderConfig,
  { request, requestFields }: Exchange,
  tests: HeaderTests,
  body: Uint8Array | undefined,
  partial: boolean,
): Headers {
  const added = new Set(provider.addedHeaders.map(({ name }) => name.toLowerCase()));
  const headers: { name: string; value: string }[] = [{ name: 'host', value: request.authority || provider.host }];
  for (let i = 0; i < requestFields.count; i++) {
    const name = requestFields.keyAt(i);
    if (isFraming(name) || added.has(name)) continue;
    if (name === 'authorization' || tests.toAuthorizer(name)) headers.push({ name, value: requestFields.valueAt(i) });
  }
  for (const { name, value } of provider.addedHeaders)
    if (!isFraming(name.toLowerCase())) headers.push({ name: name.toLowerCase(), value });
  if (body !== undefined) headers.push({ name: 'x-envoy-auth-partial-body', value: String(partial) });
  return headers;
}

/** Repeated ones joined, but for cookies that are set. */
function chosen(fields: Fields, test: (name: string) => boolean): { name: string; value: string }[] {
  const headers: { name: string; value: string }[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < fields.count; i++) {
    const name = fields.keyAt(i);
    if (isFraming(name) || !test(name) || (name !== 'set-cookie' && seen.has(name))) continue;
    seen.add(name);
    headers.push({ name, value: name === 'set-cookie' ? fields.valueAt(i) : (fields.joined(name) ?? '') });
  }
  return headers;
}

/** Without a list every header goes to the client; with one these do besides. */
const ALWAYS_ON_DENY = new Set(['www-authenticate', 'location', 'content-type']);

function httpRefusal(provider: AuthorizationProviderConfig, answer: HttpCallAnswer, tests: HeaderTests): LocalReply {
  const all = provider.toDownstreamOnDeny.length === 0;
  const headers = chosen(answer.fields, (name) => all || ALWAYS_ON_DENY.has(name) || tests.toDownstreamOnDeny(name));
  const body = Buffer.from(answer.body).toString('utf8');
  return refusal(answer.status < 200 ? 403 : answer.status, headers, body, 'ext_authz_denied');
}

function applyCheck(answer: CheckAnswer, fields: Fields): ProviderAnswer {
  if (answer.kind === 'denied')
    return { kind: 'refuse', reply: refusal(answer.status, sendable(answer.headers), answer.body, 'ext_authz_denied') };
  for (const name of answer.remove) if (!isFraming(name.toLowerCase())) fields.delete(name.toLowerCase());
  for (const { name, value, how } of answer.headers) {
    if (!isSendable(name, value)) continue;
    if (how === 'append' || (how === 'addIfAbsent' && !fields.has(name))) fields.append(name, value);
    else if (how === 'set' || (how === 'setIfPresent' && fields.has(name))) fields.set(name, value);
  }
  return { kind: 'allow', toDownstream: sendable(answer.toDownstream) };
}

const isSendable = (name: string, value: string): boolean => isToken(name) && !isFraming(name) && isFieldValue(value);
const sendable = (headers: readonly HeaderChange[]): Headers =>
  headers.filter(({ name, value }) => isSendable(name, value)).map(({ name, value }) => ({ name, value }));

const refusal = (status: number, headers: Headers, body: string, details: string): LocalReply => ({
  status,
  headers,
  body,
  details,
  flag: 'UAEX',
  grpcStatus: undefined,
});

const TOO_LARGE: LocalReply = {
  ...refusal(413, [], 'Payload Too Large', 'request_payload_too_large'),
  flag: undefined,
};
