// The cluster's DNS server: UDP and TCP on one address. Cluster names are answered from the view; everything else is
// handed on byte for byte and its answer handed back.

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { decodeHeader, decodeMessage } from '../../wire/dns/decode.ts';
import { encodeMessage, MIN_UDP_BYTES } from '../../wire/dns/encode.ts';
import {
  CLASS_IN,
  type DnsRecord,
  type Edns,
  type Message,
  OPCODE_QUERY,
  type Question,
  RCODE,
} from '../../wire/dns/message.ts';
import { answerQuestion, type DnsOptions, type DnsView } from './records.ts';

const MAX_PENDING = 1024; // questions on their way outside; more are answered SERVFAIL at once
const TCP_IDLE_MS = 10_000;
const MAX_TCP_CLIENTS = 256;
const OWN_EDNS: Edns = { payloadBytes: 1232, version: 0, dnssecOk: false };

export interface DnsServerOptions extends DnsOptions {
  readonly address: string;
  readonly port: number;
  readonly view: DnsView;
  /** Asks the outside; rejects when nobody answers. Query and answer are whole DNS messages. */
  readonly outside: (query: Buffer) => Promise<Buffer>;
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #clients = new Set<Socket>();
  #pending = 0;

  private constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#udp = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
    this.#udp.on('message', (query, from) => {
      void this.#answer(query, true).then(
        (answer) => answer && this.#udp.send(answer, from.port, from.address, () => {}),
      );
    });
    this.#tcp = createServer((socket) => this.#serveTcp(socket));
  }

  static async start(options: DnsServerOptions): Promise<DnsServer> {
    const server = new DnsServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#udp.once('error', reject);
      server.#udp.bind(options.port, options.address, () => {
        server.#udp.off('error', reject);
        server.#udp.on('error', () => {}); // an unreachable client is no reason to stop
        resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.#tcp.once('error', reject);
      server.#tcp.listen(server.port, options.address, resolve);
    });
    return server;
  }

  get port(): number {
    return this.#udp.address().port;
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
    for (const client of this.#clients) client.destroy();
  }

  /** @returns the answer, or nothing for what is no query at all */
  async #answer(query: Buffer, overUdp: boolean): Promise<Uint8Array | undefined> {
    const header = decodeHeader(query);
    if (!header.ok || header.value.response) return undefined;
    const decoded = decodeMessage(query);
    const respond = (
      rcode: number,
      answers: readonly DnsRecord[] = [],
      authorities: readonly DnsRecord[] = [],
      asked?: Message,
    ): Uint8Array =>
      encodeMessage(
        {
          ...header.value,
          response: true,
          authoritative: true,
          truncated: false,
          recursionAvailable: true,
          authenticData: false,
          rcode,
          questions: asked?.questions ?? [],
          answers,
          authorities,
          additionals: [],
          edns: asked?.edns && OWN_EDNS,
        },
        overUdp ? Math.max(MIN_UDP_BYTES, Math.min(asked?.edns?.payloadBytes ?? 0, OWN_EDNS.payloadBytes)) : undefined,
      );
    if (!decoded.ok) return respond(RCODE.formErr);
    const message = decoded.value;
    const [question] = message.questions;
    if (message.opcode !== OPCODE_QUERY) return respond(RCODE.notImp, [], [], message);
    if (question === undefined || message.questions.length > 1) return respond(RCODE.formErr, [], [], message);
    if (question.class !== CLASS_IN) return respond(RCODE.refused, [], [], message);
    const answer = answerQuestion(this.#options.view, this.#options, question);
    try {
      if (answer.kind === 'outside') return await this.#ask(query);
      if (answer.kind === 'answer') return respond(answer.rcode, answer.answers, answer.authorities, message);
      return respond(RCODE.noError, [...answer.answers, ...(await this.#follow(answer.target, question))], [], message);
    } catch {
      return respond(RCODE.servFail, [], [], message);
    }
  }

  /** What an alias leads to, in the cluster (one step) or outside. */
  async #follow(target: string, question: Question): Promise<readonly DnsRecord[]> {
    const next = { ...question, name: target };
    const inside = answerQuestion(this.#options.view, this.#options, next);
    if (inside.kind === 'answer') return inside.answers;
    if (inside.kind === 'alias') return inside.answers;
    const query = encodeMessage({
      id: Math.floor(Math.random() * 65536),
      response: false,
      opcode: OPCODE_QUERY,
      authoritative: false,
      truncated: false,
      recursionDesired: true,
      recursionAvailable: false,
      authenticData: false,
      checkingDisabled: false,
      rcode: RCODE.noError,
      questions: [next],
      answers: [],
      authorities: [],
      additionals: [],
      edns: undefined,
    });
    const decoded = decodeMessage(await this.#ask(Buffer.from(query)));
    return decoded.ok
      ? decoded.value.answers.filter((r) => r.type === 'A' || r.type === 'AAAA' || r.type === 'CNAME')
      : [];
  }

  async #ask(query: Buffer): Promise<Buffer> {
    if (this.#pending >= MAX_PENDING) throw new Error('too many questions are on their way outside');
    this.#pending++;
    try {
      return await this.#options.outside(query);
    } finally {
      this.#pending--;
    }
  }

  /** Messages with a two-byte length before each (RFC 1035 §4.2.2), answered one after another. */
  #serveTcp(socket: Socket): void {
    if (this.#clients.size >= MAX_TCP_CLIENTS) return void socket.destroy();
    this.#clients.add(socket);
    socket.on('close', () => this.#clients.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    let held = Buffer.alloc(0);
    let busy = false;
    const step = async (): Promise<void> => {
      if (busy) return;
      busy = true;
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const size = held.readUInt16BE(0);
        const query = held.subarray(2, 2 + size);
        held = held.subarray(2 + size);
        const answer = await this.#answer(query, false);
        if (answer === undefined) return void socket.destroy();
        const head = Buffer.allocUnsafe(2);
        head.writeUInt16BE(answer.length, 0);
        socket.write(Buffer.concat([head, answer]));
      }
      busy = false;
      socket.resume();
    };
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      socket.pause(); // no more than one chunk beyond one message is ever held
      void step();
    });
  }
}
