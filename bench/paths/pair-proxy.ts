// One half of a tunnel pair without a mesh around it: the product's sessions, TLS and copy loop, but no captured sockets,
// no policy and no telemetry. What the whole ztunnel costs beyond this is the mesh's part.
// `node bench/paths/pair-proxy.ts '<PairOptions as JSON>'`

import { connect, createServer } from 'node:net';
import { driveLending, eventLoop } from '../../src/dataplane/session-driver.ts';
import type { Ip } from '../../src/model/ip.ts';
import { Netns } from '../../src/platform/linux/netns.ts';
import { listenTcp } from '../../src/platform/linux/sockets.ts';
import type { TcpStream } from '../../src/platform/tcp/stream.ts';
import { dialStream, listenStreams } from '../../src/platform/tcp/streams.ts';
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
  driveLending(secured.value.socket, fresh);
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

function outbound(stream: TcpStream, authority: string): void {
  pooled((through) => {
    const relay = new TunnelRelay(stream, 'outbound', meter, finished);
    const sink: TunnelSink = Object.assign(relay, {
      response: (status: number) => {
        if (status === 200) relay.start();
        else stream.destroy();
      },
    });
    relay.bind(through.open({ authority, headers: [] }, sink));
  });
}

const here = Netns.current();

function inbound(authority: string, tunnel: InboundTunnel): void {
  const colon = authority.lastIndexOf(':');
  const destination = { ip: authority.slice(0, colon) as Ip, port: Number(authority.slice(colon + 1)) };
  const connected = (stream: TcpStream): void => {
    const relay = new TunnelRelay(stream, 'inbound', meter, finished);
    relay.bind(tunnel);
    tunnel.respond(200, []);
    tunnel.attach(relay);
    relay.start();
  };
  dialStream(here, { destination }, connected, () => tunnel.respond(503, [], true));
}

if (options.role === 'client')
  for (const [port, authority] of options.entries) {
    const backlog = 4096;
    const fd = listenTcp(here, { ip: options.host as Ip, port, backlog });
    await listenStreams(fd, backlog, (stream) => outbound(stream, authority), console.error);
  }
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
      driveLending(socket, accepted);
    },
  });
  createServer({ noDelay: true }, (raw) => mesh.accept(raw)).listen({
    host: options.host,
    port: peer.port,
    backlog: 4096,
  });
}
setTimeout(() => console.log('ready'), 50);
