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
