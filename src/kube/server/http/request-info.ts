// What a URL and a method ask for, before anything is looked up (Kubernetes: API concepts, resource URIs and verbs).

import type { Attributes } from '../auth/rbac.ts';
import { badRequest } from '../errors.ts';

export interface ResourceRequest {
  readonly kind: 'resource';
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** For the subresource `proxy`: the path behind it, as it was sent. */
  readonly rest?: string;
}

export interface PathRequest {
  readonly kind: 'path';
  readonly path: string;
  readonly verb: string;
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

const MAX_PATH_CHARS = 4096;

/** @throws KubeError 400 for a path whose escapes cannot be read */
export function parseRequest(method: string, url: URL): ResourceRequest | PathRequest {
  if (url.pathname.length > MAX_PATH_CHARS) throw badRequest('the path is too long');
  const parts = url.pathname.split('/').slice(1).map(decode);
  const verb = method.toLowerCase();
  const start = parts[0] === 'api' ? 2 : parts[0] === 'apis' ? 3 : 0;
  if (start === 0 || parts.length <= start || parts[start] === '') return { kind: 'path', path: url.pathname, verb };
  const [group, version] = start === 2 ? ['', parts[1] ?? ''] : [parts[1] ?? '', parts[2] ?? ''];
  const rest = parts.slice(start);
  // `/namespaces/<ns>/<plural>…` is inside a namespace; `/namespaces/<ns>[/status|finalize]` is the namespace itself.
  const inside = rest[0] === 'namespaces' && rest.length > 2 && !['status', 'finalize'].includes(rest[2] ?? '');
  const [plural = '', name, subresource, ...more] = inside ? rest.slice(2) : rest;
  const proxied = name !== undefined && subresource === 'proxy' && ['pods', 'services'].includes(plural);
  if (!proxied && (more.length > 0 || rest.includes(''))) return { kind: 'path', path: url.pathname, verb };
  return {
    kind: 'resource',
    verb: proxied ? (PROXY_VERBS[method] ?? 'get') : verbOf(method, name, url.searchParams),
    group,
    version,
    plural,
    namespace: inside ? rest[1] : undefined,
    name,
    subresource,
    ...(proxied && { rest: rawRest(url.pathname, parts.length - more.length) }),
  };
}

/** What a method means for roles when it is passed on. */
const PROXY_VERBS: Readonly<Record<string, Verb>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

/** The path from its `parts`-th part on, escapes and all. */
function rawRest(path: string, parts: number): string {
  let at = 0;
  for (let i = 0; i < parts; i++) {
    at = path.indexOf('/', at + 1);
    if (at < 0) return '';
  }
  return path.slice(at);
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badRequest('the path cannot be decoded');
  }
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams): Verb {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query.get('watch'))) return 'watch';
      return name === undefined ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === undefined ? 'deletecollection' : 'delete';
    default:
      throw badRequest(`the method ${method} is not one of this API`);
  }
}

export function isTrue(text: string | null): boolean {
  return text === 'true' || text === '1' || text === '';
}

export function attributesOf(request: ResourceRequest | PathRequest): Attributes {
  if (request.kind === 'path') return { kind: 'path', verb: request.verb, path: request.path };
  const { verb, group, plural, subresource, namespace, name } = request;
  // A namespace is inside itself, as far as roles are concerned.
  const own = group === '' && plural === 'namespaces' ? name : undefined;
  return { kind: 'resource', verb, group, resource: plural, subresource, namespace: namespace ?? own, name };
}
