// The command line of the built-in HTTP client: the part of curl's that people type. Pure.

import { fail, ok, type Result } from '../../model/result.ts';

export interface ClientOptions {
  readonly urls: readonly string[];
  readonly method: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | undefined;
  readonly silent: boolean;
  readonly showError: boolean;
  readonly verbose: boolean;
  readonly includeHeaders: boolean;
  readonly headOnly: boolean;
  readonly follow: boolean;
  readonly failOnStatus: boolean;
  readonly insecure: boolean;
  readonly output: string | undefined;
  readonly writeOut: string | undefined;
  readonly maxTimeMs: number | undefined;
  readonly connectTimeoutMs: number | undefined;
  /** `host:port` → address, instead of looking the name up */
  readonly resolve: ReadonlyMap<string, string>;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** Not curl's: repeat for ever (0) or so many times, and how long to wait between. */
  readonly loop: number | undefined;
  readonly intervalMs: number;
}

const TAKES_VALUE: Readonly<Record<string, string>> = {
  X: 'request',
  H: 'header',
  d: 'data',
  o: 'output',
  w: 'write-out',
  m: 'max-time',
  A: 'user-agent',
  u: 'user',
  E: 'cert',
  e: 'referer',
  b: 'cookie',
};
const SWITCH: Readonly<Record<string, string>> = {
  s: 'silent',
  S: 'show-error',
  v: 'verbose',
  i: 'include',
  I: 'head',
  L: 'location',
  f: 'fail',
  k: 'insecure',
  g: 'globoff',
  N: 'no-buffer',
  4: 'ipv4',
};
const LONG_VALUE = new Set([
  ...Object.values(TAKES_VALUE),
  ...['data-raw', 'data-binary', 'json', 'connect-timeout', 'resolve', 'cacert', 'key', 'url', 'interval', 'retry'],
]);
const LONG_SWITCH = new Set([
  ...Object.values(SWITCH),
  'http1.1',
  'no-progress-meter',
  'no-keepalive',
  'loop',
  'compressed',
]);

interface Flag {
  readonly name: string;
  readonly value: string;
}

/** Splits the command line into named flags and URLs; short switches may be joined (`-sSv`, `-Hname: x`). */
function readFlags(args: readonly string[]): Result<{ flags: Flag[]; urls: string[] }, string> {
  const flags: Flag[] = [];
  const urls: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--') {
      urls.push(...args.slice(i + 1));
      break;
    }
    if (arg.startsWith('--')) {
      const equals = arg.indexOf('=');
      const name = arg.slice(2, equals < 0 ? undefined : equals);
      if (LONG_SWITCH.has(name)) flags.push({ name, value: equals < 0 ? '' : arg.slice(equals + 1) });
      else if (!LONG_VALUE.has(name)) return fail(`option ${arg}: is unknown`);
      else {
        const value = equals < 0 ? args[++i] : arg.slice(equals + 1);
        if (value === undefined) return fail(`option ${arg}: requires parameter`);
        flags.push({ name, value });
      }
    } else if (arg.startsWith('-') && arg.length > 1) {
      for (let at = 1; at < arg.length; at++) {
        const letter = arg[at] as string;
        if (SWITCH[letter] !== undefined) flags.push({ name: SWITCH[letter], value: '' });
        else if (TAKES_VALUE[letter] === undefined) return fail(`option -${letter}: is unknown`);
        else {
          const value = at + 1 < arg.length ? arg.slice(at + 1) : args[++i];
          if (value === undefined) return fail(`option -${letter}: requires parameter`);
          flags.push({ name: TAKES_VALUE[letter], value });
          break;
        }
      }
    } else urls.push(arg);
  }
  return ok({ flags, urls });
}

const withScheme = (url: string): string => (/^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? url : `http://${url}`);

/**
 * Parses curl's options.
 * @returns the options, or curl's own sentence about what is wrong
 */
export function parseClientOptions(args: readonly string[]): Result<ClientOptions, string> {
  const read = readFlags(args);
  if (!read.ok) return read;
  const { flags, urls } = read.value;
  const has = (name: string): boolean => flags.some((flag) => flag.name === name);
  const last = (name: string): string | undefined => flags.findLast((flag) => flag.name === name)?.value;
  const millis = (name: string, unitMs: number): Result<number | undefined, string> => {
    const text = last(name);
    if (text === undefined) return ok(undefined);
    const value = Number(text);
    return text !== '' && value >= 0
      ? ok(Math.round(value * unitMs))
      : fail(`option --${name}: expected a proper numerical parameter`);
  };
  const maxTime = millis('max-time', 1000);
  const connectTimeout = millis('connect-timeout', 1000);
  const interval = millis('interval', 1);
  const loop = has('loop') ? Number(last('loop')) : undefined;
  if (!maxTime.ok) return maxTime;
  if (!connectTimeout.ok) return connectTimeout;
  if (!interval.ok) return interval;
  if (loop !== undefined && !(loop >= 0)) return fail('option --loop: expected a proper numerical parameter');

  const headers: [string, string][] = [];
  const add = (name: string, value: string): void => {
    if (!headers.some(([known]) => known.toLowerCase() === name.toLowerCase())) headers.push([name, value]);
  };
  const resolve = new Map<string, string>();
  for (const { name, value } of flags) {
    if (name === 'header') {
      const colon = value.indexOf(':');
      if (colon < 1) return fail(`option -H: \`${value}\` is not \`name: value\``);
      headers.push([value.slice(0, colon).trim(), value.slice(colon + 1).trim()]);
    } else if (name === 'resolve') {
      const [host, port, ...address] = value.split(':');
      if (!host || !port || address.length === 0)
        return fail(`option --resolve: \`${value}\` is not host:port:address`);
      resolve.set(`${host}:${port}`, address.join(':').replace(/^\[|\]$/g, ''));
    }
  }
  const bodies = flags.filter(({ name }) => name.startsWith('data') || name === 'json').map(({ value }) => value);
  const body = bodies.length > 0 ? bodies.join('&') : undefined;
  if (has('json')) {
    add('content-type', 'application/json');
    add('accept', 'application/json');
  } else if (body !== undefined) add('content-type', 'application/x-www-form-urlencoded');
  const user = last('user');
  if (user !== undefined) add('authorization', `Basic ${Buffer.from(user).toString('base64')}`);
  const agent = last('user-agent');
  add('user-agent', agent ?? 'curl/8.0.0 (ambit client)');
  add('accept', '*/*');
  const cookie = last('cookie');
  if (cookie !== undefined) add('cookie', cookie);
  const referer = last('referer');
  if (referer !== undefined) add('referer', referer);

  const all = [...flags.filter(({ name }) => name === 'url').map(({ value }) => value), ...urls].map(withScheme);
  if (all.length === 0) return fail('no URL specified');
  return ok({
    urls: all,
    method: last('request') ?? (has('head') ? 'HEAD' : body === undefined ? 'GET' : 'POST'),
    headers,
    body,
    silent: has('silent') || has('no-progress-meter'),
    showError: has('show-error'),
    verbose: has('verbose'),
    includeHeaders: has('include') || has('head'),
    headOnly: has('head'),
    follow: has('location'),
    failOnStatus: has('fail'),
    insecure: has('insecure'),
    output: last('output'),
    writeOut: last('write-out'),
    maxTimeMs: maxTime.value,
    connectTimeoutMs: connectTimeout.value,
    resolve,
    caFile: last('cacert'),
    certFile: last('cert'),
    keyFile: last('key'),
    loop,
    intervalMs: interval.value ?? 1000,
  });
}

/** wget's few options that appear in manifests (`-q -O - -T 5 --header x --post-data y URL`), as curl's. */
export function wgetToCurl(args: readonly string[]): string[] {
  const curl = ['-s', '-S', '-L', '-f'];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const long =
      /^--(header|post-data|output-document|timeout|no-check-certificate|spider|quiet|tries)(?:=(.*))?$/s.exec(arg);
    const short = /^-(q*)(O|T|t)(.*)$/s.exec(arg);
    if (long?.[1] === 'no-check-certificate') curl.push('-k');
    else if (long?.[1] === 'spider') curl.push('-o', '/dev/null');
    else if (long?.[1] === 'quiet' || /^-q+$/.test(arg)) continue;
    else if (long?.[1] !== undefined) {
      const value = long[2] ?? args[++i] ?? '';
      if (long[1] === 'header') curl.push('-H', value);
      else if (long[1] === 'post-data') curl.push('-d', value);
      else if (long[1] === 'timeout') curl.push('-m', value);
      else if (long[1] === 'output-document' && value !== '-') curl.push('-o', value);
    } else if (short !== null) {
      const value = short[3] || (args[++i] ?? '');
      if (short[2] === 'T') curl.push('-m', value);
      else if (short[2] === 'O' && value !== '-') curl.push('-o', value);
    } else curl.push(arg);
  }
  return curl;
}
