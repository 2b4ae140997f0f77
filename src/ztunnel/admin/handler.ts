// The admin endpoint, only on the loopback of the proxy's own pod: configuration dump, log levels, shutdown, profiles.

import {
  type HttpHandler,
  type HttpResponse,
  methodNotAllowed,
  NOT_FOUND,
  text,
} from '../../telemetry/http-endpoint.ts';
import { addLogDirectives, currentLogFilter, resetLogFilter } from '../../telemetry/log.ts';
import { configDump, type DumpSources } from './config-dump.ts';
import { profile } from './profile.ts';

const PATHS: readonly (readonly [path: string, about: string])[] = [
  ['config_dump', 'everything that this proxy holds, as JSON'],
  ['logging', 'log levels: POST ?level=debug, ?level=access=warn,xds=debug, ?reset'],
  ['quitquitquit', 'POST: let connections finish, then end'],
  ['debug/pprof/profile', 'CPU profile: ?seconds=10&frequency=100'],
  ['debug/pprof/heap', 'sampled heap profile: ?seconds=10'],
];

const INDEX: HttpResponse = {
  status: 200,
  contentType: 'text/html; charset=utf-8',
  body: `<!doctype html><title>ztunnel</title><h1>ztunnel</h1><table>${PATHS.map(
    ([path, about]) => `<tr><td><a href="/${path}">/${path}</a></td><td>${about}</td></tr>`,
  ).join('')}</table>\n`,
};

function logging(query: URLSearchParams): HttpResponse {
  const level = query.get('level');
  if (query.has('reset')) resetLogFilter();
  if (level !== null && level !== '') {
    const added = addLogDirectives(level);
    if (!added.ok) return text(400, `${added.error}\n`);
  }
  return text(200, `current log level is ${currentLogFilter()}\n`);
}

export interface AdminParts extends DumpSources {
  /** Starts the drain, as SIGTERM does. */
  readonly shutDown: () => void;
}

export const adminHandler =
  (parts: AdminParts): HttpHandler =>
  (request) => {
    switch (request.path) {
      case '/':
        return INDEX;
      case '/config_dump':
        return { status: 200, contentType: 'application/json', body: configDump(parts) };
      case '/logging':
        return request.method === 'POST' ? logging(request.query) : methodNotAllowed('POST');
      case '/quitquitquit':
        if (request.method !== 'POST') return methodNotAllowed('POST');
        setImmediate(parts.shutDown);
        return text(200, 'shutdown now\n');
      case '/debug/pprof/profile':
        return profile(request, 'cpu');
      case '/debug/pprof/heap':
        return profile(request, 'heap');
      default:
        return NOT_FOUND;
    }
  };
