// The kubelet's side of exec and attach. For the kubelet:
//
//   server.on('upgrade', (request, socket, head) =>
//     serveExec(request, socket, head, async (options) => {
//       const child = startInContainer(pod, options.container, options.command, options.tty);
//       return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, resize, exit, hangUp: () => child.kill('SIGHUP') };
//     }));
//
// `start` rejects with a reason for the user (no such container, no such program). Output is sent to its end before the
// exit status; a client that goes away calls `hangUp`. Protocol: a WebSocket whose messages begin with a channel number,
// v5.channel.k8s.io (kubectl 1.30 and later; it can close stdin) or v4.channel.k8s.io (client-node).

import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import { acceptWebSocket, bytesOf } from './websocket.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
const CLOSE = 255;

/** What the URL of `/exec/…` and `/attach/…` asks for. */
export interface ExecOptions {
  readonly command: readonly string[];
  /** Undefined: the pod's only or default container. */
  readonly container: string | undefined;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export type ExecExit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  /** It did not run, or was lost. */
  | { readonly kind: 'failed'; readonly message: string };

/** A process that was started; streams that were not asked for may be left out. With a terminal, stderr is part of stdout. */
export interface RemoteCommand {
  readonly stdin?: Writable | undefined;
  readonly stdout?: Readable | undefined;
  readonly stderr?: Readable | undefined;
  readonly resize?: ((size: TerminalSize) => void) | undefined;
  readonly exit: Promise<ExecExit>;
  /** The client has gone. */
  readonly hangUp: () => void;
}

/** Reads the query of an exec or attach URL. */
export function parseExecOptions(url: string): ExecOptions {
  const { searchParams } = new URL(url, 'http://kubelet');
  const flag = (...names: string[]) => names.some((name) => ['1', 'true'].includes(searchParams.get(name) ?? ''));
  return {
    command: searchParams.getAll('command'),
    container: searchParams.get('container') || undefined,
    stdin: flag('stdin', 'input'),
    stdout: flag('stdout', 'output'),
    stderr: flag('stderr', 'error') && !flag('tty'),
    tty: flag('tty'),
  };
}

/** Serves one upgrade request until its process or its client ends. */
export async function serveExec(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  start: (options: ExecOptions) => Promise<RemoteCommand>,
): Promise<void> {
  const accepted = await acceptWebSocket(request, socket, head, ['v5.channel.k8s.io', 'v4.channel.k8s.io']);
  if (accepted === undefined) return;
  const { webSocket } = accepted;
  webSocket.on('error', () => {});
  webSocket.pause(); // what the client types before the process runs must not be lost
  let command: RemoteCommand;
  try {
    command = await start(parseExecOptions(request.url ?? ''));
  } catch (error) {
    webSocket.resume();
    await finish(webSocket, { kind: 'failed', message: (error as Error).message });
    return;
  }
  const closed = new Promise<void>((resolve) => webSocket.once('close', () => resolve()));
  if (webSocket.readyState !== webSocket.OPEN) command.hangUp();
  void closed.then(() => {
    command.stdin?.destroy();
    command.hangUp();
  });
  takeInput(webSocket, command);
  const outputs = [send(webSocket, STDOUT, command.stdout), send(webSocket, STDERR, command.stderr)];
  const exit = await command.exit.catch((error: Error): ExecExit => ({ kind: 'failed', message: error.message }));
  await Promise.race([Promise.all(outputs), closed]);
  await finish(webSocket, exit);
}

function takeInput(webSocket: WebSocket, command: RemoteCommand): void {
  const { stdin, resize } = command;
  stdin?.on('error', () => {}); // the process closed it, which is its right
  stdin?.on('drain', () => webSocket.resume());
  webSocket.on('message', (message) => {
    const bytes = bytesOf(message);
    const data = bytes.subarray(1);
    switch (bytes[0]) {
      case STDIN:
        if (data.length > 0 && stdin?.writable && !stdin.write(data)) webSocket.pause();
        break;
      case RESIZE: {
        const size = parseSize(data);
        if (size !== undefined) resize?.(size);
        break;
      }
      case CLOSE:
        if (data[0] === STDIN) stdin?.end();
        break;
      default: // other channels are ours to write
    }
  });
  webSocket.resume();
}

function parseSize(data: Buffer): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(data.toString()) as { Width?: unknown; Height?: unknown };
    const fits = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
    return fits(Width) && fits(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined;
  }
}

/** Sends a stream to its end, no faster than the client takes it. */
async function send(webSocket: WebSocket, channel: number, stream: Readable | undefined): Promise<void> {
  if (stream === undefined) return;
  try {
    for await (const chunk of stream) {
      const message = Buffer.concat([Buffer.from([channel]), chunk as Buffer]);
      const sent = await new Promise<boolean>((resolve) => webSocket.send(message, (error) => resolve(!error)));
      if (!sent) return;
    }
  } catch {
    // a terminal's end reads as an error; the exit status tells what happened
  }
}

async function finish(webSocket: WebSocket, exit: ExecExit): Promise<void> {
  const status = Buffer.concat([Buffer.from([ERROR]), Buffer.from(JSON.stringify(statusOf(exit)))]);
  await new Promise<void>((resolve) => webSocket.send(status, () => resolve()));
  webSocket.close(1000);
}

/** metav1.Status on the error channel: kubectl takes its exit code from the cause `ExitCode`. */
function statusOf(exit: ExecExit): object {
  if (exit.kind === 'exited' && exit.code === 0) return { metadata: {}, status: 'Success' };
  if (exit.kind === 'failed')
    return { metadata: {}, status: 'Failure', message: exit.message, reason: 'InternalError', code: 500 };
  const code = exit.kind === 'exited' ? exit.code : 128 + (SIGNALS[exit.signal] ?? 0);
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};
