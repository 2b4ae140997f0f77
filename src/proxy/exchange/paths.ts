// Rewritten paths, and where redirects lead.

import { RE2JS } from 're2js';
import { hostOf } from '../../model/http/request.ts';
import type { PathRewrite, Redirect } from '../../model/http/route.ts';

/** @returns path with query; an answer that is no path is one */
export type RewritePath = (path: string, query: string) => string;

export function compileRewrite(rewrite: PathRewrite): RewritePath {
  switch (rewrite.kind) {
    case 'full':
      return (_, query) => (rewrite.path.includes('?') ? rooted(rewrite.path) : rooted(rewrite.path) + query);
    case 'prefix': {
      const replace = rewrite.by === 'segments' ? bySegments : byCharacters;
      return (path, query) => rooted(replace(path, rewrite.prefix, rewrite.replacement)) + query;
    }
    case 'regex': {
      const pattern = RE2JS.compile(rewrite.pattern);
      const substitute = substitution(rewrite.substitution);
      return (path, query) => rooted(pattern.matcher(path).replaceAll(substitute)) + query;
    }
  }
}

const rooted = (path: string): string => (path.startsWith('/') ? path : `/${path}`);

/** Gateway API: whole segments, trailing slashes say nothing. */
function bySegments(path: string, prefix: string, replacement: string): string {
  const rest = path.slice(prefix.replace(/\/+$/, '').length);
  return replacement.replace(/\/+$/, '') + rest;
}

/** VirtualService: characters; `/` takes the prefix away without leaving two slashes. */
function byCharacters(path: string, prefix: string, replacement: string): string {
  if (path.slice(0, prefix.length).toLowerCase() !== prefix.toLowerCase()) return path;
  const rest = path.slice(prefix.length);
  return replacement === '/' && rest.startsWith('/') ? rest : replacement + rest;
}

/** Envoy: `\1` is the first group, `\0` the whole match, `\\` a backslash. */
function substitution(text: string): (...found: (string | number)[]) => string {
  return (...found) => {
    const groups = found.slice(0, -2); // after them come the place and the whole text
    return text.replace(/\\(\d|\\)/g, (_, what: string) => (what === '\\' ? what : String(groups[Number(what)] ?? '')));
  };
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };

export interface Redirected {
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly query: string;
}

/** @returns the value of Location */
export function redirectLocation(redirect: Redirect, request: Redirected, rewrite: RewritePath | undefined): string {
  const scheme = redirect.scheme ?? request.scheme;
  const own = request.authority;
  const host = redirect.host ?? withoutPort(own);
  const path = rewrite === undefined ? request.path + request.query : rewrite(request.path, request.query);
  return `${scheme}://${host}${portText(redirect, scheme, request)}${path}`;
}

function portText({ port }: Redirect, scheme: string, request: Redirected): string {
  if (port === 'ofScheme') return '';
  const number = port === 'requested' ? portOf(request.authority) : port;
  if (number === undefined || number === DEFAULT_PORTS[scheme]) return '';
  // The port of the scheme that is left means nothing in another.
  if (port === 'requested' && number === DEFAULT_PORTS[request.scheme]) return '';
  return `:${number}`;
}

const withoutPort = (authority: string): string =>
  authority.startsWith('[') ? authority.slice(0, authority.indexOf(']') + 1) : hostOf(authority);

function portOf(authority: string): number | undefined {
  const match = /:(\d+)$/.exec(authority);
  return match === null ? undefined : Number(match[1]);
}
