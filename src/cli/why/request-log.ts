// Requests in the access logs of gateways and waypoints: Istio's default text and JSON formats.

export interface LoggedRequest {
  readonly time: string;
  readonly method: string;
  readonly path: string;
  readonly protocol: string;
  readonly status: number;
  readonly flags: string;
  readonly details: string;
  readonly durationMs: number;
  readonly requestId: string;
  readonly authority: string;
  readonly upstreamHost: string;
  /** `inbound-vip|80|http|echo.web.svc.cluster.local`, `outbound|80||…`; `-` where it went nowhere. */
  readonly cluster: string;
  /** What was dialled, `ip:port`. */
  readonly downstreamLocal: string;
  readonly downstreamRemote: string;
  readonly routeName: string;
}

const TEXT_FIELDS = 22;
/** A quoted text, or a word. */
const TOKEN = /"((?:[^"\\]|\\.)*)"|(\S+)/g;

/** @returns undefined for any other line */
export function parseRequestLine(line: string): LoggedRequest | undefined {
  const start = line.search(/[[{]/);
  if (start < 0) return undefined;
  const text = line.slice(start);
  return text.startsWith('{') ? fromJson(text) : fromText(text);
}

function fromText(text: string): LoggedRequest | undefined {
  const tokens: string[] = [];
  const timeEnd = text.indexOf('] "');
  if (timeEnd < 0) return undefined;
  for (const [, quoted, word] of text.slice(timeEnd + 2).matchAll(TOKEN)) tokens.push(quoted ?? word ?? '');
  if (tokens.length < TEXT_FIELDS - 1) return undefined;
  const [request = '', status = '', flags = '', details = '', , , , , durationMs = ''] = tokens;
  const [method = '', path = '', protocol = ''] = request.split(' ');
  if (!/^\d{1,3}$/.test(status)) return undefined;
  return {
    time: text.slice(1, timeEnd),
    method,
    path,
    protocol,
    status: Number(status),
    flags,
    details,
    durationMs: Number(durationMs) || 0,
    requestId: tokens[12] ?? '',
    authority: tokens[13] ?? '',
    upstreamHost: tokens[14] ?? '',
    cluster: tokens[15] ?? '',
    downstreamLocal: tokens[17] ?? '',
    downstreamRemote: tokens[18] ?? '',
    routeName: tokens[20] ?? '',
  };
}

function fromJson(text: string): LoggedRequest | undefined {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || typeof value.response_code !== 'number') return undefined;
  const read = (key: string): string => {
    const field = value[key];
    return typeof field === 'string' ? field : typeof field === 'number' ? String(field) : '-';
  };
  return {
    time: read('start_time'),
    method: read('method'),
    path: read('path'),
    protocol: read('protocol'),
    status: value.response_code,
    flags: read('response_flags'),
    details: read('response_code_details'),
    durationMs: Number(value.duration) || 0,
    requestId: read('request_id'),
    authority: read('authority'),
    upstreamHost: read('upstream_host'),
    cluster: read('upstream_cluster'),
    downstreamLocal: read('downstream_local_address'),
    downstreamRemote: read('downstream_remote_address'),
    routeName: read('route_name'),
  };
}

const DENIED = /^rbac_access_denied_matched_policy\[ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d+)\]\]$/;

const DETAILS: Readonly<Record<string, string>> = {
  via_upstream: 'the endpoint answered so',
  'rbac_access_denied_matched_policy[none]': 'ALLOW policies apply and none of their rules matched',
  route_not_found: 'no route matched',
  direct_response: 'a rule answers so itself',
  upstream_response_timeout: 'the endpoint did not answer in time',
  response_timeout: 'no answer within the timeout of the route',
  request_rate_limited: 'a rate limit was reached',
  ext_authz_denied: 'the external authorizer refused',
  ext_authz_error: 'the external authorizer could not be asked',
  no_healthy_upstream: 'no endpoint of the service is healthy',
};

const FLAGS: Readonly<Record<string, string>> = {
  UH: 'no healthy endpoint',
  UF: 'the connection to the endpoint failed',
  UO: 'a circuit breaker is open',
  NR: 'no route',
  URX: 'all retries failed',
  NC: 'the service does not exist',
  UC: 'the endpoint closed the connection',
  UT: 'timeout',
  DC: 'the client went away',
  RL: 'rate limited',
  UAEX: 'the external authorizer refused',
  FI: 'a fault was injected',
  DI: 'a delay was injected',
  DPE: 'the request is not HTTP as it must be',
};

/** What details and flags of a line mean, in a sentence. */
export function reasonIn({ details, flags }: Pick<LoggedRequest, 'details' | 'flags'>): string {
  const denied = DENIED.exec(details);
  if (denied !== null) return `rule ${Number(denied[3]) + 1} of ${denied[1]}/${denied[2]} denies it`;
  const jwt = /^jwt_authn_access_denied\{(.*)\}$/.exec(details);
  if (jwt !== null) return `the token was refused: ${(jwt[1] as string).replaceAll('_', ' ')}`;
  const known = DETAILS[details];
  const meant = flags.split(',').flatMap((flag) => FLAGS[flag] ?? []);
  if (details === 'via_upstream' && meant.length === 0) return DETAILS.via_upstream as string;
  return [...(known === undefined || details === 'via_upstream' ? [] : [known]), ...meant].join('; ') || details;
}
