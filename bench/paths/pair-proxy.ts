// One half of a tunnel pair without a mesh around it: the product's sessions, TLS and copy loop, but no captured sockets,
// no policy and no telemetry. What the whole ztunnel costs beyond this is the mesh's part.
// `node bench/paths/pair-proxy.ts '<PairOptions as JSON>'`

import { connect, createServer, type Socket } from 'node:net';
import { drive, eventLoop } from '../../src/dataplane/session-driver.ts';
import { createMeshClientContext, createMeshServer, secureMeshClient } from '../../src/platform/tls/index.ts';
import type { ClientSession, InboundTunnel, TunnelSink } from '../../src/wire/hbone/index.ts';
import { openClientSession, openServerSession } from '../../src/wire/hbone/index.ts';
import { TunnelRelay } from '../../src/ztunnel/copy.ts';
import type { PairOptions } from './pair.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as PairOptions;
const { credential, peer } = options;

let session: ClientSession | undefined;
let dialling: Promise<ClientSession> | undefined;
const context = createMeshClientContext(credential);

async function dial(): Promise<ClientSession> {
  const raw = connect({ host: peer.host, port: peer.port, noDelay: true });
  const secured = await secureMeshClient(raw, context, [peer.identity]);
  if (!secured.ok) throw secured.error;
  const fresh = openClientSession({
    transport: secured.value.socket,
    environment: eventLoop,
    events: { onClosed: () => {} },
  });
  drive(secured.value.socket, fresh);
  session = fresh;
  dialling = undefined;
  return fresh;
}

function pooled(use: (session: ClientSession) => void): void {
  if (session !== undefined && session.capacity > 0) {
    use(session);
    return;
  }
  session = undefined;
  dialling ??= dial();
  dialling.then((fresh) => (fresh.capacity > 0 ? use(fresh) : pooled(use)));
}

const finished = (): void => {};
const meter = { toServer: 0, toClient: 0 };

function outbound(socket: Socket, authority: string): void {
  socket.on('error', finished);
  pooled((through) => {
    const relay = new TunnelRelay(socket, 'outbound', meter, finished);
    const sink: TunnelSink = Object.assign(relay, {
      response: (status: number) => {
        if (status === 200) relay.start();
        else socket.destroy();
      },
    });
    relay.bind(through.open({ authority, headers: [] }, sink));
  });
}

function inbound(authority: string, stream: InboundTunnel): void {
  const colon = authority.lastIndexOf(':');
  const socket = connect({
    host: authority.slice(0, colon),
    port: Number(authority.slice(colon + 1)),
    noDelay: true,
    allowHalfOpen: true,
  });
  const refuse = (): void => stream.respond(503, [], true);
  socket.once('error', refuse);
  socket.once('connect', () => {
    socket.off('error', refuse);
    const relay = new TunnelRelay(socket, 'inbound', meter, finished);
    relay.bind(stream);
    stream.respond(200, []);
    stream.attach(relay);
    relay.start();
  });
}

if (options.role === 'client')
  for (const [port, authority] of options.entries)
    createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      outbound(socket, authority),
    ).listen({
      host: options.host,
      port,
      backlog: 4096,
    });
else {
  const mesh = createMeshServer({
    credential,
    onFailure: (error) => console.error(error.message),
    onSecured: ({ socket }) => {
      const accepted = openServerSession({
        transport: socket,
        environment: eventLoop,
        events: { onConnect: (request, stream) => inbound(request.authority, stream), onClosed: () => {} },
      });
      drive(socket, accepted);
    },
  });
  createServer({ noDelay: true }, (raw) => mesh.accept(raw)).listen({
    host: options.host,
    port: peer.port,
    backlog: 4096,
  });
}
setTimeout(() => console.log('ready'), 50);
