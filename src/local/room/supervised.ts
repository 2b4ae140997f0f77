// The room's end of its supervisor: asks it for the outside, hears when to stop. Without a supervisor there is no room.

import { Server, type Socket } from 'node:net';
import type { FromRoom, ToRoom } from './messages.ts';

const ASK_MS = 15_000;
const MAX_ASKED = 4096;

interface Answered {
  readonly message: ToRoom;
  readonly handle: Socket | Server | undefined;
}

interface Asked {
  readonly resolve: (value: Answered) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Supervised {
  readonly #asked = new Map<number, Asked>();
  #next = 1;

  constructor(on: { stop: () => void; lost: () => void }) {
    process.on('message', (message: ToRoom, handle: unknown) => {
      if (message.kind === 'stop') on.stop();
      else this.#answered(message, handle as Socket | Server | undefined);
    });
    process.on('disconnect', on.lost);
  }

  tell(message: FromRoom): void {
    process.send?.(message, undefined, undefined, () => {});
  }

  /** Dials outside the room. @throws Error with the `code` of the host's attempt */
  async dial(ip: string, port: number): Promise<Socket> {
    const { message, handle } = await this.#ask((id) => ({ kind: 'dial', id, ip, port }));
    if (message.kind === 'dialled' && handle !== undefined && !(handle instanceof Server)) return handle;
    throw Object.assign(new Error(`${ip}:${port} cannot be reached from the host`), {
      code: message.kind === 'refused' ? message.code : 'EIO',
    });
  }

  /**
   * Opens a listener on 127.0.0.1 of the host; connections to it arrive here, in the room.
   * @param ports  the first that is free and allowed is taken; 0: any
   * @throws Error with the `code` of the host's last attempt
   */
  async listen(ports: readonly number[]): Promise<{ readonly server: Server; readonly port: number }> {
    const { message, handle } = await this.#ask((id) => ({ kind: 'listen', id, ports }));
    if (message.kind === 'listening' && handle instanceof Server) return { server: handle, port: message.port };
    throw Object.assign(new Error('the host opens no listener'), {
      code: message.kind === 'refused' ? message.code : 'EIO',
    });
  }

  async resolve(query: Buffer): Promise<Buffer> {
    const { message } = await this.#ask((id) => ({ kind: 'resolve', id, query: query.toString('base64') }));
    if (message.kind === 'resolved') return Buffer.from(message.answer, 'base64');
    throw new Error('no resolver of the host answers');
  }

  #ask(request: (id: number) => FromRoom): Promise<Answered> {
    if (this.#asked.size >= MAX_ASKED) return Promise.reject(new Error('too much is being asked of the outside'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(id);
        reject(Object.assign(new Error('no answer from outside'), { code: 'ETIMEDOUT' }));
      }, ASK_MS);
      this.#asked.set(id, { resolve, reject, timer });
      this.tell(request(id));
    });
  }

  #answered(message: Exclude<ToRoom, { kind: 'stop' }>, handle: Socket | Server | undefined): void {
    const asked = this.#asked.get(message.id);
    // Too late: nobody waits any more.
    if (asked === undefined) return void (handle instanceof Server ? handle.close() : handle?.destroy());
    clearTimeout(asked.timer);
    this.#asked.delete(message.id);
    asked.resolve({ message, handle });
  }
}
