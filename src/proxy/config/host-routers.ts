// The routes of one place by host, each host compiled by itself and kept while its routes are the same: a change of one
// route among thousands costs what its own hosts cost.

import { compileRoutes, type HttpRouter } from '../../model/http/compiled-routes.ts';
import { NO_HOST } from '../../model/http/match-route.ts';
import { distinctLengths } from '../../model/http/path-index.ts';
import { hostOf } from '../../model/http/request.ts';
import type { HttpRoute, HttpRouteRule, RouteOrigin } from '../../model/http/route.ts';
import { buildRouteTable } from '../../model/http/route-table.ts';
import type { HttpRoutes } from '../engine.ts';

/** A user's object at a place; the same object while it does not change. */
export interface RouteSource {
  readonly origin: RouteOrigin;
  readonly rules: readonly HttpRouteRule[];
}

interface CompiledHost {
  readonly sources: readonly RouteSource[];
  readonly router: HttpRouter;
  readonly actsEarly: boolean;
  readonly asksForToken: boolean;
}

/** Also headers: whoever checks tokens or is asked for permission may write them. */
const TOKEN_FIELD = /^request\.(?:claim:|principal$|presenter$|audience$|header:)/;

export class HostRouters {
  #hosts: ReadonlyMap<string, CompiledHost> = new Map();

  /**
   * @param routes  in the order in which they come; `hosts` as in route tables
   * @returns what holds from now on; undefined: there are none
   */
  compile(
    routes: readonly { readonly source: RouteSource; readonly hosts: readonly string[] }[],
  ): HttpRoutes | undefined {
    const byHost = new Map<string, RouteSource[]>();
    for (const { source, hosts } of routes)
      for (const host of new Set(hosts)) {
        const known = byHost.get(host);
        if (known === undefined) byHost.set(host, [source]);
        else known.push(source);
      }
    const now = new Map<string, CompiledHost>();
    for (const [host, sources] of byHost) {
      const before = this.#hosts.get(host);
      now.set(host, before !== undefined && sameSources(before.sources, sources) ? before : compileHost(sources));
    }
    this.#hosts = now;
    if (now.size === 0) return undefined;
    const all = [...now.values()];
    return {
      router: routerOf(now),
      actsEarly: all.some(({ actsEarly }) => actsEarly),
      asksForToken: all.some(({ asksForToken }) => asksForToken),
    };
  }
}

const sameSources = (a: readonly RouteSource[], b: readonly RouteSource[]): boolean =>
  a.length === b.length && a.every((source, i) => source === b[i]);

function compileHost(sources: readonly RouteSource[]): CompiledHost {
  // The host was chosen before.
  const table = buildRouteTable(sources.map(({ origin, rules }): HttpRoute => ({ origin, rules, hosts: ['*'] })));
  let actsEarly = false;
  let asksForToken = false;
  for (const { entries } of table.hosts)
    for (const { rule, match } of entries) {
      actsEarly ||= rule.filters.some(({ kind }) => kind === 'cors' || kind === 'delay' || kind === 'abort');
      asksForToken ||= match.some(({ field }) => TOKEN_FIELD.test(field));
    }
  return { sources, router: compileRoutes(table), actsEarly, asksForToken };
}

/** The most specific host, and no other (as `matchRoute`). */
function routerOf(hosts: ReadonlyMap<string, CompiledHost>): HttpRouter {
  const exact = new Map<string, HttpRouter>();
  const suffixes = new Map<string, HttpRouter>();
  for (const [host, { router }] of hosts)
    if (host.startsWith('*')) suffixes.set(host.slice(1), router);
    else exact.set(host, router);
  const lengths = distinctLengths(suffixes.keys());
  return {
    match(request) {
      const host = hostOf(request.authority);
      const found = exact.get(host);
      if (found !== undefined) return found.match(request);
      for (const length of lengths) {
        if (length > host.length) continue;
        const wild = suffixes.get(host.slice(host.length - length));
        if (wild !== undefined) return wild.match(request);
      }
      return NO_HOST;
    },
  };
}
