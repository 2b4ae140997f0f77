// HTTP in front of the REST operations: who asks, what for, may they, do it, answer.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { logger } from '../../../telemetry/log.ts';
import { KubeError } from '../../client/types.ts';
import { authorize, refusalText } from '../auth/rbac.ts';
import { answerReview } from '../auth/reviews.ts';
import { ISSUER, type TokenAuthority } from '../auth/tokens.ts';
import type { UserInfo } from '../auth/user.ts';
import { asKubeError, badRequest, forbidden, methodNotAllowed, noSuchPath, success } from '../errors.ts';
import { decode } from '../rest/decode.ts';
import { remove, removeCollection } from '../rest/delete.ts';
import { getStored, type ListParams, list } from '../rest/read.ts';
import type { DeleteParams, RestContext, Target, WriteParams } from '../rest/request.ts';
import { bindPod, evictPod, getScale, writeScale } from '../rest/subresources.ts';
import { create, patch, update, type Written } from '../rest/write.ts';
import { isRecord } from '../schema/check.ts';
import { wantsAggregatedDiscovery } from './accept.ts';
import { answerOptions, sendError, sendJson, sendList, sendObject, sendText } from './answer.ts';
import { authenticate } from './authenticate.ts';
import { patchType, readBody } from './body.ts';
import { Discovery } from './discovery.ts';
import { KUBELET_SUBRESOURCES, type KubeletSocket, proxyToKubelet, refuse, tunnelToKubelet } from './kubelet-proxy.ts';
import { emptyOpenApiV2, OPENAPI_V2_TYPE, OpenApi } from './openapi.ts';
import { proxyToPod } from './pod-proxy.ts';
import { attributesOf, isTrue, type PathRequest, parseRequest, type ResourceRequest } from './request-info.ts';
import { VERSION_INFO } from './version.ts';
import { serveWatch } from './watch.ts';

const log = logger('api');

export interface ApiServerOptions {
  readonly context: RestContext;
  readonly tokens: TokenAuthority;
  readonly kubeletSocket: KubeletSocket;
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly user: UserInfo;
}

export class ApiServer {
  readonly #context: RestContext;
  readonly #tokens: TokenAuthority;
  readonly #kubeletSocket: KubeletSocket;
  readonly #discovery: Discovery;
  readonly #openApi: OpenApi;

  constructor({ context, tokens, kubeletSocket }: ApiServerOptions) {
    this.#context = context;
    this.#tokens = tokens;
    this.#kubeletSocket = kubeletSocket;
    this.#discovery = new Discovery(context.registry);
    this.#openApi = new OpenApi(context.registry);
  }

  /** Listener of an HTTP server's `request`. Never rejects. */
  async onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = urlOf(request);
      if (this.#answerPublic(url, response)) return;
      const user = await authenticate(request, this.#tokens, this.#context.store);
      const asked = parseRequest(request.method ?? 'GET', url);
      this.#permit(user, asked);
      const call = { request, response, url, user };
      if (asked.kind === 'path') await this.#answerPath(call, asked);
      else await this.#answerResource(call, asked);
    } catch (error) {
      this.#refuse(request, response, error);
    }
  }

  /** Listener of an HTTP server's `upgrade`: exec, attach, port-forward. Never rejects. */
  async onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => {});
    try {
      const url = urlOf(request);
      const user = await authenticate(request, this.#tokens, this.#context.store);
      const asked = parseRequest(request.method ?? 'GET', url);
      // Whoever may create exec may use it, whatever the method of the upgrade is.
      this.#permit(user, asked.kind === 'resource' ? { ...asked, verb: 'create' } : asked);
      if (asked.kind === 'path' || !KUBELET_SUBRESOURCES.has(asked.subresource ?? '')) throw noSuchPath();
      const target = this.#target(asked);
      tunnelToKubelet(this.#context, target, url.searchParams, this.#kubeletSocket, request, socket, head);
    } catch (error) {
      refuse(socket, asKubeError(error));
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const known = asKubeError(error);
    // What was meant to be said (nobody behind a service, say) is no mistake of ours.
    if (known.code >= 500 && !(error instanceof KubeError))
      log.error('request failed', { method: request.method ?? '', path: request.url ?? '', error: errorDetail(error) });
    else log.debug('request refused', { method: request.method ?? '', path: request.url ?? '', code: known.code });
    if (response.headersSent) response.destroy();
    else sendError(response, known);
  }

  #answerPublic(url: URL, response: ServerResponse): boolean {
    switch (url.pathname) {
      case '/healthz':
      case '/livez':
      case '/readyz':
        sendText(response, 200, 'ok', 'text/plain');
        return true;
      case '/version':
      case '/version/':
        sendJson(response, 200, VERSION_INFO);
        return true;
      default:
        return false;
    }
  }

  #permit(user: UserInfo, asked: ResourceRequest | PathRequest): void {
    const attributes = attributesOf(asked);
    if (authorize(this.#context.store, user, attributes).allowed) return;
    if (asked.kind === 'path') throw new KubeError(403, 'Forbidden', `forbidden: ${refusalText(user, attributes)}`, {});
    throw forbidden(asked, asked.name ?? '', refusalText(user, attributes));
  }

  async #answerPath({ request, response }: Call, { path, verb }: PathRequest): Promise<void> {
    if (verb !== 'get') throw noSuchPath();
    const trimmed = path.length > 1 ? path.replace(/\/+$/, '') : path;
    if (trimmed === '/openapi/v3') return sendJson(response, 200, this.#openApi.index());
    if (trimmed.startsWith('/openapi/v3/'))
      return sendFound(response, this.#openApi.document(trimmed.slice('/openapi/v3/'.length)));
    if (trimmed === '/openapi/v2') return sendOpenApiV2(request, response);
    if (trimmed === '/openid/v1/jwks') return sendJson(response, 200, await this.#tokens.keySet());
    if (trimmed === '/.well-known/openid-configuration') return sendJson(response, 200, OPENID);
    if (trimmed === '/' || trimmed === '') return sendJson(response, 200, { paths: ROOT_PATHS });
    const aggregated = wantsAggregatedDiscovery(request.headers.accept) && (trimmed === '/api' || trimmed === '/apis');
    const document = this.#discovery.document(trimmed, aggregated);
    if (!aggregated || document === undefined) return sendFound(response, document);
    const type = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
    sendText(response, 200, JSON.stringify(document), type);
  }

  #target({ group, version, plural, namespace, name, subresource }: ResourceRequest): Target {
    const served = this.#context.registry.find(group, version, plural);
    if (served === undefined) throw noSuchPath();
    if (namespace !== undefined && !served.kind.namespaced) throw noSuchPath();
    if (served.kind.namespaced && namespace === undefined && name !== undefined) throw noSuchPath();
    return { ...served, namespace, name, subresource };
  }

  async #answerResource(call: Call, asked: ResourceRequest): Promise<void> {
    const { request, response, url } = call;
    const target = this.#target(asked);
    const { kind, subresource } = target;
    if (kind.verbs.length === 1) return this.#answerReview(call, asked, target);
    if (subresource !== undefined && subresource !== 'status') return this.#answerSubresource(call, asked, target);
    if (subresource === 'status' && (!kind.status || !['get', 'update', 'patch'].includes(asked.verb)))
      throw noSuchPath();
    if (!kind.verbs.includes(asked.verb)) throw methodNotAllowed(kind, asked.verb);
    const { searchParams: query } = url;
    const options = answerOptions(request, query, this.#context.now());
    switch (asked.verb) {
      case 'get':
        return sendObject(response, 200, target, getStored(this.#context, target).object, options);
      case 'list':
        return sendList(response, target, list(this.#context, target, listParams(query)), options);
      case 'watch':
        return this.#watch(call, target);
      case 'delete':
        return this.#delete(call, target);
      case 'deletecollection': {
        const deleted = removeCollection(this.#context, target, listParams(query), await deleteParams(request, query));
        const { group, plural } = kind;
        log.debug('collection deleted', { resource: `${plural}.${group}`, count: deleted.length });
        return sendJson(response, 200, success());
      }
      default:
        return this.#write(call, asked, target);
    }
  }

  #watch({ request, response, url }: Call, target: Target): void {
    const { searchParams: query } = url;
    const params = {
      ...listParams(query),
      sendInitialEvents: query.has('sendInitialEvents') ? isTrue(query.get('sendInitialEvents')) : undefined,
    };
    const options = {
      bookmarks: isTrue(query.get('allowWatchBookmarks')),
      timeoutSeconds: numberOf(query, 'timeoutSeconds'),
    };
    serveWatch(this.#context, target, params, options, answerOptions(request, query, this.#context.now()), response);
  }

  async #write({ request, response, url }: Call, { verb }: ResourceRequest, target: Target): Promise<void> {
    const params = writeParams(request, response, url.searchParams);
    let written: Written;
    if (verb === 'patch') {
      const type = patchType(request);
      if (type === 'apply' && !url.searchParams.get('fieldManager'))
        throw badRequest(
          'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        );
      written = await patch(this.#context, target, type, await readBody(request), params);
    } else if (verb === 'update') written = await update(this.#context, target, await readBody(request), params);
    else {
      if (target.name !== undefined) throw methodNotAllowed(target.kind, 'create');
      written = await create(this.#context, target, await readBody(request), params);
    }
    const options = answerOptions(request, url.searchParams, this.#context.now());
    sendObject(response, written.created ? 201 : 200, target, written.object, options);
  }

  async #delete({ request, response, url }: Call, target: Target): Promise<void> {
    const deleted = remove(this.#context, target, await deleteParams(request, url.searchParams));
    const { kind } = target;
    const { name = '', uid = '' } = deleted.object.metadata ?? {};
    // What is gone is told by a Status; what still waits, and pods, are shown as they are.
    if (!deleted.gone || kind.kind === 'Pod')
      return sendObject(
        response,
        200,
        target,
        deleted.object,
        answerOptions(request, url.searchParams, this.#context.now()),
      );
    sendJson(
      response,
      200,
      success({ name, ...(kind.group === '' ? {} : { group: kind.group }), kind: kind.plural, uid }),
    );
  }

  async #answerReview(
    { request, response, url, user }: Call,
    { verb }: ResourceRequest,
    target: Target,
  ): Promise<void> {
    if (verb !== 'create') throw methodNotAllowed(target.kind, verb);
    const params = writeParams(request, response, url.searchParams);
    const { object } = decode(target, await readBody(request), params);
    const review = { store: this.#context.store, tokens: this.#tokens };
    const answered = await answerReview(review, target.kind.kind, object, user, target.namespace);
    sendObject(response, 201, target, answered, answerOptions(request, url.searchParams, this.#context.now()));
  }

  async #answerSubresource(call: Call, asked: ResourceRequest, target: Target): Promise<void> {
    const { verb } = asked;
    const { request, response, url } = call;
    const { kind, subresource = '', namespace = '', name = '' } = target;
    const params = writeParams(request, response, url.searchParams);
    if (subresource === 'scale' && kind.scale !== undefined) {
      if (verb === 'get') return sendJson(response, 200, getScale(this.#context, target));
      if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed(kind, verb);
      const type = verb === 'patch' ? patchType(request) : undefined;
      return sendJson(response, 200, await writeScale(this.#context, target, type, await readBody(request), params));
    }
    if (!Object.hasOwn(kind.subresources, subresource)) throw noSuchPath();
    if (KUBELET_SUBRESOURCES.has(subresource)) {
      if (subresource !== 'log') throw badRequest(`${subresource} needs a connection upgrade to WebSocket`);
      if (verb !== 'get') throw methodNotAllowed(kind, verb);
      return proxyToKubelet(this.#context, target, url.searchParams, this.#kubeletSocket, request, response);
    }
    if (subresource === 'proxy') return proxyToPod(this.#context, target, asked.rest ?? '', request, response);
    if (subresource === 'ephemeralcontainers') {
      const options = answerOptions(request, url.searchParams, this.#context.now());
      if (verb === 'get') return sendObject(response, 200, target, getStored(this.#context, target).object, options);
      if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed(kind, verb);
      const body = await readBody(request);
      const written =
        verb === 'update'
          ? await update(this.#context, target, body, params)
          : await patch(this.#context, target, patchType(request), body, params);
      return sendObject(response, 200, target, written.object, options);
    }
    if (subresource === 'finalize' && verb === 'update')
      return sendJson(response, 200, (await update(this.#context, target, await readBody(request), params)).object);
    if (verb !== 'create') throw methodNotAllowed(kind, verb);
    const body = await readBody(request);
    switch (subresource) {
      case 'token':
        return sendJson(response, 201, await this.#tokens.request(namespace, name, body));
      case 'binding':
        return sendJson(response, 201, bindPod(this.#context, target, body, params));
      default:
        return sendJson(response, 201, evictPod(this.#context, target, body, params));
    }
  }
}

function urlOf(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://api');
  } catch {
    throw badRequest('the URL cannot be read');
  }
}

function errorDetail(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function sendFound(response: ServerResponse, document: object | undefined): void {
  if (document === undefined) throw noSuchPath();
  sendJson(response, 200, document);
}

function sendOpenApiV2(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.accept?.includes('protobuf') === true) {
    const bytes = emptyOpenApiV2();
    response.writeHead(200, { 'content-type': OPENAPI_V2_TYPE, 'content-length': bytes.length }).end(bytes);
  } else
    sendJson(response, 200, { swagger: '2.0', info: { title: 'Ambit', version: VERSION_INFO.gitVersion }, paths: {} });
}

const OPENID = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/openid/v1/jwks`,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
};

const ROOT_PATHS = [
  '/.well-known/openid-configuration',
  '/api',
  '/api/v1',
  '/apis',
  '/healthz',
  '/livez',
  '/openapi/v3',
  '/openid/v1/jwks',
  '/readyz',
  '/version',
];

function numberOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`${name}: Invalid value: "${text}": must be a whole number`);
  return Number(text);
}

function listParams(query: URLSearchParams): ListParams {
  return {
    labelSelector: query.get('labelSelector') ?? undefined,
    fieldSelector: query.get('fieldSelector') ?? undefined,
    limit: numberOf(query, 'limit'),
    continue: query.get('continue') || undefined,
    resourceVersion: query.get('resourceVersion') || undefined,
    resourceVersionMatch: query.get('resourceVersionMatch') || undefined,
  };
}

function isDryRun(values: readonly string[]): boolean {
  const other = values.find((value) => value !== 'All' && value !== '');
  if (other !== undefined) throw badRequest(`dryRun: Unsupported value: "${other}": supported values: "All"`);
  return values.includes('All');
}

function writeParams(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): WriteParams {
  const validation = query.get('fieldValidation') ?? 'Warn';
  if (validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore')
    throw badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  return {
    manager: query.get('fieldManager') || (request.headers['user-agent'] ?? 'unknown').split('/')[0] || 'unknown',
    dryRun: isDryRun(query.getAll('dryRun')),
    fieldValidation: validation,
    force: query.has('force') && isTrue(query.get('force')),
    // RFC 7234 section 5.5: 299 is a warning that clients show.
    warn: (text) => response.appendHeader('warning', `299 - ${JSON.stringify(text)}`),
  };
}

async function deleteParams(request: IncomingMessage, query: URLSearchParams): Promise<DeleteParams> {
  const body = await readBody(request);
  const options = isRecord(body) ? body : {};
  const { gracePeriodSeconds, propagationPolicy, preconditions, orphanDependents } = options;
  const grace = typeof gracePeriodSeconds === 'number' ? gracePeriodSeconds : numberOf(query, 'gracePeriodSeconds');
  const policy =
    propagationPolicy ?? query.get('propagationPolicy') ?? (orphanDependents === true ? 'Orphan' : undefined);
  const sent = Array.isArray(options.dryRun) ? options.dryRun.map(String) : [];
  return {
    dryRun: isDryRun([...sent, ...query.getAll('dryRun')]),
    gracePeriodSeconds: grace,
    propagationPolicy: typeof policy === 'string' && policy !== '' ? policy : undefined,
    preconditions: isRecord(preconditions) ? preconditions : undefined,
  };
}
