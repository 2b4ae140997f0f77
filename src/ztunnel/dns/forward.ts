// Asks the proxy pod's nameservers on behalf of a pod, from inside the pod's network namespace on marked sockets, so that
// the question leaves as the pod's own would and is not captured again. One socket with a random port and a random id for
// each question; only the answer to that question, from that server, counts.

import { randomInt } from 'node:crypto';
import type { HostPort, Ip } from '../../model/ip.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { connectTcp, connectUdp } from '../../platform/linux/sockets.ts';
import { decodeMessage } from '../../wire/dns/decode.ts';
import { encodeMessage } from '../../wire/dns/encode.ts';
import type { Message, Question } from '../../wire/dns/message.ts';
import { canonicalName } from '../../wire/dns/name.ts';
import type { Query } from './answer.ts';

const DNS_PORT = 53;
const ATTEMPT_MS = 2_500;
const ROUNDS = 2;

export interface ForwardOptions {
  readonly nameservers: readonly Ip[];
  readonly mark: number | undefined;
  readonly clock: Clock;
  /** For tests; else 53. */
  readonly port?: number;
}

/** An upstream's answer: read, and as it came. */
export interface Answer {
  readonly message: Message;
  readonly bytes: Uint8Array;
}

const sameQuestion = (a: Question, b: Question | undefined): boolean =>
  b !== undefined && a.type === b.type && a.class === b.class && canonicalName(a.name) === canonicalName(b.name);

/** The question and EDNS; what else a client put into its query is not passed on. */
const question = ({ message }: Query, id: number): Uint8Array =>
  encodeMessage({ ...message, id, answers: [], authorities: [], additionals: [] });

/** Undefined: not the answer to this question; a late or forged one, to be passed over. */
function readAnswer(bytes: Uint8Array, id: number, question: Question): Answer | undefined {
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) return undefined;
  const message = decoded.value;
  if (!message.response || message.id !== id || !sameQuestion(question, message.questions[0])) return undefined;
  return { message, bytes };
}

/** Rejects when nothing usable came in time. */
async function overUdp(netns: Netns, at: HostPort, query: Query, options: ForwardOptions): Promise<Answer> {
  const id = randomInt(0x10000);
  const socket = await connectUdp(netns, { destination: at, mark: options.mark });
  return new Promise<Answer>((resolve, reject) => {
    const end = (): void => {
      timer.cancel();
      socket.close();
    };
    const timer = options.clock.after(ATTEMPT_MS, () => {
      end();
      reject(new Error(`nameserver ${at.ip} did not answer in ${ATTEMPT_MS} ms`));
    });
    socket.on('message', (bytes) => {
      const answer = readAnswer(bytes, id, query.question);
      if (answer === undefined) return;
      end();
      resolve(answer);
    });
    socket.on('error', (error) => {
      end();
      reject(error);
    });
    socket.send(question(query, id));
  });
}

function overTcp(netns: Netns, at: HostPort, query: Query, options: ForwardOptions): Promise<Answer> {
  const id = randomInt(0x10000);
  return new Promise<Answer>((resolve, reject) => {
    const socket = connectTcp(netns, { destination: at, mark: options.mark });
    const fail = (error: Error): void => {
      timer.cancel();
      socket.destroy();
      reject(error);
    };
    const timer = options.clock.after(ATTEMPT_MS, () =>
      fail(new Error(`nameserver ${at.ip} did not answer over TCP in ${ATTEMPT_MS} ms`)),
    );
    let held: Buffer = Buffer.alloc(0);
    socket.on('error', fail);
    socket.on('close', () => fail(new Error(`nameserver ${at.ip} closed the connection`)));
    socket.on('data', (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]); // 65,537 bytes at most
      if (held.length < 2 || held.length < 2 + held.readUInt16BE(0)) return;
      const answer = readAnswer(held.subarray(2, 2 + held.readUInt16BE(0)), id, query.question);
      if (answer === undefined) {
        fail(new Error(`nameserver ${at.ip} sent something else than an answer`));
        return;
      }
      timer.cancel();
      socket.destroy();
      resolve(answer);
    });
    const message = question(query, id);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length);
    socket.write(Buffer.concat([length, message]));
  });
}

/** Which nameserver answered last; shared by the questions of one proxy, so that a dead one is not asked first for long. */
export interface Preference {
  index: number;
}

/**
 * Forwards one query: each nameserver in turn, twice. Over UDP; when that answer is cut and the client can take all of it
 * (it came over TCP), again over TCP.
 * @throws Error when no nameserver answered
 */
export async function forward(
  netns: Netns,
  query: Query,
  whole: boolean,
  options: ForwardOptions,
  preference: Preference,
): Promise<Answer> {
  const { nameservers } = options;
  let failure: unknown = new Error('no nameserver is configured');
  for (let attempt = 0; attempt < ROUNDS * nameservers.length; attempt++) {
    const index = (preference.index + attempt) % nameservers.length;
    const at = { ip: nameservers[index] as Ip, port: options.port ?? DNS_PORT };
    try {
      const answer = await overUdp(netns, at, query, options);
      const complete = whole && answer.message.truncated ? await overTcp(netns, at, query, options) : answer;
      preference.index = index;
      return complete;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

const AUTHORITATIVE = 0x04;
const RECURSION_AVAILABLE = 0x80;

/**
 * The answer as the client gets it: its own id, never authoritative, recursion available. The records stay as they came,
 * since types that we do not know may hold compressed names.
 */
export function relayed(answer: Answer, query: Query): Uint8Array {
  const bytes = Buffer.from(answer.bytes);
  bytes.writeUInt16BE(query.message.id, 0);
  bytes[2] = (bytes[2] as number) & ~AUTHORITATIVE;
  bytes[3] = (bytes[3] as number) | RECURSION_AVAILABLE;
  return bytes;
}

/** An answer too large for the client's datagram: no records, and the bit that says so. */
export const cutShort = (answer: Answer, query: Query): Message => ({
  ...answer.message,
  id: query.message.id,
  authoritative: false,
  recursionAvailable: true,
  truncated: true,
  answers: [],
  authorities: [],
  additionals: [],
});
