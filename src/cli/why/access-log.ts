// The node proxies' access log, read back: lines of either make and either layout. A line that is none is passed over.

/** One side of a connection as a proxy named it; what it did not know is undefined. */
export interface LoggedEnd {
  readonly address: string;
  readonly workload: string | undefined;
  readonly namespace: string | undefined;
  /** SPIFFE URI; of mutual TLS only. */
  readonly identity: string | undefined;
}

export interface LoggedConnection {
  /** RFC 3339. */
  readonly time: string;
  /** `outbound`: told by the source's proxy. */
  readonly direction: 'outbound' | 'inbound';
  readonly source: LoggedEnd;
  readonly destination: LoggedEnd & {
    /** What the tunnel was asked for, `ip:port`. */
    readonly hboneAddress: string | undefined;
    readonly service: string | undefined;
  };
  /** From the client to the server, whoever tells it. */
  readonly bytesToServer: number;
  readonly bytesToClient: number;
  readonly durationMs: number | undefined;
  /** Undefined: it came to a good end. */
  readonly error: string | undefined;
}

/** Of a finished connection, and of one that was refused before anything was known. */
const MESSAGES: ReadonlySet<string> = new Set(['connection complete', 'connection failed']);
const MAX_LINE_CHARS = 16_384;

type Fields = ReadonlyMap<string, string>;

/** @returns undefined for every line that does not tell of a finished connection */
export function parseAccessLine(line: string): LoggedConnection | undefined {
  if (line.length > MAX_LINE_CHARS) return undefined;
  const parsed = line.startsWith('{') ? jsonLine(line) : plainLine(line);
  if (parsed === undefined) return undefined;
  const { time, fields } = parsed;
  const direction = fields.get('direction');
  const source = fields.get('src.addr');
  const destination = fields.get('dst.addr');
  if ((direction !== 'outbound' && direction !== 'inbound') || source === undefined || destination === undefined)
    return undefined;
  const [sent, received] = [bytes(fields, 'bytes_sent'), bytes(fields, 'bytes_recv')];
  const duration = /^(\d+)ms$/.exec(fields.get('duration') ?? '')?.[1];
  return {
    time,
    direction,
    source: { address: source, ...named(fields, 'src') },
    destination: {
      address: destination,
      ...named(fields, 'dst'),
      hboneAddress: fields.get('dst.hbone_addr'),
      service: fields.get('dst.service'),
    },
    // From the reporter's own view: what an inbound proxy sends goes to the client.
    bytesToServer: direction === 'outbound' ? sent : received,
    bytesToClient: direction === 'outbound' ? received : sent,
    durationMs: duration === undefined ? undefined : Number(duration),
    error: fields.get('error'),
  };
}

const named = (fields: Fields, side: 'src' | 'dst') => ({
  workload: fields.get(`${side}.workload`),
  namespace: fields.get(`${side}.namespace`),
  identity: fields.get(`${side}.identity`),
});

function bytes(fields: Fields, name: string): number {
  const count = Number(fields.get(name) ?? 0);
  return Number.isFinite(count) && count >= 0 ? count : 0;
}

interface Line {
  readonly time: string;
  readonly fields: Fields;
}

function jsonLine(line: string): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined; // cut off, or of another program
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = new Map(
    Object.entries(value).flatMap(([key, field]): [string, string][] =>
      typeof field === 'string' || typeof field === 'number' ? [[key, String(field)]] : [],
    ),
  );
  const time = fields.get('time');
  return time !== undefined && fields.get('scope') === 'access' && MESSAGES.has(fields.get('message') ?? '')
    ? { time, fields }
    : undefined;
}

/** `time TAB level TAB scope TAB message TAB key=value key="value" …` */
function plainLine(line: string): Line | undefined {
  const [time = '', , scope = '', message = '', ...rest] = line.split('\t');
  // Context of a span stands behind the scope: `access:inbound{id=…}`.
  if (scope.split(':')[0] !== 'access' || !MESSAGES.has(message)) return undefined;
  return { time, fields: keyValues(rest.join('\t')) };
}

const PAIR = /([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/gy;

function keyValues(text: string): Fields {
  const fields = new Map<string, string>();
  const pattern = new RegExp(PAIR);
  for (let at = 0; at < text.length; ) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) break;
    const [whole, key = '', quoted, bare = ''] = match;
    fields.set(key, quoted === undefined ? bare : withoutEscapes(quoted));
    at += whole.length;
    while (text[at] === ' ') at += 1;
  }
  return fields;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', '0': '\0' };

/** Backslash escapes of JSON (`\u000a`) and of Rust (`\u{a}`). */
const withoutEscapes = (text: string): string =>
  text.replace(/\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|(.))/g, (_all, braced, four, other: string) => {
    const code = Number.parseInt(braced ?? four ?? '', 16);
    if (Number.isNaN(code)) return ESCAPES[other] ?? other;
    return code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
  });
