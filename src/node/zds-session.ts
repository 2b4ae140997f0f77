// One connection of ZDS, seen from the agent: greeting, then requests one after the other, each with its acknowledgement.
// Anything that the proxy says without having been asked ends the session.

import { closeSync } from 'node:fs';
import type { Netns } from '../platform/linux/netns.ts';
import type { Packet, SeqpacketConnection } from '../platform/linux/seqpacket.ts';
import { decodeAck, decodeHello, encodeRequest, type ZdsAck, type ZdsRequest } from '../wire/zds/messages.ts';

/** Istio: for each packet, in either direction. */
const DEADLINE_MS = 5_000;

/** The connection cannot be used (any more); what was asked may or may not have happened. */
export class ZdsSessionError extends Error {}

interface Question {
  readonly packet: Uint8Array;
  readonly netns: Netns | undefined;
  resolve(ack: ZdsAck): void;
  reject(error: Error): void;
}

export class ZdsSession {
  readonly id: number;
  /** Resolves with the reason, once. */
  readonly ended: Promise<string>;
  readonly #connection: SeqpacketConnection;
  readonly #queue: Question[] = [];
  /** The question whose acknowledgement is awaited. */
  #asked: Question | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #open = true;
  #end: (why: string) => void = () => {};

  private constructor(connection: SeqpacketConnection, id: number) {
    this.id = id;
    this.#connection = connection;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    void this.#listen();
  }

  /** Waits for the proxy's greeting. @throws ZdsSessionError; the connection is then closed */
  static async greet(connection: SeqpacketConnection, id: number): Promise<ZdsSession> {
    try {
      const packet = await connection.receive(DEADLINE_MS);
      if (packet === undefined) throw new ZdsSessionError('the proxy hung up without a greeting');
      refuseDescriptor(packet);
      const hello = decodeHello(packet.data);
      if (!hello.ok) throw new ZdsSessionError(`the greeting cannot be used: ${hello.error}`);
      return new ZdsSession(connection, id);
    } catch (error) {
      connection.close();
      throw error instanceof ZdsSessionError ? error : new ZdsSessionError(messageOf(error), { cause: error });
    }
  }

  /**
   * Asks when it is this request's turn. A namespace that was closed before is not sent: the answer is then an error.
   * @throws ZdsSessionError when the session ends before the answer
   */
  request(request: ZdsRequest, netns?: Netns): Promise<ZdsAck> {
    if (!this.#open) return Promise.reject(new ZdsSessionError('the connection has ended'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ packet: encodeRequest(request), netns, resolve, reject });
      this.#next();
    });
  }

  close(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#deadline);
    this.#connection.close();
    const lost = this.#asked === undefined ? this.#queue.splice(0) : [this.#asked, ...this.#queue.splice(0)];
    this.#asked = undefined;
    for (const question of lost) question.reject(new ZdsSessionError(why));
    this.#end(why);
  }

  #next(): void {
    if (this.#asked !== undefined || !this.#open) return;
    const question = this.#queue.shift();
    if (question === undefined) return;
    if (question.netns?.closed) {
      question.resolve({ error: 'the pod has gone meanwhile' });
      this.#next();
      return;
    }
    this.#asked = question;
    this.#deadline = setTimeout(() => this.close(`no acknowledgement in ${DEADLINE_MS} ms`), DEADLINE_MS);
    const options = { timeoutMs: DEADLINE_MS, ...(question.netns === undefined ? {} : { fd: question.netns.fd }) };
    this.#connection.send(question.packet, options).catch((error: unknown) => this.close(messageOf(error)));
  }

  /** Reads without pause: the end of an idle proxy, or words out of turn, are noticed at once (Istio looks every 5 s). */
  async #listen(): Promise<void> {
    try {
      while (this.#open) {
        const packet = await this.#connection.receive();
        if (packet === undefined) {
          this.close('the proxy hung up');
          return;
        }
        refuseDescriptor(packet);
        this.#answer(packet);
      }
    } catch (error) {
      this.close(messageOf(error));
    }
  }

  #answer(packet: Packet): void {
    const question = this.#asked;
    if (question === undefined) throw new ZdsSessionError('the proxy spoke without having been asked');
    const ack = decodeAck(packet.data);
    if (!ack.ok) throw new ZdsSessionError(`an acknowledgement cannot be read: ${ack.error}`);
    clearTimeout(this.#deadline);
    this.#asked = undefined;
    question.resolve(ack.value);
    this.#next();
  }
}

function refuseDescriptor(packet: Packet): void {
  if (packet.fd === undefined) return;
  closeSync(packet.fd);
  throw new ZdsSessionError('a descriptor came with a packet that has none');
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
