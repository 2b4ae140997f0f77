// Sends bytes as they are, each set on a connection of its own, and tells what came back; also a program for pods:
// `raw-sender.ts HOST PORT`, messages on standard input, answers on standard output, as JSON of Latin-1 text.

import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** A connection that says nothing for so long has said what it has to say. */
const QUIET_MS = 1_000;

function send(host: string, port: number, message: string): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = connect({ host, port });
    const done = (): void => {
      socket.destroy();
      resolve(Buffer.concat(parts).toString('latin1'));
    };
    socket.setTimeout(QUIET_MS, done);
    socket.on('error', done);
    socket.on('close', done);
    socket.on('data', (part) => parts.push(part));
    socket.write(Buffer.from(message, 'latin1'));
  });
}

/** @returns the answers, as many as messages, in their order */
export async function sendAll(host: string, port: number, messages: readonly string[]): Promise<string[]> {
  const answers: string[] = [];
  for (let i = 0; i < messages.length; i += 10)
    answers.push(...(await Promise.all(messages.slice(i, i + 10).map((message) => send(host, port, message)))));
  return answers;
}

if (import.meta.main) {
  const [, , host = '', port = ''] = process.argv;
  const messages = JSON.parse(await text(process.stdin)) as string[];
  console.log(JSON.stringify(await sendAll(host, Number(port), messages)));
}
