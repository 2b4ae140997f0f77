// The admin endpoint, only on the loopback of the proxy's own pod: configuration dump, log levels, shutdown.

import {
  type HttpHandler,
  type HttpResponse,
  methodNotAllowed,
  NOT_FOUND,
  text,
} from '../../telemetry/http-endpoint.ts';
import { addLogDirectives, currentLogFilter, resetLogFilter } from '../../telemetry/log.ts';
import { configDump, type DumpSources } from './config-dump.ts';

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
        return text(
          200,
          '/config_dump\n/logging (POST ?level=debug, ?level=http=debug, ?reset)\n/quitquitquit (POST)\n',
        );
      case '/config_dump':
        return { status: 200, contentType: 'application/json', body: configDump(parts) };
      case '/logging':
        return request.method === 'POST' ? logging(request.query) : methodNotAllowed('POST');
      case '/quitquitquit':
        if (request.method !== 'POST') return methodNotAllowed('POST');
        setImmediate(parts.shutDown);
        return text(200, 'shutdown now\n');
      default:
        return NOT_FOUND;
    }
  };
