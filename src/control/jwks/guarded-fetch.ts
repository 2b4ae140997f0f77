// Fetches a small JSON document from an address that a user wrote. The address really dialled is looked at, after the name
// was resolved and again at each redirect, so that no name can lead into the machine's own surroundings (server-side
// request forgery).

import { lookup as resolve } from 'node:dns';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { type Cidr, cidrContains, parseCidr, parseIp } from '../../model/ip.ts';

export interface FetchLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** Beside those that are always refused (BLOCKED_CIDRS_IN_JWKS_URIS). */
  readonly refused: readonly Cidr[];
  /** Loopback is refused, too, but for tests. */
  readonly allowsLoopback?: boolean;
}

const MAX_REDIRECTS = 3;

const range = (text: string): Cidr => {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};

/** Unspecified, link-local with the clouds' metadata services, those that lie elsewhere, and multicast. */
const ALWAYS_REFUSED: readonly Cidr[] = [
  '0.0.0.0/8',
  '169.254.0.0/16',
  '100.100.100.200/32',
  '192.0.0.192/32',
  '224.0.0.0/4',
  '255.255.255.255/32',
  '::/128',
  'fe80::/10',
  'fd00:ec2::254/128',
  'ff00::/8',
].map(range);
const LOOPBACK: readonly Cidr[] = ['127.0.0.0/8', '::1/128'].map(range);
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** @returns why the address is not dialled; undefined for one that may be */
export function refusalOf(
  address: string,
  limits: Pick<FetchLimits, 'refused' | 'allowsLoopback'>,
): string | undefined {
  const ip = parseIp(MAPPED.exec(address)?.[1] ?? address);
  if (!ip.ok) return `${address} is no address`;
  const never = limits.allowsLoopback === true ? ALWAYS_REFUSED : [...ALWAYS_REFUSED, ...LOOPBACK];
  return [...never, ...limits.refused].some((one) => cidrContains(one, ip.value))
    ? `${address} is link-local, loopback, a metadata service or blocked, and is not dialled`
    : undefined;
}

/** Refuses inside the lookup that the connection itself uses: what was judged is what is dialled. */
const guardedLookup =
  (limits: FetchLimits): LookupFunction =>
  (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const good = addresses.filter(({ address }) => refusalOf(address, limits) === undefined);
      const [first] = good;
      if (first === undefined) {
        const why = addresses[0] === undefined ? 'it has no address' : refusalOf(addresses[0].address, limits);
        callback(new Error(`${hostname} refused: ${why}`), '', 0);
      } else if (options.all === true) callback(null, good);
      else callback(null, first.address, first.family);
    });
  };

/**
 * @returns the parsed document
 * @throws Error with a sentence: not http(s), refused address, time-out, status, size, not JSON
 */
export async function fetchJson(url: string, limits: FetchLimits, signal?: AbortSignal): Promise<unknown> {
  const deadline = AbortSignal.timeout(limits.timeoutMs);
  const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  let target = url;
  for (let redirects = 0; ; redirects++) {
    const response = await open(target, limits, either);
    const { statusCode = 0, headers } = response;
    if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
      response.destroy();
      if (redirects >= MAX_REDIRECTS) throw new Error(`${url} is redirected more than ${MAX_REDIRECTS} times`);
      target = new URL(headers.location, target).href;
      continue;
    }
    if (statusCode !== 200) {
      response.destroy();
      throw new Error(`${target} answered ${statusCode}`);
    }
    return parse(target, await readBounded(target, response, limits.maxBytes));
  }
}

function open(text: string, limits: FetchLimits, signal: AbortSignal): Promise<IncomingMessage> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    return Promise.reject(new Error(`\`${text}\` is no http or https address`));
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const refusal = isIP(host) === 0 ? undefined : refusalOf(host, limits);
  if (refusal !== undefined) return Promise.reject(new Error(refusal));
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      lookup: guardedLookup(limits),
      signal,
      headers: { accept: 'application/json' },
      agent: false,
    });
    request.on('response', resolve);
    request.on('error', (error) =>
      reject(signal.aborted ? new Error(`${text} did not answer in time`) : new Error(`${text}: ${error.message}`)),
    );
    request.end();
  });
}

async function readBounded(url: string, response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      response.destroy();
      throw new Error(`${url} sent more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(url: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${url} sent something else than JSON`);
  }
}
