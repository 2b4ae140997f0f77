// Formats of access-log lines: texts with operators, and JSON objects of such texts. Read once per configuration into a
// list of pieces; a line is made by going through the list.

import type { AccessLogConfig } from '../../model/proxy/telemetry-config.ts';
import type { Reported, ReportingProxy } from './ends.ts';
import { type LogValue, type Operator, operatorOf } from './log-operators.ts';

/** One line, with its end. */
export type LineFormat = (exchange: Reported) => string;

type Piece = string | Operator;

/** Values of the default formats, in Istio's order: JSON key and operator. In text, `quoted` ones stand in quotes. */
const DEFAULT_FIELDS: readonly { readonly key: string; readonly operator: string; readonly quoted?: true }[] = [
  { key: 'response_code', operator: 'RESPONSE_CODE' },
  { key: 'response_flags', operator: 'RESPONSE_FLAGS' },
  { key: 'response_code_details', operator: 'RESPONSE_CODE_DETAILS' },
  { key: 'connection_termination_details', operator: 'CONNECTION_TERMINATION_DETAILS' },
  { key: 'upstream_transport_failure_reason', operator: 'UPSTREAM_TRANSPORT_FAILURE_REASON', quoted: true },
  { key: 'bytes_received', operator: 'BYTES_RECEIVED' },
  { key: 'bytes_sent', operator: 'BYTES_SENT' },
  { key: 'duration', operator: 'DURATION' },
  { key: 'upstream_service_time', operator: 'RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)' },
  { key: 'x_forwarded_for', operator: 'REQ(X-FORWARDED-FOR)', quoted: true },
  { key: 'user_agent', operator: 'REQ(USER-AGENT)', quoted: true },
  { key: 'request_id', operator: 'REQ(X-REQUEST-ID)', quoted: true },
  { key: 'authority', operator: 'REQ(:AUTHORITY)', quoted: true },
  { key: 'upstream_host', operator: 'UPSTREAM_HOST', quoted: true },
  { key: 'upstream_cluster', operator: 'UPSTREAM_CLUSTER_RAW' },
  { key: 'upstream_local_address', operator: 'UPSTREAM_LOCAL_ADDRESS' },
  { key: 'downstream_local_address', operator: 'DOWNSTREAM_LOCAL_ADDRESS' },
  { key: 'downstream_remote_address', operator: 'DOWNSTREAM_REMOTE_ADDRESS' },
  { key: 'requested_server_name', operator: 'REQUESTED_SERVER_NAME' },
  { key: 'route_name', operator: 'ROUTE_NAME' },
];
const PATH = '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%';

const DEFAULT_TEXT = `[%START_TIME%] "%REQ(:METHOD)% ${PATH} %PROTOCOL%" ${DEFAULT_FIELDS.map(({ operator, quoted }) =>
  quoted ? `"%${operator}%"` : `%${operator}%`,
).join(' ')}\n`;

const DEFAULT_LABELS: Readonly<Record<string, string>> = Object.fromEntries([
  ['start_time', '%START_TIME%'],
  ['method', '%REQ(:METHOD)%'],
  ['path', PATH],
  ['protocol', '%PROTOCOL%'],
  ...DEFAULT_FIELDS.map(({ key, operator }) => [key, `%${operator}%`] as const),
]);

/** @param warn  is told of each operator that is not known; it reads `-` */
export function lineFormat(
  format: AccessLogConfig['format'],
  omitsEmpty: boolean,
  proxy: ReportingProxy,
  warn: (problem: string) => void,
): LineFormat {
  switch (format.kind) {
    case 'defaultText':
      return textFormat(DEFAULT_TEXT, omitsEmpty, proxy, warn);
    case 'defaultJson':
      return jsonFormat(DEFAULT_LABELS, omitsEmpty, proxy, warn);
    case 'text':
      return textFormat(
        format.template.endsWith('\n') ? format.template : `${format.template}\n`,
        omitsEmpty,
        proxy,
        warn,
      );
    case 'json':
      return jsonFormat(format.labels, omitsEmpty, proxy, warn);
  }
}

/** A template as a function of its own: bodies of OTLP logs and tags of spans. */
export const templateText = (template: string, proxy: ReportingProxy, warn: (problem: string) => void): LineFormat =>
  textFormat(template, true, proxy, warn);

function textFormat(
  template: string,
  omitsEmpty: boolean,
  proxy: ReportingProxy,
  warn: (problem: string) => void,
): LineFormat {
  const pieces = piecesOf(template, proxy, warn);
  const empty = omitsEmpty ? '' : '-';
  return (exchange) => {
    let line = '';
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i] as Piece;
      line += typeof piece === 'string' ? piece : (piece(exchange) ?? empty);
    }
    return line;
  };
}

function jsonFormat(
  labels: Readonly<Record<string, string>>,
  omitsEmpty: boolean,
  proxy: ReportingProxy,
  warn: (problem: string) => void,
): LineFormat {
  const members = Object.entries(labels).map(([key, template]) => ({
    head: `${JSON.stringify(key)}:`,
    value: valueFrom(piecesOf(template, proxy, warn), omitsEmpty ? '' : '-'),
  }));
  return (exchange) => {
    let line = '{';
    for (const { head, value } of members) {
      const found = value(exchange);
      if (found === undefined && omitsEmpty) continue;
      if (line.length > 1) line += ',';
      line += head;
      line += found === undefined ? 'null' : typeof found === 'number' ? found : quoted(found);
    }
    return `${line}}\n`;
  };
}

/** A lone operator keeps its type; a text of several pieces is a text. */
function valueFrom(pieces: readonly Piece[], empty: string): (exchange: Reported) => LogValue {
  const [only] = pieces;
  if (pieces.length === 1 && typeof only === 'function') return only;
  return (exchange) => {
    let text = '';
    for (const piece of pieces) text += typeof piece === 'string' ? piece : (piece(exchange) ?? empty);
    return text;
  };
}

/** Most values need no escapes. */
const quoted = (text: string): string => (/["\\\x00-\x1f]/.test(text) ? JSON.stringify(text) : `"${text}"`);

/** `%NAME%`, `%NAME(PARAMETER)%`, `%NAME(PARAMETER):MAX%`, `%%`. Parameters may hold `%` (START_TIME). */
const OPERATOR = /%(?:([A-Z][A-Z0-9_]*)(?:\(((?:[^()]|\([^()]*\))*)\))?(?::([0-9]{1,6}))?)?%/g;

function piecesOf(template: string, proxy: ReportingProxy, warn: (problem: string) => void): Piece[] {
  const pieces: Piece[] = [];
  const add = (text: string): void => {
    const last = pieces.at(-1);
    if (text === '') return;
    if (typeof last === 'string') pieces[pieces.length - 1] = last + text;
    else pieces.push(text);
  };
  let end = 0;
  for (const match of template.matchAll(OPERATOR)) {
    add(template.slice(end, match.index));
    end = match.index + match[0].length;
    const [whole, name, parameter = '', most] = match;
    if (name === undefined) {
      add('%');
      continue;
    }
    const operator = operatorOf(name, parameter, proxy);
    if (operator === undefined) warn(`access log: \`${whole}\` is not known and reads \`-\``);
    pieces.push(operator === undefined ? () => undefined : most === undefined ? operator : cut(operator, Number(most)));
  }
  add(template.slice(end));
  return pieces;
}

const cut =
  (operator: Operator, most: number): Operator =>
  (exchange) => {
    const value = operator(exchange);
    return typeof value === 'string' && value.length > most ? value.slice(0, most) : value;
  };
