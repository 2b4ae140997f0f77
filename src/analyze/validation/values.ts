// Checks of single values that Istio's kinds share: host names, labels, durations, header names, protocols.

import { parseIp } from '../../model/ip.ts';

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const HOST_LABEL = /^[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?$/;
const WILDCARD_LABEL = /^\*(-?[a-zA-Z0-9]([-a-zA-Z0-9]{0,60}[a-zA-Z0-9])?)?$/;
const LABEL_NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** A token (RFC 9110 section 5.6.2), or one of HTTP/2's pseudo headers. */
const HEADER_NAME = /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MOST_HOST_CHARACTERS = 255;

export const isDnsLabel = (text: string): boolean => DNS_LABEL.test(text);
export const isHeaderName = (text: string): boolean => text.length <= 256 && HEADER_NAME.test(text);
export const isLabelValue = (text: string): boolean => text === '' || LABEL_NAME.test(text);

export function isLabelKey(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash < 0) return LABEL_NAME.test(key);
  const prefix = key.slice(0, slash);
  return prefix.length <= 253 && SUBDOMAIN.test(prefix) && LABEL_NAME.test(key.slice(slash + 1));
}

/** @returns why this is no host name; a wildcard stands for the whole first label or begins it */
export function hostProblem(host: string, wildcard: boolean): string | undefined {
  if (host === '') return 'a host name must not be empty';
  if (host.length > MOST_HOST_CHARACTERS) return `a host name has at most ${MOST_HOST_CHARACTERS} characters`;
  const labels = host.replace(/\.$/, '').split('.');
  const [first = ''] = labels;
  if (first.startsWith('*') && !wildcard) return 'a wildcard is not allowed here';
  for (const [i, label] of labels.entries()) {
    if (i === 0 && WILDCARD_LABEL.test(label)) continue;
    if (label.includes('*')) return 'a wildcard may only begin the first label of a host name';
    if (!HOST_LABEL.test(label)) return `\`${label}\` is no label of a host name`;
  }
  return undefined;
}

export const isAddress = (text: string): boolean => parseIp(text).ok;

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration as Go and protobuf's JSON write it, in milliseconds; undefined when it is none. */
export function durationMs(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^(-?)((?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+)$/.exec(text);
  if (match === null || text.length > 64) return undefined;
  let sum = 0;
  for (const [, number, unit] of (match[2] ?? '').matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * (UNIT_MS[unit ?? ''] ?? 0);
  // Sums of decimal fractions: `0.1s` is 100 ms, not 100.00000000000001.
  const ms = Math.round(sum * 1e6) / 1e6;
  return match[1] === '-' ? -ms : ms;
}

/** Istio's names of protocols, in capitals. */
export const PROTOCOLS: ReadonlySet<string> = new Set([
  'HTTP',
  'HTTP2',
  'HTTPS',
  'GRPC',
  'GRPC-WEB',
  'TCP',
  'TLS',
  'UDP',
  'MONGO',
  'REDIS',
  'MYSQL',
  'HBONE',
  'HTTP_PROXY',
  'AUTO-HTTPS-DEFAULT',
]);

export const HTTP_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
]);
