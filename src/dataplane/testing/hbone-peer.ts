// A peer on the tunnel port that is not our proxy: a waypoint, or anything that answers as a test wants.

import { createServer, type Server, type Socket } from 'node:net';
import type { Ip } from '../../model/ip.ts';
import type { Netns } from '../../platform/linux/netns.ts';
import { listenTcp, serve } from '../../platform/linux/sockets.ts';
import { createMeshServer, type WorkloadCredential } from '../../platform/tls/index.ts';
import {
  type ConnectRequest,
  type InboundTunnel,
  openServerSession,
  type ServerSession,
} from '../../wire/hbone/index.ts';
import { drive, eventLoop } from '../session-driver.ts';

export type OnTunnel = (request: ConnectRequest, stream: InboundTunnel, session: ServerSession) => void;

export class HbonePeer {
  readonly requests: ConnectRequest[] = [];
  /** TLS connections so far. */
  connections = 0;
  onTunnel: OnTunnel = echoTunnel;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(credential: WorkloadCredential) {
    const mesh = createMeshServer({
      credential,
      onFailure: () => {},
      onSecured: ({ socket }) => {
        this.connections += 1;
        this.#sockets.add(socket);
        const session: ServerSession = openServerSession({
          transport: socket,
          environment: eventLoop,
          events: {
            onClosed: () => {},
            onConnect: (request, stream) => {
              this.requests.push(request);
              this.onTunnel(request, stream, session);
            },
          },
        });
        drive(socket, session);
      },
    });
    this.#server = createServer((raw) => mesh.accept(raw));
  }

  static async listen(netns: Netns, credential: WorkloadCredential, port = 15008): Promise<HbonePeer> {
    const peer = new HbonePeer(credential);
    await serve(peer.#server, listenTcp(netns, { ip: '::' as Ip, port }));
    return peer;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Accepts, and sends everything back. */
export function echoTunnel(_request: ConnectRequest, stream: InboundTunnel): void {
  stream.respond(200, []);
  stream.attach({
    data(chunk) {
      stream.write(chunk);
      stream.consumed(chunk.length);
    },
    end: () => stream.end(),
    reset() {},
    writable() {},
  });
}
