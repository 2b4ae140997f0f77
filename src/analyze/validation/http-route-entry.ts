// One entry of a VirtualService's `http`: what Istio refuses in it.

import type { Field } from '../field.ts';
import { checkDestination, checkPercent, checkTextMatch } from './common.ts';
import type { Faults } from './faults.ts';
import { HTTP_METHODS, isHeaderName } from './values.ts';
import { checkGatewayName, checkWeights } from './virtual-service-parts.ts';

const RETRY_ON: ReadonlySet<string> = new Set([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);
const MOST_BODY_BYTES = 1 << 20;

export function checkHttpRoute(route: Field, faults: Faults, isDelegate: boolean): void {
  for (const match of route.at('match').items()) checkMatch(match, faults);
  checkOutcome(route, faults, isDelegate);
  const destinations = route.at('route').items();
  for (const entry of destinations) {
    checkDestination(entry.at('destination'), faults);
    faults.notNegative(entry.at('weight'));
    checkHeaderOperations(entry.at('headers'), faults);
  }
  checkWeights(route.at('route'), destinations, faults);
  checkRedirect(route.at('redirect'), faults);
  checkDirectResponse(route.at('directResponse'), faults);
  checkRewrite(route.at('rewrite'), faults);
  checkRetries(route.at('retries'), faults);
  checkFault(route.at('fault'), faults);
  checkMirrors(route, faults);
  checkCors(route.at('corsPolicy'), faults);
  checkHeaderOperations(route.at('headers'), faults);
  faults.duration(route.at('timeout'), 0);
}

/** What an entry does with a request: forward it, redirect it, answer it, or leave it to a delegate. */
function checkOutcome(route: Field, faults: Faults, isDelegate: boolean): void {
  const outcomes = route.among('redirect', 'directResponse', 'delegate');
  if (route.at('route').items().length > 0) outcomes.unshift('route');
  if (outcomes.length === 0) faults.required(route, 'one of route, redirect, directResponse, delegate must be set');
  if (outcomes.length > 1)
    faults.invalid(
      route,
      `only one of route, redirect, directResponse, delegate may be set, found ${outcomes.join(' and ')}`,
    );
  if (isDelegate && route.at('delegate').isSet)
    faults.forbidden(route.at('delegate'), 'a delegate cannot delegate further');
  const answers = outcomes.find((name) => name === 'redirect' || name === 'directResponse');
  if (answers !== undefined)
    for (const name of route.among('fault', 'rewrite'))
      faults.forbidden(route.at(name), `has no place beside ${answers}: the request is not forwarded`);
  if (route.at('delegate').isSet && !isDelegate) faults.needs(route.at('delegate', 'name'));
}

function checkMatch(match: Field, faults: Faults): void {
  for (const name of match.among('uri', 'scheme', 'method', 'authority')) checkTextMatch(match.at(name), faults, false);
  for (const name of ['headers', 'withoutHeaders'])
    for (const [key, value] of match.at(name).entries()) {
      const isClaim = key.startsWith('@request.auth.claims');
      if (key === '') faults.invalid(value, 'the name of a header must not be empty');
      else if (!isClaim && !isHeaderName(key)) faults.invalid(value, `\`${key}\` is no header name`);
      if (isClaim) checkClaimKey(key, value, faults);
      checkTextMatch(value, faults, true);
    }
  for (const [key, value] of match.at('queryParams').entries()) {
    if (key === '') faults.invalid(value, 'the name of a query parameter must not be empty');
    checkTextMatch(value, faults, true);
  }
  if (match.at('port').isSet) faults.port(match.at('port'));
  faults.labels(match.at('sourceLabels'));
  for (const gateway of match.at('gateways').items()) checkGatewayName(gateway, faults);
}

function checkClaimKey(key: string, at: Field, faults: Faults): void {
  if (!/^@request\.auth\.claims(\.[^.[\]]+)+$|^@request\.auth\.claims(\[[^[\]]+\])+$/.test(key))
    faults.invalid(
      at,
      `\`${key}\` names no claim: write @request.auth.claims.<claim> or @request.auth.claims[<claim>]`,
    );
}

function checkRedirect(redirect: Field, faults: Faults): void {
  if (!redirect.isSet) return;
  if (redirect.among('uri', 'authority', 'scheme', 'port', 'derivePort', 'uriRegexRewrite').length === 0)
    faults.required(redirect, 'one of uri, authority, scheme, port must be set');
  faults.onlyOne(redirect, 'port', 'derivePort');
  faults.onlyOne(redirect, 'uri', 'uriRegexRewrite');
  checkRegexRewrite(redirect.at('uriRegexRewrite'), faults);
  const code = redirect.at('redirectCode');
  if (code.isSet && code.number !== 0 && !((code.number ?? 0) >= 300 && (code.number ?? 0) <= 399))
    faults.invalid(code, 'must be from 300 to 399');
  const scheme = redirect.at('scheme');
  if (scheme.text !== '' && scheme.text !== 'http' && scheme.text !== 'https')
    faults.invalid(scheme, 'must be http or https');
  if (redirect.at('port').isSet) faults.port(redirect.at('port'));
}

function checkDirectResponse(response: Field, faults: Faults): void {
  if (!response.isSet) return;
  checkStatus(response.at('status'), faults, 200);
  const body = response.at('body');
  faults.onlyOne(body, 'string', 'bytes');
  if (body.at('string').text.length > MOST_BODY_BYTES) faults.invalid(body, `has more than ${MOST_BODY_BYTES} bytes`);
}

function checkStatus(status: Field, faults: Faults, least: number): void {
  const number = status.number ?? 0;
  if (number < least || number > 599) faults.invalid(status, `must be a status from ${least} to 599`);
}

function checkRewrite(rewrite: Field, faults: Faults): void {
  if (!rewrite.isSet) return;
  if (rewrite.among('uri', 'authority', 'uriRegexRewrite').length === 0)
    faults.required(rewrite, 'one of uri, authority, uriRegexRewrite must be set');
  faults.onlyOne(rewrite, 'uri', 'uriRegexRewrite');
  checkRegexRewrite(rewrite.at('uriRegexRewrite'), faults);
}

function checkRegexRewrite(rewrite: Field, faults: Faults): void {
  if (!rewrite.isSet) return;
  if (faults.needs(rewrite.at('match'))) faults.regex(rewrite.at('match'));
  faults.needs(rewrite.at('rewrite'));
}

function checkRetries(retries: Field, faults: Faults): void {
  if (!retries.isSet) return;
  const attempts = retries.at('attempts');
  faults.notNegative(attempts);
  if (attempts.number === 0 && retries.among('perTryTimeout', 'retryOn').length > 0)
    faults.invalid(attempts, 'with 0 attempts nothing is retried: take out the other fields, or set attempts');
  faults.duration(retries.at('perTryTimeout'));
  faults.duration(retries.at('backoff'));
  for (const word of retries.at('retryOn').text.split(',')) {
    const condition = word.trim();
    if (condition === '' || RETRY_ON.has(condition)) continue;
    const code = Number(condition);
    if (!/^\d{3}$/.test(condition) || code < 100 || code > 599)
      faults.invalid(retries.at('retryOn'), `\`${condition}\` is neither a condition of retrying nor a status`);
  }
}

function checkFault(fault: Field, faults: Faults): void {
  if (!fault.isSet) return;
  const [delay, abort] = [fault.at('delay'), fault.at('abort')];
  if (!delay.isSet && !abort.isSet) faults.required(fault, 'delay or abort must be set');
  if (delay.isSet) {
    faults.onlyOne(delay, 'fixedDelay', 'exponentialDelay');
    if (!delay.at('exponentialDelay').isSet && faults.needs(delay.at('fixedDelay')))
      faults.duration(delay.at('fixedDelay'));
    checkPercent(delay.at('percentage'), faults);
    faults.percent(delay.at('percent'));
  }
  if (!abort.isSet) return;
  checkPercent(abort.at('percentage'), faults);
  faults.onlyOne(abort, 'httpStatus', 'grpcStatus', 'http2Error');
  const [kind] = abort.among('httpStatus', 'grpcStatus', 'http2Error');
  if (kind === undefined) faults.required(abort, 'httpStatus or grpcStatus must be set');
  if (kind === 'httpStatus') checkStatus(abort.at('httpStatus'), faults, 200);
  if (kind === 'grpcStatus' && !GRPC_STATUS.has(abort.at('grpcStatus').text))
    faults.invalid(abort.at('grpcStatus'), 'is no gRPC status, as UNAVAILABLE is one');
}

const GRPC_STATUS: ReadonlySet<string> = new Set([
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]);

function checkMirrors(route: Field, faults: Faults): void {
  faults.onlyOne(route, 'mirror', 'mirrors');
  if (route.at('mirror').isSet) checkDestination(route.at('mirror'), faults);
  checkPercent(route.at('mirrorPercentage'), faults);
  faults.percent(route.at('mirrorPercent'));
  for (const mirror of route.at('mirrors').items()) {
    checkDestination(mirror.at('destination'), faults);
    checkPercent(mirror.at('percentage'), faults);
  }
}

function checkCors(cors: Field, faults: Faults): void {
  if (!cors.isSet) return;
  for (const origin of cors.at('allowOrigins').items()) checkTextMatch(origin, faults, false);
  for (const method of cors.at('allowMethods').items())
    if (method.text !== '*' && !HTTP_METHODS.has(method.text)) faults.invalid(method, 'is no HTTP method in capitals');
  for (const name of ['allowHeaders', 'exposeHeaders'])
    for (const header of cors.at(name).items())
      if (!isHeaderName(header.text)) faults.invalid(header, 'is no header name');
  faults.duration(cors.at('maxAge'), 0);
}

/** `headers.request` and `headers.response` with `set`, `add`, `remove`. */
function checkHeaderOperations(headers: Field, faults: Faults): void {
  for (const side of ['request', 'response']) {
    for (const operation of ['set', 'add'])
      for (const [name, value] of headers.at(side, operation).entries()) {
        if (!isHeaderName(name)) faults.invalid(value, `\`${name}\` is no header name`);
        if (/[\r\n\0]/.test(value.text)) faults.invalid(value, 'a header value has no line breaks');
      }
    for (const name of headers.at(side, 'remove').items()) {
      if (!isHeaderName(name.text)) faults.invalid(name, 'is no header name');
      else if (name.text.startsWith(':') || name.text.toLowerCase() === 'host')
        faults.invalid(name, 'the proxy needs this header, it cannot be removed');
    }
  }
}
