// The room's end of its supervisor: asks it for the outside, hears when to stop. Without a supervisor there is no room.

import type { Socket } from 'node:net';
import type { FromRoom, ToRoom } from './messages.ts';

const ASK_MS = 15_000;
const MAX_ASKED = 4096;

interface Asked {
  readonly resolve: (value: { message: ToRoom; socket: Socket | undefined }) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Supervised {
  readonly #asked = new Map<number, Asked>();
  #next = 1;

  constructor(on: { stop: () => void; lost: () => void }) {
    process.on('message', (message: ToRoom, handle: unknown) => {
      if (message.kind === 'stop') on.stop();
      else this.#answered(message, handle as Socket | undefined);
    });
    process.on('disconnect', on.lost);
  }

  tell(message: FromRoom): void {
    process.send?.(message, undefined, undefined, () => {});
  }

  /** Dials outside the room. @throws Error with the `code` of the host's attempt */
  async dial(ip: string, port: number): Promise<Socket> {
    const { message, socket } = await this.#ask((id) => ({ kind: 'dial', id, ip, port }));
    if (message.kind === 'dialled' && socket !== undefined) return socket;
    throw Object.assign(new Error(`${ip}:${port} cannot be reached from the host`), {
      code: message.kind === 'refused' ? message.code : 'EIO',
    });
  }

  async resolve(query: Buffer): Promise<Buffer> {
    const { message } = await this.#ask((id) => ({ kind: 'resolve', id, query: query.toString('base64') }));
    if (message.kind === 'resolved') return Buffer.from(message.answer, 'base64');
    throw new Error('no resolver of the host answers');
  }

  #ask(request: (id: number) => FromRoom): Promise<{ message: ToRoom; socket: Socket | undefined }> {
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

  #answered(message: Exclude<ToRoom, { kind: 'stop' }>, socket: Socket | undefined): void {
    const asked = this.#asked.get(message.id);
    if (asked === undefined) return void socket?.destroy(); // too late: nobody waits any more
    clearTimeout(asked.timer);
    this.#asked.delete(message.id);
    asked.resolve({ message, socket });
  }
}
