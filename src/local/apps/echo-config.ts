// What the echo server is told by its environment and arguments. Pure. The variables and flags are those of the images
// that it stands in for, so that their users' manifests mean the same here.

import { fail, ok, type Result } from '../../model/result.ts';

export interface EchoConfig {
  readonly httpPorts: readonly number[];
  readonly tcpPorts: readonly number[];
  /** Answer every request with this text instead of JSON (hashicorp/http-echo). */
  readonly text: string | undefined;
  readonly tcpGreeting: string | undefined;
  readonly shutdownDelayMs: number;
  readonly pod: string;
  readonly namespace: string;
  readonly node: string;
  readonly serviceAccount: string;
}

const FLAVOURS = ['ambit', 'http-echo', 'tcp-echo'] as const;
type Flavour = (typeof FLAVOURS)[number];

type Environment = Readonly<Record<string, string | undefined>>;

function parsePorts(text: string): Result<number[], string> {
  const ports: number[] = [];
  for (const part of text.split(',')) {
    const port = Number(part.trim());
    if (!Number.isInteger(port) || port < 1 || port > 65535)
      return fail(`\`${part}\` is not a port between 1 and 65535`);
    ports.push(port);
  }
  return ok(ports);
}

/** `-text=hi`, `--text hi`, `-listen=:5678`: Go's flags, as hashicorp/http-echo takes them. */
function parseFlags(args: readonly string[]): Result<Map<string, string>, string> {
  const flags = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(args[i] ?? '');
    if (match?.[1] === undefined) return fail(`\`${args[i]}\` is not an option; use -text=TEXT and -listen=:PORT`);
    const value = match[2] ?? args[++i];
    if (value === undefined) return fail(`option \`-${match[1]}\` needs a value`);
    flags.set(match[1], value);
  }
  return ok(flags);
}

/**
 * @param env   `ECHO_FLAVOUR` is set by the image; `PORT`, `HTTP_PORT`, `TCP_PORT` (lists with commas), `SHUTDOWN_DELAY_MS`,
 *              and `POD_NAME`, `POD_NAMESPACE`/`NAMESPACE`, `NODE_NAME`, `SERVICE_ACCOUNT` for the answer
 * @returns a sentence about the first bad setting otherwise
 */
export function parseEchoConfig(env: Environment, args: readonly string[]): Result<EchoConfig, string> {
  const flavour = (env.ECHO_FLAVOUR ?? 'ambit') as Flavour;
  if (!FLAVOURS.includes(flavour)) return fail(`\`ECHO_FLAVOUR=${flavour}\` is not one of ${FLAVOURS.join(', ')}`);
  const common = {
    text: undefined,
    tcpGreeting: undefined,
    shutdownDelayMs: Number(env.SHUTDOWN_DELAY_MS ?? 200),
    pod: env.POD_NAME ?? env.HOSTNAME ?? '',
    namespace: env.POD_NAMESPACE ?? env.NAMESPACE ?? '',
    node: env.NODE_NAME ?? '',
    serviceAccount: env.SERVICE_ACCOUNT ?? '',
  };
  if (!(common.shutdownDelayMs >= 0)) return fail(`\`SHUTDOWN_DELAY_MS=${env.SHUTDOWN_DELAY_MS}\` is not a number`);
  if (flavour === 'tcp-echo') {
    const ports = parsePorts(args[0] ?? '9000');
    return ports.ok ? ok({ ...common, httpPorts: [], tcpPorts: ports.value, tcpGreeting: args[1] ?? 'hello' }) : ports;
  }
  if (flavour === 'http-echo') {
    const flags = parseFlags(args);
    if (!flags.ok) return flags;
    const listen = flags.value.get('listen') ?? ':5678';
    const ports = parsePorts(listen.slice(listen.lastIndexOf(':') + 1));
    const text = flags.value.get('text') ?? env.ECHO_TEXT ?? 'hello-world';
    return ports.ok ? ok({ ...common, httpPorts: ports.value, tcpPorts: [], text }) : ports;
  }
  const http = parsePorts(env.HTTP_PORT ?? env.PORT ?? '8080');
  if (!http.ok) return http;
  const tcp: Result<number[], string> = env.TCP_PORT ? parsePorts(env.TCP_PORT) : ok([]);
  return tcp.ok ? ok({ ...common, httpPorts: http.value, tcpPorts: tcp.value }) : tcp;
}
