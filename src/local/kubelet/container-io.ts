// The streams of one running program: pipes or a terminal, its output into the log and to whoever is attached.

import { closeSync } from 'node:fs';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Stdio } from '../../platform/linux/container.ts';
import { makePipe, openTerminal, readEnd, type Terminal, writeEnd } from '../../platform/linux/pipes.ts';
import type { LogStream } from './log-line.ts';

type Listener = (stream: LogStream, chunk: Buffer) => void;

/**
 * Made before the program is started; `started` gives the program's ends up. Output is taken either by listeners, any
 * number of them, or by whoever reads the streams.
 */
export class ContainerIo {
  readonly stdio: readonly [Stdio, Stdio, Stdio];
  /** Undefined when the container takes no input. */
  readonly stdin: Writable | undefined;
  readonly terminal: Terminal | undefined;
  readonly #programFds: number[] = [];
  readonly #streams = new Map<LogStream, Readable | Duplex>();
  readonly #listeners = new Set<Listener>();
  #flowing = false;
  #open: number;
  /** Resolves when all output has been read. */
  readonly drained: Promise<void>;
  #onDrained: () => void = () => {};

  private constructor(
    stdio: readonly [Stdio, Stdio, Stdio],
    stdin: Writable | undefined,
    terminal: Terminal | undefined,
  ) {
    this.stdio = stdio;
    this.stdin = stdin;
    this.terminal = terminal;
    this.#open = 0;
    this.drained = new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  static pipes(options: { readonly stdin: boolean }): ContainerIo {
    const input = options.stdin ? makePipe() : undefined;
    const [output, error] = [makePipe(), makePipe()];
    const stdin = input === undefined ? undefined : writeEnd(input);
    stdin?.on('error', () => {}); // the program does not read any more
    const io = new ContainerIo([input?.readFd ?? 'null', output.writeFd, error.writeFd], stdin, undefined);
    io.#programFds.push(output.writeFd, error.writeFd, ...(input === undefined ? [] : [input.readFd]));
    io.#own('stdout', readEnd(output));
    io.#own('stderr', readEnd(error));
    return io;
  }

  /** To be called where the thread sees the container's files. */
  static terminal(): ContainerIo {
    const terminal = openTerminal();
    const fd = terminal.programFd;
    const io = new ContainerIo([fd, fd, fd], terminal.stream, terminal);
    io.#programFds.push(fd);
    io.#own('stdout', terminal.stream);
    return io;
  }

  #own(stream: LogStream, readable: Readable): void {
    this.#open++;
    this.#streams.set(stream, readable);
    readable.on('error', () => {});
    readable.once('close', () => {
      if (--this.#open === 0) this.#onDrained();
    });
  }

  get stdout(): Readable | undefined {
    return this.#streams.get('stdout');
  }

  /** Undefined for a terminal, whose one stream is `stdout`. */
  get stderr(): Readable | undefined {
    return this.#streams.get('stderr');
  }

  /** Whether output that has come is still waiting for a slow reader. */
  get backedUp(): boolean {
    return [...this.#streams.values()].some((stream) => stream.readableLength > 0);
  }

  /** @returns a function that stops listening */
  onOutput(listener: Listener): () => void {
    if (this.#listeners.size === 0 && !this.#flowing)
      for (const [stream, readable] of this.#streams)
        readable.on('data', (chunk: Buffer) => {
          for (const each of this.#listeners) each(stream, chunk);
        });
    this.#flowing = true;
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The program has its descriptors (or never will): ours of its side are closed, so that ends are noticed. */
  started(): void {
    for (const fd of new Set(this.#programFds.splice(0))) closeSync(fd);
  }

  close(): void {
    this.started();
    this.stdin?.destroy();
    for (const stream of this.#streams.values()) stream.destroy();
  }
}
